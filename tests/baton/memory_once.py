"""``OnceStore`` in memory: the same rule, one lock."""

from threading import RLock

from msgspec.structs import replace

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.policy import ONCE_KEPT_S
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey, is_free


class MemoryOnceCalls:
    """``OnceStore`` in memory. ``calls`` holds every stored call, the expired ones included."""

    def __init__(self) -> None:
        """Begin with no call."""
        self.calls: dict[OnceKey, OnceCall] = {}
        self._lock = RLock()

    def claim(self, key: OnceKey, *, digest: bytes, mark: bytes, now: int) -> OnceCall:
        """Store a running call where none is stored, or an expired one."""
        with self._lock:
            stored = self.calls.get(key)
            if stored is None or is_free(stored, now=now):
                stored = self.calls[key] = OnceCall(digest, now, mark, now + ONCE_KEPT_S)
            return stored

    def take_over(self, key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> OnceCall | None:
        """Replace the mark of a running call."""
        with self._lock:
            stored = self.calls.get(key)
            if stored is not None and stored.mark == old_mark and stored.answer is None:
                stored = self.calls[key] = replace(stored, mark=mark, started=now, expires_at=now + ONCE_KEPT_S)
            return stored

    def store(self, key: OnceKey, *, mark: bytes, answer: bytes, now: int) -> Done | Refused:
        """Store the encrypted answer."""
        with self._lock:
            stored = self.calls.get(key)
            if stored is not None and stored.mark == mark and stored.answer is None:
                stored = self.calls[key] = replace(stored, answer=answer, expires_at=now + ONCE_KEPT_S)
            return Done() if stored is not None and stored.answer == answer else Refused()

    def release(self, key: OnceKey, *, mark: bytes) -> None:
        """Delete a call that has no answer."""
        with self._lock:
            stored = self.calls.get(key)
            if stored is not None and stored.mark == mark and stored.answer is None:
                del self.calls[key]
