"""The contract of the storage, on DynamoDB."""

import secrets

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.factors.model import AddPasskey
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.policy import AUDIT_KEPT_S
from chalicelib.baton.storage.aws.service import AwsClient, TransactionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.factors import Factors
from chalicelib.baton.storage.dynamodb.identities import StoredIdentities
from chalicelib.baton.storage.dynamodb.identity_items import RemoveIdentities, removals
from chalicelib.baton.storage.dynamodb.items import of_account, state_item
from chalicelib.baton.storage.dynamodb.key_wrapping import LocalWrapper
from chalicelib.baton.storage.dynamodb.mail_users import MailUsers
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral, _ticket_key, key_of
from chalicelib.baton.storage.dynamodb.passkeys import credential_key
from chalicelib.baton.storage.dynamodb.provider_tokens import StoredProviderTokens
from chalicelib.baton.storage.dynamodb.storage import dynamodb_storage
from chalicelib.baton.storage.dynamodb.values import Item, number
from chalicelib.baton.testing.contract import StorageContract, StorageUnderTest
from chalicelib.baton.testing.contract.factor_values import PASSKEY
from chalicelib.baton.testing.contract.provider_tokens import APPLE, AT_APPLE
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    ATTRIBUTES,
    MINE_LIVE,
    NOW,
    SUPPORT,
    USER,
    state_with,
)
from tests.baton.memory import MemoryLog


def put_state(engine: DynamoDB, account_state: AccountState) -> None:
    """Store this account state, and overwrite an earlier account state."""
    engine.write("put_item", TableName=engine.tables.lineages, Item=state_item(account_state))


def read_events(dynamodb: AwsClient, engine: DynamoDB, account: AccountId) -> list[AuditEvent]:
    """Read the events of an account in the order of the sort key, as an operator does."""
    answer = dynamodb.call(
        "query",
        TableName=engine.tables.audit,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": of_account(account)["pk"]},
    )
    return [_event(item) for item in answer["Items"]]


def _event(item: Item) -> AuditEvent:
    assert int(item["expires"]["N"]) == int(item["at"]["N"]) + AUDIT_KEPT_S
    return AuditEvent(
        at=int(item["at"]["N"]),
        event=item["event"]["S"],
        account=AccountId(item["pk"]["S"].removeprefix("U#")),
        lineage=LineageId(item["lineage"]["S"]) if "lineage" in item else None,
        details={name: value["S"] for name, value in item["details"]["M"].items()},
    )


def storage_over(engine: DynamoDB, dynamodb: AwsClient) -> StorageUnderTest:
    """Build a storage over DynamoDB, with the two functions that bypass its methods."""
    return StorageUnderTest.of(
        dynamodb_storage(engine, LocalWrapper(), MemoryLog(), secrets.token_bytes),
        seed=lambda account_state: put_state(engine, account_state),
        events=lambda account: read_events(dynamodb, engine, account),
    )


class TestDynamoDB(StorageContract):
    """The contract, on DynamoDB."""

    @pytest.fixture
    def storage(self, engine: DynamoDB, dynamodb: AwsClient) -> StorageUnderTest:
        """Return the storage over new, empty tables."""
        return storage_over(engine, dynamodb)

    def test_removed_roles_attributes_and_requirements_leave_nothing_in_the_item(
        self, storage: StorageUnderTest, engine: DynamoDB
    ) -> None:
        """After the removal, an item without rights is as small as before.

        Each exchange would pay for an empty value.
        """
        storage.seed(replace(state_with(MINE_LIVE), roles=SUPPORT, attributes=ATTRIBUTES, second_factor_required=True))
        assert storage.lineages.set_roles(ACCOUNT, frozenset(), expected=SUPPORT) == Done()
        assert storage.lineages.set_attributes(ACCOUNT, b"") == Done()
        assert storage.lineages.set_second_factor(ACCOUNT, required=False) == Done()
        stored = engine.read(engine.tables.lineages, of_account(ACCOUNT))
        assert stored == state_item(state_with(MINE_LIVE))


def test_a_used_ticket_without_its_mark_is_our_own_trouble(engine: DynamoDB) -> None:
    """A damaged item is a server error and not a replay. Otherwise an app would report an attack."""
    store = Ephemeral(engine)
    assert store.consume_ticket(b"id", expires_at=NOW + 9, now=NOW, mark=b"mark") == Done()
    assert store.consume_nonce("key", "nonce", now=NOW, mark=b"mark") == Done()
    for key in (_ticket_key(b"id"), key_of("N", "key", "nonce")):
        item = {**key, "expires": number(NOW + 999_999)}
        engine.write("put_item", TableName=engine.tables.ephemeral, Item=item)
    with pytest.raises(Unavailable):
        store.consume_ticket(b"id", expires_at=NOW + 9, now=NOW, mark=b"mark")
    with pytest.raises(Unavailable):
        store.consume_nonce("key", "nonce", now=NOW, mark=b"mark")


def test_a_credential_without_its_account_is_our_own_trouble(engine: DynamoDB) -> None:
    """The account of the credential is unknown. So the answer must not be that another account has it."""
    MailUsers(engine).register(USER, state_with(MINE_LIVE))
    engine.write("put_item", TableName=engine.tables.users, Item=credential_key(PASSKEY.credential_id))
    with pytest.raises(Unavailable):
        Factors(engine).change_factors(ACTOR, AddPasskey(PASSKEY), remember=None, now=NOW)


@pytest.mark.parametrize("first", [b"", b"an earlier token"])
def test_a_token_that_comes_during_a_removal_is_not_lost(engine: DynamoDB, first: bytes) -> None:
    """The token comes between the read and the write of the removal, so the removal is cancelled and begins again."""
    tokens = StoredProviderTokens(engine)
    StoredIdentities(engine).sign_up(AT_APPLE, state_with(MINE_LIVE), APPLE)
    if first:
        tokens.keep(APPLE.index, ACCOUNT, first, now=NOW)
    parts = removals(engine, ACCOUNT, [APPLE.index], now=NOW)
    tokens.keep(APPLE.index, ACCOUNT, b"newer", now=NOW)
    with pytest.raises(TransactionFailed):
        engine.transact(*parts)
    assert tokens.of(APPLE.index, ACCOUNT) == b"newer"
    RemoveIdentities(engine)(ACCOUNT, [APPLE.index], now=NOW)
    assert StoredIdentities(engine).get(APPLE.index) is None
    assert [token.sealed for shard in range(16) for token in tokens.waiting(shard)] == [b"newer"]
