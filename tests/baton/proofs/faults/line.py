"""The connection between the stores and AWS: it records the requests, and fails on command.

Faults strike below Baton's code: retries, error translation and answer checks are part of the test. `Line` does not
depend on a transport. `transports.py` connects each transport to it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

CHECKSUM = "x-amz-crc32"


@dataclass(frozen=True)
class Sending:
    """One request on the connection: ``dynamodb`` or ``kms``, the operation, and the parameters."""

    service: str
    operation: str
    asked: dict[str, Any]

    @property
    def name(self) -> str:
        """Name this call: the operation and its tables."""
        parts = [write for one in self.asked.get("TransactItems", ()) for write in one.values()] or [self.asked]
        tables = [part["TableName"].rpartition("-")[2] for part in parts if "TableName" in part]
        return f"{self.operation} {'+'.join(tables) or self.service}"

    @property
    def writes(self) -> bool:
        """Return whether the request may write to a table."""
        return self.service == "dynamodb" and self.operation != "GetItem"


@dataclass(frozen=True)
class Reply:
    """One answer on the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        """Parse the body."""
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed

    def saying(self, body: bytes) -> "Reply":
        """Return another answer with a valid checksum for its body."""
        checked = {CHECKSUM: str(crc32(body))} if CHECKSUM in self.headers else {}
        return replace(self, headers=self.headers | checked, body=body)

    def with_members(self, members: object) -> "Reply":
        """Return an answer with other members."""
        return self.saying(json.dumps(members).encode())


class Lost(Exception):
    """The connection broke. ``reply`` is the part of the answer that arrived, if any."""

    def __init__(self, reply: Reply | None = None) -> None:
        """Store the partial answer."""
        super().__init__()
        self.reply = reply


class TimedOut(Exception):
    """The request timed out: ``reply`` arrives after the time-out."""

    def __init__(self, reply: Reply) -> None:
        """Store the late answer."""
        super().__init__()
        self.reply = reply


_ITEMS = ("Item", "Attributes")

Deliver = Callable[[], Reply]
Strike = Callable[[Sending, Deliver], Reply]


@dataclass(frozen=True)
class Call:
    """One recorded call of the stores: the request and the answer."""

    sending: Sending
    reply: Reply


@dataclass(frozen=True)
class Fault:
    """A way for a call to fail. ``strike`` replaces its delivery. With ``once``, a retry succeeds."""

    name: str
    strike: Strike
    strikes: Callable[[Call], bool] = lambda _: True
    once: bool = False


@dataclass
class Line:
    """Carries requests. An immediate retry by the transport or the stores counts as the same call."""

    calls: list[Call] = field(default_factory=list)
    struck: int = 0
    resting: bool = False
    _at: int | None = None
    _fault: Fault | None = None
    _last: Sending | None = None
    _index: int = -1

    def record(self) -> None:
        """Start a new recording without faults."""
        self.calls, self.struck, self.resting = [], 0, False
        self._at, self._fault, self._last, self._index = None, None, None, -1

    def fail(self, fault: Fault, *, at: int) -> None:
        """Start a new recording, and let the call with this number fail until ``repair``."""
        self.record()
        self._at, self._fault = at, fault

    def repair(self) -> None:
        """End the fault."""
        self._fault = None

    def rest(self) -> None:
        """From now on, carry all requests without recording them."""
        self.resting = True

    def carry(self, sending: Sending, deliver: Deliver) -> Reply:
        """Carry a request, or fail."""
        if self.resting:
            return deliver()
        if sending != self._last:
            self._index += 1
        self._last = sending
        if self._fault is not None and self._index == self._at and not (self._fault.once and self.struck):
            self.struck += 1
            return self._fault.strike(sending, deliver)
        reply = deliver()
        if self._index == len(self.calls):
            self.calls.append(Call(sending, reply))
        return reply


# --- Kinds of faults -------------------------------------------------------------------------------------------


def request_lost(_: Sending, deliver: Deliver) -> Reply:
    """Lose the request: it has no effect."""
    raise Lost


def answer_lost(_: Sending, deliver: Deliver) -> Reply:
    """Lose the answer: the request has its effect, but the sender gets no answer."""
    deliver()
    raise Lost


def torn(_: Sending, deliver: Deliver) -> Reply:
    """Lose the last byte of the answer."""
    raise Lost(deliver())


def timed_out(_: Sending, deliver: Deliver) -> Reply:
    """Answer after the time-out."""
    raise TimedOut(deliver())


def throttled(sending: Sending, _: Deliver) -> Reply:
    """Answer with a throttling error."""
    if sending.operation == "TransactWriteItems":
        return _cancelled(sending, "ThrottlingError")
    return _refused(
        400, "ThrottlingException" if sending.service == "kms" else "ProvisionedThroughputExceededException"
    )


def conflicted(sending: Sending, _: Deliver) -> Reply:
    """Answer with a transaction conflict."""
    if sending.operation == "TransactWriteItems":
        return _cancelled(sending, "TransactionConflict")
    return _refused(400, "TransactionConflictException")


def failing(sending: Sending, _: Deliver) -> Reply:
    """Answer with an internal error of the service."""
    return _refused(500, "KMSInternalException" if sending.service == "kms" else "InternalServerError")


def overloaded(_: Sending, deliver: Deliver) -> Reply:
    """Answer with an error of the load balancer, which is not JSON."""
    del deliver
    return Reply(503, {"Content-Type": "text/html"}, b"<html><body>503 Service Unavailable</body></html>")


def denied(_: Sending, deliver: Deliver) -> Reply:
    """Answer "access denied": a wrong configuration is a server error too."""
    del deliver
    return _refused(400, "AccessDeniedException")


def garbled(_: Sending, deliver: Deliver) -> Reply:
    """Cut the answer in half."""
    reply = deliver()
    return reply.saying(reply.body[: len(reply.body) // 2])


def corrupted(_: Sending, deliver: Deliver) -> Reply:
    """Answer that there is no item, with the checksum of the true answer."""
    reply = deliver()
    left = {name: value for name, value in reply.members.items() if name not in _ITEMS}
    return replace(reply, body=json.dumps(left).encode())


def without_reasons(_: Sending, deliver: Deliver) -> Reply:
    """Cancel a transaction without reasons."""
    reply = deliver()
    return reply.with_members({name: value for name, value in reply.members.items() if name != "CancellationReasons"})


def short_of_reasons(_: Sending, deliver: Deliver) -> Reply:
    """Cancel a transaction with too few reasons."""
    reply = deliver()
    return reply.with_members({**reply.members, "CancellationReasons": reply.members["CancellationReasons"][:-1]})


def emptied(_: Sending, deliver: Deliver) -> Reply:
    """Return an item without attributes."""
    return _with_items(deliver(), lambda _: {})


def keyed(_: Sending, deliver: Deliver) -> Reply:
    """Return an item that has only its key."""
    return _with_items(deliver(), lambda item: {name: value for name, value in item.items() if name in {"pk", "sk"}})


def twisted(_: Sending, deliver: Deliver) -> Reply:
    """Return an item whose attributes all have another type."""
    return _with_items(deliver(), _twisted)


def _twisted(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name == "pk" else {"BOOL": True} for name, value in item.items()}


def undecodable(_: Sending, deliver: Deliver) -> Reply:
    """Return an item with invalid base64 and invalid numbers."""
    return _with_items(deliver(), _undecodable)


def _undecodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "A" if name == "B" else "many" if name == "N" else _undecodable(inner)
            for name, inner in value.items()
        }
    return [_undecodable(inner) for inner in value] if isinstance(value, list) else value


def wrong_key(_: Sending, deliver: Deliver) -> Reply:
    """Decrypt another data key than the requested data key."""
    reply = deliver()
    return reply.with_members({**reply.members, "Plaintext": "A" * 43 + "="})


def no_key(_: Sending, deliver: Deliver) -> Reply:
    """Return no data key."""
    reply = deliver()
    return reply.with_members({**reply.members, "Plaintext": ""})


def _refused(status: int, code: str, **members: object) -> Reply:
    said = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "planted", **members}
    return Reply(status, {"Content-Type": "application/x-amz-json-1.0", CHECKSUM: ""}, b"").with_members(said)


def _cancelled(sending: Sending, code: str) -> Reply:
    """Cancel a transaction because of its first write."""
    reasons = [{"Code": "None"} for _ in sending.asked["TransactItems"]]
    reasons[0] = {"Code": code}
    return _refused(400, "TransactionCanceledException", CancellationReasons=reasons)


def _with_items(reply: Reply, change: Callable[[dict[str, Any]], object]) -> Reply:
    members = reply.members
    for holder in (members, *members.get("CancellationReasons", ())):
        for name in _ITEMS:
            if name in holder:
                holder[name] = change(holder[name])
    return reply.with_members(members)


def _brings_items(call: Call) -> bool:
    members = call.reply.members
    return any(name in holder for holder in (members, *members.get("CancellationReasons", ())) for name in _ITEMS)


def _writes(call: Call) -> bool:
    return call.sending.writes


def _is_cancelled(call: Call) -> bool:
    return "CancellationReasons" in call.reply.members


def _opens_a_key(call: Call) -> bool:
    return call.sending.operation == "Decrypt"


KINDS: dict[Strike, Callable[[Call], bool]] = {
    request_lost: lambda _: True,
    answer_lost: lambda _: True,
    torn: lambda _: True,
    timed_out: lambda _: True,
    throttled: lambda _: True,
    conflicted: _writes,
    failing: lambda _: True,
    overloaded: lambda _: True,
    denied: lambda _: True,
    garbled: lambda _: True,
    corrupted: _brings_items,
    without_reasons: _is_cancelled,
    short_of_reasons: _is_cancelled,
    emptied: _brings_items,
    keyed: _brings_items,
    twisted: _brings_items,
    undecodable: _brings_items,
    wrong_key: _opens_a_key,
    no_key: _opens_a_key,
}
"""Every kind of fault, with the calls that can have it: only an answer with an item can have a malformed item."""

FAULTS = [
    Fault(f"{strike.__name__} {'once' if once else 'for good'}", strike, strikes, once)
    for strike, strikes in KINDS.items()
    for once in (True, False)
]
"""Each fault once, so that a retry succeeds, and permanently, until the request is answered."""
