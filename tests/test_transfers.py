"""The sample feature, by phones. Replace it with the tests of your own features: docs/baton/testing.md."""

from chalicelib.baton.testing.phone import PHONE_PASSWORD
from chalicelib.baton.testing.world import World

KEY = "transfer-7-abcdefgh"
TRANSFER = {"to": "Bob", "amount": 200}


def test_a_transfer_survives_a_lost_answer(world: World) -> None:
    """The phone sends it again, and gets the stored answer: the route ran once."""
    phone = world.phone()
    phone.lose_next_answer()
    reply = phone.post("/transfers", json=TRANSFER, idempotency_key=KEY)
    assert (reply.status, reply.replayed) == (201, True)
    assert reply.json == {"from": phone.account, **TRANSFER}


def test_a_key_is_for_one_transfer(world: World) -> None:
    """Another body under the same key is refused, and so is a transfer without a key."""
    phone = world.phone()
    assert phone.post("/transfers", json=TRANSFER, idempotency_key=KEY).status == 201
    assert phone.post("/transfers", json={"to": "Eve", "amount": 200}, idempotency_key=KEY).status == 422
    assert phone.post("/transfers", json=TRANSFER).code == "idempotency_key_required"


def test_a_large_transfer_needs_the_password(world: World) -> None:
    """Above 100.00, for exactly this body."""
    phone = world.phone()
    at_the_limit, above = ({"to": "Bob", "amount": amount} for amount in (10_000, 10_001))
    assert phone.post("/transfers", json=at_the_limit, idempotency_key=KEY).status == 201
    refused = phone.post("/transfers", json=above, idempotency_key=f"{KEY}-2")
    assert (refused.status, refused.code) == (401, "step_up_required")
    reply = phone.post("/transfers", json=above, idempotency_key=f"{KEY}-2", password=PHONE_PASSWORD)
    assert reply.status == 201


def test_a_stolen_token_transfers_nothing(world: World) -> None:
    """Without the key of the phone, the token is refused."""
    thief = world.thief_of(world.phone(), key=False)
    assert thief.post("/transfers", json=TRANSFER, idempotency_key=KEY).code == "signature_required"
