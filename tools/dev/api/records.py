"""The last requests of the development server, in full, without their secrets."""

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
from tools.dev.api.masks import Body, masked_body, masked_headers, masked_target
from tools.dev.api.seen import EngineCall, Seen

RECORDS_KEPT: Final = 2_000


class Sent(Struct, frozen=True):
    """A request as it arrived."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source: str


class Record(Struct, frozen=True):
    """One request. ``summary`` is its event. The other members are only in the full answer."""

    summary: dict[str, Any]
    email: str | None
    seen: Seen
    details: dict[str, Any]

    def full(self) -> dict[str, Any]:
        """Return the request in full."""
        signature = self.seen.signature
        return {
            **self.summary,
            **self.details,
            "signature": asdict(signature) if signature else None,
            "engine": [shown_call(call) for call in self.seen.calls],
        }


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
        """Keep a request. ``response`` is ``None`` if a fault closed the connection without an answer."""
        request_body = masked_body(sent.body, _field(sent.headers, "content-type"))
        answer_body = (
            masked_body(response.body, response.header("content-type") or "") if response else Body("", 0, cut=False)
        )
        answer = answer_body.members
        request_id = (response.header("baton-request-id") if response else None) or seen.request_id
        account, lineage = _who(seen, answer)
        noted = Noted()
        if seen.exchange is not None and lineage is not None:
            noted = self._history.note(lineage, seen.exchange, at=round(at, 3), phone=seen.phone, request_id=request_id)
        status = None if response is None or seen.closed else response.status
        read, write, counted = _total(seen.calls)
        summary = self._events.publish(
            "request",
            request_id=request_id,
            method=sent.method,
            path=masked_target(sent.target),
            status=status,
            ms=round(ms, 1),
            phone=seen.phone,
            account=account,
            lineage=lineage,
            code=_code(answer),
            units={"read": read, "write": write, "counted": counted},
            calls=len(seen.calls),
            fault=faults or None,
            exchange=asdict(seen.exchange) if seen.exchange else None,
        )
        details = {
            "source": sent.source,
            "request": {"headers": masked_headers(sent.headers), **request_body.shown()},
            "response": {"headers": masked_headers(response.headers), **answer_body.shown()} if response else None,
            "doctor": findings(
                sent.headers,
                sent.body,
                answer=answer,
                status=status,
                signature=seen.signature,
                now=at,
                authorities=self._authorities,
            ),
            "retry_of": noted.retry_of,
            "reuse": noted.reuse,
        }
        with self._lock:
            self._records[request_id] = Record(summary, request_body.email, seen, details)
            while len(self._records) > RECORDS_KEPT:
                self._records.popitem(last=False)

    def get(self, request_id: str) -> dict[str, Any] | None:
        """Return a request in full."""
        with self._lock:
            record = self._records.get(request_id)
        return record.full() if record else None

    def found(self, text: str, limit: int) -> list[dict[str, Any]]:
        """Return the requests that have a text in one of their names, the newest first."""
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


def _names(record: Record) -> Iterable[str]:
    summary = record.summary
    names = (summary[name] for name in ("request_id", "account", "lineage", "phone", "path", "code"))
    return (str(name) for name in (*names, record.email) if name)


def _who(seen: Seen, answer: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the account and the login of a request: those of its token, or else those of its answer."""
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
    """Return a call for an answer of the development API."""
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
