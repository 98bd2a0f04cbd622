"""An item of refresh tokens that wait for their revocation has a limit.

The tests lower the limit: 400 writes take a minute.
"""

from collections.abc import Iterator

import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.federation.model import TokenToRevoke
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb import waiting_tokens
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.memory import identities as in_memory
from chalicelib.baton.storage.memory.tables import MemoryTables
from chalicelib.baton.testing.contract import StorageUnderTest
from chalicelib.baton.testing.contract.values import NOW
from tests.baton.storage import test_dynamodb, test_memory

MAX = 3
SHARD = 7


@pytest.fixture(params=["memory", "dynamodb"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, dynamodb: AwsClient) -> StorageUnderTest:
    """Return an empty storage whose items have room for three tokens."""
    monkeypatch.setattr(waiting_tokens, "TOKENS_PER_SHARD_MAX", MAX)
    monkeypatch.setattr(in_memory, "TOKENS_PER_SHARD_MAX", MAX)
    if request.param == "memory":
        return test_memory.storage_over(MemoryTables())
    engine: DynamoDB = request.getfixturevalue("engine")
    return test_dynamodb.storage_over(engine, dynamodb)


def of_one_shard() -> Iterator[TokenToRevoke]:
    """Yield tokens that wait in the same item."""
    for number in range(10_000):
        token = TokenToRevoke(AccountId(f"{number:016d}"), b"number %d" % number, NOW)
        if token.shard == SHARD:
            yield token


def test_a_full_item_takes_no_more_and_the_identity_is_removed_all_the_same(storage: StorageUnderTest) -> None:
    """The last token is dropped. Without this, no account of this item could be deleted."""
    tokens = of_one_shard()
    for _ in range(MAX + 1):
        token = next(tokens)
        test_memory.TestMemory().let_wait(storage, token)
        assert storage.identities.get(f"1#{token.id}") is None
    assert len(storage.provider_tokens.waiting(SHARD)) == MAX


def test_a_damaged_item_is_a_server_error(engine: DynamoDB) -> None:
    """Bug: an item without tokens was an internal error, not 503. Nothing may be removed in both cases."""
    token = next(of_one_shard())
    engine.write("put_item", TableName=engine.tables.users, Item=waiting_tokens.shard_key(SHARD))
    with pytest.raises(Unavailable, match="waiting tokens"):
        waiting_tokens.WaitingTokens(engine).add(token.account, token.sealed, now=NOW)
