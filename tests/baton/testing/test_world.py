"""A world: thieves, the clock, faults of the storage, operator commands, and the log of the app."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.baton import errors
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.lineages.clients import UnknownRole
from chalicelib.baton.policy import ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES
from chalicelib.baton.testing.phone import PHONE_PASSWORD
from chalicelib.baton.testing.world import ARGON2_COST, World
from tests.baton.testing.conftest import APP, MakeWorld
from tests.baton.testing.placed import ORDERS

KEY = "order-7-abcdefgh"


# --- Thieves -----------------------------------------------------------------------------------------------------


def test_a_complete_copy_ends_with_the_login(world: World) -> None:
    """The phone and its copy exchange the same token and get the same child.

    When both exchange the child, the login ends.
    """
    owner = world.phone()
    thief = world.thief_of(owner)
    world.clock.skip(minutes=16)
    assert [phone.get("/orders").status for phone in (thief, owner)] == [200, 200]
    world.clock.skip(minutes=16)
    assert thief.get("/orders").status == 200
    assert owner.get("/orders").code == "token_reused"
    assert owner.logged_out == "reuse"
    assert thief.get("/orders").code == "login_required"
    assert thief.logged_out == "reuse"
    assert world.audit(owner.account)[-1].event == "token_reused"
    assert world.phone(owner.email).get("/orders").status == 200


def test_a_copy_that_is_behind_is_refused_and_the_owner_continues(world: World) -> None:
    """The owner exchanged twice in the meantime. The thief's token is superseded and useless."""
    owner = world.phone()
    thief = world.thief_of(owner)
    for _ in range(2):
        world.clock.skip(minutes=16)
        assert owner.get("/orders").status == 200
    assert thief.get("/orders").code == "superseded"
    assert owner.get("/orders").status == 200


def test_a_token_without_its_key_is_refused(world: World) -> None:
    """The thief makes a call and an exchange. The owner continues."""
    owner = world.phone()
    thief = world.thief_of(owner, key=False)
    assert thief.get("/orders").code == "signature_required"
    world.clock.skip(minutes=16)
    assert thief.get("/orders").code == "signature_required"
    assert owner.get("/orders").status == 200
    assert owner.logged_out is None


def test_an_owner_who_finds_a_copy_ahead_revokes_the_login(world: World) -> None:
    """The owner's phone was off while the thief exchanged twice."""
    owner = world.phone()
    thief = world.thief_of(owner)
    for _ in range(2):
        world.clock.skip(minutes=16)
        assert thief.get("/orders").status == 200
    assert owner.get("/orders").code == "superseded"
    assert owner.logged_out == "reuse"
    assert thief.get("/orders").status == 401
    assert thief.logged_out is not None


# --- Clock -------------------------------------------------------------------------------------------------------


def test_the_clock_moves_only_when_told(make_world: MakeWorld) -> None:
    """It moves by seconds, minutes, hours and days, and never back."""
    world = make_world()
    before = world.clock.now
    world.phone()
    assert world.clock.now == before
    world.clock.skip(seconds=1, minutes=1, hours=1, days=1)
    assert world.clock.now == before + 1 + 60 + 3600 + 86400
    with pytest.raises(ValueError, match="forward"):
        world.clock.skip(seconds=-1)


def test_a_login_ends_with_its_idle_limit(world: World) -> None:
    """The limit of client `mobile` is thirty days without an exchange."""
    phone = world.phone()
    world.clock.skip(days=31)
    assert phone.get("/orders").code == "login_required"
    assert phone.logged_out == "idle"


# --- Faults ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_is_a_503_and_the_login_stays_active(world: World, when: Any) -> None:
    """A retry with the same key succeeds."""
    phone = world.phone()
    world.storage.fail(when=when)
    reply = phone.post("/orders", json={"item": 7}, idempotency_key=KEY)
    assert (reply.status, reply.code, reply.json["action"]) == (503, "unavailable", "retry")
    assert ORDERS == []
    assert phone.post("/orders", json={"item": 7}, idempotency_key=KEY).status == 201
    assert ([(phone.account, 7)], phone.logged_out) == (ORDERS, None)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exchange_with_a_fault_is_repeated(world: World, when: Any) -> None:
    """The retry has the same attempt. If the first request had its effect, the retry is recognised."""
    phone = world.phone()
    world.clock.skip(minutes=16)
    world.storage.fail(when=when, verb="exchange")
    assert phone.get("/orders").status == 200
    assert ("exchange_retried" in world.events, phone.logged_out) == (when == "after", None)


def test_an_answer_that_was_not_stored_is_an_unknown_outcome(world: World) -> None:
    """The first request gets its answer.

    The next request waits, and its answer tells the app to check the outcome. The order is not placed again.
    """
    phone = world.phone()
    world.storage.fail(verb="store")
    assert phone.post("/orders", json={"item": 7}, idempotency_key=KEY).status == 201
    assert phone.post("/orders", json={"item": 7}, idempotency_key=KEY).code == "in_progress"
    world.clock.skip(seconds=21)
    assert phone.post("/orders", json={"item": 7}, idempotency_key=KEY).code == "outcome_unknown"
    assert len(ORDERS) == 1


def test_faults_are_counted_and_can_be_removed(make_world: MakeWorld) -> None:
    """A fault for an unknown method is an error of the test."""
    world = make_world()
    phone = world.phone()
    world.storage.fail(next=2)
    assert [phone.get("/orders").status for _ in range(3)] == [503, 503, 200]
    world.storage.fail(next=9)
    world.storage.fail(next=0)
    assert phone.get("/orders").status == 200
    with pytest.raises(ValueError, match="no store has 'exchagne'"):
        world.storage.fail(verb="exchagne")


# --- The operator ------------------------------------------------------------------------------------------------


def test_a_role_applies_from_the_next_call(world: World) -> None:
    """From the next call after its removal, the role no longer applies."""
    phone = world.phone()
    assert phone.get("/orders/all").code == "insufficient_role"
    world.set_roles(phone.email, {"support"})
    assert phone.get("/orders/all").json["by"] == phone.account
    world.set_roles(phone.email, {"admin"})
    assert phone.get("/orders/all").status == 403
    with pytest.raises(UnknownRole):
        world.set_roles(phone.email, {"superuser"})
    with pytest.raises(errors.NotFound):
        world.set_roles("nobody@example.com", {"support"})


def test_a_disabled_account_is_logged_out_until_it_is_enabled(world: World) -> None:
    """All its phones are logged out. Other accounts are not changed."""
    phone, other = world.phone(), world.phone()
    second = world.phone(phone.email)
    assert second.account == phone.account != other.account
    world.disable(phone.email)
    assert [one.get("/orders").status for one in (phone, second, other)] == [401, 401, 200]
    assert phone.logged_out == "account_disabled"
    with pytest.raises(ValueError, match="invalid_credentials"):
        world.phone(phone.email)
    world.enable(phone.email)
    assert world.phone(phone.email).get("/orders").status == 200


# --- Events ------------------------------------------------------------------------------------------------------


def test_the_log_and_the_audit_of_the_app_can_be_read(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """The world collects the lines, and prints nothing."""
    phone = world.phone()
    phone.post("/orders", json={"item": 7}, idempotency_key=KEY)
    assert "app_ordered" in world.events
    (line,) = (line for line in world.lines if line["message"] == "app_ordered")
    assert (line["account"], line["level"]) == (phone.account, "INFO")
    first, ordered = world.audit(phone.account)
    assert (first.event, ordered.event) == ("registered", "app_ordered")
    assert ordered.details == {"client": "mobile", "item": "7"}
    assert world.audit(world.phone().account)[0].event == "registered"
    assert capfd.readouterr().out == ""


# --- The world itself --------------------------------------------------------------------------------------------


def test_a_reply_shows_why_it_refuses_and_no_token(world: World) -> None:
    """A failed assertion of a test prints the reply."""
    phone = world.phone()
    assert repr(phone.get("/orders")) == "<Reply 200>"
    assert repr(phone.get("/nowhere")).startswith("<Reply 404 not_found: ")


def test_environments_alternate_over_one_storage(world: World) -> None:
    """A test cannot pass because of the memory of one environment."""
    phone = world.phone()
    assert len({phone.get("/orders").json["environment"] for _ in range(4)}) == 2


def test_two_worlds_share_nothing(make_world: MakeWorld) -> None:
    """They share neither accounts nor keys nor clocks."""
    first, second = make_world(), make_world(environments=1)
    first.phone("ada@example.com")
    assert second.phone("ada@example.com").get("/orders").status == 200
    with pytest.raises(LookupError, match="bob"):
        first.account_of("bob@example.com")
    first.clock.skip(days=1)
    assert second.clock.now < first.clock.now


def test_the_settings_are_those_of_the_world(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the process are ignored. Given settings apply."""
    monkeypatch.setenv("BATON_ISSUER", "nonsense")
    world = make_world(settings={"BATON_ISSUER": "https://login.example.org/v1", "BATON_RATE_LIMITS": "on"})
    assert world.phone().get("/orders").status == 200
    assert world.gateway.call("GET", "/v1/time").status == 200
    with pytest.raises(ValueError, match="BATON_TYPO"):
        make_world(settings={"BATON_TYPO": "1"})


def test_an_app_without_baton_is_refused(make_world: MakeWorld, tmp_path: Any) -> None:
    """The message names the missing part."""
    (tmp_path / "app.py").write_text("from chalice.app import Chalice\napp = Chalice(app_name='x')\n", "utf-8")
    with pytest.raises(TypeError, match="type Baton"):
        World(tmp_path / "app.py")


@pytest.mark.usefixtures("dear_passwords")
def test_passwords_are_cheap_only_in_a_world(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside its requests the cost of the policy applies, in the same process."""
    from argon2 import low_level

    costs: list[tuple[int, int, int]] = []
    stock = low_level.hash_secret

    def hash_secret(secret: bytes, salt: bytes, passes: int, memory: int, lanes: int, *named: Any) -> bytes:
        costs.append((memory, passes, lanes))
        return stock(secret, salt, passes, memory, lanes, *named)

    monkeypatch.setattr(low_level, "hash_secret", hash_secret)
    phone = make_world().phone()
    new = {"new_password": "granite umbrella conversation"}
    assert phone.post("/me/password", json=new, password=PHONE_PASSWORD).status == 204
    assert costs == [ARGON2_COST] * 2
    hash_password(b"another", salt=bytes(16))
    assert costs[2] == (ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES)


def test_without_moto_the_kit_reports_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is one line."""
    monkeypatch.setitem(sys.modules, "moto", None)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        World(APP, storage="moto")


def test_a_team_can_use_its_own_tables_in_moto(make_world: MakeWorld) -> None:
    """boto3 in the test and in the app use the same DynamoDB, whose data are deleted when the world ends."""
    import boto3

    with make_world(storage="moto"):
        dynamodb = boto3.client("dynamodb")
        before = dynamodb.list_tables()["TableNames"]
        assert len([name for name in before if name.startswith("baton-")]) >= 4


Journey = Callable[[World], Iterator[object]]


def journey(world: World) -> Iterator[object]:
    """Use phones, a thief, faults and the operator, and yield the results that a test would see."""
    ORDERS.clear()
    phone = world.phone("ada@example.com")
    second = world.phone("ada@example.com", client_id="simple", binding="none")
    thief = world.thief_of(second)
    yield phone.post("/orders", json={"item": 7}, idempotency_key=KEY).status
    yield phone.post("/orders", json={"item": 8}, idempotency_key=KEY).code
    world.clock.skip(minutes=16)
    phone.lose_next_answer()
    yield phone.get("/orders").json["items"]
    for _ in range(3):
        yield second.get("/orders").status, thief.get("/orders").status, second.logged_out, thief.logged_out
        world.clock.skip(minutes=16)
    world.storage.fail(next=2, when="after")
    yield [phone.get("/orders").status for _ in range(3)]
    world.set_roles("ada@example.com", {"support"})
    yield phone.get("/orders/all").json["items"]
    world.disable("ada@example.com")
    yield phone.get("/orders").json["code"], phone.logged_out
    yield [event.event for event in world.audit(phone.account)], world.events


def test_memory_and_moto_give_the_same_results(make_world: MakeWorld) -> None:
    """The results are status codes, error codes, ended logins, audit and events."""
    over_memory, over_moto = (list(journey(make_world(storage=storage))) for storage in ("memory", "moto"))
    assert len(over_memory) == 10
    assert over_memory == over_moto
