"""A development server as ``make dev`` starts it, in this process, and phones that call it over HTTP."""

import contextlib
import http.client
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from baton_testing import Development
from tests.baton.wire import conversation
from tests.baton.wire.conversation import Device, Said
from tools.dev import serve

_NUMBERS = itertools.count()


class Server:
    """A running server."""

    def __init__(self, running: serve.Development) -> None:
        """Store the running server."""
        self.running = running
        self.port = running.server.server_port
        self.url = f"http://localhost:{self.port}"

    def dev(
        self, method: str, path: str, members: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request to the development API."""
        body = b"" if members is None else json.dumps(members).encode()
        fields = {"Host": f"localhost:{self.port}", "Content-Type": "application/json", **(headers or {})}
        status, _, said = self.send(method, f"/_dev{path}", list(fields.items()), body)
        parsed = json.loads(said) if said else {}
        assert isinstance(parsed, dict)
        return status, parsed

    def got(self, path: str) -> dict[str, Any]:
        """Read from the development API."""
        status, members = self.dev("GET", path)
        assert status == 200, members
        return members

    def send(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send one request on a connection of its own. Raises ``http.client.RemoteDisconnected``."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body or method in {"POST", "PUT", "PATCH"}:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def phone(self, name: str = "", *, client_id: str = "mobile", bound: bool = True) -> Device:
        """Make a phone. Its requests have the header ``Baton-Phone``."""

        def carry(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Said:
            fields = [*headers, ("Baton-Phone", name)] if name else headers
            status, given, said = self.send(method, target, fields, body)
            received = {field.lower(): value for field, value in given}
            return Said(status, received, said)

        return Device(carry, lambda: int(self.running.server.clock.time()), client_id, bound)

    def registered(self, name: str = "", **named: Any) -> tuple[Device, str]:
        """Make a phone, and register an account on it. Return its address too."""
        phone, email = self.phone(name, **named), f"ada{next(_NUMBERS)}@example.com"
        said = phone.register(email)
        assert said.status == 201, said
        return phone, email

    def account(self, email: str) -> str:
        """Return the id of an account."""
        return str(self.got(f"/accounts?q={email}")["accounts"][0]["account"])

    def last(self, text: str = "") -> dict[str, Any]:
        """Return the last request with all details."""
        summary = self.got(f"/requests?q={text}&limit=1")["requests"][0]
        return self.got(f"/requests/{summary['request_id']}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start the server of ``make dev`` on a free port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "AWS_"))}
    with (
        mock.patch.dict(
            os.environ, {**kept, "BATON_LOG_LEVEL": "ERROR", "BATON_TABLE_PREFIX": "development"}, clear=True
        ),
        serve.development(0) as running,
        mock.patch.object(conversation, "HOST", f"localhost:{running.server.server_port}"),
    ):
        yield Server(running)


@pytest.fixture
def dev(server: Server) -> Iterator[Development]:
    """Return the helper for the tests of an app. No fault is left after a test."""
    yield Development(server.url)
    server.dev("DELETE", "/faults")
    server.running.server.clock.skipped_s = 0.0


Make = Callable[..., tuple[Device, str]]
