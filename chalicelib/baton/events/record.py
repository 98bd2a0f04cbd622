"""Record what happened to an account: one call for log line, metric and audit row."""

from collections.abc import Mapping

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.names import event_of
from chalicelib.baton.events.ports import Audit, AuditEvent, Counters, Log
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.policy import DAY_S


class Record(Struct, frozen=True, kw_only=True):
    """Record events. The table of ``core.events`` decides which of them the audit keeps."""

    clock: Clock
    entropy: Entropy
    ephemeral: Counters
    audit: Audit
    log: Log

    def __call__(
        self,
        event: str,
        /,
        *,
        account: AccountId,
        lineage: LineageId | None = None,
        details: Mapping[str, str | int] | None = None,
        **facts: str | int,
    ) -> None:
        """Write the line and the metric; for an audited event, one row of the account's audit too.

        Call it after the deed and before the answer. It never raises. ``facts`` go into line and row, ``details``
        (the evidence for the owner) into the row only. Neither may hold a secret or an address.
        """
        about = {"account": account} if lineage is None else {"account": account, "lineage": lineage}
        kind = event_of(event)
        first = {"first_of_account": self._is_first(event, account)} if kind.per_account else {}
        self.log.record(event, **about, **facts, **first)
        if kind.audited:
            told = {name: str(value) for name, value in {**facts, **(details or {})}.items()}
            self.audit.append(AuditEvent(self.clock(), event, account, lineage, told), event_id=self.entropy(8).hex())

    def _is_first(self, event: str, account: AccountId) -> int:
        """Give 1 for the account's first such event of the day, else 0. What cannot be known is not counted."""
        try:
            slot = self.ephemeral.count(f"{event}:{account}", limit=1, window_s=DAY_S, now=self.clock())
        except errors.Unavailable:
            return 0
        return int(isinstance(slot, Done))
