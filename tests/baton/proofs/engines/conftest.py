"""The engines under test: moto in this process, serialised or as it is; dynoxide, which processes can share."""

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import boto3
import pytest

from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from chalicelib.baton.testing import dynamodb as moto_tables
from tools.dev import engine

SWITCH_INTERVAL_S = 1e-5
GAP_S = 0.001


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Let threads take turns far more often than they would."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def wide_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widen the gap between moto's check of a condition and its write."""
    from moto.dynamodb.parsing.validators import UpdateExpressionValidator

    validate: Callable[..., object] = UpdateExpressionValidator.validate

    def dawdling(validator: UpdateExpressionValidator) -> object:
        time.sleep(GAP_S)
        return validate(validator)

    monkeypatch.setattr(UpdateExpressionValidator, "validate", dawdling)


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the lock away: moto as it comes. What it stumbles over itself is a 500, as it is over HTTP."""
    from moto.core.exceptions import JsonRESTError
    from moto.dynamodb.responses import DynamoHandler

    working = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> object:
        try:
            return working(handler)
        except RuntimeError as accident:  # a table copied while it was written
            raise JsonRESTError("InternalServerError", str(accident)) from accident

    monkeypatch.setattr(DynamoHandler, "call_action", call_action)
    monkeypatch.setattr(moto_tables, "_LOCK", nullcontext())


@pytest.fixture
def shared_tables(dynoxide: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    """Give four empty tables of this test's own on dynoxide, where this process and its children will find them."""
    monkeypatch.setenv(engine.ENDPOINT, dynoxide)
    client = boto3.client("dynamodb")
    monkeypatch.setattr(engine, "client", lambda: client)
    tables = Tables(f"baton-{secrets.token_hex(4)}")
    engine.create_tables(tables)
    yield tables
    for table in KEYS:
        client.delete_table(TableName=tables.name(table))
