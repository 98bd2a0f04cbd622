"""What all tests share: no real AWS, Baton behind its gateway over the embedded engine, and who watches the whole run.

A whole run ends with a line for each promise and one for the policies, and fails where one of them does not hold.
"""

import contextlib
import functools
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from tests.progress import Progress
from tests.promises import README, Ledger, promised, stated
from tests.web.contract import Contract
from tests.web.conversation import Device, Send, through
from tests.witness import Use, Witness, verdict, watching
from tools import package
from tools.dev import dynoxide as counting_engine
from tools.dev.engine import client, create_tables, embedded
from tools.dev.gateway import DevelopmentClock, Gateway, load_environment

RESOURCE_SERVER, RESOURCE_SERVER_SECRET = "billing", "the billing server's long and random secret"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "BATON_DEVELOPMENT": "1",
    "BATON_ISSUER": "http://localhost:8000/api",
    "BATON_AUTHORITIES": "api.example.com,localhost:8000",
    "BATON_KEY_RING": "local",
    "BATON_LOG_LEVEL": "ERROR",
    "BATON_ORIGINS": "https://app.example.com,https://admin.example.com",
    "BATON_RESOURCE_SERVERS": f"{RESOURCE_SERVER}:{hashlib.sha256(RESOURCE_SERVER_SECRET.encode()).hexdigest()}",
    "BATON_TABLE_PREFIX": "baton-test",
}
NO_DYNOXIDE = "dynoxide is not here"
NO_OTHER_PYTHON = "no other Python is here"

for name in [name for name in os.environ if name.startswith(("BATON_", "AWS_"))]:
    del os.environ[name]
os.environ |= ENVIRONMENT

PROMISES = stated(README.read_text("utf-8"))
ledger, seen = Ledger(PROMISES), Witness()


MARKERS = (
    "prove: the long version of a proof, run by `make prove` (-m prove)",
    "guarantee(*numbers): the guarantees of the README that a test stands for",
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers. Keep ledger and progress in the process that receives the reports."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ledger, "promises")
        config.pluginmanager.register(Progress(config), "progress")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every report carry the promises that its test stands for."""
    for item in items:
        if numbers := promised(item):
            item.user_properties.append(("guarantee", numbers))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what another process has seen."""
    seen.used |= {Use(*use) for use in getattr(node, "workeroutput", {}).get("used", ())}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what was seen; or, where it all comes together, fail for what does not hold."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["used"] = [tuple(use) for use in seen.used]  # xdist carries plain values
    elif whole(session.config) and (ledger.broken() or any(verdict(seen.used).values())):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def whole(config: pytest.Config) -> bool:
    """Tell whether everything was asked for that there is: only that can be held against promises and policies."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """End with the evidence, and with what there is none of."""
    say_what_was_missed(terminalreporter)
    if not whole(config):
        return
    terminalreporter.section("promises")
    for line, holds in ledger.lines(PROMISES):
        terminalreporter.write_line(line, green=holds, red=not holds)
    for name, complaints in verdict(seen.used).items():
        told = f"{name}: {'; '.join(complaints) or f'exactly the {len(seen.used)} rights that were used'}"
        terminalreporter.write_line(told, green=not complaints, red=bool(complaints))
    terminalreporter.write_line("what this proves, and what not: docs/proof.md; the long form: make prove")


@pytest.fixture(scope="session", autouse=True)
def _watched() -> Iterator[None]:
    """Watch every request of every test."""
    with watching(seen):
        yield


@pytest.fixture(autouse=True)
def witness() -> Iterator[Witness]:
    """Promise 10, of every test: whatever it sent and was told, nothing secret of it was stored or logged."""
    seen.forget()
    yield seen
    leaks = seen.leaks()
    seen.forget()
    assert not leaks, "\n".join(leaks)


@pytest.fixture(scope="session")
def embedded_engine() -> Iterator[None]:
    """Answer every AWS client from memory, serialised."""
    with embedded():
        yield


@pytest.fixture(scope="session")
def dynoxide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the engine that counts, and that several processes can race on; give its address."""
    program = counting_engine.find()
    if program is None:
        pytest.skip(NO_DYNOXIDE)
    with counting_engine.running(program, tmp_path_factory.mktemp("dynoxide") / "log") as address:
        yield address


def say_what_was_missed(terminalreporter: Any) -> None:
    """Say in the closing lines what was not proved: a skip alone is easily overlooked."""
    skipped = terminalreporter.stats.get("skipped", [])
    if missed := sum(NO_DYNOXIDE in str(report.longrepr) for report in skipped):
        told = (
            f"{NO_DYNOXIDE}: {missed} tests of processes racing and of capacity did not run. To run them: make dynoxide"
        )
        terminalreporter.write_line(told, yellow=True)
    if any(NO_OTHER_PYTHON in str(report.longrepr) for report in skipped):
        told = f"{NO_OTHER_PYTHON}: stored passwords and addresses were not read by another one. Install one >= 3.11"
        terminalreporter.write_line(told, yellow=True)


@pytest.fixture
def tables(embedded_engine: None) -> Iterator[Tables]:
    """Give four empty tables of this test's own."""
    del embedded_engine
    tables = Tables(f"baton-{secrets.token_hex(4)}")
    create_tables(tables)
    yield tables
    for table in KEYS:
        client().delete_table(TableName=tables.name(table))


@pytest.fixture
def clock() -> DevelopmentClock:
    """Give the server's clock."""
    return DevelopmentClock()


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put the gateway in front of two environments, over tables of their own."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    return Gateway([load_environment(clock).app for _ in range(2)])


@pytest.fixture
def contract() -> Contract:
    """Give the OpenAPI description, as a judge."""
    return Contract()


@pytest.fixture
def send(gateway: Gateway, contract: Contract) -> Send:
    """Send a request through the gateway, in process, and hold the answer against the description."""
    return contract.judged(through(gateway))


@pytest.fixture
def make_device(send: Send, clock: DevelopmentClock) -> Callable[..., Device]:
    """Make devices that talk through the gateway."""

    def make(**members: object) -> Device:
        return Device(send, lambda: int(clock.time()), **members)  # type: ignore[arg-type] # the members of Device

    return make


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Package for an architecture, and give a folder of this session's own with zip and template."""

    @functools.cache
    def build(architecture: str) -> Path:
        with package.alone():
            archive = package.build("prod", architecture, clients="clients-dev.toml")
            return Path(shutil.copytree(archive.parent, tmp_path_factory.mktemp("packaged") / architecture))

    return build


@pytest.fixture
def broken_engine(embedded_engine: None) -> Iterator[list[bool]]:
    """Let the engine fail while the list is not empty."""
    del embedded_engine
    from moto.core.exceptions import JsonRESTError
    from moto.dynamodb.responses import DynamoHandler

    broken: list[bool] = []
    working = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> object:
        if broken:
            raise JsonRESTError("InternalServerError", "planted")
        return working(handler)

    DynamoHandler.call_action = call_action  # type: ignore[method-assign] # a planted fault
    with contextlib.ExitStack() as after:
        after.callback(setattr, DynamoHandler, "call_action", working)
        yield broken
