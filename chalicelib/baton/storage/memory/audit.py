"""The audit events in memory."""

from chalicelib.baton.events.ports import AuditEvent, StoredEvent
from chalicelib.baton.ids import AccountId
from chalicelib.baton.policy import AUDIT_KEPT_S
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemoryAudit:
    """`events.ports.Audit` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    @property
    def events(self) -> list[AuditEvent]:
        """List the events in the order in which they were written."""
        with self._tables.lock:
            return list(self._tables.events.values())

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event, unless the account already has an event with this time and id."""
        with self._tables.lock:
            self._tables.sweep(event.at)
            self._tables.events.setdefault((event.account, event.at, event_id), event)

    def newest(self, account: AccountId, *, before: str | None, limit: int, now: int) -> list[StoredEvent]:
        """Return at most ``limit`` events of an account, the newest first.

        ``before`` is the key of an event: only older events are returned. ``None``: begin with the newest event.
        """
        with self._tables.lock:
            stored = [
                StoredEvent(f"{at:010}#{event_id}", event)
                for (owner, at, event_id), event in self._tables.events.items()
                if owner == account and at + AUDIT_KEPT_S > now
            ]
        stored.sort(key=lambda one: one.key, reverse=True)
        return [one for one in stored if before is None or one.key < before][:limit]

    def erase(self, account: AccountId) -> None:
        """Delete every event of an account."""
        with self._tables.lock:
            self._tables.events = {key: event for key, event in self._tables.events.items() if key[0] != account}
