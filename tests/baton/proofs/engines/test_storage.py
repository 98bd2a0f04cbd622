"""The storage contract on dynoxide."""

import pytest

from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.testing.contract import StorageContract, StorageUnderTest
from tests.baton.storage.test_dynamodb import storage_over


@pytest.mark.prove
class TestDynoxide(StorageContract):
    """The storage contract, on dynoxide."""

    @pytest.fixture
    def storage(self, shared_tables: Tables) -> StorageUnderTest:
        """Create the storage over empty tables."""
        dynamodb = AwsClient("dynamodb")
        return storage_over(DynamoDB(shared_tables, dynamodb), dynamodb)
