"""The pages of ``make console`` in Chromium: with the key of the address, and without what a stage does not have."""

import json
import threading
import urllib.error
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.testing.gateway import GatewayResponse
from tests.baton.chromium.chromium import Chromium
from tests.baton.chromium.console import Served, Tab
from tests.baton.wire.conversation import PASSWORD
from tools import stage_metrics
from tools.dev.api.answers import DevRefusal, DevRequest, as_json
from tools.stage_console import ConsoleServer

KEY = "k" * 43
OPERATOR = "arn:aws:sts::123456789012:assumed-role/operators/grace"
EMAIL = "eve@example.com"


NOW = 1_800_000_000


def measuring() -> AwsClient:
    """Return a client of CloudWatch: 7 logins and 120 ms in the newest interval, and nothing else."""

    def get_metric_data(**asked: Any) -> dict[str, Any]:
        names = [one["MetricStat"]["Metric"]["MetricName"] for one in asked["MetricDataQueries"]]
        newest = datetime.fromtimestamp(asked["EndTime"] - asked["MetricDataQueries"][0]["MetricStat"]["Period"], UTC)
        values = {"logged_in": 7.0, "login_ms": 120.0}
        results = [
            {"Id": f"m{at}", "Timestamps": [newest], "Values": [values[name]]}
            for at, name in enumerate(names)
            if name in values
        ]
        return {"MetricDataResults": results}

    client = AwsClient("cloudwatch")
    client._made = SimpleNamespace(get_metric_data=get_metric_data)
    return client


class OverDevelopment:
    """A stage whose accounts are those of a development server. Both call the function ``operate``."""

    def __init__(self, server: Served) -> None:
        """Send the requests about accounts to this server."""
        self._server = server

    def answer(self, request: DevRequest) -> GatewayResponse:
        """Answer the routes of a stage."""
        path = "/".join(request.path)
        if path == "mode":
            return as_json({"mode": "stage", "stage": "prod", "operator": OPERATOR})
        if path == "requests":
            return as_json({"lines": [{"event": "logged_in", "note": "<b>a line</b>"}]})
        if path == "metrics":
            hours = int(request.query.partition("=")[2])
            return as_json(stage_metrics.read(measuring(), "baton-prod", hours, now=NOW))
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
    """The page removes the key from its address. It shows no part that a stage lacks, such as a clock or faults."""
    server, url = stage
    tab = Tab(console_driver, console_driver.ask("person"), f"{url}/#key={KEY}")
    tab.wait(".brand", "stage prod")
    tab.wait(".empty", "Search for an account.")
    assert KEY not in tab.run("return location.href")
    assert tab.texts(".tabs a") == ["Accounts", "Metrics"]
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
    """The address has no key, or the key of an earlier console."""
    _, url = stage
    for address in ("/", f"/#key={'x' * 43}"):
        tab = Tab(console_driver, console_driver.ask("person"), url + address)
        tab.wait(".failing", "Open the console again from its command.")
        assert tab.troubles() == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_the_metrics_of_a_stage_are_drawn(
    console_driver: Chromium, stage: tuple[Served, str], width: int, scheme: str
) -> None:
    """Each line has a sentence that describes it. The time can be chosen. Axe finds nothing, and nothing is cut."""
    _, url = stage
    person = console_driver.ask("person", width=width, scheme=scheme)
    tab = Tab(console_driver, person, f"{url}/#key={KEY}")
    tab.click("link", "Metrics")
    tab.wait(".metric h2", "Logins")
    labels = tab.labels(".metric svg")
    assert len(labels) == len(stage_metrics.DRAWN)
    assert labels[0] == "Logins in 3 hours: 7, at most 7 in one interval."
    assert "Time of a login, 95th percentile in 3 hours: at most 120 ms." in labels
    assert "Time of an exchange, 95th percentile in 3 hours: no value." in labels
    assert tab.run("return document.querySelector('.metric .line').getAttribute('d')").endswith("L320 4")
    tab.click("button", "7 days")
    tab.wait(".note", "Each point is 180 minutes.")
    assert (tab.ask("axe"), tab.ask("cut"), tab.troubles()) == ([], 0, [])
    console_driver.ask("leave", person=person)
