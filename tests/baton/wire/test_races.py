"""Sixteen parallel exchanges of one token."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.baton.policy import LINEAGE_KEPT_S, LINEAGES_MAX
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.fixture import load_environment
from tests.baton.proofs.engines.racing_baton import RACERS, exchanged, only_child
from tests.baton.wire.conversation import Device
from tools.dev.gateway import DevelopmentClock, Gateway

pytestmark = pytest.mark.guarantee(1, 3)

LENGTHS = pytest.mark.parametrize(
    "rounds", [5, pytest.param(20, marks=pytest.mark.prove(ci=True)), pytest.param(500, marks=pytest.mark.prove)]
)


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Serve with eight environments, so that eight requests run in parallel."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    return Gateway([load_environment(clock).app for _ in range(8)])


@LENGTHS
def test_one_attempt_gives_sixteen_clients_one_child(
    make_device: Callable[..., Device], rounds: int, record_property: Callable[[str, object], None]
) -> None:
    """In each round all sixteen exchanges are answered with the same child token."""
    phone = make_device(client_id="simple", bound=False)
    token = str(phone.register("ada@example.com").members["refresh_token"])
    with ThreadPoolExecutor(RACERS) as pool:
        for _ in range(rounds):
            attempt = secrets.token_urlsafe(16)
            said = list(pool.map(lambda _, t=token, a=attempt: exchanged(phone.send, t, a), range(RACERS)))
            token = only_child(said, rivals=False)
    phone.tokens = said[0].members
    assert phone.get("/me").status == 200
    record_property("cases", rounds)


@LENGTHS
def test_different_attempts_end_the_login_and_no_other_device(
    make_device: Callable[..., Device],
    clock: DevelopmentClock,
    rounds: int,
    record_property: Callable[[str, object], None],
) -> None:
    """In each round one child token is issued and the login ends. The other device of the account is not affected."""
    phone, tablet = make_device(client_id="simple", bound=False), make_device()
    phone.register("ada@example.com")
    tablet.login("ada@example.com")
    with ThreadPoolExecutor(RACERS) as pool:
        for number in range(rounds):
            if number:
                clock.skip(LINEAGE_KEPT_S // (LINEAGES_MAX - 2))  # otherwise the account state would be full
                assert phone.login("ada@example.com").status == 200
            token = str(phone.tokens["refresh_token"])
            attempts = [secrets.token_urlsafe(16) for _ in range(RACERS)]
            said = list(pool.map(lambda attempt, t=token: exchanged(phone.send, t, attempt), attempts))
            again = exchanged(phone.send, only_child(said, rivals=True), secrets.token_urlsafe(16))
            assert (again.code, again.members["reason"]) == ("login_required", "reuse")
    assert tablet.exchange().status == 200
    assert tablet.get("/me").status == 200
    record_property("cases", rounds)
