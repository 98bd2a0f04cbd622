"""Shared fixtures of Baton's tests: no real AWS, and Baton behind its gateway over the embedded engine."""

import contextlib
import functools
import gc
import hashlib
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from chalicelib.baton import settings as baton_settings
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.testing import gateway as gateway_module
from tests.baton import report
from tests.baton.fixture import APP, FOLDER, load_environment
from tests.baton.report import NO_DYNOXIDE, seen
from tests.baton.shortcuts import (
    cheap_passwords,
    dear_passwords,
    few_rsa_keys,
    keep_what_is_loaded,
    remembered,
    tables_in_moto,
)
from tests.baton.wire.contract import Contract
from tests.baton.wire.conversation import Device, Send, through
from tests.baton.witness import Witness, watching
from tests.baton.world import World
from tools import package
from tools.dev import dynoxide as counting_engine
from tools.dev.engine import embedded
from tools.dev.gateway import DevelopmentClock, Gateway

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

for name in [name for name in os.environ if name.startswith(("BATON_", "AWS_"))]:
    del os.environ[name]
os.environ |= ENVIRONMENT

# In the background (`make test &`), a shell starts a command with SIGINT ignored, and each child process inherits this.
# The tests that stop a server with Ctrl-C would then wait without end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Without time limits: a busy machine is sometimes slow, and most tests are not about time.
settings.register_profile("baton", deadline=None)
settings.load_profile("baton")


@pytest.fixture(autouse=True)
def same_settings_after_a_test() -> Iterator[None]:
    """Fail a test that leaves a changed setting: the next tests of its process would run with it."""

    def settings_now() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith("BATON_")}

    before = settings_now()
    yield
    assert settings_now() == before


def pytest_configure(config: pytest.Config) -> None:
    """Load the report plugin, if the command line did not name it."""
    if not config.pluginmanager.has_plugin(report.__name__):
        config.pluginmanager.register(report, report.__name__)
    gc.disable()  # the tests that are collected are no garbage


@pytest.fixture(scope="package", autouse=True)
def _fixture_app() -> Iterator[None]:
    """Let the tools of this process serve the fixture app. The tests of a team, beside this folder, load ``app.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baton_settings, "_FOLDER", FOLDER)
        patch.setattr(gateway_module, "APP", APP)
        yield


def pytest_collection_finish() -> None:
    """Collect garbage again, without the tests and the packages that are loaded now."""
    gc.enable()
    keep_what_is_loaded()


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Compute password hashes at the least cost. Tests that need the cost of the policy use ``dear_passwords``."""
    with cheap_passwords():
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_rsa_keys() -> Iterator[None]:
    """Make few RSA keys for all identity providers of this process."""
    with few_rsa_keys():
        yield


@pytest.fixture(name="dear_passwords")
def _dear_passwords(_cheap_passwords: None) -> Iterator[None]:
    """Compute password hashes at the cost of the policy, as deployed."""
    with dear_passwords():
        yield


@pytest.fixture(scope="session", autouse=True)
def _watched() -> Iterator[None]:
    """Watch every request of every test."""
    with watching(seen):
        yield


@pytest.fixture(autouse=True)
def witness() -> Iterator[Witness]:
    """Check guarantee 10 in every test: no secret of its requests and answers was stored or logged."""
    seen.forget()
    yield seen
    leaks = seen.leaks()
    seen.forget()
    assert not leaks, "\n".join(leaks)


@pytest.fixture(scope="session")
def aws_clients() -> Iterator[None]:
    """Cache what boto3 reads from its files, so that a new client needs less time."""
    with remembered():
        yield


@pytest.fixture(scope="session")
def embedded_engine(aws_clients: None) -> Iterator[None]:
    """Serve every AWS client from memory, with a lock."""
    del aws_clients
    with embedded():
        keep_what_is_loaded()
        yield


@pytest.fixture(scope="session")
def dynoxide(aws_clients: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run dynoxide, which counts capacity and which several processes can use. Return its address."""
    del aws_clients
    program = counting_engine.find()
    if program is None:
        pytest.skip(NO_DYNOXIDE)
    with counting_engine.running(program, tmp_path_factory.mktemp("dynoxide") / "log") as address:
        yield address


@pytest.fixture
def tables(embedded_engine: None) -> Iterator[Tables]:
    """Create four empty tables for this test."""
    del embedded_engine
    tables = Tables(f"baton-{secrets.token_hex(4)}")
    with tables_in_moto(tables):
        yield tables


@pytest.fixture
def clock() -> DevelopmentClock:
    """Return the server's clock."""
    return DevelopmentClock()


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put the gateway in front of two environments, over tables of their own."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    return Gateway([load_environment(clock).app for _ in range(2)])


@pytest.fixture(scope="session")
def compiled() -> Contract:
    """Compile the schemas of the OpenAPI description once."""
    return Contract()


@pytest.fixture
def contract(compiled: Contract) -> Contract:
    """Return the OpenAPI description, to compare answers with."""
    return compiled.fresh()


@pytest.fixture
def send(gateway: Gateway, contract: Contract) -> Send:
    """Send a request through the gateway in this process, and compare the answer with the description."""
    return contract.judged(through(gateway))


@pytest.fixture
def make_device(send: Send, clock: DevelopmentClock) -> Callable[..., Device]:
    """Make devices that send requests through the gateway."""

    def make(**members: object) -> Device:
        return Device(send, lambda: int(clock.time()), **members)  # type: ignore[arg-type] # the arguments of Device

    return make


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Package for an architecture. Return a folder with zip and template, which all processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    @functools.cache
    def build(architecture: str) -> Path:
        folder = shared / f"packaged-{architecture}"
        with package.alone():
            if not folder.exists():
                archive = package.build("prod", architecture, clients="clients-dev.toml")
                shutil.copytree(archive.parent, folder.with_suffix(".part"))
                folder.with_suffix(".part").rename(folder)
        return folder

    return build


@pytest.fixture
def broken_engine(embedded_engine: None) -> Iterator[list[bool]]:
    """Make DynamoDB fail while the list is not empty."""
    del embedded_engine
    from moto.core.exceptions import JsonRESTError
    from moto.dynamodb.responses import DynamoHandler

    broken: list[bool] = []
    working = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> object:
        if broken:
            raise JsonRESTError("InternalServerError", "planted")
        return working(handler)

    DynamoHandler.call_action = call_action  # type: ignore[method-assign] # a seeded fault
    with contextlib.ExitStack() as after:
        after.callback(setattr, DynamoHandler, "call_action", working)
        yield broken


@pytest.fixture
def world() -> World:
    """Create a deployment in memory, without HTTP."""
    return World()
