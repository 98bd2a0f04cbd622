"""What recording an event needs from outside."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import AccountId, LineageId


class AuditEvent(Struct, frozen=True):
    """Something that happened, for the owner and the operator. Never holds a secret."""

    at: int
    event: str
    account: AccountId
    lineage: LineageId | None = None
    details: Mapping[str, str] = {}


class Audit(Protocol):
    """What happened, append only."""

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event. Never raises: what happened has happened; a failure to note it is logged and counted."""


class Log(Protocol):
    """What the operator watches: log lines and metrics. No verb ever raises, and none is ever given a secret."""

    def start_request(self, *, request_id: str) -> None:
        """Forget the request before; this id stands on all that follows."""

    def set_lineage(self, *, lineage: LineageId) -> None:
        """Put the lineage on all that follows in this request; the first one named stays."""

    def record(self, event: str, /, **facts: str | int) -> None:
        """Note that something happened, by its name in the glossary's words."""


class Counters(Protocol):
    """Counters of a time window. If they are lost, they begin at zero."""

    def count(self, name: str, *, limit: int, window_s: int, now: int) -> Done | Refused:
        """Count one more in this window of a name, unless the limit is reached."""
