"""DynamoDB over tables of this test's own: moto, in process, serialised (``tools/dev/engine.py``)."""

import pytest

from chalicelib.stores.engine import Engine, Service, Tables


@pytest.fixture(scope="session")
def dynamodb(embedded_engine: None) -> Service:
    """Give DynamoDB, its client made once the engine answers."""
    del embedded_engine
    return Service("dynamodb")


@pytest.fixture
def engine(tables: Tables, dynamodb: Service) -> Engine:
    """Give an engine with tables of its own, empty."""
    return Engine(tables, dynamodb)
