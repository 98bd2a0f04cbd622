"""Exactly-once calls on an engine that is not moto: the same contract."""

import pytest

from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from tests.baton.storage.once_contract import OnceContract

pytestmark = pytest.mark.guarantee(8)


class TestDynoxide(OnceContract):
    """The contract, on dynoxide."""

    @pytest.fixture
    def calls(self, shared_tables: Tables) -> OnceStore:
        """Give the store over a table of its own, empty."""
        return OnceCalls(DynamoDB(shared_tables))
