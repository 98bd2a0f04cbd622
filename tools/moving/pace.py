"""The pace of an import: accounts per second, halved while DynamoDB refuses writes, and raised slowly afterwards."""

import time
from collections.abc import Callable
from threading import Lock

SLOWEST = 1.0
HALVED_AT_MOST_EVERY_S = 1.0
RAISED_AFTER_S = 30.0
RAISE = 1.25


class Pace:
    """The pace of the writes. Several threads use it: each waits until its next account may be written."""

    def __init__(
        self,
        rate: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin with ``rate`` accounts per second, which is also the maximum."""
        self.fastest = self.rate = rate
        self.halved = 0
        self._monotonic, self._pause = monotonic, pause
        self._lock = Lock()
        self._next = self._changed = monotonic()

    def wait(self) -> None:
        """Wait until the next account may be written."""
        with self._lock:
            now = self._monotonic()
            if self.rate < self.fastest and now - self._changed >= RAISED_AFTER_S:
                self.rate, self._changed = min(self.fastest, self.rate * RAISE), now
            begins = max(self._next, now)
            self._next = begins + 1 / self.rate
        if begins > now:
            self._pause(begins - now)

    def throttled(self) -> None:
        """Halve the rate after DynamoDB refused a write.

        Several threads report the same overload, so the rate is halved at most once a second.
        """
        with self._lock:
            now = self._monotonic()
            if now - self._changed >= HALVED_AT_MOST_EVERY_S or not self.halved:
                self.rate, self._changed = max(SLOWEST, self.rate / 2), now
                self.halved += 1
