"""The port of the stored calls of routes with ``once=True``."""

from typing import Protocol

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey


class OnceStore(Protocol):
    """The store of the calls of routes with ``once=True``. Each method is one atomic conditional write.

    It is safe to repeat a method with the same arguments. If a method raises ``errors.Unavailable``, it is unknown
    whether the write happened.

    - ``mark``: 16 random bytes that only one request has.
    - ``now``: in seconds since the epoch.
    """

    def claim(self, key: OnceKey, *, digest: bytes, mark: bytes, now: int) -> OnceCall:
        """Store a running call if no call is stored, or if the stored call has expired.

        Return the call that is stored afterwards. If the returned call has this ``mark``, the claim succeeded.
        """

    def take_over(self, key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> OnceCall | None:
        """Give a call the mark ``mark`` and the start ``now``, if the call still has ``old_mark`` and no answer.

        Return the call that is stored afterwards, or ``None`` if no call is stored.
        """

    def store(self, key: OnceKey, *, mark: bytes, answer: bytes, now: int) -> Done | Refused:
        """Store the encrypted answer for ``ONCE_KEPT_S``, if the call has this ``mark`` and no answer.

        ``Refused``: another request has taken the call over, or the call is no longer stored.
        """

    def release(self, key: OnceKey, *, mark: bytes) -> None:
        """Delete the call, if it has this ``mark`` and no answer. Then the next request can claim the key."""
