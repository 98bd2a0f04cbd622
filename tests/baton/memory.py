"""The memory storage with replaceable parts, and a log that a test can read."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.baton.factors.ports import NotFetched
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey
from chalicelib.baton.storage.memory.accounts import MemoryUsers
from chalicelib.baton.storage.memory.attestations import MemoryAttestations
from chalicelib.baton.storage.memory.audit import MemoryAudit
from chalicelib.baton.storage.memory.factors import MemoryFactors
from chalicelib.baton.storage.memory.identities import MemoryIdentities
from chalicelib.baton.storage.memory.key_ring import MemoryKeyRing
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.storage.memory.once import MemoryOnceCalls
from chalicelib.baton.storage.memory.one_time import MemoryOneTime
from chalicelib.baton.storage.memory.tables import MemoryTables


@dataclass(slots=True)
class MemoryLog:
    """``ports.Log`` in memory: every event and its facts."""

    recorded: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)

    def start_request(self, *, request_id: str) -> None:
        """Clear the facts of the previous request."""

    def end_request(self) -> None:
        """Send nothing."""

    def set_lineage(self, *, lineage: str) -> None:
        """Add the lineage to all further events."""

    def record(self, event: str, /, **facts: str | int) -> None:
        """Record an event."""
        self.recorded.append((event, facts))


class LeakedPasswords:
    """``ports.Fetch`` in memory: the service of the breach check."""

    def __init__(self, *passwords: str) -> None:
        """Store the leaked passwords."""
        self.passwords = set(passwords)
        self.asked: list[str] = []
        self.is_down = False

    def __call__(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> bytes | NotFetched:
        """Answer as the service does, with a row of padding."""
        del headers, within_s, bytes_max
        self.asked.append(url)
        if self.is_down:
            return NotFetched("TimeoutError")
        digests = [hashlib.sha1(each.encode(), usedforsecurity=False).hexdigest().upper() for each in self.passwords]
        rows = [f"{each[5:]}:3" for each in digests if url.endswith(f"/range/{each[:5]}")]
        return "\r\n".join([f"{'0' * 35}:0", *rows]).encode()


class GivenKeyRing(MemoryKeyRing):
    """A key ring in memory that starts with the given ring, and that a test may replace."""

    def __init__(self, ring: Ring) -> None:
        """Start with the given ring."""
        super().__init__(MemoryTables(ring=ring), secrets.token_bytes)

    @property
    def ring(self) -> Ring:
        """Return the ring."""
        assert self._tables.ring is not None
        return self._tables.ring

    @ring.setter
    def ring(self, ring: Ring) -> None:
        self._tables.ring = ring


class OwnOnceCalls(MemoryOnceCalls):
    """Calls that run once, in memory, over separate tables: ``calls`` has every stored call, and may be changed."""

    def __init__(self) -> None:
        """Start without a call."""
        super().__init__(MemoryTables())

    @property
    def calls(self) -> dict[OnceKey, OnceCall]:
        """Return the calls."""
        return self._tables.calls


class MemoryStores:
    """All stores over the same tables. A test may replace each store by a store with a seeded fault."""

    def __init__(self) -> None:
        """Start with empty tables."""
        self.tables = MemoryTables()
        self.users = MemoryUsers(self.tables)
        self.factors = MemoryFactors(self.tables)
        self.lineage_store = MemoryLineageStore(self.tables)
        self.ephemeral = MemoryOneTime(self.tables)
        self.attestations = MemoryAttestations(self.tables)
        self.identities = MemoryIdentities(self.tables)
        self.audit = MemoryAudit(self.tables)
        self.log = MemoryLog()
