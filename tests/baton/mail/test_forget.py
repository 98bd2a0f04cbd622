"""After the deletion of an account: its events are deleted, the team is called, and no order is lost silently."""

import secrets
from typing import Any

import pytest

from chalicelib.baton.accounts.forget import ForgetOrder
from chalicelib.baton.environment import Effects
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.http import jobs
from chalicelib.baton.keys.tickets import TicketInvalid, open_ticket, seal_ticket
from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.policy import DAY_S, FORGET_AFTER_S, REQUEST_MAX_S
from chalicelib.baton.service import Baton
from chalicelib.baton.settings import read_settings
from chalicelib.baton.storage.aws.mail import SqsOutbox
from chalicelib.baton.testing.world import World
from tests.baton.mail.town import ADA, Town

DEPLOYED = {
    "BATON_CLIENTS": "clients-dev.toml",
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_KEY_RING": "kms:alias/x",
    "BATON_TABLE_PREFIX": "baton-x",
}
QUEUE = {"BATON_MAIL_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/baton-x-mail"}


@pytest.fixture
def town() -> Town:
    """Make a deployment with mail, in one environment."""
    return Town(World("tests/baton/fixture_app/app.py", environments=1))


@pytest.fixture
def called(town: Town) -> list[str]:
    """List the accounts that the team's function gets."""
    accounts: list[str] = []
    town.world._baton.on_delete(accounts.append)
    return accounts


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Keep the orders in the queue, each with its delay. Nothing is delivered after an answer."""
    kept: list[tuple[str, int]] = []

    def put(_: PendingOrders, order: str, *, delay_s: int = 0) -> None:
        kept.append((order, delay_s))

    monkeypatch.setattr(PendingOrders, "put", put)
    return kept


def forgets(orders: list[tuple[str, int]]) -> list[str]:
    """Return the orders of deletions."""
    return [order for order, _ in orders if order.startswith("fo.")]


def deliver(order: str) -> None:
    """Call the function of the queue as Lambda does."""
    jobs.jobs({"Records": [{"messageId": "m", "body": order}]})


def test_a_deletion_leaves_one_event_and_calls_the_team(town: Town, called: list[str]) -> None:
    """The event has only the id and the time. All earlier events of the account are deleted."""
    phone = town.registered()
    account = town.world.account_of(ADA)
    assert len(town.world.audit(account)) == 1
    assert phone.confirmed("DELETE", "/me").status == 204
    (event,) = town.world.audit(account)
    assert (event.event, event.lineage, event.details) == ("account_deleted", None, {})
    assert event.at == town.world.clock.now
    assert called == [account]
    assert "account_forgotten" in town.world.events


def test_the_order_is_queued_before_the_deletion(town: Town, orders: list[tuple[str, int]]) -> None:
    """If the queue fails, nothing is deleted, and the app repeats the request.

    The order is carried out after the request.
    """
    phone = town.registered()

    def fail(*_: object, **__: object) -> None:
        raise Unavailable("planted")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PendingOrders, "put", fail)
        assert phone.confirmed("DELETE", "/me").status == 503
    assert phone.get("/me").status == 200
    assert phone.confirmed("DELETE", "/me").status == 204
    ((order, delay_s), *_notice) = orders
    assert order.startswith("fo.")
    assert delay_s == FORGET_AFTER_S > REQUEST_MAX_S


def test_an_order_for_an_account_that_is_not_deleted_is_dropped(
    town: Town, orders: list[tuple[str, int]], called: list[str]
) -> None:
    """The deletion failed after the order was queued. The account keeps its events, and the team is not called."""
    phone = town.registered()
    account = town.world.account_of(ADA)
    town.world.storage.fail(verb="delete")
    assert phone.confirmed("DELETE", "/me").status == 503
    (order,) = forgets(orders)
    deliver(order)
    assert called == []
    assert len(town.world.audit(account)) == 1
    assert phone.get("/me").status == 200
    assert town.world.events.count("forget_dropped") == 1


def test_a_disabled_account_is_not_forgotten(town: Town, orders: list[tuple[str, int]], called: list[str]) -> None:
    """Only the events of a deleted account are erased."""
    town.registered()
    account = town.world.account_of(ADA)
    town.world.disable(ADA)
    baton = town.world._baton
    assert baton.background.forget_later is not None
    baton.background.forget_later(account, now=town.world.clock.now)
    before = town.world.audit(account)
    deliver(forgets(orders)[0])
    assert (called, town.world.audit(account)) == ([], before)


def test_an_order_that_is_delivered_twice_leaves_the_same_event(
    town: Town, orders: list[tuple[str, int]], called: list[str]
) -> None:
    """The team is called at least once: its function must allow a second call."""
    phone = town.registered()
    account = town.world.account_of(ADA)
    assert phone.confirmed("DELETE", "/me").status == 204
    (order,) = forgets(orders)
    town.world.clock.skip(seconds=FORGET_AFTER_S)
    deliver(order)
    left = town.world.audit(account)
    town.world.clock.skip(seconds=FORGET_AFTER_S)
    deliver(order)
    assert len(left) == 1
    assert town.world.audit(account) == left
    assert called == [account, account]


def test_a_function_of_the_team_that_raises_is_called_again(town: Town, orders: list[tuple[str, int]]) -> None:
    """The order stays in the queue, and the defect is logged."""
    fails, called = [True], list[str]()

    def on_delete(account: str) -> None:
        if fails:
            raise OSError(fails.pop())
        called.append(account)

    town.world._baton.on_delete(on_delete)
    phone = town.registered()
    account = town.world.account_of(ADA)
    assert phone.confirmed("DELETE", "/me").status == 204
    (order,) = forgets(orders)
    with pytest.raises(OSError, match="True"):
        deliver(order)
    assert town.world.events[-1] == "internal_error"
    deliver(order)
    assert called == [account]


def test_a_table_that_fails_leaves_the_order_in_the_queue(
    town: Town, orders: list[tuple[str, int]], called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The team is called only after the events are deleted."""
    phone = town.registered()
    assert phone.confirmed("DELETE", "/me").status == 204

    def fail(*_: object) -> None:
        raise Unavailable("planted")

    audit = town.world._baton.audit
    with monkeypatch.context() as patch:
        patch.setattr(type(audit), "erase", fail)
        with pytest.raises(Unavailable):
            deliver(forgets(orders)[0])
    assert called == []
    deliver(forgets(orders)[0])
    assert len(called) == 1


def test_a_raised_not_before_time_loses_no_order(
    town: Town, orders: list[tuple[str, int]], called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The not-before time ends logins and the tickets of clients.

    The account stays deleted, so its order is carried out.
    """
    from msgspec.structs import replace

    phone = town.registered()
    assert phone.confirmed("DELETE", "/me").status == 204
    key_ring = town.world._baton.key_ring
    ring = replace(key_ring.current(now=town.world.clock.now), not_before=town.world.clock.now + 1)
    monkeypatch.setattr(type(key_ring), "current", lambda _, *, now: ring)
    deliver(forgets(orders)[0])
    assert len(called) == 1


@pytest.mark.parametrize("altered", ["fo.", "fo.AAAA", "fo.hello"])
def test_an_altered_order_becomes_a_dead_letter(town: Town, called: list[str], altered: str) -> None:
    """The order is not dropped: an order that Baton cannot read must raise an alarm."""
    with pytest.raises(TicketInvalid):
        deliver(altered)
    assert called == []


def test_an_order_for_a_mail_deletes_nothing(town: Town, orders: list[tuple[str, int]], called: list[str]) -> None:
    """The purpose of an order is part of its encryption."""
    phone = town.registered()
    assert phone.post("/me/email/code", {}).status == 202
    ((mail, _),) = orders
    with pytest.raises(TicketInvalid):
        deliver("fo." + mail.removeprefix("mo."))
    assert called == []


def test_an_order_outlives_a_dead_letter(town: Town) -> None:
    """An operator sends dead letters again within a day."""
    town.registered()
    ring, now = town.world._baton.key_ring.current(now=town.world.clock.now), town.world.clock.now
    order = ForgetOrder(id=secrets.token_bytes(16), issued_at=now, account=town.world.account_of(ADA))
    sealed = seal_ticket(order, ring, now=now)
    assert open_ticket(ForgetOrder, sealed, ring, now=now + DAY_S + 3600, bound_to={}) == order


# --- With and without a queue ----------------------------------------------------------------------------------------


def deployed(**settings: str) -> Baton:
    """Make a Baton with the settings of a deployment. Nothing is connected."""
    return Baton(read_settings(DEPLOYED | settings), Effects(lambda: 0, secrets.token_bytes))


def test_without_a_queue_the_teams_function_is_refused_at_the_start() -> None:
    """Otherwise the app would never be informed of a deletion. The message names the setting."""
    with pytest.raises(RuntimeError, match="BATON_MAIL_QUEUE"):
        deployed().on_delete(print)
    assert deployed().background.forget_later is None


def test_the_queue_does_not_need_mail() -> None:
    """With only ``BATON_MAIL_QUEUE``, the function of the queue exists, and no mail is sent."""
    baton = deployed(**QUEUE)
    baton.on_delete(print)
    assert baton.background.forget_later is not None
    assert isinstance(baton.background.forget_later.outbox, SqsOutbox)
    assert not baton.background.sends_mail
    with pytest.raises(RuntimeError, match="BATON_MAIL is off"):
        baton.background.carry_out("mo.x")


def test_there_is_one_function() -> None:
    """A second function would replace the first, so it is refused."""
    baton = deployed(**QUEUE)
    baton.on_delete(print)
    with pytest.raises(RuntimeError, match="called before"):
        baton.on_delete(print)


def test_in_development_a_deletion_is_carried_out_without_mail_too() -> None:
    """With ``BATON_MAIL=off``, the deletion is carried out after the answer."""
    town = Town(World("tests/baton/fixture_app/app.py", environments=1, settings={"BATON_MAIL": "off"}))
    called: list[Any] = []
    town.world._baton.on_delete(called.append)
    phone = town.registered()
    assert phone.confirmed("DELETE", "/me").status == 204
    assert len(called) == 1
