"""The time, random bytes, and the results of a conditional write.

Every method of a storage port may raise ``errors.Unavailable``: the storage failed, timed out, throttled or conflicted.
The write may or may not have happened. The same call with the same arguments is always safe to repeat, but a rate limit
may count the call twice. Reads are strongly consistent.
"""

from collections.abc import Callable

from msgspec import Struct

Clock = Callable[[], int]
"""Return the time in integer seconds since the epoch."""

Entropy = Callable[[int], bytes]
"""Return the given number of random bytes, suitable for keys."""


class Done(Struct, frozen=True):
    """The write happened: in this storage call, or in an earlier try of the same storage call."""


class Again(Done, frozen=True):
    """A ``Done`` without a new write: the nonce or ticket was consumed before, with the same ``mark``.

    A second try of a storage call has the ``mark`` of the first try. For a ticket, a repetition of the client's request
    can also have the same ``mark``. Only ``consume_nonce`` and ``consume_ticket`` return ``Again``.
    """


class Moved(Struct, frozen=True):
    """The stored value changed after it was read. Nothing was written. Read again, and repeat a few times at most."""


class Refused(Struct, frozen=True):
    """The stored state does not allow the write. Nothing was written.

    For example, the item is consumed, ended, expired or unknown, or a limit is reached.
    """
