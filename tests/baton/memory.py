"""The storage in memory as tests take it apart, and log that are read afterwards."""

import secrets
from dataclasses import dataclass, field

from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey
from chalicelib.baton.storage.memory.accounts import MemoryUsers
from chalicelib.baton.storage.memory.audit import MemoryAudit
from chalicelib.baton.storage.memory.factors import MemoryFactors
from chalicelib.baton.storage.memory.key_ring import MemoryKeyRing
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.storage.memory.once import MemoryOnceCalls
from chalicelib.baton.storage.memory.one_time import MemoryOneTime
from chalicelib.baton.storage.memory.tables import MemoryTables


@dataclass(slots=True)
class MemoryLog:
    """``ports.Log`` in memory: every signal and its facts."""

    recorded: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)

    def start_request(self, *, request_id: str) -> None:
        """Forget the request before."""

    def set_lineage(self, *, lineage: str) -> None:
        """Put the lineage on all that follows."""

    def record(self, event: str, /, **facts: str | int) -> None:
        """Note that something happened."""
        self.recorded.append((event, facts))


class GivenKeyRing(MemoryKeyRing):
    """A key ring in memory that begins with this ring, and that a test may exchange."""

    def __init__(self, ring: Ring) -> None:
        """Begin with it."""
        super().__init__(MemoryTables(ring=ring), secrets.token_bytes)

    @property
    def ring(self) -> Ring:
        """Give the ring."""
        assert self._tables.ring is not None
        return self._tables.ring

    @ring.setter
    def ring(self, ring: Ring) -> None:
        self._tables.ring = ring


class OwnOnceCalls(MemoryOnceCalls):
    """Exactly-once calls in memory, over tables of their own: ``calls`` has every stored call, and may be changed."""

    def __init__(self) -> None:
        """Begin with no call."""
        super().__init__(MemoryTables())

    @property
    def calls(self) -> dict[OnceKey, OnceCall]:
        """Give the calls."""
        return self._tables.calls


class MemoryStores:
    """All stores over the same tables, each of which a test may replace by one with a planted fault."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.tables = MemoryTables()
        self.users = MemoryUsers(self.tables)
        self.factors = MemoryFactors(self.tables)
        self.lineage_store = MemoryLineageStore(self.tables)
        self.ephemeral = MemoryOneTime(self.tables)
        self.audit = MemoryAudit(self.tables)
        self.log = MemoryLog()
