"""The audit events in memory."""

from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemoryAudit:
    """`events.ports.Audit` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Keep the tables, which other environments may share."""
        self._tables = tables

    @property
    def events(self) -> list[AuditEvent]:
        """List the events in the order in which they were written."""
        with self._tables.lock:
            return list(self._tables.events.values())

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event. It never replaces another event."""
        with self._tables.lock:
            self._tables.sweep(event.at)
            self._tables.events.setdefault((event.account, event.at, event_id), event)
