"""A phone follows the client rules: it exchanges, repeats, steps up, and continues after a restart."""

from typing import Any

import pytest

from chalicelib.baton.testing.phone import PHONE_PASSWORD, SENDINGS_MAX, AnswerLost
from chalicelib.baton.testing.world import World
from tests.baton.testing.conftest import MakeWorld
from tests.baton.testing.placed import ORDERS

KEY = "order-7-abcdefgh"


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_an_order_survives_a_lost_message(world: World, lost: str) -> None:
    """The phone repeats the order with the same key: one order is placed, and a lost answer is returned again."""
    phone = world.phone()
    (phone.lose_next_request if lost == "request" else phone.lose_next_answer)()
    reply = phone.post("/orders", json={"item": 7}, idempotency_key=KEY)
    assert (reply.status, reply.json, reply.replayed) == (201, {"number": 1}, lost == "answer")
    assert [(phone.account, 7)] == ORDERS


def test_a_call_without_a_key_is_not_repeated(world: World) -> None:
    """The call may have had its effect. The phone reports an unknown outcome, and continues."""
    phone = world.phone()
    phone.lose_next_answer()
    with pytest.raises(AnswerLost, match="POST /drafts"):
        phone.post("/drafts")
    phone.lose_next_request()
    with pytest.raises(AnswerLost):
        phone.delete("/drafts")
    assert len(ORDERS) == 1
    phone.lose_next_answer()
    assert phone.get("/orders").json["items"] == [0]


def test_an_expired_token_is_exchanged_when_it_is_needed(world: World) -> None:
    """The phone exchanges it once, and not before it is needed."""
    phone = world.phone()
    phone.get("/orders")
    assert "exchanged" not in world.events
    world.clock.skip(minutes=16)
    assert [phone.get("/orders").status for _ in range(3)] == [200] * 3
    assert world.events.count("exchanged") == 1


def test_a_lost_answer_to_an_exchange_does_not_end_the_login(world: World) -> None:
    """The retry has the same attempt and gets the same token."""
    phone = world.phone()
    world.clock.skip(minutes=16)
    phone.lose_next_answer()
    assert phone.get("/orders").status == 200
    assert ("exchange_retried" in world.events, phone.logged_out) == (True, None)


def test_a_phone_continues_after_a_restart(world: World) -> None:
    """The phone stored the token and the attempt before it sent them."""
    phone = world.phone()
    world.clock.skip(minutes=16)
    phone.lose_next_answer(times=SENDINGS_MAX)
    with pytest.raises(AnswerLost):
        phone.get("/orders")
    phone.lose_next_request(times=100)
    phone.restart()
    assert phone.get("/orders").status == 200
    assert world.events.count("exchanged") == 1


def test_a_phone_steps_up_when_the_server_requires_it(world: World) -> None:
    """The grant is for exactly this order, with its key. One order is placed."""
    phone = world.phone()
    order = {"item": 7, "price": 10_001}
    assert phone.post("/orders", json=order, idempotency_key=KEY).code == "step_up_required"
    wrong = phone.post("/orders", json=order, idempotency_key=KEY, password="another long password")
    assert (wrong.status, wrong.code) == (401, "invalid_credentials")
    assert ORDERS == []
    assert phone.post("/orders", json=order, idempotency_key=KEY, password=PHONE_PASSWORD).status == 201
    again = phone.post("/orders", json=order, idempotency_key=KEY)
    assert (again.status, again.replayed, len(ORDERS)) == (201, True, 1)
    assert world.events.count("stepped_up") == 1


def test_the_query_is_signed_as_it_is_sent(make_world: MakeWorld) -> None:
    """The query may have any characters."""
    word = "caf\u00e9 & ~*-._ a+b=c/?%"
    reply = make_world().phone().get("/orders", query={"at_least": "1", "word": word})
    assert (reply.status, reply.json["word"]) == (200, word)


@pytest.mark.parametrize("method", ["put", "patch", "delete", "post"])
def test_requests_of_every_method_are_signed(make_world: MakeWorld, method: str) -> None:
    """Each request reaches its route."""
    phone = make_world().phone()
    assert getattr(phone, method)("/drafts").status == 201
    assert len(ORDERS) == 1


@pytest.mark.parametrize(
    ("client", "binding", "renewed"),
    [
        ("mobile", "key", True),
        ("mobile", "hmac", True),
        ("mobile-opaque", "key", True),
        ("simple", "none", True),
        ("legacy", "none", True),
        ("oauth", "hmac", True),
        ("session-api", "none", True),
        ("iot", "none", False),
    ],
)
def test_a_phone_of_every_client_keeps_its_login_for_an_hour(
    make_world: MakeWorld, client: str, binding: Any, *, renewed: bool
) -> None:
    """If the mechanism has an exchange, the phone exchanges its token."""
    world = make_world()
    phone = world.phone(client_id=client, binding=binding)
    for _ in range(4):
        assert phone.post("/orders", json={"item": 1}, idempotency_key=KEY).status == 201
        world.clock.skip(minutes=16)
    assert (len(ORDERS), "exchanged" in world.events or "renewed" in world.events) == (1, renewed)


def test_a_refused_login_reports_the_reason(make_world: MakeWorld) -> None:
    """The exception has the answer of the server in its message."""
    world = make_world()
    with pytest.raises(ValueError, match="signature_required"):
        world.phone(binding="none")
    with pytest.raises(ValueError, match="too_short"):
        world.phone("ada@example.com", password="short")
