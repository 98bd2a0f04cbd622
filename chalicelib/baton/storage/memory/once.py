"""Calls that run once, in memory. ``proof/once_rules.py`` explains them."""

from msgspec.structs import replace

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.policy import ONCE_KEPT_S
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey, is_free
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemoryOnceCalls:
    """`proof.ports.OnceStore` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def claim(self, key: OnceKey, *, digest: bytes, mark: bytes, now: int) -> OnceCall:
        """Store a running call, unless an unexpired call is stored. Return the call that is stored afterwards."""
        with self._tables.lock:
            self._tables.sweep(now)
            stored = self._tables.calls.get(key)
            if stored is None or is_free(stored, now=now):
                stored = self._tables.calls[key] = OnceCall(digest, now, mark, now + ONCE_KEPT_S)
            return stored

    def take_over(self, key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> OnceCall | None:
        """Replace the mark of a running call, if the mark is ``old_mark``.

        Return the call that is stored afterwards, or ``None`` if no call is stored.
        """
        with self._tables.lock:
            stored = self._tables.calls.get(key)
            if stored is not None and stored.mark == old_mark and stored.answer is None:
                stored = replace(stored, mark=mark, started=now, expires_at=now + ONCE_KEPT_S)
                self._tables.calls[key] = stored
            return stored

    def store(self, key: OnceKey, *, mark: bytes, answer: bytes, now: int) -> Done | Refused:
        """Store the encrypted answer of a call, if the call has this ``mark`` and no answer.

        Otherwise the result is ``Refused``, or ``Done`` if the same answer is already stored.
        """
        with self._tables.lock:
            stored = self._tables.calls.get(key)
            if stored is not None and stored.mark == mark and stored.answer is None:
                stored = self._tables.calls[key] = replace(stored, answer=answer, expires_at=now + ONCE_KEPT_S)
            return Done() if stored is not None and stored.answer == answer else Refused()

    def release(self, key: OnceKey, *, mark: bytes) -> None:
        """Delete a call, if it has this ``mark`` and no answer."""
        with self._tables.lock:
            stored = self._tables.calls.get(key)
            if stored is not None and stored.mark == mark and stored.answer is None:
                del self._tables.calls[key]
