"""The pages of ``make console`` in Chromium: with the key of the address, and without what a stage does not have."""

import json
import threading
import urllib.error
from collections.abc import Iterator

import pytest

from chalicelib.baton.testing.gateway import GatewayResponse
from tests.baton.chromium.chromium import Chromium
from tests.baton.chromium.console import Served, Tab
from tests.baton.wire.conversation import PASSWORD
from tools.dev.api.answers import DevRefusal, DevRequest, as_json
from tools.stage_console import ConsoleServer

KEY = "k" * 43
OPERATOR = "arn:aws:sts::123456789012:assumed-role/operators/grace"
EMAIL = "eve@example.com"


class OverDevelopment:
    """A stage whose accounts are those of a development server. Both answer by the function ``operate``."""

    def __init__(self, server: Served) -> None:
        """Ask this server."""
        self._server = server

    def answer(self, request: DevRequest) -> GatewayResponse:
        """Answer the routes of a stage."""
        path = "/".join(request.path)
        if path == "mode":
            return as_json({"mode": "stage", "stage": "prod", "operator": OPERATOR})
        if path == "requests":
            return as_json({"lines": [{"event": "logged_in", "note": "<b>a line</b>"}]})
        if request.path[0] != "accounts":
            raise DevRefusal(404, "not_found", "A stage has no such route.")
        members = json.loads(request.body) if request.body else None
        try:
            return as_json(self._server.dev(f"{path}?{request.query}", request.method, members))
        except urllib.error.HTTPError as refused:
            raise DevRefusal(refused.code, "refused", refused.read().decode()) from refused


@pytest.fixture
def stage(console_server: Served) -> Iterator[tuple[Served, str]]:
    """Serve a stage over the development server, with one account."""
    console_server.dev("reset", "POST", {})
    console_server.api("/register", {"email": EMAIL, "password": PASSWORD, "client_id": "simple"})
    console = ConsoleServer(OverDevelopment(console_server), KEY)  # type: ignore[arg-type]
    threading.Thread(target=console.serve_forever, daemon=True).start()
    yield console_server, f"http://127.0.0.1:{console.server_port}"
    console.shutdown()
    console.server_close()


def test_an_operator_finds_and_disables_an_account(console_driver: Chromium, stage: tuple[Served, str]) -> None:
    """The key leaves the address. There is no page, clock or fault that a stage does not have."""
    server, url = stage
    tab = Tab(console_driver, console_driver.ask("person"), f"{url}/#key={KEY}")
    tab.wait(".brand", "stage prod")
    tab.wait(".empty", "Search for an account.")
    assert KEY not in tab.run("return location.href")
    assert tab.texts(".tabs a") == ["Accounts"]
    assert tab.texts(".tabs .connection") == [f"as {OPERATOR}"]
    assert tab.texts(".clock, .faults") == []
    tab.ask("press", key="/")
    tab.ask("type", text=EMAIL)
    tab.ask("press", key="Enter")
    tab.wait("h1", EMAIL)
    tab.wait(".lineage .box.current")
    tab.click("button", "disable")
    tab.ask("fill", label="type the address", text=EMAIL)
    tab.click("button", "disable", within=".confirm")
    tab.wait("h1 .tag.bad", "disabled")
    assert server.dev(f"accounts?q={EMAIL}")["accounts"][0]["status"] == "disabled"
    assert tab.ask("axe") == []
    assert tab.troubles() == []


def test_without_the_key_the_page_says_what_to_do(console_driver: Chromium, stage: tuple[Served, str]) -> None:
    """A key that is no longer that of the console, or none."""
    _, url = stage
    for address in ("/", f"/#key={'x' * 43}"):
        tab = Tab(console_driver, console_driver.ask("person"), url + address)
        tab.wait(".failing", "Open the console again from its command.")
        assert tab.troubles() == []
