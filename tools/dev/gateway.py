"""The development gateway over HTTP: `chalicelib.baton.testing.gateway` for clients on this machine or its network."""

import json
import socketserver
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chalicelib.baton.testing.attesters.kit import Attester
from chalicelib.baton.testing.clock import SKIP_MAX_S, DevelopmentClock
from chalicelib.baton.testing.gateway import (
    HEADER_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    ROOT,
    Gateway,
    GatewayResponse,
    LambdaContext,
    load_environment,
)
from tools.dev.addresses import THIS_MACHINE, is_this_machine, names_no_domain
from tools.dev.attestation import ATTESTATION_PATH, attestation_answer

__all__ = [
    "ATTESTATION_PATH",
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
]

CLOCK_PATH = "/_dev/clock"
MAILS_PATH = "/_dev/mails"


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive.

    An answer is sent in one write: Nagle's algorithm would delay a second one for 40 ms.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: "GatewayServer"

    def answer(self) -> None:
        """Read one request, send it through the gateway, write the answer."""
        body = self._body()
        if body is None:
            self.close_connection = True
            response = self.server.gateway._own(
                400, "malformed", "invalid_request", "The body's length is unclear.", self.headers.get("origin")
            )
        elif self.path == MAILS_PATH and self.command == "GET" and self._is_from_here() and self._names_no_domain():
            response = mails_answer()
        elif self.path == CLOCK_PATH and self.command == "POST" and self._is_from_here():
            response = self._skip(body)
        elif self.path == ATTESTATION_PATH and self.command == "POST" and self._may_attest():
            assert self.server.attester is not None
            response = attestation_answer(self.server.attester, body)
        else:
            response = self.server.gateway.call(
                self.command, self.path, list(self.headers.items()), body, source=self.client_address[0]
            )
        self._write(response)

    def handle_expect_100(self) -> bool:
        """Let the client continue, without waiting for the buffer to fill (RFC 9110 section 10.1.1)."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def _is_from_here(self) -> bool:
        """Decide whether the request is from this machine. Other machines may use only the API."""
        return is_this_machine(self.client_address[0], self.connection.getsockname()[0])

    def _may_attest(self) -> bool:
        """Decide whether the server has an attester, and the request is of a program on this machine."""
        return self.server.attester is not None and self._is_from_here() and "origin" not in self.headers

    def _names_no_domain(self) -> bool:
        """Decide whether the host is ``localhost`` or an address. A page can make its domain lead to this machine."""
        return names_no_domain(self.headers.get("host", ""))

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

    def _skip(self, body: bytes) -> GatewayResponse:
        """Move the clock for a program on this machine, but not for a page in its browser."""
        own = self.server.gateway._own
        if "origin" in self.headers:
            return own(403, "forbidden", "forbidden", "No page moves this clock.")
        if self.headers.get("content-type") != "application/json":
            return own(415, "unsupported_media_type", "invalid_request", "Send Content-Type: application/json.")
        try:
            seconds = json.loads(body)["skip"]
        except (ValueError, TypeError, KeyError):
            seconds = None
        # An invalid number, also NaN, is outside all limits.
        if type(seconds) not in {int, float} or not -SKIP_MAX_S <= seconds <= SKIP_MAX_S:
            return own(
                400, "malformed", "invalid_request", f'Send {{"skip": seconds}}, at most {SKIP_MAX_S} either way.'
            )
        self.server.clock.skip(seconds)
        said = {"server_time": int(self.server.clock.time())}
        return GatewayResponse(200, (("Content-Type", "application/json"),), json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing: a request line may contain a secret."""


def mails_answer() -> GatewayResponse:
    """Answer with the mails of the development mailbox, the newest first."""
    # `make dev` imports the modules of chalicelib again when a file changes. Then the mailbox is a new one.
    from chalicelib.baton.mail.outbox import OF_THIS_PROCESS  # noqa: PLC0415 - the mailbox of the current modules

    mails = [
        {"to": mail.to, "subject": mail.subject, "text": mail.text, "html": mail.html}
        for mail in reversed(OF_THIS_PROCESS.mails)
    ]
    body = json.dumps({"mails": mails}, ensure_ascii=False, indent=2).encode()
    return GatewayResponse(200, (("Content-Type", "application/json"), ("Cache-Control", "no-store")), body)


class GatewayServer(ThreadingHTTPServer):
    """The gateway over HTTP, on loopback only, or for the phones on the network too."""

    daemon_threads = True
    request_queue_size = 128

    gateway: Gateway
    clock: DevelopmentClock
    attester: Attester | None = None

    def __init__(self, port: int, host: str = THIS_MACHINE) -> None:
        """Listen on ``host:port``. Port 0 takes a free port. Call ``open`` before serving."""
        super().__init__((host, port), _Handler)

    def open(self, gateway: Gateway, clock: DevelopmentClock) -> None:
        """Set the applications behind the gateway."""
        self.gateway, self.clock = gateway, clock

    def server_bind(self) -> None:
        """Bind without a lookup of the host name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])
