"""The CPU time of Baton's operations: ``make bench``. The results are for readers: no test depends on them."""

import sys

from bench import calls, journeys, passwords


def main() -> int:
    """Measure and print. The last line is the summary."""
    journey = journeys.measure()
    call = calls.measure()
    one, many = calls.measure_fleet()
    print(calls.printed(call), journeys.printed(journey), passwords.printed(passwords.measure()), sep="\n\n")
    print(
        f"\nsigned call, P-256, JWT: {one:.0f} microseconds by one phone again and again, {many:.0f} by each of "
        f"{calls.PHONES:,} phones in turn ({many / one:.2f} times)"
    )
    inside, due = journeys.argon2_shares(journey.logins)
    exchange = max(journeys.ratio(rows) for rows in journey.exchanges.values())
    print(
        f"\nexchange {exchange:.2f} of boto3, call ({calls.PLAINEST}) {calls.of_trivial(call):.2f} of trivial, "
        f"login {inside:.0%} Argon2 ({due:.0%} with its effect on the caches)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
