"""docs/baton/development.md: its bodies have the members of real answers, and its programs run."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import baton_client
from baton_client import BatonClient, HttpTransport, MemoryStorage
from tests.baton.clients.node import node
from tests.baton.operations.dev.conftest import Server
from tools.dev.api.faults import KINDS
from tools.template import ROOT

PAGE = (ROOT / "docs" / "baton" / "development.md").read_text("utf-8")


def block(kind: str, containing: str) -> str:
    """Return the fenced block with a text."""
    found = [
        text for text in re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if containing in text
    ]
    assert len(found) == 1, containing
    return str(found[0])


def events() -> dict[str, dict[str, Any]]:
    """Return the documented events by their kind."""
    text, decoder, found = block("json", '"kind": "request"'), json.JSONDecoder(), {}
    while text.strip():
        event, end = decoder.raw_decode(text.strip())
        text = text.strip()[end:]
        found[event["kind"]] = event
    return found


def members(value: Any) -> Any:
    """Replace every value by its kind, so that only names are compared."""
    if isinstance(value, dict):
        return {name: members(inner) for name, inner in value.items()}
    return [members(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def stolen(server: Server) -> tuple[str, str]:
    """Carry out a theft. Return the account and the id of the request in which the reuse was detected."""
    owner, email = server.registered("phone 1")
    thief = server.phone("phone 2")
    thief.key, token = owner.key, owner.tokens["refresh_token"]
    owner.exchange()
    owner.exchange()
    caught = thief.exchange(token)
    return server.account(email), str(caught.headers["baton-request-id"])


def test_the_events_are_as_documented(server: Server) -> None:
    """The page has every kind. The members of the kinds ``request``, ``clock`` and ``fault`` are compared."""
    documented = events()
    stolen(server)
    server.dev("POST", "/clock", {"skip": 0})
    server.dev("POST", "/faults", {"name": "throttled", "match": {"phone": "another"}})
    server.dev("DELETE", "/faults")
    kept = {event["kind"]: event for event in server.running.server.api.events.after(0)[1]}
    assert documented.keys() == {"request", "fault", "clock", "mail", "reset"}
    for kind in ("request", "clock"):
        assert members(kept[kind]) == members(documented[kind]), kind
    assert kept["fault"].keys() == documented["fault"].keys()


def test_a_request_and_the_lineages_are_as_documented(server: Server) -> None:
    """The names of the members are compared, for a request and for lineages at every depth."""
    account, caught = stolen(server)
    documented = json.loads(block("json", '"signature": {"base"'))
    full = server.got(f"/requests/{caught}")
    assert full.keys() == documented.keys() | events()["request"].keys()
    for name in ("request", "response", "signature", "engine", "reuse"):
        assert members(full[name]) == members(documented[name]), name
    assert full["doctor"][0].keys() == documented["doctor"][0].keys()
    documented = json.loads(block("json", '"generations"'))
    assert members(server.got(f"/accounts/{account}/lineages")) == members(documented)
    documented = json.loads(block("json", '"credentials_version"'))
    shown = server.got(f"/accounts/{account}")
    assert shown.keys() == documented.keys()
    assert shown["lineages"][0].keys() == documented["lineages"][0].keys()
    assert shown["factors"].keys() == documented["factors"].keys()


def test_every_fault_and_every_route_is_documented(server: Server) -> None:
    """The table of faults has each name once."""
    table = re.findall(r"^\| `([a-z_]+)` \|", PAGE[PAGE.index("| name | effect") :], re.MULTILINE)
    assert table == list(KINDS)
    for name in server.running.server.api._routes:
        path = name.partition(" ")[2].replace("{}", "")
        assert f"/_dev/{path.partition('/')[0]}" in PAGE, name


def test_the_python_of_the_page_runs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs against this server, with the demo account, and a request gets the planned fault."""
    transports: list[HttpTransport] = []

    class Kept(HttpTransport):
        """A transport that the test closes."""

        def __init__(self) -> None:
            super().__init__()
            transports.append(self)

    monkeypatch.setattr(baton_client, "HttpTransport", Kept)
    text = block("python", "baton_testing").replace("http://localhost:8000", server.url)
    given: dict[str, Any] = {"BatonClient": BatonClient, "MemoryStorage": MemoryStorage}
    exec(compile(text, "the page", "exec"), given)  # noqa: S102 - code of a page of this repository
    for transport in transports:
        transport.close()
    outcomes = [one["exchange"]["outcome"] for one in server.got("/requests?q=oauth&limit=2")["requests"]]
    assert outcomes == ["same_child", "exchanged"]


def test_the_javascript_of_the_page_runs(server: Server, tmp_path: Path) -> None:
    """It runs against this server, with the demo account.

    Before, the page called a method that the client does not have.
    """
    text = block("js", "development.js").replace("http://localhost:8000", server.url)
    client = ROOT / "clients" / "typescript"
    for name, file in (
        ("baton-client/node", client / "src" / "node.js"),
        ("./baton-client/testing/development.js", client / "testing" / "development.js"),
    ):
        assert f'"{name}"' in text
        text = text.replace(f'"{name}"', json.dumps(file.as_uri()))
    text = text.replace('"record-of-the-test"', json.dumps(str(tmp_path)))
    command = [node(), "--input-type=module", "--eval", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "demo@example.com" in done.stdout
    outcomes = [one["exchange"]["outcome"] for one in server.got("/requests?q=oauth&limit=2")["requests"]]
    assert outcomes == ["same_child", "exchanged"]
