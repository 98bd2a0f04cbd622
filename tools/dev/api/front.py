"""Send the requests of apps through the gateway: observed, recorded, and with the planned faults."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

from chalicelib.baton.http.answer import readable_by
from chalicelib.baton.testing.clock import DevelopmentClock
from chalicelib.baton.testing.gateway import Gateway, GatewayResponse
from tools.dev.api.faults import Faults
from tools.dev.api.records import Records, Sent
from tools.dev.api.seen import CURRENT, Seen

PHONE_FIELD: Final = "baton-phone"
PHONE_CHARACTERS_MAX: Final = 64
_EFFECTLESS: Final = frozenset({"request_lost", "throttled", "captive_portal"})

GATEWAY_TIMEOUT: Final = GatewayResponse(
    504, (("Content-Type", "application/json"),), b'{"message": "Endpoint request timed out"}'
)
"""API Gateway's own answer at its time-out. A deployment of Baton answers 503 earlier. A CDN may answer 504."""

CAPTIVE_PORTAL: Final = GatewayResponse(
    200,
    (("Content-Type", "text/html; charset=utf-8"),),
    b"<!doctype html><title>Welcome</title><p>Accept the terms to use this network.</p>",
)

Account = Callable[[Sequence[tuple[str, str]], bytes], set[str]]
"""Return the id and the e-mail address of the account of a request, in lower case, as far as the request has them."""


class Front:
    """Sends each request to the gateway, injects the planned faults, and keeps a record of the request."""

    def __init__(
        self, gateway: Gateway, clock: DevelopmentClock, faults: Faults, records: Records, account_of: Account
    ) -> None:
        """Use the gateway. Faults that name an account need ``account_of``."""
        self._gateway, self._clock, self._faults = gateway, clock, faults
        self._records, self._account_of = records, account_of

    def call(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes, *, source: str
    ) -> GatewayResponse | None:
        """Return the answer. ``None``: a fault closes the connection without an answer."""
        phone = _phone(headers)
        seen, names = Seen(phone), []
        if self._faults.planned:  # rarely
            seen.faults = self._faults.meet(
                method=method,
                route=lambda: self.route(target),
                phone=phone,
                account=lambda: self._account_of(headers, body),
            )
            names = [fault.name for fault in seen.faults]
        at, began = self._clock.time(), time.perf_counter()
        response = self._without_effect(names, seen, headers) if names else None
        if response is None and not seen.closed:
            token = CURRENT.set(seen)
            try:
                response = self._gateway.call(method, target, headers, body, source=source)
            finally:
                CURRENT.reset(token)
            if names:
                response = self._changed(names, seen, response)
            if method == "OPTIONS":
                response = _with_phone(response)
        ms = (time.perf_counter() - began) * 1000
        sent = Sent(method, target, headers, body, source)
        self._records.add(sent, response, seen, faults=", ".join(names), ms=ms, at=at)
        return None if seen.closed else response

    def route(self, target: str) -> str | None:
        """Return the template of the route of a request."""
        path = urlsplit(target).path
        return self._gateway._match(path.removeprefix(f"/{self._gateway.stage}"))[0]

    def routes(self) -> frozenset[str]:
        """Return every route of the gateway, such as ``POST /login``, but none with the method HEAD or OPTIONS."""
        return frozenset(
            f"{method} {template}"
            for template, methods in self._gateway._routes.items()
            for method in methods
            if method not in {"HEAD", "OPTIONS"}
        )

    def _without_effect(
        self, names: Sequence[str], seen: Seen, headers: Sequence[tuple[str, str]]
    ) -> GatewayResponse | None:
        for name in names:
            if name not in _EFFECTLESS:
                continue
            if name == "request_lost":
                seen.closed = True
                return None
            seen.request_id = secrets.token_hex(8)
            return CAPTIVE_PORTAL if name == "captive_portal" else self._throttled(seen.request_id, headers)
        return None

    def _throttled(self, request_id: str, headers: Sequence[tuple[str, str]]) -> GatewayResponse:
        """Return the answer of a deployment above its rate (``THROTTLED`` in infra/edge.yaml)."""
        members = {
            "type": "urn:baton:error:too_many_requests",
            "title": "Too many requests",
            "status": 429,
            "detail": "Too many requests at this moment.",
            "error": "too_many_requests",
            "code": "too_many_requests",
            "action": "retry",
            "retryable": True,
            "request_id": request_id,
        }
        origin = next((value for name, value in headers if name.lower() == "origin"), None)
        fields = (
            ("Content-Type", "application/problem+json"),
            ("Cache-Control", "no-store"),
            ("Baton-Request-Id", request_id),
            ("Retry-After", "2"),
            *readable_by(origin, self._gateway._origins).items(),
        )
        return GatewayResponse(429, fields, json.dumps(members).encode())

    def _changed(self, names: Sequence[str], seen: Seen, response: GatewayResponse) -> GatewayResponse:
        slow = seen.fault("slow")
        if slow is not None:
            time.sleep(slow.ms / 1000)
        if seen.skew_s:
            response = told_at(response, seen.skew_s)
        if "answer_lost" in names:
            seen.closed = True
        elif "gateway_timeout" in names:
            seen.request_id = response.header("baton-request-id") or ""
            response = GATEWAY_TIMEOUT
        return response


def _phone(headers: Sequence[tuple[str, str]]) -> str | None:
    for name, value in headers:
        if len(name) == len(PHONE_FIELD) and name.lower() == PHONE_FIELD:
            return value[:PHONE_CHARACTERS_MAX]
    return None


def _with_phone(response: GatewayResponse) -> GatewayResponse:
    """Allow pages to send ``Baton-Phone`` too: a browser sends a preflight for this header."""
    headers = tuple(
        (name, f"{value}, Baton-Phone" if name.lower() == "access-control-allow-headers" else value)
        for name, value in response.headers
    )
    return GatewayResponse(response.status, headers, response.body)


def told_at(response: GatewayResponse, skew_s: int) -> GatewayResponse:
    """Return an answer as a server with a wrong clock sends it: with another ``Baton-Time`` and ``server_time``."""
    headers = tuple(
        (name, str(int(value) + skew_s) if name.lower() == "baton-time" else value) for name, value in response.headers
    )
    body = response.body
    if b'"server_time"' in body and "json" in (response.header("content-type") or ""):
        members = json.loads(body)
        if isinstance(members, dict) and type(members.get("server_time")) is int:
            body = json.dumps({**members, "server_time": members["server_time"] + skew_s}).encode()
            headers = tuple((name, value) for name, value in headers if name.lower() != "content-length")
    return GatewayResponse(response.status, headers, body)


def tokens_in(headers: Sequence[tuple[str, str]], body: bytes) -> tuple[list[str], str]:
    """Return the possible tokens in a request, and the e-mail address in its JSON body.

    The tokens are not verified. They come from ``Authorization``, Baton's cookies and a form body.
    """
    tokens: list[str] = []
    for name, value in headers:
        if name.lower() == "authorization":
            tokens.append(value.partition(" ")[2].strip())
        elif name.lower() == "cookie":
            tokens += [
                one.partition("=")[2].strip() for one in value.split(";") if one.strip().startswith("__Host-baton")
            ]
    text = body.decode(errors="replace")
    tokens += [value for name in ("refresh_token", "token") for value in parse_qs(text).get(name, [])]
    try:
        members = json.loads(body or b"{}")
    except ValueError:
        members = {}
    email = members.get("email") if isinstance(members, Mapping) else None
    return tokens, email if isinstance(email, str) else ""
