"""Record an event of an account: one call for log line, metric, audit row and the notice to the owner."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.names import APP_PREFIX, EVENTS, OF_THE_APP, Event
from chalicelib.baton.events.ports import Audit, AuditEvent, Counters, Log, Notices, Told
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.policy import DAY_S


class Record(Struct, frozen=True, kw_only=True):
    """Record events. The table ``names.EVENTS`` says which events are audited.

    ``moment`` returns the time in seconds with a fraction. The fraction orders the events of one second.
    """

    clock: Clock
    moment: Callable[[], float]
    entropy: Entropy
    ephemeral: Counters
    audit: Audit
    log: Log
    notices: Notices | None = None

    def __call__(
        self,
        event: str,
        /,
        *,
        account: AccountId,
        lineage: LineageId | None = None,
        details: Mapping[str, str | int] | None = None,
        told: Told | None = None,
        **facts: str | int,
    ) -> None:
        """Write the log line and the metric and, for an audited event, one row of the account's audit.

        Call this after the change and before the answer. It never raises. ``facts`` are in the line and the row.
        ``details`` (the evidence for the owner) are only in the row. Pass no secret and no address in ``facts`` or
        ``details``. The owner gets a notice if `names.EVENTS` has a notice for the event and ``told`` is given.
        """
        about = {"account": account} if lineage is None else {"account": account, "lineage": lineage}
        kind, now = _event_of(event), self.clock()
        first = {"first_of_account": self._is_first(event, account)} if kind.per_account else {}
        self.log.record(event, **about, **facts, **first)
        if kind.audited:
            row = {name: str(value) for name, value in {**facts, **(details or {})}.items()}
            self.audit.append(AuditEvent(now, event, account, lineage, row), event_id=self._event_id())
        if kind.notice and told is not None and self.notices is not None:
            self.notices(event, account=account, at=now, told=told)

    def _event_id(self) -> str:
        """Return an id: the Unix time in microseconds, which orders the events of one second, and random bytes.

        For events of two servers, the order is as exact as their clocks.
        """
        return f"{int(self.moment() * 1_000_000):014x}{self.entropy(4).hex()}"

    def _is_first(self, event: str, account: AccountId) -> int:
        """Return 1 for the first such event of the account today, else 0. Also 0 if the counter is unavailable."""
        try:
            slot = self.ephemeral.count(f"{event}:{account}", limit=1, window_s=DAY_S, now=self.clock())
        except errors.Unavailable:
            return 0
        return int(isinstance(slot, Done))


def _event_of(name: str) -> Event:
    """Return how an event is recorded. An event of the app (``app_...``) is logged at level info and audited."""
    return OF_THE_APP if name.startswith(APP_PREFIX) else EVENTS[name]
