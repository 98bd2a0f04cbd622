"""Nonces, used tickets, step-up grants and rate limits, in memory."""

from chalicelib.baton.effects import Again, Done, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.policy import NONCE_KEPT_S, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.storage.memory.tables import Grant, MemoryTables
from chalicelib.baton.tokens.caller import GrantUsed, Operation


class MemoryOneTime:
    """`storage.ports.OneTimeStore` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def consume_nonce(self, keyid: str, nonce: str, *, now: int, mark: bytes) -> Done | Refused:
        """Consume a nonce of a key, once. A repetition returns ``Again`` for the same ``mark``, else ``Refused``."""
        with self._tables.lock:
            self._tables.sweep(now)
            spent = self._tables.nonces.get((keyid, nonce))
            if spent is not None and spent[1] > now:
                return Again() if spent[0] == mark else Refused()
            self._tables.nonces[(keyid, nonce)] = (mark, now + NONCE_KEPT_S)
            return Done()

    def consume_ticket(self, ticket_id: bytes, *, expires_at: int, now: int, mark: bytes) -> Done | Refused:
        """Consume a ticket, once. A repetition returns ``Again`` for the same ``mark``, else ``Refused``."""
        with self._tables.lock:
            self._tables.sweep(now)
            consumed = self._tables.tickets.get(ticket_id)
            if consumed is not None and consumed[1] > now:
                return Again() if consumed[0] == mark else Refused()
            self._tables.tickets[ticket_id] = (mark, expires_at + TICKET_CONSUMED_KEPT_S)
            return Done()

    def is_consumed(self, ticket_id: bytes, *, now: int) -> bool:
        """Return whether a ticket is recorded as consumed. An expired record does not count."""
        with self._tables.lock:
            consumed = self._tables.tickets.get(ticket_id)
            return consumed is not None and consumed[1] > now

    def store_grant(
        self,
        grant: str,
        *,
        lineage: LineageId,
        operation: Operation,
        step_up: GrantUsed,
        credentials_version: int,
        expires_at: int,
    ) -> None:
        """Store a step-up grant. Never replace a stored grant: otherwise a consumed grant would be valid again."""
        with self._tables.lock:
            self._tables.grants.setdefault(grant, Grant(lineage, operation, step_up, credentials_version, expires_at))

    def consume_grant(
        self, grant: str, *, lineage: LineageId, operation: Operation, credentials_version: int, now: int, mark: bytes
    ) -> GrantUsed | Refused:
        """Consume a grant, once, if it has not expired and is for this lineage, operation and credentials version.

        Otherwise the result is ``Refused``. A repetition with the same ``mark`` gets the same ``GrantUsed`` again.
        """
        with self._tables.lock:
            kept = self._tables.grants.get(grant)
            if kept is None:
                return Refused()
            fits = kept.lineage == lineage and kept.operation == operation and kept.expires_at > now
            fits = fits and kept.credentials_version == credentials_version
            if kept.spent_by is None and fits:
                kept.spent_by = mark
            return kept.step_up if kept.spent_by == mark else Refused()

    def count(self, name: str, *, limit: int, window_s: int, now: int) -> Done | Refused:
        """Add one to the count of the rate limit ``name`` in the current window.

        If the count has reached ``limit``, it does not change, and the result is ``Refused``.
        """
        with self._tables.lock:
            # Do not sweep: the rate limit of a code or link passes a future `now`, so a sweep would delete valid items.
            window = _window(name, window_s=window_s, now=now)
            taken = self._tables.windows.get(window, 0)
            if taken >= limit:
                return Refused()
            self._tables.windows[window] = taken + 1
            return Done()

    def uncount(self, name: str, *, window_s: int, now: int) -> None:
        """Subtract one from the count of the current window, never below zero."""
        with self._tables.lock:
            window = _window(name, window_s=window_s, now=now)
            if taken := self._tables.windows.get(window, 0):
                self._tables.windows[window] = taken - 1


def _window(name: str, *, window_s: int, now: int) -> tuple[str, int]:
    return name, (now // window_s + 1) * window_s
