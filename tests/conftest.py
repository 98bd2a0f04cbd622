"""What all tests share: no real AWS, and Baton behind its gateway over the embedded engine."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator

import pytest

from chalicelib.stores.engine import KEYS, Tables
from tests.web.contract import Contract
from tests.web.conversation import Device, Send, through
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
for name in [name for name in os.environ if name.startswith(("BATON_", "AWS_"))]:
    del os.environ[name]
os.environ |= ENVIRONMENT


@pytest.fixture(scope="session")
def embedded_engine() -> Iterator[None]:
    """Answer every AWS client from memory, serialised."""
    with embedded():
        yield


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
