"""What Baton's CPU goes to, in one run: ``make bench``. Figures to read, not a test to fail."""

import sys

from bench import calls, journeys, passwords


def main() -> int:
    """Measure and print; the last line is the short of it."""
    journey = journeys.measure()
    call = calls.measure()
    print(calls.printed(call), journeys.printed(journey), passwords.printed(passwords.measure()), sep="\n\n")
    inside, due = journeys.argon2_shares(journey.logins)
    exchange = max(journeys.ratio(rows) for rows in journey.exchanges.values())
    print(
        f"\nexchange {exchange:.2f} of boto3, call ({calls.PLAINEST}) {calls.of_trivial(call):.2f} of trivial, "
        f"login {inside:.0%} Argon2 ({due:.0%} with the caches it empties)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
