"""A team's own transaction requires an active login: `liveness_condition`, on DynamoDB.

Each case runs a real ``TransactWriteItems`` with boto3's low-level client: the condition, and a write of the team
beside it. The rule (`may_act`) defines the expected result.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from moto.core.exceptions import JsonRESTError
from moto.dynamodb.responses import DynamoHandler
from msgspec.structs import replace

from chalicelib.baton.effects import Done
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, EndReason, Lineage, NoBinding, Status
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.storage.aws.service import CONFLICT_PAUSES_S
from chalicelib.baton.storage.dynamodb import state_writes
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import of_account
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.state_writes import ACTOR_LIVE, APP_LIVE, HANDED_OVER, NOT_HANDED_OVER
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.handovers import APP_GONE, BY_COOKIE, IN_BROWSER
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NOT_BEFORE,
    NOW,
    OTHER,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    USER,
    presented,
    state_with,
)
from tests.baton.memory import MemoryStores
from tests.baton.storage.test_dynamodb import put_state
from tests.baton.wire.conversation import Device
from tools.dev.engine import client

pytestmark = pytest.mark.guarantee(6)

ROLES: Final = frozenset({1, 7})
ORDER: Final = {"pk": {"S": "order-7"}, "by": {"S": ACCOUNT}}


class Team:
    """A team's code that writes an order while the login is active. It has its own table."""

    def __init__(self, engine: DynamoDB) -> None:
        """Store the database."""
        self.lineage_store, self.users, self.table = LineageStore(engine), Users(engine), engine.tables.ephemeral
        self.engine = engine

    def order(self, *, actor: Actor = ACTOR, roles: frozenset[int] | None = None, now: int = NOW) -> bool:
        """Write the order in a transaction with the condition. Return whether it was written."""
        condition: Any = self.lineage_store.liveness_condition(actor, roles=roles, now=now)
        put: Any = {"Put": {"TableName": self.table, "Item": ORDER}}
        key: Any = {"pk": ORDER["pk"]}
        try:
            client().transact_write_items(TransactItems=[condition, put])
        except ClientError as error:
            codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
        else:
            codes = []
        written = "Item" in client().get_item(TableName=self.table, Key=key, ConsistentRead=True)
        assert codes == ([] if written else ["ConditionalCheckFailed", "None"])
        client().delete_item(TableName=self.table, Key=key)
        return written


@pytest.fixture
def team(engine: DynamoDB) -> Team:
    """Return a team over empty tables, and an active login with two roles."""
    team = Team(engine)
    assert team.users.register(USER, replace(state_with(MINE_LIVE, OTHER_LIVE), roles=ROLES)) == Done()
    return team


def test_the_condition_is_one_element_of_a_transaction(team: Team, engine: DynamoDB) -> None:
    """The element has the form of boto3's low-level client. A failure returns nothing of the item."""
    (kind, check), *others = team.lineage_store.liveness_condition(ACTOR, roles=ROLES, now=NOW).items()
    assert (kind, others) == ("ConditionCheck", [])
    assert isinstance(check, dict)
    assert check["TableName"] == engine.tables.lineages
    assert check["Key"] == of_account(ACCOUNT)
    assert check.keys() == {
        "TableName",
        "Key",
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
    }


@pytest.mark.parametrize("roles", [None, ROLES], ids=["no role required", "a role required"])
def test_a_transaction_of_an_active_login_succeeds(team: Team, roles: frozenset[int] | None) -> None:
    """The transaction can be repeated, because nothing is consumed."""
    assert team.order(roles=roles)
    assert team.order(roles=roles)


@pytest.mark.parametrize(
    "lineage",
    [
        pytest.param(replace(MINE_LIVE, expires_at=NOW + 1), id="a second before it expires"),
        pytest.param(replace(MINE_LIVE, auth_time=NOT_BEFORE), id="of the not-before time"),
        pytest.param(replace(MINE_LIVE, issued_at=NOW - 10 * IDLE_S), id="idle until this call"),
        pytest.param(replace(MINE_LIVE, binding=NoBinding()), id="bound to no key"),
    ],
)
def test_a_transaction_succeeds_until_the_last_second_of_a_login(team: Team, lineage: Lineage) -> None:
    """Condition and rule end at the same second."""
    put_state(team.engine, state_with(lineage))
    assert team.order()


@pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
def test_a_transaction_of_an_inactive_login_fails(team: Team, inactive: AccountState, verdict: object) -> None:
    """Each case of the rule is tested, with and without required roles."""
    assert may_act(inactive, ACTOR, now=NOW) == verdict
    put_state(team.engine, replace(inactive, roles=ROLES))
    assert not team.order()
    assert not team.order(roles=ROLES)


def change_password(team: Team) -> None:
    """Change the password from another device."""
    actor = replace(ACTOR, lineage=OTHER)
    assert team.users.change_password(actor, b"new", expected=state_with(MINE_LIVE), now=NOW) == Done()


MEANWHILE: Final[dict[str, Callable[[Team], object]]] = {
    "logout": lambda team: team.lineage_store.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW),
    "ended by the owner": lambda team: team.lineage_store.end_device(replace(ACTOR, lineage=OTHER), MINE, now=NOW),
    "logout everywhere": lambda team: team.lineage_store.end_all(replace(ACTOR, lineage=OTHER), now=NOW),
    "reuse": lambda team: team.lineage_store.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW),
    "password change": change_password,
    "disable": lambda team: team.lineage_store.set_status(ACCOUNT, Status.DISABLED, now=NOW),
    "delete": lambda team: team.lineage_store.delete(replace(ACTOR, lineage=OTHER), now=NOW),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_transaction_fails_after_the_end_of_the_login(team: Team, meanwhile: str) -> None:
    """The login was active when the call was authorized, and ended before the write."""
    assert team.order()
    MEANWHILE[meanwhile](team)
    assert not team.order()
    assert not team.order(roles=ROLES)


def test_a_transaction_fails_for_an_account_that_was_disabled_and_enabled(team: Team) -> None:
    """Enabling an account does not make its logins active again."""
    for status in (Status.DISABLED, Status.ACTIVE):
        team.lineage_store.set_status(ACCOUNT, status, now=NOW)
    assert not team.order()


def test_a_transaction_fails_after_the_not_before_time_was_raised(team: Team) -> None:
    """The transaction compares the login with the not-before time of the deployment, which ``actor`` has."""
    assert team.order(actor=replace(ACTOR, not_before=MINE_LIVE.auth_time))
    assert not team.order(actor=replace(ACTOR, not_before=MINE_LIVE.auth_time + 1))


def test_a_transaction_of_an_expired_login_fails(team: Team) -> None:
    """A login is active in its last second, and not in the next second."""
    assert team.order(now=MINE_LIVE.expires_at - 1)
    assert not team.order(now=MINE_LIVE.expires_at)


def test_a_transaction_of_another_login_or_account_fails(team: Team) -> None:
    """A login that does not exist is not active."""
    assert team.order(actor=replace(ACTOR, lineage=OTHER))
    assert not team.order(actor=replace(ACTOR, lineage=LineageId("AQAAAAAAAAAAAAAZ")))
    assert not team.order(actor=replace(ACTOR, account=SOMEBODY_ELSE))


@pytest.mark.parametrize(
    "left", [frozenset[int](), frozenset({1}), frozenset({7, 8})], ids=lambda roles: str(set(roles))
)
def test_a_transaction_fails_after_a_required_role_was_removed(team: Team, left: frozenset[int]) -> None:
    """If the route requires no role, roles do not matter."""
    assert team.lineage_store.set_roles(ACCOUNT, left, expected=ROLES) == Done()
    assert not team.order(roles=ROLES)
    assert team.order(roles=left)
    assert team.order(roles=None)


def test_an_exchange_does_not_stop_a_transaction(team: Team) -> None:
    """The login has advanced and is active."""
    team.lineage_store.exchange(presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
    assert team.order()


@pytest.mark.parametrize("part", [*ACTOR_LIVE, NOT_HANDED_OVER])
def test_each_part_of_the_condition_is_required(team: Team, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one part, a login that is not active can write."""
    monkeypatch.setattr(state_writes, "ACTOR_LIVE", tuple(one for one in ACTOR_LIVE if one != part))
    if part == NOT_HANDED_OVER:
        monkeypatch.setattr(state_writes, "NOT_HANDED_OVER", ACTOR_LIVE[0])
    written = 0
    for inactive in (case.values[0] for case in INACTIVE):
        assert isinstance(inactive, AccountState)
        put_state(team.engine, inactive)
        written += team.order()
    assert written == 1


@pytest.mark.parametrize("part", [*APP_LIVE, *HANDED_OVER])
def test_each_part_about_the_app_is_required(team: Team, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one part, a browser can write whose app is no longer logged in."""
    put_state(team.engine, state_with(MINE_LIVE, IN_BROWSER))
    assert team.order(actor=BY_COOKIE)
    for name, parts in (("APP_LIVE", APP_LIVE), ("HANDED_OVER", HANDED_OVER)):
        monkeypatch.setattr(state_writes, name, tuple(one for one in parts if one != part))
    written = 0
    for gone in (case.values[0] for case in APP_GONE):
        assert isinstance(gone, AccountState)
        put_state(team.engine, gone)
        written += team.order(actor=BY_COOKIE)
    assert written == 1


@pytest.mark.parametrize(("gone", "verdict"), APP_GONE)
def test_a_transaction_of_a_browser_fails_after_the_end_of_its_app(
    team: Team, gone: AccountState, verdict: object
) -> None:
    """The condition for a team's transaction includes the login of the app."""
    assert may_act(gone, BY_COOKIE, now=NOW) == verdict
    put_state(team.engine, gone)
    assert not team.order(actor=BY_COOKIE)


def test_storage_in_memory_reports_that_it_has_no_transactions() -> None:
    """The message says why, and what to do."""
    with pytest.raises(NotImplementedError, match="BATON_STORAGE=dynamodb"):
        MemoryStores().lineage_store.liveness_condition(ACTOR, roles=None, now=NOW)


@pytest.mark.guarantee(2, 9)
def test_an_exchange_in_conflict_with_transactions_of_a_team_is_503(
    make_device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baton repeats the exchange for a while and then answers 503. Later the same attempt gets the child."""
    phone = make_device()
    phone.register("ada@example.com")
    stock, met = DynamoHandler.call_action, [0]

    def call_action(handler: DynamoHandler) -> object:
        if met[0] and "UpdateItem" in handler.headers["X-Amz-Target"]:
            met[0] -= 1
            raise JsonRESTError("TransactionConflictException", "planted")
        return stock(handler)

    monkeypatch.setattr(DynamoHandler, "call_action", call_action)
    tries = 1 + len(CONFLICT_PAUSES_S)
    met[0] = tries
    said = phone.exchange(attempt="an-attempt-that-is-repeated")
    assert (said.status, said.code, said.members["action"]) == (503, "unavailable", "retry")
    assert met == [0], "each of its attempts was in conflict"
    met[0] = tries - 1
    assert phone.exchange(attempt="an-attempt-that-is-repeated").status == 200
    assert phone.get("/me").status == 200
