"""The key ring in memory, made at first use. It is not encrypted: a reader of this memory has all keys."""

from chalicelib.baton.effects import Done, Entropy, Moved
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.rotation import make_ring
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemoryKeyRing:
    """`keys.ports.ChangingKeyRing` in memory. There is no cache: every read returns the newest ring."""

    def __init__(self, tables: MemoryTables, entropy: Entropy) -> None:
        """Use ``tables``, which other storages may use too. ``entropy`` is for a ring that is made at first use."""
        self._tables = tables
        self._entropy = entropy

    def current(self, *, now: int) -> Ring:
        """Return the ring. Make it if none exists."""
        with self._tables.lock:
            ring = self._tables.ring
            if ring is None:
                ring = self._tables.ring = make_ring(self._entropy, now=now)
            return ring

    def refreshed(self, *, now: int) -> Ring:
        """Return the ring, as ``current`` does: there is no cache to refresh."""
        return self.current(now=now)

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Replace the ring, if the stored ring has ``expected_revision``. Otherwise return ``Moved``."""
        with self._tables.lock:
            stored = self._tables.ring
            if stored is not None and stored.revision == expected_revision:
                self._tables.ring = ring
                return Done()
            return Done() if stored == ring else Moved()
