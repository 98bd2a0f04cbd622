"""As `test_lost_answers`, for identities. The tests have their own client, because botocore limits its repetitions."""

import pytest

from chalicelib.baton.effects import Done
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.identities import StoredIdentities
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.testing.contract.linked_identities import ACME, BOTH, GOOGLE, NEW_GOOGLE
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    MINE_LIVE,
    NOW,
    OTHER_LIVE,
    USER,
    VERSION,
    state_with,
)
from tests.baton.storage.test_lost_answers import Line, line

__all__ = ["line"]

pytestmark = pytest.mark.guarantee(1, 2, 8)


@pytest.fixture(scope="module")
def dynamodb(embedded_engine: None) -> AwsClient:
    """Return a client whose repetitions no other test has used up."""
    del embedded_engine
    return AwsClient("dynamodb")


@pytest.mark.parametrize("verb", ["sign_up", "link", "unlink"])
def test_a_change_of_identities_whose_answer_was_lost_is_done(engine: DynamoDB, line: Line, verb: str) -> None:
    """The store recognises its own write by the sealed subject or the next version. No version rises twice."""
    store, state = StoredIdentities(engine), state_with(MINE_LIVE, OTHER_LIVE)
    if verb == "link":
        Users(engine).register(USER, state)
        line.lose()
        assert store.link(ACTOR, USER, NEW_GOOGLE, remember=None, now=NOW) == Done()
    else:
        line.lose(verb == "sign_up")
        assert store.sign_up(BOTH, state, GOOGLE, ACME) == Done()
    if verb == "unlink":
        line.lose()
        assert store.unlink(ACTOR, BOTH, 2, expected=state, remember=None, now=NOW) == Done()
    user, account_state = Users(engine).get(ACCOUNT), LineageStore(engine).get(ACCOUNT)
    assert user is not None
    assert account_state is not None
    risen = verb != "sign_up"
    assert user.credentials_version == account_state.credentials_version == VERSION + risen
    assert account_state.epoch == EPOCH + (verb == "unlink")
    assert (2 in user.identities) is (verb != "unlink")
