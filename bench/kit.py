"""The time that the test kit takes in a test: ``make bench-kit``.

The goals are 30 ms for a World and 10 ms for a phone.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Final

from bench.machine import machine
from chalicelib.baton.testing.world import World

ROUNDS: Final = 50
GOALS_MS: Final = {"a World in memory": 30, "a phone": 10, "a signed call": 10}


def median_ms(work: Callable[[], object]) -> float:
    """Return the median duration of ``work`` in milliseconds, after one run that is not counted."""
    work()
    durations = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        durations.append(time.perf_counter() - begun)
    return 1000 * statistics.median(durations)


def main() -> int:
    """Measure and print."""
    world = World()
    phone = world.phone()
    figures = {
        "a World in memory": median_ms(World),
        "a phone": median_ms(world.phone),
        "a signed call": median_ms(lambda: phone.get("/me")),
    }
    print(f"{machine()}, median of {ROUNDS}")
    for name, figure in figures.items():
        print(f"{name:<18} {figure:6.1f} ms   goal {GOALS_MS[name]} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
