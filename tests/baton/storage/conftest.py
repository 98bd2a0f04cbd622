"""DynamoDB with tables for each test: moto, in this process, one call at a time (``tools/dev/engine.py``)."""

from collections.abc import Iterator

import pytest

from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from tools.dev.engine import over_http


@pytest.fixture(scope="session")
def dynamodb(embedded_engine: None) -> AwsClient:
    """Return the client of DynamoDB. It is made once, after the emulator answers."""
    del embedded_engine
    return AwsClient("dynamodb")


@pytest.fixture
def engine(tables: Tables, dynamodb: AwsClient) -> DynamoDB:
    """Return DynamoDB with new, empty tables."""
    return DynamoDB(tables, dynamodb)


@pytest.fixture(scope="module")
def endpoint(embedded_engine: None) -> Iterator[str]:
    """Serve the emulator on loopback: the same tables and keys, over HTTP."""
    del embedded_engine
    with over_http() as address:
        yield address
