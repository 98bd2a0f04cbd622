"""The Python client and passkeys: it passes the options to the platform, and its answer to the server."""

from collections.abc import Callable
from typing import Any

import pytest

from baton_client import BatonClient, LoginStep, MemoryStorage, Proof, Refused
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.factors.authenticator import Authenticator
from tests.baton.wire.conftest import PASSWORD, Line
from tests.baton.wire.second_factor import EMAIL, factors_gateway
from tools.dev.gateway import DevelopmentClock, Gateway

MakeClient = Callable[..., tuple[BatonClient, Line]]


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put the gateway in front of an environment whose registry has passkeys, over tables in DynamoDB."""
    return factors_gateway(tables, clock, monkeypatch)


@pytest.fixture
def mine() -> Authenticator:
    """Return an authenticator without a passkey."""
    return Authenticator()


@pytest.fixture
def phone(make_client: MakeClient, mine: Authenticator) -> BatonClient:
    """Return Ada's phone, which registered and added a passkey."""
    phone, _ = make_client()
    phone.register(EMAIL, PASSWORD, "Ada's phone")
    assert phone.add_passkey(mine.create, "Ada's phone", confirm=lambda _: PASSWORD)["name"] == "Ada's phone"
    return phone


def test_a_login_with_a_passkey_alone(make_client: MakeClient, phone: BatonClient, mine: Authenticator) -> None:
    """An answer is lost, and the repetition has the same attempt."""
    assert len(phone.passkeys()["passkeys"]) == 1
    tablet, line = make_client()

    def get(options: dict[str, Any]) -> dict[str, Any]:
        line.lose_answers = 1
        return mine.get(options)

    session = tablet.login_with_passkey(get, "Ada's tablet")
    assert tablet.me()["acr"] == "phr"
    again = tablet.login_with_passkey(mine.get, "Ada's tablet")
    assert again.device_id != session.device_id


def test_a_login_with_an_unknown_passkey_names_it(
    make_client: MakeClient, phone: BatonClient, mine: Authenticator
) -> None:
    """The app tells the platform which passkey is unknown."""
    (passkey,) = phone.passkeys()["passkeys"]
    phone.remove_passkey(passkey["id"], confirm=lambda _: Proof(passkey=mine.get))
    tablet, _ = make_client()
    with pytest.raises(Refused) as refused:
        tablet.login_with_passkey(mine.get, "Ada's tablet")
    assert refused.value.code == "unknown_passkey"
    assert refused.value.problem["rp_id"] == "example.com"


def test_a_passkey_as_second_factor_and_for_a_step_up(
    make_client: MakeClient, phone: BatonClient, mine: Authenticator
) -> None:
    """If the app gives a function for passkeys, the client fetches the options."""
    phone.call("PUT", "/me/second-factor", json={"on": True}, confirm=lambda _: PASSWORD)
    tablet, _ = make_client()
    tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=lambda _: Proof(passkey=mine.get))
    assert tablet.me()["amr"] == ["pwd", "pop", "user", "mfa"]
    asked: list[Any] = []

    def confirm(refusal: Refused) -> Proof:
        asked.append(refusal.problem["factors"])
        return Proof(passkey=mine.get)

    tablet.logout_everywhere(confirm)
    assert asked == [["passkey"]]


def test_a_login_enrols_a_passkey(make_client: MakeClient, mine: Authenticator) -> None:
    """The client of the registry requires a factor. The app restarts during the login."""
    strict, _ = make_client("strict", storage=(storage := MemoryStorage()))
    assert isinstance(strict.register(EMAIL, PASSWORD, "Ada's phone"), LoginStep)
    step = make_client("strict", storage=storage)[0].pending_step()
    assert step is not None
    assert (step.factors, step.problem["code"]) == ((), "enrolment_required")
    assert step.enrol == ("totp", "passkey")
    step.enrol_passkey(mine.create)
    assert len(step.recovery_codes) == 10
    assert strict.me()["acr"] == "phr"


def test_a_fresh_login_is_upgraded(make_client: MakeClient, mine: Authenticator) -> None:
    """The upgrade needs no gesture and no proof."""
    phone, _ = make_client()
    phone.register(EMAIL, PASSWORD, "Ada's phone")
    phone.upgrade_to_passkey(lambda options: mine.create(options, flags=0))
    assert len(phone.passkeys()["passkeys"]) == 1
