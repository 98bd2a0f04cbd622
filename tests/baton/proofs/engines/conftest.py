"""The local engines: moto in this process, with or without a lock, and dynoxide, which several processes can use."""

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest

from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.testing import dynamodb as moto_tables
from tools.dev import engine

SWITCH_INTERVAL_S = 1e-5
GAP_S = 0.001


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Switch between threads much more often than the default."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def wide_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause moto between its check of a condition and its write."""
    from moto.dynamodb.parsing.validators import UpdateExpressionValidator

    validate: Callable[..., object] = UpdateExpressionValidator.validate

    def dawdling(validator: UpdateExpressionValidator) -> object:
        time.sleep(GAP_S)
        return validate(validator)

    monkeypatch.setattr(UpdateExpressionValidator, "validate", dawdling)


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the lock: moto as published. An exception inside moto becomes a 500, as it does over HTTP."""
    from moto.core.exceptions import JsonRESTError
    from moto.dynamodb.responses import DynamoHandler

    working = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> object:
        try:
            return working(handler)
        except RuntimeError as accident:  # a table that moto copied during a write
            raise JsonRESTError("InternalServerError", str(accident)) from accident

    monkeypatch.setattr(DynamoHandler, "call_action", call_action)
    monkeypatch.setattr(moto_tables, "_LOCK", nullcontext())


@pytest.fixture
def shared_tables(dynoxide: str, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """Create four empty tables for this test on dynoxide, and set the environment so that child processes use them."""
    monkeypatch.setenv(engine.ENDPOINT, dynoxide)
    tables = Tables(f"baton-{secrets.token_hex(4)}")
    engine.create_tables(tables)
    return tables  # the engine ends with the run, and its tables with it
