"""The public files of passkeys: a command writes them, and the doctor compares them as phones would read them."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.well_known import well_known
from tests.baton.fixture import CLIENTS
from tools import operate
from tools.well_known import Public, findings, get

REGISTRY = CLIENTS.with_name("clients-factors.toml").read_text("utf-8")


def published(clients: Clients, change: Callable[[str, Any], Any] = lambda _, content: content) -> Any:
    """Return a site that has each file with a change."""

    def fetch(url: str) -> Public:
        assert url.startswith("https://")
        name = url.rpartition("/")[2]
        return Public(200, "application/json", json.dumps(change(name, well_known(clients)[name])))

    return fetch


def problems(clients: Clients, fetch: Callable[[str], Public]) -> dict[str, str]:
    """Return the problem of each file."""
    return {finding.url: finding.problem for finding in findings(clients, fetch) if finding.problem}


def test_the_command_writes_what_the_doctor_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes four files, without an AWS account."""
    monkeypatch.setenv("BATON_CLIENTS", "clients-factors.toml")
    assert operate.main(["well-known", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("ok: ")
    folder = tmp_path / ".well-known"
    assert {file.name for file in folder.iterdir()} == {
        "apple-app-site-association",
        "assetlinks.json",
        "webauthn",
        "passkey-endpoints",
    }
    clients = Clients.from_toml(REGISTRY)

    def fetch(url: str) -> Public:
        return Public(200, "application/json", (folder / url.rpartition("/")[2]).read_text("utf-8"))

    assert problems(clients, fetch) == {}


def test_the_command_says_that_there_is_nothing_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The registry has neither passkeys nor apps."""
    monkeypatch.setenv("BATON_CLIENTS", "clients-dev.toml")
    assert operate.main(["well-known", str(tmp_path)]) == 1
    assert "no client of the registry has an app" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_site_may_have_more() -> None:
    """The files of the site have other apps and other members."""
    clients = Clients.from_toml(REGISTRY)

    def more(name: str, content: Any) -> Any:
        del name
        return [{"relation": []}, *content] if isinstance(content, list) else {"other": 1} | content

    assert problems(clients, published(clients, more)) == {}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Public(404, "text/html", ""), "status 404"),
        (Public(302, "text/html", ""), "status 302"),
        (Public(0, "", "no answer (timed out)"), "no answer (timed out)"),
        (Public(200, "text/plain", "{}"), "the media type is text/plain"),
        (Public(200, "application/json", "{"), "it is not JSON"),
        (Public(200, "application/json", "[]"), "it does not have what the client registry requires"),
    ],
)
def test_a_file_that_phones_do_not_read_is_found(answer: Public, problem: str) -> None:
    """Each of the four files is tested, and the finding has its URL."""
    clients = Clients.from_toml(REGISTRY)
    found = problems(clients, lambda _: answer)
    assert set(found.values()) == {problem}
    assert "https://example.com/.well-known/webauthn" in found
    assert len(found) == 4


def test_a_missing_certificate_is_found() -> None:
    """The published file has only the certificate of an earlier signing key of the app."""
    clients = Clients.from_toml(REGISTRY)

    def changed(name: str, content: Any) -> Any:
        if name == "assetlinks.json":
            content[0]["target"]["sha256_cert_fingerprints"] = ["AA"]
        return content

    assert list(problems(clients, published(clients, changed))) == ["https://example.com/.well-known/assetlinks.json"]


def test_the_host_of_links_has_the_file_of_apple_too() -> None:
    """Links in mails open the app from this host."""
    clients = Clients.from_toml(REGISTRY + '\n[mail]\nlink_host = "app.example.com"\n')
    urls = [finding.url for finding in findings(clients, published(clients))]
    assert "https://app.example.com/.well-known/apple-app-site-association" in urls
    assert len(urls) == 5


def test_no_redirect_is_followed() -> None:
    """Apple and Android do not follow one either."""

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        answering = Thread(target=server.handle_request)
        answering.start()
        url = f"http://127.0.0.1:{server.server_port}/.well-known/webauthn"
        assert get(url).status == 302
        answering.join()
    assert get(url).status == 0
