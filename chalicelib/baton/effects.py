"""The time, random bytes, and how a conditional write ends.

Every verb of a port may raise ``errors.Unavailable``: DynamoDB failed, timed out, throttled or conflicted, and it is
unknown whether the write happened. Repeating the same call with the same arguments is always safe. Reads are strongly
consistent.
"""

from collections.abc import Callable

from msgspec import Struct

Clock = Callable[[], int]
"""Read the time: integer seconds since the epoch."""

Entropy = Callable[[int], bytes]
"""Draw that many random bytes, fit for keys."""


class Done(Struct, frozen=True):
    """The write happened, now or by an earlier sending of this same call."""


class Moved(Struct, frozen=True):
    """What was read has changed since: nothing was written. Read again and start over, a bounded number of times."""


class Refused(Struct, frozen=True):
    """Spent, expired, unknown or over the limit: nothing was written."""


class Effects(Struct, frozen=True):
    """The clock and the source of random bytes of one environment."""

    clock: Clock
    entropy: Entropy
