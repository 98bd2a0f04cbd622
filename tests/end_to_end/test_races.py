"""Sixteen at once."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from chalicelib.stores.engine import Tables
from tests.web.conversation import FORM, HOST, Device, Said
from tools.dev.gateway import DevelopmentClock, Gateway, load_environment

pytestmark = pytest.mark.promise(1, 3)

RACERS, ROUNDS = 16, 100


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put eight environments behind the gateway, so that eight requests really run at once."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    return Gateway([load_environment(clock).app for _ in range(8)])


def exchanged(phone: Device, token: str, attempt: str) -> Said:
    """Exchange a bearer token under an attempt."""
    body = urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode()
    headers = [("host", HOST), *FORM.items(), ("idempotency-key", attempt)]
    return phone.send("POST", "/api/oauth/token", headers, body)


def test_one_attempt_gives_sixteen_clients_one_child(make_device: Callable[..., Device]) -> None:
    """A hundred times: all sixteen are answered, and with one and the same child."""
    phone = make_device(client_id="simple", bound=False)
    token = str(phone.register("ada@example.com").members["refresh_token"])
    with ThreadPoolExecutor(RACERS) as pool:
        for generation in range(1, ROUNDS + 1):
            attempt = secrets.token_urlsafe(16)
            said = list(pool.map(lambda _, t=token, a=attempt: exchanged(phone, t, a), range(RACERS)))
            assert {answer.status for answer in said} == {200}, generation
            (token,) = {str(answer.members["refresh_token"]) for answer in said}
    phone.tokens = said[0].members
    assert phone.get("/me").status == 200


def test_different_attempts_leave_no_live_child_and_other_devices_alone(make_device: Callable[..., Device]) -> None:
    """A hundred times: at most one child is handed out, and it is dead; the account's other device never notices."""
    phone, tablet = make_device(client_id="simple", bound=False), make_device()
    phone.register("ada@example.com")
    tablet.login("ada@example.com")
    with ThreadPoolExecutor(RACERS) as pool:
        for number in range(ROUNDS):
            if number:
                phone.login("ada@example.com")
            token = str(phone.tokens["refresh_token"])
            attempts = [secrets.token_urlsafe(16) for _ in range(RACERS)]
            said = list(pool.map(lambda attempt, t=token: exchanged(phone, t, attempt), attempts))
            children = [answer for answer in said if answer.status == 200]
            assert len(children) <= 1, number
            assert {answer.code for answer in said if answer.status != 200} <= {"token_reused", "login_required"}
            for child in children:
                again = exchanged(phone, str(child.members["refresh_token"]), secrets.token_urlsafe(16))
                assert (again.code, again.members["reason"]) == ("login_required", "reuse")
    assert tablet.get("/me").status == 200
    assert tablet.exchange().status == 200
