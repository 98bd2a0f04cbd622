"""T36: only a program or an own page on this machine may use the console and the development API."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.baton.operations.dev.conftest import Server
from tools.dev.api import static
from tools.dev.gateway import _Handler

PATHS = ("/", "/_dev", "/_dev/requests", "/_dev/clock", "/_dev/nothing")


@pytest.fixture(autouse=True)
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve a page and a script as the console."""
    (tmp_path / "index.html").write_text("<!doctype html><title>Baton</title>")
    (tmp_path / "app.js").write_text("export {}")
    (tmp_path / "notes.txt").write_text("not for a browser")
    (tmp_path.parent / "outside.js").write_text("not of the console")
    monkeypatch.setattr(static.page, "__defaults__", (tmp_path,))


def status(server: Server, path: str, /, **fields: str | list[str]) -> int:
    """Send a GET with these fields. A list is a field with several lines."""
    return sent(server, "GET", path, b"", fields)


def sent(server: Server, method: str, path: str, body: bytes, fields: Mapping[str, str | list[str]]) -> int:
    """Send a request."""
    given: list[tuple[str, str]] = [] if "Host" in fields else [("Host", f"localhost:{server.port}")]
    for name, value in fields.items():
        given += [(name.replace("_", "-"), one) for one in ([value] if isinstance(value, str) else value)]
    return server.send(method, path, given, body)[0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost",
        "localhost:1",
        "localhost.evil.example:{port}",
        "0.0.0.0:{port}",
    ],
)
def test_a_foreign_host_is_refused(server: Server, path: str, host: str) -> None:
    """With DNS rebinding, the browser treats the foreign page as of the same origin. Only the host reveals it."""
    assert status(server, path, Host=host.format(port=server.port)) == 403
    assert status(server, path, Host=[f"localhost:{server.port}", f"localhost:{server.port}"]) == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://localhost:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "unknown"},
        {"Sec_Fetch_Site": ["same-origin", "cross-site"]},
    ],
)
def test_a_foreign_page_is_refused(server: Server, path: str, fields: dict[str, str | list[str]]) -> None:
    """A page on another port of this machine is refused too."""
    filled = {
        name: value.format(port=server.port) if isinstance(value, str) else value for name, value in fields.items()
    }
    assert status(server, path, **filled) == 403


@pytest.mark.parametrize("path", PATHS)
def test_another_machine_is_refused(server: Server, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HOST=0.0.0.0, a phone on the network can use only the API. No header changes the address."""
    stock = _Handler.setup

    def from_the_network(handler: _Handler) -> None:
        stock(handler)
        handler.client_address = ("192.168.1.9", 4711)

    monkeypatch.setattr(_Handler, "setup", from_the_network)
    assert status(server, path, X_Forwarded_For="127.0.0.1") == 403
    assert status(server, "/api/health") == 200


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST:{port}"])
def test_a_program_and_an_own_page_on_this_machine_are_let_in(server: Server, host: str) -> None:
    """The test has requests without the headers of a browser, and with those of the console's pages."""
    own = host.format(port=server.port)
    assert status(server, "/", Host=own) == 200
    page: dict[str, str | list[str]] = {"Host": own, "Origin": f"http://{own.lower()}", "Sec_Fetch_Site": "same-origin"}
    assert status(server, "/_dev/clock", **page) == 200
    assert status(server, "/", Host=own, Sec_Fetch_Site="none") == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", None])
def test_a_change_must_be_json(server: Server, media_type: str | None) -> None:
    """A browser sends other types across origins without a preflight."""
    fields: dict[str, str | list[str]] = {"Content_Type": media_type} if media_type else {}
    body = json.dumps({"skip": 60}).encode()
    assert sent(server, "POST", "/_dev/clock", body, fields) == 415
    assert server.got("/clock")["skipped"] == 0
    assert sent(server, "DELETE", "/_dev/faults", b"", {}) == 204


def test_the_pages_of_the_console_have_a_strict_policy(server: Server) -> None:
    """The server sends no file from outside their folder."""
    answered, headers, body = server.send("GET", "/app.js", [("Host", f"localhost:{server.port}")], b"")
    given = {name.lower(): value for name, value in headers}
    assert (answered, body) == (200, b"export {}")
    assert given["content-type"] == "text/javascript; charset=utf-8"
    assert given["content-security-policy"] == static.CSP
    assert "script-src 'self'; " in static.CSP
    assert "require-trusted-types-for 'script'" in static.CSP
    assert given["x-content-type-options"] == "nosniff"
    for path in ("/notes.txt", "/../outside.js", "/%2e%2e/outside.js", "/app.py", "/client/../package.json", "/."):
        assert status(server, path) == 404, path
    assert server.send("HEAD", "/", [("Host", f"localhost:{server.port}")], b"")[2] == b""


def test_the_console_gets_the_typescript_client_as_it_is(server: Server) -> None:
    """The phones of the console run this client."""
    path = "/client/browser.js"
    assert (
        server.send("GET", path, [("Host", f"localhost:{server.port}")], b"")[2]
        == (static.CLIENT / "browser.js").read_bytes()
    )
