"""Clocks for tests and for ``make dev``."""

import time
from typing import Final

SKIP_MAX_S: Final = 400 * 24 * 60 * 60
"""The maximum offset of a `DevelopmentClock`, in seconds. No login lives longer than this."""


class Clock:
    """The clock of a `World`. Its time changes only when a test calls ``skip``."""

    def __init__(self) -> None:
        """Begin at the time of the machine, in whole seconds."""
        self.now = int(time.time())

    def time(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.now

    def skip(self, *, seconds: int = 0, minutes: int = 0, hours: int = 0, days: int = 0) -> None:
        """Move the time forward. Raises ``ValueError`` for a move back."""
        moved_s = seconds + 60 * (minutes + 60 * (hours + 24 * days))
        if moved_s < 0:
            raise ValueError("the clock of a World moves forward only")
        self.now += moved_s


class DevelopmentClock:
    """The clock of the machine, plus an offset that a demonstration can set."""

    def __init__(self) -> None:
        """Begin at the time of the machine."""
        self.skipped_s = 0.0

    def time(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time() + self.skipped_s

    def skip(self, seconds: float) -> None:
        """Add ``seconds`` to the offset, which stays between 0 and ``SKIP_MAX_S``. A negative number reduces it."""
        self.skipped_s = min(max(0.0, self.skipped_s + seconds), SKIP_MAX_S)
