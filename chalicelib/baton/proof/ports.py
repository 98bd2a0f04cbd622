"""The stored calls of routes with ``once=True``, as the flow needs them."""

from typing import Protocol

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey


class OnceStore(Protocol):
    """Calls that run once. Each verb is one atomic write, whose condition and effect nothing can come between.

    ``mark`` is 16 random bytes that only one sending has. Repeating a verb with the same arguments is safe: the store
    recognises its own earlier write by the mark. Each verb may raise ``errors.Unavailable``; it is then unknown
    whether the write happened. ``now`` is in seconds since the epoch.
    """

    def claim(self, key: OnceKey, *, digest: bytes, mark: bytes, now: int) -> OnceCall:
        """Store a running call if none is stored, or if the stored one has expired.

        Return the call that is stored now: it has this ``mark`` where the claim succeeded, now or at an earlier
        sending. Otherwise it is the call that prevented the claim, as it was at that moment.
        """

    def take_over(self, key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> OnceCall | None:
        """Replace the mark of a running call, and let it begin now, if it still has ``old_mark`` and no answer.

        Of several takers one succeeds. Return the call that is stored now, as ``claim`` does; ``None`` if none is.
        """

    def store(self, key: OnceKey, *, mark: bytes, answer: bytes, now: int) -> Done | Refused:
        """Store the encrypted answer for ``ONCE_KEPT_S``, if the call has this ``mark`` and no answer.

        ``Refused``: another sending has taken the call over, or it has expired.
        """

    def release(self, key: OnceKey, *, mark: bytes) -> None:
        """Delete the call, if it has this ``mark`` and no answer. The next sending may then claim it."""
