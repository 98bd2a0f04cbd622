"""A deployment over HTTP on this machine, with empty pages and the scripts of the TypeScript client."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest

from chalicelib.baton import settings
from chalicelib.baton.testing.gateway import GatewayResponse
from chalicelib.baton.testing.world import World
from tests.baton.fixture import APP, FOLDER
from tests.baton.repository import ROOT

HELD_S: Final = 20
SECURE_HOST: Final = "app.example.test"
PAGES_APP: Final = ROOT / "tests/baton/browser/pages_app.py"
SCRIPTS: Final = ROOT / "clients/typescript/src"


@dataclass
class Site:
    """A server. ``seen`` has the header fields of each request to the API, in order."""

    world: World
    port: int
    host: str = "http://localhost"
    holds: dict[str, threading.Event] = field(default_factory=dict)
    """The paths whose answers wait for an event, after their effect."""
    loses: list[str] = field(default_factory=list)
    """The paths whose next answers are lost."""
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    answered: list[tuple[str, int, list[tuple[str, str]]]] = field(default_factory=list)
    """The path, the status and the header fields of each answer of the API, in order."""
    before: dict[str, Callable[[list[tuple[str, str]]], None]] = field(default_factory=dict)
    """What is done with the header fields of a request to a path before it reaches the API."""

    def call(self, method: str, path: str, fields: list[tuple[str, str]], body: bytes) -> GatewayResponse:
        """Send a request to the API."""
        if before := self.before.get(path):
            before(fields)
        answer = self.world.gateway.call(method, path, fields, body)
        self.answered.append((path, answer.status, list(answer.headers)))
        return answer

    def arrives(self, method: str, path: str, held: threading.Event | None) -> bool:
        """Return whether an answer arrives, after its delay. A lost answer is lost once."""
        if method == "OPTIONS":
            return True
        if held is not None:
            held.wait(HELD_S)
        lost = path in self.loses
        if lost:
            self.loses.remove(path)
        return not lost

    @property
    def url(self) -> str:
        """Return the origin of the API."""
        return f"{self.host}:{self.port}"


@contextmanager
def served(tmp_path: Path) -> Iterator[tuple[Site, int, int]]:
    """Serve an API, and the same pages on two further ports: a port in the client's ``origins``, and another one."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) for _ in range(3)]
    own, listed, unlisted = (server.server_address[1] for server in servers)
    registry = (FOLDER / "clients-web.toml").read_text("utf-8")
    page = f'origins = ["http://localhost:{listed}"]'
    registry = registry.replace('\norigins = ["https://app.example.com"]\ndevice', f"\n{page}\ndevice")
    (tmp_path / "site.toml").write_text(registry.replace("https://other.example.com", "http://localhost:1"), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", tmp_path)
        world = World(
            APP,
            settings={
                "BATON_CLIENTS": "site.toml",
                "BATON_ISSUER": f"http://localhost:{own}/api",
                "BATON_ORIGINS": f"http://localhost:{listed}",
            },
        )
    site = Site(world, own)
    for server in servers:
        server.RequestHandlerClass = _handler(site)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site, listed, unlisted
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@contextmanager
def served_securely(server_file: Path) -> Iterator[Site]:
    """Serve an API with pages of its own over https, at ``app.example.test``, and empty pages at ``evil.test``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    port = server.server_address[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        issuer = f"https://{SECURE_HOST}:{port}/api"
        world = World(
            PAGES_APP, settings={"BATON_CLIENTS": "clients.toml", "BATON_ISSUER": issuer, "BATON_DEVELOPMENT": "1"}
        )
    site = Site(world, port, f"https://{SECURE_HOST}")
    server.RequestHandlerClass = _handler(site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers from the gateway, from the scripts, or with an empty page."""

        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if not self.path.startswith("/api/"):
                self._file()
                return
            fields = [(name.lower(), value) for name, value in self.headers.items()]
            held = site.holds.get(self.path)  # before a test can see the request
            site.seen.append((self.command, self.path, dict(fields)))
            answer = site.call(self.command, self.path, fields, body)
            if not site.arrives(self.command, self.path, held):
                self.close_connection = True
                return
            with suppress(ConnectionError):  # its tab is closed
                self._send(answer.status, list(answer.headers), answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815 - the names of the library

        def _file(self) -> None:
            script = (SCRIPTS / self.path.removeprefix("/src/")).resolve()
            if self.path.startswith("/src/") and script.is_relative_to(SCRIPTS) and script.is_file():
                self._send(200, [("content-type", "text/javascript")], script.read_bytes())
            else:
                alone = [("cross-origin-opener-policy", "same-origin")] if self.path == "/alone" else []
                self._send(200, [("content-type", "text/html"), *alone], b"<!doctype html><title>A page</title>")

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            """Send all in one write: as soon as the browser has a cookie of an answer, it must have the body too."""
            line, self.wfile = self.wfile, BytesIO()
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            answer, self.wfile = self.wfile.getvalue(), line
            line.write(answer)

    return Handler
