"""The last requests of the development server, in full, without their secrets."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from chalicelib.baton.testing.gateway import GatewayResponse
from tools.dev.api import units
from tools.dev.api.events import Events
from tools.dev.api.findings import findings
from tools.dev.api.history import History, Noted
from tools.dev.api.masks import BODY_BYTES_MAX, Body, masked_body, masked_headers, masked_target
from tools.dev.api.seen import EngineCall, Seen

RECORDS_KEPT: Final = 2_000
KIND: Final = "request"
_NOTHING: Final = Noted()


class Sent(Struct, frozen=True, gc=False):
    """A request as it arrived, unmasked. ``target``: path and query. ``source``: the IP address of the sender."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source: str


class Facts(Struct, frozen=True, gc=False):
    """What happened in a request, before any masking. ``response`` is ``None`` if a fault lost the request."""

    sent: Sent
    response: GatewayResponse | None
    seen: Seen
    request_id: str
    faults: str
    ms: float
    at: float
    noted: Noted


class Shown(Struct, frozen=True):
    """A request without its secrets.

    The development server publishes an event for each request. The event has ``members``, but not ``details``.
    ``Record.full`` returns both.
    """

    members: dict[str, Any]
    email: str | None
    details: dict[str, Any]


class Record(Struct, gc=False):
    """One request. Its secrets are masked when the record is first read. Then the unmasked request is deleted.

    The garbage collector does not track records, so a record must be in no cycle of references.
    """

    facts: Facts | None
    authorities: Callable[[], frozenset[str]]
    worked: Shown | None = None
    kept: tuple[int, float] = (0, 0)
    """The number and the time of its event."""

    @property
    def shown(self) -> Shown:
        """Return the masked request. Two threads may compute it at the same time: the result is the same."""
        facts = self.facts
        if facts is not None:
            self.worked = worked_out(facts, self.authorities)
            self.facts = None
        assert self.worked is not None
        return self.worked

    def members(self) -> dict[str, Any]:
        """Return the members of the event of the request."""
        return self.shown.members

    @property
    def summary(self) -> dict[str, Any]:
        """Return the event of the request: its number, time, kind and members."""
        n, at = self.kept
        return {"n": n, "at": round(at, 3), "kind": KIND, **self.members()}

    def full(self) -> dict[str, Any]:
        """Return the event and the details of the request."""
        return {**self.summary, **self.shown.details}


def worked_out(facts: Facts, authorities: Callable[[], frozenset[str]]) -> Shown:
    """Return a request and its answer without their secrets. ``authorities`` returns the hosts that Baton accepts."""
    sent, response, seen = facts.sent, facts.response, facts.seen
    request_body = masked_body(sent.body, _field(sent.headers, "content-type"))
    answer_body = (
        masked_body(response.body, response.header("content-type") or "") if response else Body("", 0, cut=False)
    )
    answer = answer_body.members
    account, lineage = _who(seen, answer)
    status = None if response is None or seen.closed else response.status
    read, write, counted = _total(seen.calls)
    signature = seen.signature
    members = {
        "request_id": facts.request_id,
        "method": sent.method,
        "path": masked_target(sent.target),
        "status": status,
        "ms": round(facts.ms, 1),
        "phone": seen.phone,
        "account": account,
        "lineage": lineage,
        "code": _code(answer),
        "units": {"read": read, "write": write, "counted": counted},
        "calls": len(seen.calls),
        "fault": facts.faults or None,
        "exchange": asdict(seen.exchange) if seen.exchange else None,
    }
    details = {
        "source": sent.source,
        "request": {"headers": masked_headers(sent.headers), **request_body.shown()},
        "response": {"headers": masked_headers(response.headers), **answer_body.shown()} if response else None,
        "doctor": findings(
            sent.headers,
            sent.body,
            answer=answer,
            status=status,
            signature=signature,
            now=facts.at,
            authorities=authorities,
        ),
        "retry_of": facts.noted.retry_of,
        "reuse": facts.noted.reuse,
        "signature": signature.shown() if signature else None,
        "engine": [shown_call(call) for call in seen.calls],
    }
    return Shown(members, request_body.email, details)


class Records:
    """The last 2,000 requests."""

    def __init__(self, events: Events, history: History, authorities: Callable[[], frozenset[str]]) -> None:
        """Publish each request as an event, and add its exchange to the history."""
        self._events, self._history, self._authorities = events, history, authorities
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._lock = threading.Lock()

    def add(
        self, sent: Sent, response: GatewayResponse | None, seen: Seen, *, faults: str, ms: float, at: float
    ) -> None:
        """Keep a request. ``response`` is ``None`` if a fault lost the request before it had an effect."""
        request_id = _id_of(response) or seen.request_id or secrets.token_hex(8)
        noted = _NOTHING
        if seen.exchange is not None and seen.token is not None:
            noted = self._history.note(
                seen.token.lineage, seen.exchange, at=round(at, 3), phone=seen.phone, request_id=request_id
            )
        record = Record(Facts(sent, response, seen, request_id, faults, ms, at, noted), self._authorities)
        if len(sent.body) + (len(response.body) if response else 0) > BODY_BYTES_MAX:
            # Mask the request now, not when the record is read. Masking cuts a large body, so its rest uses no memory.
            record.members()
        kept = self._events.publish_later(KIND, record)
        record.kept = (kept.n, kept.at)
        with self._lock:
            self._records[request_id] = record
            while len(self._records) > RECORDS_KEPT:
                self._records.popitem(last=False)

    def get(self, request_id: str) -> dict[str, Any] | None:
        """Return a request with its details, or ``None`` if no kept request has this id."""
        with self._lock:
            record = self._records.get(request_id)
        return record.full() if record else None

    def found(self, text: str, limit: int) -> list[dict[str, Any]]:
        """Return up to ``limit`` requests that match ``text``, the newest first. An empty text matches every request.

        A request matches if its id, account, e-mail address, login, phone, path or error code contains the text.
        """
        with self._lock:
            records = list(reversed(self._records.values()))
        wanted = text.lower()
        matching: list[dict[str, Any]] = []
        for record in records:
            if len(matching) >= limit:
                break
            if not wanted or any(wanted in name.lower() for name in _names(record)):
                matching.append(record.summary)
        return matching

    def clear(self) -> None:
        """Forget the requests."""
        with self._lock:
            self._records.clear()


def _id_of(response: GatewayResponse | None) -> str | None:
    if response is None:
        return None
    for name, value in response.headers:
        if name == "Baton-Request-Id":  # as Baton writes it
            return value
    return response.header("baton-request-id")


def _names(record: Record) -> Iterable[str]:
    members = record.members()
    names = (members[name] for name in ("request_id", "account", "lineage", "phone", "path", "code"))
    return (str(name) for name in (*names, record.shown.email) if name)


def _who(seen: Seen, answer: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the account and the login of a request. They are in the token of the request.

    Without a token, the account is the account that Baton read or registered first, and the login is in the answer.
    """
    if seen.token is not None:
        return seen.token.account, seen.token.lineage
    lineage = answer.get("device_id")
    return seen.account, lineage if isinstance(lineage, str) else None


def _code(answer: Mapping[str, Any]) -> str | None:
    code = answer.get("code")
    return code if isinstance(code, str) and "request_id" in answer else None


def _field(headers: Sequence[tuple[str, str]], wanted: str) -> str:
    return next((value for name, value in headers if name.lower() == wanted), "")


def _units(call: EngineCall) -> tuple[float, float]:
    if call.service != "dynamodb":
        return 0, 0
    if call.counted is not None:
        return (call.counted, 0) if call.operation in units.READS else (0, call.counted)
    return units.computed(call.operation, call.sizes)


def _total(calls: Sequence[EngineCall]) -> tuple[float, float, bool]:
    each = [_units(call) for call in calls]
    counted = bool(calls) and all(call.counted is not None for call in calls)
    return sum(read for read, _ in each), sum(write for _, write in each), counted


def shown_call(call: EngineCall) -> dict[str, Any]:
    """Return an AWS call as the development API shows it, with its capacity units."""
    read, write = _units(call)
    known = [size for size in call.sizes if size is not None]
    return {
        "service": call.service,
        "operation": "".join(word.capitalize() for word in call.operation.split("_")),
        "table": call.table,
        "condition": call.condition or None,
        "verdict": call.verdict,
        "units": {"read": read, "write": write, "counted": call.counted is not None},
        "bytes": sum(known) if known else None,
        "ms": call.ms,
    }
