"""The ports of event recording: audit, log and counters."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import AccountId, LineageId


class AuditEvent(Struct, frozen=True):
    """An event of one account, for its owner and the operator. It never contains a secret."""

    at: int
    event: str
    account: AccountId
    lineage: LineageId | None = None
    details: Mapping[str, str] = {}


class Told(Struct, frozen=True):
    """The values that the notice of an event needs in addition to the event. They are not logged and not in the audit.

    ``device``: the name of the device.
    ``address``, ``language``: if given, they replace the values of the account.
    ``text``: the name of a mail text. If given, it replaces the name in ``Event.notice``.
    ``undo_since`` (seconds): if given, the mail has a link that undoes changes since this time. ``address`` must then
    be the address before these changes, because a thief can change the account's address.
    """

    device: str = ""
    address: str = ""
    language: str = ""
    text: str = ""
    undo_since: int | None = None

    def __post_init__(self) -> None:
        """Require an address for a link. Raises ``ValueError``, which is a defect."""
        if self.undo_since is not None and not self.address:
            raise ValueError("a notice with a link names its address")

    def __repr__(self) -> str:
        """Mask the address."""
        return "Told('**********')"


class Notices(Protocol):
    """Tell the owner of an account about an event."""

    def __call__(self, event: str, *, account: AccountId, at: int, told: Told) -> None:
        """Tell the owner. Never raises: the event has already happened."""


class StoredEvent(Struct, frozen=True):
    """A stored event.

    ``key`` orders the events of an account: the time in seconds, ``#`` and the event id. The event id begins with the
    time in microseconds.
    """

    key: str
    event: AuditEvent


class Audit(Protocol):
    """The audit of all accounts. Rows never change. They are deleted after ``AUDIT_KEPT_S``, or with the account."""

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event. Never raises: the audited action has already succeeded. A failure is logged and counted."""

    def newest(self, account: AccountId, *, before: str | None, limit: int, now: int) -> list[StoredEvent]:
        """Return at most ``limit`` events of an account, the newest first.

        ``before``: return only events older than this key. The key need not exist.
        Events older than ``AUDIT_KEPT_S`` are never returned, even if they are not deleted yet.
        """

    def erase(self, account: AccountId) -> None:
        """Delete every event of an account. A repetition is safe. The API never calls this method."""


class Log(Protocol):
    """Log lines and metrics for the operator. No method raises. Never pass a secret."""

    def start_request(self, *, request_id: str) -> None:
        """Begin a request: all following lines have this id. The lineage of the previous request is dropped."""

    def end_request(self) -> None:
        """End a request or a job: send the metrics that are not sent yet."""

    def set_lineage(self, *, lineage: LineageId) -> None:
        """Add the lineage to all following lines of this request. Only the first call has an effect."""

    def record(self, event: str, /, **facts: str | int) -> None:
        """Write a log line and a metric for an event of `names.EVENTS` or of the team (``app_...``)."""


class Counters(Protocol):
    """Counters: one for each name and time window. A counter that storage has lost begins again at zero."""

    def count(self, name: str, *, limit: int, window_s: int, now: int) -> Done | Refused:
        """Add one to the count of ``name`` in the current time window, if the count is below ``limit``.

        ``Refused``: the count is ``limit`` already, and nothing is added. Each time window lasts ``window_s`` seconds,
        and begins with a count of zero. ``now`` selects the window.
        """
