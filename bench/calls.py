"""The cost of a signed call, compared with its necessary parts: ``make bench``.

Three parts run in one process, in turn, and are measured in CPU time. The first part is the cryptography of the call:
the checks of the token and of the request. The second part is Chalice's dispatch of a trivial route, and the third part
is the whole signed call. There is no database: the item of the account state is read from memory.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from bench.cases import fleet, logins, trivial
from bench.machine import rounds
from chalicelib.baton.tokens.token import KNOWN_TOKENS_MAX

ROUNDS, CALLS = rounds(9), 200
PLAINEST = "HMAC, opaque"
LIMIT = 3.0
"""The target for a signed call, in units of (cryptography + Chalice's dispatch)."""

PHONES = KNOWN_TOKENS_MAX + 100
"""The number of phones of a fleet.

They call in turn, so that no cache of keys or tokens has the values of the next phone.
"""


def cpu_us(work: Callable[[], object]) -> float:
    """Return the CPU time of one call in microseconds, averaged over many calls."""
    begun = time.process_time_ns()
    for _ in range(CALLS):
        work()
    return (time.process_time_ns() - begun) / CALLS / 1000


def measure() -> dict[str, list[tuple[float, float, float]]]:
    """Measure in turn, round by round: cryptography, dispatch, call, for each kind of login."""
    measured = logins()
    samples: dict[str, list[tuple[float, float, float]]] = {login.name: [] for login in measured}
    for number in range(ROUNDS + 1):
        for login in measured:
            figures = (cpu_us(login.cryptography), cpu_us(trivial), cpu_us(login.call))
            if number:  # the first round is a warm-up
                samples[login.name].append(figures)
        if sys.stderr.isatty():
            print(f"\rround {number}/{ROUNDS}", end="\n" if number == ROUNDS else "", file=sys.stderr, flush=True)
    return samples


def measure_fleet() -> tuple[float, float]:
    """Return the CPU time of a call in microseconds: for one phone that repeats it, and for many phones in turn."""
    phones = fleet(PHONES)
    one, many = [], []
    for _ in range(ROUNDS):
        one.append(cpu_us(phones[0].call))
        begun = time.process_time_ns()
        for phone in phones:
            phone.call()
        many.append((time.process_time_ns() - begun) / PHONES / 1000)
    return statistics.median(one), statistics.median(many)


def of_trivial(samples: Mapping[str, Sequence[tuple[float, float, float]]]) -> float:
    """Return the CPU time of the call with almost no cryptography, divided by the CPU time of a trivial route."""
    return statistics.median(call / dispatch for _, dispatch, call in samples[PLAINEST])


def printed(samples: Mapping[str, Sequence[tuple[float, float, float]]]) -> str:
    """Format the results for a terminal."""
    lines = [f"{'CPU per call, microseconds':<32}{'cryptography':>13}{'dispatch':>10}{'signed call':>13}{'ratio':>8}"]
    judged = 0.0
    for name, rows in samples.items():
        raw, dispatch, call = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(row[2] / (row[0] + row[1]) for row in rows)
        shown_only = raw < dispatch / 2
        judged = judged if shown_only else max(judged, ratio)
        lines.append(f"{name:<32}{raw:>13.0f}{dispatch:>10.0f}{call:>13.0f}{ratio:>8.2f}{'  *' if shown_only else ''}")
    lines.append("* almost no cryptography to compare with: shown, but the limit does not apply")
    lines.append(
        f"signed call: at most {judged:.2f} times its cryptography plus Chalice's dispatch (limit {LIMIT:.0f})"
    )
    return "\n".join(lines)
