"""The engine of these tests: moto, in process, serialised."""

import itertools
import os
from collections.abc import Iterator
from threading import RLock
from unittest.mock import patch

import pytest
from moto import mock_aws
from moto.dynamodb.responses import DynamoHandler

from chalicelib.stores.engine import KEYS, Engine, Service, Tables

AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
}

_numbers = itertools.count()


@pytest.fixture(scope="session")
def dynamodb() -> Iterator[Service]:
    """Give DynamoDB, one call at a time: stock moto has no lock and lets two callers win one condition."""
    lock = RLock()
    call_action = DynamoHandler.call_action

    def one_at_a_time(handler: DynamoHandler) -> object:
        with lock:
            return call_action(handler)

    with patch.dict(os.environ, AWS), patch.object(DynamoHandler, "call_action", one_at_a_time), mock_aws():
        yield Service("dynamodb")


@pytest.fixture
def engine(dynamodb: Service) -> Iterator[Engine]:
    """Give an engine with tables of its own, empty."""
    tables = Tables(f"test{next(_numbers)}")
    for table, key in KEYS.items():
        dynamodb.call(
            "create_table",
            TableName=tables.name(table),
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
        )
    yield Engine(tables, dynamodb)
    for table in KEYS:
        dynamodb.call("delete_table", TableName=tables.name(table))
