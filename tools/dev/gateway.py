"""The development gateway over HTTP: `chalicelib.baton.testing.gateway` for clients on this machine or its network."""

import select
import socket
import socketserver
import ssl
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chalicelib.baton.testing.clock import DevelopmentClock
from chalicelib.baton.testing.gateway import (
    HEADER_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    ROOT,
    Gateway,
    GatewayResponse,
    LambdaContext,
    load_environment,
)
from tools.dev.addresses import THIS_MACHINE
from tools.dev.api import guards, static
from tools.dev.api.answers import DevRefusal, DevRequest
from tools.dev.api.providers import takes_form
from tools.dev.api.routes import DevApi, mails_answer

__all__ = [
    "CLOCK_PATH",
    "HEADER_BYTES_MAX",
    "MAILS_PATH",
    "PAYLOAD_BYTES_MAX",
    "ROOT",
    "DevelopmentClock",
    "Gateway",
    "GatewayResponse",
    "GatewayServer",
    "LambdaContext",
    "load_environment",
    "mails_answer",
]

CLOCK_PATH = "/_dev/clock"
MAILS_PATH = "/_dev/mails"
_DEV = "/_dev"


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive.

    An answer is sent in one write, because Nagle's algorithm would delay a second write for 40 ms.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: "GatewayServer"

    def answer(self) -> None:
        """Read one request, send it through the gateway, write the answer."""
        if "sec-fetch-mode" in self.headers:
            # If a fault loses an answer on a reused connection, Chromium sends the request again, and the page does not
            # see the fault. So a browser needs a new connection for each request.
            self.close_connection = True
        body = self._body()
        path = urlsplit(self.path).path
        if body is None:
            self.close_connection = True
            self._write(
                self.server.gateway._own(
                    400, "malformed", "invalid_request", "The body's length is unclear.", self.headers.get("origin")
                )
            )
        elif path == _DEV or path.startswith(f"{_DEV}/"):
            self._answer_dev(path, body)
        elif self.command in {"GET", "HEAD"} and (page := static.page(path)) is not None:
            self._answer_page(page)
        else:
            self._answer_api(body)

    def _answer_api(self, body: bytes) -> None:
        response = self.server.api.front.call(
            self.command, self.path, list(self.headers.items()), body, source=self.client_address[0]
        )
        if response is not None:
            self._write(response)
        else:  # a fault: no byte is sent
            self.close_connection = True

    def _answer_page(self, page: GatewayResponse) -> None:
        try:
            self._check(b"")
        except DevRefusal as refusal:
            page = refusal.answer()
        self._write(page if self.command == "GET" else without_body(page))

    def _answer_dev(self, path: str, body: bytes) -> None:
        """Answer a request of the development API.

        The checks of the request come first, so their refusals do not depend on the path.
        """
        try:
            segments = tuple(path.removeprefix(_DEV).strip("/").split("/"))
            self._check(body, guards.FORM if takes_form(segments) else guards.JSON)
            last_event = self.headers.get("last-event-id", "")
            query = urlsplit(self.path).query
            if segments == ("events",) and last_event.isascii() and last_event.isdigit():
                query = f"after={last_event[:16]}"
            answer = self.server.api.answer(DevRequest(self.command, segments, query, body, self._is_gone))
        except DevRefusal as refusal:
            answer = refusal.answer()
        if isinstance(answer, GatewayResponse):
            self._write(answer if self.command != "HEAD" else without_body(answer))
        else:
            self._stream(answer)

    def _check(self, body: bytes, media_type: str = guards.JSON) -> None:
        guards.check(
            self.command,
            self.headers.items(),
            source=self.client_address[0],
            port=self.server.server_port,
            has_body=bool(body),
            media_type=media_type,
            secure=isinstance(self.connection, ssl.SSLSocket),
        )

    def _is_gone(self) -> bool:
        """Check whether the client has closed the connection, without reading from it."""
        try:
            readable = select.select([self.connection], [], [], 0)[0]
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def _stream(self, parts: Iterator[bytes]) -> None:
        """Send a stream of events until the client closes the connection.

        The thread of the connection is a daemon, so an open stream does not delay the end of the process.
        """
        self.close_connection = True
        self.send_response_only(HTTPStatus.OK)
        for name, value in (
            ("Content-Type", "text/event-stream; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        try:
            for part in parts:
                self.wfile.write(part)
                self.wfile.flush()
        except OSError:
            return  # the reader has closed the connection
        finally:
            parts.close()  # type: ignore[attr-defined] # a generator

    def handle_expect_100(self) -> bool:
        """Send ``100 Continue`` immediately: the client waits for it (RFC 9110 section 10.1.1)."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = answer

    def _write(self, response: GatewayResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        if (
            response.status != HTTPStatus.NO_CONTENT and response.header("content-length") is None
        ):  # RFC 9110 section 8.6
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.body)
        self.wfile.flush()

    def _body(self) -> bytes | None:
        """Read the body. ``None`` if its length is unknown or larger than the gateway accepts."""
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

    def log_message(self, *_: object) -> None:
        """Log nothing: a request line may contain a secret."""


def without_body(response: GatewayResponse) -> GatewayResponse:
    """Return the answer to HEAD: with the length, without the body."""
    length = ("Content-Length", str(len(response.body)))
    return GatewayResponse(response.status, (*response.headers, length), b"")


class GatewayServer(ThreadingHTTPServer):
    """The gateway over HTTP. By default, only programs on this machine can reach it."""

    daemon_threads = True
    request_queue_size = 128

    gateway: Gateway
    clock: DevelopmentClock
    api: DevApi

    def __init__(self, port: int, host: str = THIS_MACHINE, *, certificate: Path | None = None) -> None:
        """Listen on ``host:port``. Port 0 takes a free port. Call ``open`` before serving.

        With a ``certificate`` and its key, in one PEM file, the server speaks TLS.
        """
        super().__init__((host, port), _Handler)
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            # The TLS handshake runs in the thread of the connection, so a slow client does not block other clients.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def open(self, gateway: Gateway, clock: DevelopmentClock, api: DevApi | None = None) -> None:
        """Set the gateway, the clock and the development API that this server uses."""
        self.gateway, self.clock = gateway, clock
        self.api = api or DevApi(gateway, clock)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the signature of socketserver
        """Ignore a client that closes the connection or does not trust the certificate. Print every other error."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        """Bind without a lookup of the host name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])
