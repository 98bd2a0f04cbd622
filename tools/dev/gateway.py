"""The development gateway: what API Gateway (REST, proxy v1) does to a request, and to an answer.

Faithful where it matters to Baton: the stage is part of ``requestContext.path``; the path stays undecoded and the query
is decoded once; ``headers`` holds the last of several and ``multiValueHeaders`` all; ``WWW-Authenticate`` and
``Date`` come out renamed; an answer to ``HEAD`` loses its body; an unknown route is answered here, in the shape that
our deployment's gateway response has.

A Lambda environment takes one request at a time, and Chalice counts on it. So does this gateway: it owns a few
environments, each an ``app.py`` of its own, and hands every request to a free one.
"""

import base64
import importlib.util
import json
import os
import queue
import secrets
import socketserver
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chalicelib.baton.http.cors import readable_by
from tools.dev.addresses import THIS_MACHINE, is_this_machine

ROOT = Path(__file__).parents[2]
APP = ROOT / "app.py"
PAYLOAD_BYTES_MAX = 10 * 1024 * 1024
HEADER_BYTES_MAX = 10 * 1024
_RENAMED = {"www-authenticate": "x-amzn-Remapped-WWW-Authenticate", "date": "x-amzn-Remapped-Date"}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "expect"}
CLOCK_PATH = "/_dev/clock"
_SKIP_MAX_S = 400 * 24 * 60 * 60
"""The longest life of a login, and room to see its end."""


class DevelopmentClock:
    """The machine's clock, which a demo may move ahead, and back. Stands in for ``time`` in an environment."""

    def __init__(self) -> None:
        """Begin at the true time."""
        self.skipped_s = 0.0

    def time(self) -> float:
        """Tell the time."""
        return time.time() + self.skipped_s

    def skip(self, seconds: float) -> None:
        """Move ahead, or back again as far as the true time."""
        self.skipped_s = min(max(0.0, self.skipped_s + seconds), _SKIP_MAX_S)


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """An answer as the client sees it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Give the first header of a name."""
        return next((value for given, value in self.headers if given.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """What Lambda tells a function about its invocation."""

    aws_request_id: str
    function_name: str = "baton-dev"
    memory_limit_in_mb: int = 1024

    def get_remaining_time_in_millis(self) -> int:
        """Tell the time left, milliseconds."""
        return 15_000


def load_environment(clock: DevelopmentClock | None = None, app: Path | None = None) -> ModuleType:
    """Import ``app.py``, or another one, as a module of its own, as a fresh Lambda environment does."""
    spec = importlib.util.spec_from_file_location(f"baton_environment_{secrets.token_hex(4)}", app or APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    from chalicelib.baton.effects import Effects  # noqa: PLC0415 - `make dev` reloads it
    from chalicelib.baton.service import EFFECTS  # noqa: PLC0415 - the same

    effects = None if clock is None else Effects(lambda: int(clock.time()), secrets.token_bytes)
    token = EFFECTS.set(effects)
    try:
        spec.loader.exec_module(module)
    finally:
        EFFECTS.reset(token)
    return module


class Gateway:
    """One API in front of a few environments."""

    def __init__(
        self,
        apps: Sequence[Any],
        *,
        stage: str = "api",
        clock: DevelopmentClock | None = None,
        free: "queue.Queue[Any] | None" = None,
    ) -> None:
        """Serve Chalice ``apps`` that are alike, under a stage, by the clock they have.

        They take turns, so that none may count on what another one knows; ``free`` chooses otherwise. Pages of
        ``BATON_ORIGINS`` may read what the gateway answers itself, as they may read the application's answers.
        """
        self.stage = stage
        self._origins = tuple(filter(None, map(str.strip, os.environ.get("BATON_ORIGINS", "").split(","))))
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
        """Put the apps of ``load`` in the place of those there are; where it raises, these go on.

        No request is being answered meanwhile: those that are begun end first, and the others wait.
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
        """Carry a request through: ``target`` is the request line's, stage included."""
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
        prefix = f"/{self.stage}"
        path = url.path.removeprefix(prefix) if url.path.startswith(prefix + "/") else ""
        template, parameters = self._match(path)
        if template is None or method not in self._routes[template]:
            return self._own(404, "not_found", "not_found", self._no_route(method, url.path, template), origin)
        event = self._event(method, template, parameters, url.path, url.query, given, body, source)
        # Through JSON, as Lambda hands it over: nothing but what JSON carries arrives.
        event = json.loads(json.dumps(event))
        app = self._free.get()
        try:
            answer = json.loads(json.dumps(app(event, LambdaContext(event["requestContext"]["requestId"]))))
        finally:
            self._free.put(app)
        return self._answer(answer)

    def _no_route(self, method: str, path: str, template: str | None) -> str:
        """Say what is missing. A deployment says less, and answers 403 where no gateway response mends that."""
        said = f"There is no route {method} {path[:200]} here."
        if not path.startswith(f"/{self.stage}/"):
            return f"{said} Routes begin with /{self.stage}/."
        return f"{said} It takes {', '.join(sorted(self._routes[template]))}." if template else said

    def _match(self, path: str) -> tuple[str | None, dict[str, str]]:
        """Find the route of a path; a written segment goes before a parameter."""
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
            "path": path.removeprefix(f"/{self.stage}"),
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
        """Answer by ourselves, as the deployment's gateway responses do: no Lambda is called."""
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
    """Answer a HEAD request: the header fields of GET, and its length (RFC 9110 sections 8.6 and 9.3.2)."""
    length = ("Content-Length", str(len(response.body)))
    return GatewayResponse(response.status, (*response.headers, length), b"")


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive; an answer leaves in one piece (Nagle would hold its second half back for 40 ms)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: "GatewayServer"

    def answer(self) -> None:
        """Read one request, carry it through, write the answer."""
        body = self._body()
        if body is None:
            self.close_connection = True
            response = self.server.gateway._own(
                400, "malformed", "invalid_request", "The body's length is unclear.", self.headers.get("origin")
            )
        elif self.path == CLOCK_PATH and self.command == "POST" and self._is_from_here():
            response = self._skip(body)
        else:
            response = self.server.gateway.call(
                self.command, self.path, list(self.headers.items()), body, source=self.client_address[0]
            )
        self._write(response)

    def handle_expect_100(self) -> bool:
        """Let the client go on, without waiting for the buffer to fill (RFC 9110 section 10.1.1)."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def _is_from_here(self) -> bool:
        """Tell whether this machine asks: the network gets the API alone."""
        return is_this_machine(self.client_address[0], self.connection.getsockname()[0])

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = answer

    def _write(self, response: GatewayResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        if response.status != HTTPStatus.NO_CONTENT and response.header("content-length") is None:  # RFC 9110, 8.6
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.body)
        self.wfile.flush()

    def _body(self) -> bytes | None:
        """Read the body; ``None`` when nobody can tell where it ends, or it is beyond what the gateway takes."""
        lengths = self.headers.get_all("content-length", [])
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return None if lengths else self._chunks()
        if not lengths:
            return b""
        if len(lengths) > 1 or not lengths[0].isascii() or not lengths[0].isdigit():
            return None
        length = int(lengths[0])
        return self.rfile.read(length) if length <= PAYLOAD_BYTES_MAX else None

    def _chunks(self) -> bytes | None:
        body = b""
        while True:
            try:
                size = int(self.rfile.readline(64).split(b";")[0].strip(), 16)
            except ValueError:
                return None
            if size < 0 or len(body) + size > PAYLOAD_BYTES_MAX:
                return None
            if size == 0:
                while self.rfile.readline(1024).strip():
                    pass
                return body
            body += self.rfile.read(size)
            self.rfile.readline(64)

    def _skip(self, body: bytes) -> GatewayResponse:
        """Move the clock for whoever is on this machine, but for no page in its browser."""
        own = self.server.gateway._own
        if "origin" in self.headers:
            return own(403, "forbidden", "forbidden", "No page moves this clock.")
        if self.headers.get("content-type") != "application/json":
            return own(415, "unsupported_media_type", "invalid_request", "Send Content-Type: application/json.")
        try:
            seconds = json.loads(body)["skip"]
        except (ValueError, TypeError, KeyError):
            seconds = None
        # What is no number, NaN included, is within no bounds.
        if type(seconds) not in {int, float} or not -_SKIP_MAX_S <= seconds <= _SKIP_MAX_S:
            return own(
                400, "malformed", "invalid_request", f'Send {{"skip": seconds}}, at most {_SKIP_MAX_S} either way.'
            )
        self.server.clock.skip(seconds)
        said = {"server_time": int(self.server.clock.time())}
        return GatewayResponse(200, (("Content-Type", "application/json"),), _json(said))

    def log_message(self, *_: object) -> None:
        """Say nothing: a request's line may hold what should not be shown."""


class GatewayServer(ThreadingHTTPServer):
    """The gateway over HTTP, on loopback only, or for the phones on the network too."""

    daemon_threads = True
    request_queue_size = 128

    gateway: Gateway
    clock: DevelopmentClock

    def __init__(self, port: int, host: str = THIS_MACHINE) -> None:
        """Listen on ``host:port``; port 0 takes a free one. ``open`` it before serving."""
        super().__init__((host, port), _Handler)

    def open(self, gateway: Gateway, clock: DevelopmentClock) -> None:
        """Say what is behind."""
        self.gateway, self.clock = gateway, clock

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])
