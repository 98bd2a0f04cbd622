"""The Python client and second factors: a login in two steps, after a restart too, and step-ups with two factors."""

from collections.abc import Callable
from typing import Any

import pytest

from baton_client import BatonClient, FactorNeeded, FileStorage, LoginStep, MemoryStorage, Proof, Refused
from tests.baton.wire.conftest import PASSWORD, Line
from tests.baton.wire.second_factor import EMAIL, Person, wrong
from tools.dev.gateway import DevelopmentClock

MakeClient = Callable[..., tuple[BatonClient, Line]]


def enrolled(make_client: MakeClient, clock: DevelopmentClock) -> tuple[BatonClient, Person]:
    """Register a phone, and enrol an authenticator app on it."""
    phone, _ = make_client()
    phone.register(EMAIL, PASSWORD, "Ada's phone")
    ada = Person(lambda: int(clock.time()))
    begun = phone.call("POST", "/me/factors/totp", confirm=lambda _: PASSWORD).json()
    ada.secret = begun["secret"]
    confirmed = {"enrolment": begun["enrolment"], "totp": ada.fresh_code()}
    ada.codes = phone.call("POST", "/me/factors/totp/confirm", json=confirmed, repeat=True).json()["recovery_codes"]
    return phone, ada


@pytest.mark.guarantee(2, 14)
def test_a_login_in_two_steps(make_client: MakeClient, clock: DevelopmentClock, tmp_path: Any) -> None:
    """By a function of the app, by an exception, and after a restart; with wrong codes and lost answers in between."""
    phone, ada = enrolled(make_client, clock)
    assert phone.factors()["second_factor"] == "on"
    tablet, line = make_client()
    given: list[tuple[str, ...]] = []

    def second_factor(step: LoginStep) -> Proof:
        given.append(step.factors)
        line.lose_answers = 1
        return Proof(totp=wrong(ada.code()) if len(given) == 1 else ada.fresh_code())

    tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=second_factor)
    assert given == [("totp", "recovery_code")] * 2
    assert tablet.me()["acr"] == "aal2"

    storage = FileStorage(tmp_path / "session.json")
    laptop, _ = make_client(storage=storage)
    with pytest.raises(FactorNeeded) as needed:
        laptop.login(EMAIL, PASSWORD, "Ada's laptop")
    assert needed.value.step.factors == ("totp", "recovery_code")
    restarted, _ = make_client(storage=storage)
    step = restarted.pending_step()
    assert step is not None
    step.prove(Proof(recovery_code=ada.codes[0]))
    assert step.recovery_codes_left == 9
    assert restarted.me()["amr"] == ["pwd", "recovery", "mfa"]
    assert restarted.pending_step() is None


def test_a_step_up_with_two_factors(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """The refusal names them; the grant survives a lost answer, though the code counts once."""
    phone, ada = enrolled(make_client, clock)
    clock.skip(30)
    asked: list[list[str]] = []

    def confirm(refusal: Refused) -> Proof:
        asked.append(refusal.problem["factors"])
        return Proof(password=PASSWORD, totp=ada.fresh_code())

    phone.call("POST", "/me/factors/recovery-codes", confirm=confirm, repeat=True)
    assert asked == [["password", "totp"]]


def test_a_session_that_is_void_begins_anew(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """After ten minutes the person logs in again, under another attempt."""
    _, ada = enrolled(make_client, clock)
    tablet, _ = make_client(storage=(storage := MemoryStorage()))
    with pytest.raises(FactorNeeded) as needed:
        tablet.login(EMAIL, PASSWORD, "Ada's tablet")
    before = storage.read().pending
    clock.skip(601)
    with pytest.raises(Refused) as refused:
        needed.value.step.prove(Proof(totp=ada.code()))
    assert refused.value.code == "invalid_session"
    assert tablet.pending_step() is None
    tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=lambda _: Proof(totp=ada.code()))
    assert before is not None
    assert tablet.me()["acr"] == "aal2"
