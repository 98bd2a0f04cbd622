"""The uploaded zip runs Baton with the modules of Lambda, and with nothing else of this machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from baton_client import BatonClient, LoggedOut, MemoryStorage
from tests.baton.finished import finished
from tests.baton.operations.artefact.conftest import variables
from tests.baton.repository import ours_only
from tests.baton.wire.conftest import BASE_URL, PASSWORD, Line
from tools.dev.environment import Environment, InvocationFailed, Packaged
from tools.dev.gateway import Gateway

pytestmark = pytest.mark.prove(ci=True)


@pytest.fixture(scope="module")
def line(built: Path, environment: Environment) -> Line:
    """Send requests to the function through a gateway with the packaged routes."""
    return Line(Gateway([Packaged(built / "sam.yaml", environment)]))


def phone_on(line: Line, client_id: str = "mobile") -> BatonClient:
    """Create a phone."""
    return BatonClient(BASE_URL, client_id, MemoryStorage(), transport=line, sleep=lambda _: None)


@ours_only
def test_the_zip_serves_all_main_flows(line: Line) -> None:
    """The flows are register, log in, exchange, signed call and step-up.

    KMS, metrics and limits are on, as deployed.
    """
    phone = phone_on(line)
    phone.register("ada@example.com", PASSWORD, "Ada's phone")
    tablet = phone_on(line, "mobile-opaque")
    before = finished(tablet.login("ada@example.com", PASSWORD, "Ada's tablet"))
    assert tablet.exchange().access_token != before.access_token
    assert tablet.me()["email"] == "ada@example.com"
    assert tablet.step_up(PASSWORD, "DELETE", "/me")
    assert {device["name"] for device in tablet.devices()} == {"Ada's phone", "Ada's tablet"}
    phone.logout_everywhere(password=PASSWORD)
    with pytest.raises(LoggedOut):
        tablet.me()


@ours_only
def test_the_zip_writes_log_lines_and_metrics_without_a_secret(line: Line, environment: Environment) -> None:
    """Each line, with or without metrics, is one JSON object. No line has a password or a token."""
    phone = phone_on(line)
    session = finished(phone.register("grace@example.com", PASSWORD, "phone"))
    phone.exchange()
    log = environment.log()
    lines = [json.loads(one) for one in log.splitlines()]
    counted = {
        metric["Name"] for one in lines if "_aws" in one for metric in one["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }
    assert {"registered", "exchanged"} <= counted
    assert PASSWORD not in log
    assert session.access_token[-40:] not in log


def test_the_zip_runs_on_its_own_modules_and_those_of_lambda(task: Path) -> None:
    """Every module outside the standard library and botocore is in the zip, and is compiled."""
    program = (
        "import sys, app, argon2, msgspec, cryptography.x509, json\n"
        "print(json.dumps({n: [m.__file__, m.__cached__] for n, m in sys.modules.items()"
        " if getattr(m, '__file__', None) and getattr(m, '__cached__', None)}))"
    )
    environment = {"PYTHONPATH": str(task), "PYTHONDONTWRITEBYTECODE": "1", **variables("http://127.0.0.1:9")}
    shown = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=task, env=environment, capture_output=True, text=True, check=True
    )
    ours = {name: files for name, files in json.loads(shown.stdout).items() if files[0].startswith(str(task))}
    assert {"app", "chalice", "argon2", "msgspec"} <= ours.keys()
    assert [name for name, (_, compiled) in ours.items() if not Path(compiled).exists()] == []


def test_a_missing_setting_stops_the_start_and_every_problem_is_reported(task: Path) -> None:
    """The operator reads the message in the log of the function."""
    with Environment(task, {"BATON_ISSUER": "http://x"}) as broken, pytest.raises(InvocationFailed) as failed:
        broken.invoke({})
    for name in ("BATON_ISSUER", "BATON_TABLE_PREFIX", "BATON_KEY_RING"):
        assert name in str(failed.value)


def test_a_zip_without_a_package_does_not_start(task: Path, tmp_path: Path) -> None:
    """A control of the test above: the function cannot use the package, although this machine has it."""
    for entry in task.iterdir():
        if entry.name != "msgspec":
            (tmp_path / entry.name).symlink_to(entry)
    with Environment(tmp_path, variables("http://127.0.0.1:9")) as broken, pytest.raises(InvocationFailed) as failed:
        broken.invoke({})
    assert "No module named 'msgspec'" in str(failed.value)
