"""API Gateway (REST, proxy v1) without a network: it changes a request and its answer as AWS does.

Like AWS, it does the following:

- The stage is part of ``requestContext.path``. The path stays encoded, and the query is decoded once.
- If a field has several lines, ``headers`` has the last line, and ``multiValueHeaders`` has all of them.
- ``WWW-Authenticate`` and ``Date`` are renamed. The answer to ``HEAD`` has no body.
- An unknown route gets the gateway's own answer, in the form that a deployment of Baton configures.

A Lambda environment takes one request at a time, and Chalice relies on this rule. So this gateway has a few
environments, each with its own copy of the app, and sends each request to a free environment.
"""

import base64
import importlib.util
import json
import os
import queue
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from chalicelib.baton.http.answer import readable_by
from chalicelib.baton.testing.clock import Clock, DevelopmentClock

if TYPE_CHECKING:
    from chalicelib.baton.attestation.ports import Anchors
    from chalicelib.baton.environment import Effects

ROOT = Path(__file__).parents[3]
APP = ROOT / "app.py"
PAYLOAD_BYTES_MAX = 10 * 1024 * 1024
HEADER_BYTES_MAX = 10 * 1024
_RENAMED = {"www-authenticate": "x-amzn-Remapped-WWW-Authenticate", "date": "x-amzn-Remapped-Date"}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "expect"}


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """An answer as the client receives it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of the first header field with this name. The case of ``name`` does not matter."""
        return next((value for given, value in self.headers if given.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """The context object that Lambda passes to a function."""

    aws_request_id: str
    function_name: str = "baton-dev"
    memory_limit_in_mb: int = 1024

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that is left for the request. It is always 15 seconds."""
        return 15_000


def load_environment(
    clock: DevelopmentClock | None = None, app: Path | None = None, *, anchors: "Anchors | None" = None
) -> ModuleType:
    """Import ``app`` (default: ``app.py``) as a new Lambda environment does.

    The app uses this ``clock``, and trusts the certificates ``anchors`` for attestations. Without a ``clock``, the
    ``anchors`` are ignored.
    """
    from chalicelib.baton.environment import Effects  # noqa: PLC0415 - `make dev` reloads it

    if clock is None:
        return load_app(app or APP)
    return load_app(app or APP, Effects(lambda: int(clock.time()), secrets.token_bytes, anchors=anchors))


def load_app(path: Path, effects: "Effects | None" = None) -> ModuleType:
    """Import the file as a new module. Its ``Baton.from_environment`` uses ``effects``: clock, storage and others.

    The modules that the file imports are imported once in a process, so the environments share these modules.
    """
    from chalicelib.baton.environment import EFFECTS  # noqa: PLC0415 - `make dev` reloads it

    spec = importlib.util.spec_from_file_location(f"baton_environment_{secrets.token_hex(4)}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    token = EFFECTS.set(effects)
    sys.modules[module.__name__] = module  # where annotations of the file's classes are looked up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[module.__name__]
        EFFECTS.reset(token)
    return module


class Gateway:
    """One API with several Lambda environments."""

    def __init__(
        self,
        apps: Sequence[Any],
        *,
        stage: str = "api",
        clock: Clock | DevelopmentClock | None = None,
        free: "queue.Queue[Any] | None" = None,
        origins: Sequence[str] | None = None,
    ) -> None:
        """Serve ``apps``, the copies of one Chalice app, under ``stage``. ``clock`` is the clock of the apps.

        The requests go to the apps in turn. So a test fails if a route needs data that an earlier request left in the
        memory of another app. ``free`` is the queue of free apps, and can choose another order.

        Pages of ``origins`` (default: ``BATON_ORIGINS``) may read the gateway's own answers. The app itself
        decides which pages may read its answers.
        """
        self.stage = stage
        """The stage. Empty: a custom domain, whose paths have no stage."""
        self._prefix = f"/{stage}" if stage else ""
        given = os.environ.get("BATON_ORIGINS", "").split(",") if origins is None else origins
        self._origins = tuple(filter(None, map(str.strip, given)))
        self._clock = clock or DevelopmentClock()
        self._free: queue.Queue[Any] = queue.Queue() if free is None else free
        self._open(apps)

    def _open(self, apps: Sequence[Any]) -> None:
        self._many = len(apps)
        self._binary_types = {binary_type.split(";")[0] for binary_type in apps[0].api.binary_types}
        self._routes = {template: set(methods) for template, methods in apps[0].routes.items()}
        for app in apps:
            self._free.put(app)

    def replace(self, load: Callable[[], Sequence[Any]]) -> None:
        """Replace the apps with the apps that ``load`` returns. If ``load`` raises, the old apps stay.

        Running requests end first, and new requests wait.
        """
        apps = [self._free.get() for _ in range(self._many)]
        try:
            apps = list(load())
        finally:
            self._open(apps)

    def call(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        source: str = "127.0.0.1",
    ) -> GatewayResponse:
        """Send a request and return its answer. ``target`` is the target of the request line, with the stage."""
        given = [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
        origin = next((value for name, value in given if name.lower() == "origin"), None)
        if len(body) > PAYLOAD_BYTES_MAX:
            return self._own(413, "too_large", "invalid_request", "The payload is over 10 MB.", origin)
        if sum(len(name) + len(value) for name, value in given) > HEADER_BYTES_MAX:
            return self._own(431, "too_large", "invalid_request", "The header fields are over 10 KB.", origin)
        response = self._carried(method, target, given, body, source)
        return _without_body(response) if method == "HEAD" else response

    def _carried(
        self, method: str, target: str, given: Sequence[tuple[str, str]], body: bytes, source: str
    ) -> GatewayResponse:
        origin = next((value for name, value in given if name.lower() == "origin"), None)
        url = urlsplit(target)
        path = url.path.removeprefix(self._prefix) if url.path.startswith(f"{self._prefix}/") else ""
        template, parameters = self._match(path)
        if template is None or method not in self._routes[template]:
            return self._own(404, "not_found", "not_found", self._no_route(method, url.path, template), origin)
        event = self._event(method, template, parameters, url.path, url.query, given, body, source)
        # Through JSON, as in Lambda: the app gets only values that JSON can represent.
        event = json.loads(json.dumps(event))
        app = self._free.get()
        try:
            answer = json.loads(json.dumps(app(event, LambdaContext(event["requestContext"]["requestId"]))))
        finally:
            self._free.put(app)
        return self._answer(answer)

    def _no_route(self, method: str, path: str, template: str | None) -> str:
        """Describe the missing route. AWS gives fewer details, and answers 403 if no gateway response is configured."""
        said = f"There is no route {method} {path[:200]} here."
        if not path.startswith(f"{self._prefix}/"):
            return f"{said} Routes begin with {self._prefix}/."
        return f"{said} It takes {', '.join(sorted(self._routes[template]))}." if template else said

    def _match(self, path: str) -> tuple[str | None, dict[str, str]]:
        """Find the route of a path. A fixed segment has precedence over a parameter."""
        segments = path.split("/")
        best: tuple[int, str, dict[str, str]] | None = None
        for template in self._routes:
            wanted = template.split("/")
            if len(wanted) != len(segments):
                continue
            parameters = {
                name[1:-1]: segment for name, segment in zip(wanted, segments, strict=True) if name.startswith("{")
            }
            fixed = [(name, segment) for name, segment in zip(wanted, segments, strict=True) if name[:1] != "{"]
            if all(name == segment for name, segment in fixed) and all(parameters.values()):
                found = (len(parameters), template, parameters)
                best = found if best is None or found[0] < best[0] else best
        return (best[1], best[2]) if best else (None, {})

    def _event(
        self,
        method: str,
        template: str,
        parameters: Mapping[str, str],
        path: str,
        query: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        source: str,
    ) -> dict[str, Any]:
        multi_headers: dict[str, list[str]] = {}
        for name, value in headers:
            multi_headers.setdefault(name, []).append(value)
        multi_query: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
            multi_query.setdefault(name, []).append(value)
        host = next((value for name, value in headers if name.lower() == "host"), "")
        media_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        binary = media_type.split(";")[0].strip().lower() in self._binary_types
        return {
            "resource": template,
            "path": path.removeprefix(self._prefix),
            "httpMethod": method,
            "headers": {name: values[-1] for name, values in multi_headers.items()} or None,
            "multiValueHeaders": multi_headers or None,
            "queryStringParameters": {name: values[-1] for name, values in multi_query.items()} or None,
            "multiValueQueryStringParameters": multi_query or None,
            "pathParameters": dict(parameters) or None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": template,
                "httpMethod": method,
                "path": path,
                "stage": self.stage,
                "requestId": secrets.token_hex(8),
                "protocol": "HTTP/1.1",
                "domainName": host,
                "identity": {"sourceIp": source, "userAgent": None},
            },
            "body": (base64.b64encode(body).decode() if binary else body.decode(errors="replace")) if body else None,
            "isBase64Encoded": bool(binary and body),
        }

    def _answer(self, answer: Mapping[str, Any]) -> GatewayResponse:
        headers = [(name, value) for name, value in (answer.get("headers") or {}).items()]
        headers += [
            (name, value) for name, values in (answer.get("multiValueHeaders") or {}).items() for value in values
        ]
        text = answer.get("body") or ""
        body = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        renamed = tuple((_RENAMED.get(name.lower(), name), str(value)) for name, value in headers)
        return GatewayResponse(answer["statusCode"], renamed, body)

    def _own(self, status: int, code: str, error: str, detail: str, origin: str | None = None) -> GatewayResponse:
        """Answer without an app, as the gateway responses of a deployment do."""
        request_id, now = secrets.token_hex(8), int(self._clock.time())
        members = {
            "type": f"urn:baton:error:{code}",
            "title": code.replace("_", " ").capitalize(),
            "status": status,
            "detail": detail,
            "error": error,
            "code": code,
            "action": "fix_request",
            "retryable": False,
            "request_id": request_id,
            "server_time": now,
        }
        headers = (
            ("Content-Type", "application/problem+json"),
            ("Cache-Control", "no-store"),
            ("Baton-Time", str(now)),
            ("Baton-Request-Id", request_id),
            *readable_by(origin, self._origins).items(),
        )
        return GatewayResponse(status, headers, _json(members))


def _without_body(response: GatewayResponse) -> GatewayResponse:
    """Answer a HEAD request as GET, but without the body (RFC 9110 sections 8.6 and 9.3.2)."""
    length = ("Content-Length", str(len(response.body)))
    return GatewayResponse(response.status, (*response.headers, length), b"")


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()
