"""The Python client and second factors: a login in two steps, after a restart too, and step-ups with two factors."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baton_client import BatonClient, FileStorage, LoginStep, MemoryStorage, Offline, Proof, Refused
from tests.baton.finished import finished
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
    """The app gives a function, handles an exception, or continues after a restart.

    Wrong codes and lost answers are tested too.
    """
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
    begun = laptop.login(EMAIL, PASSWORD, "Ada's laptop")
    assert isinstance(begun, LoginStep)
    assert (begun.done, begun.factors) == (False, ("totp", "recovery_code"))
    restarted, _ = make_client(storage=storage)
    step = restarted.pending_step()
    assert step is not None
    step.prove(Proof(recovery_code=ada.codes[0]))
    assert step.recovery_codes_left == 9
    assert restarted.me()["amr"] == ["pwd", "recovery", "mfa"]
    assert restarted.pending_step() is None


def test_a_step_up_with_two_factors(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """The refusal names the two factors, and the person is asked once."""
    phone, ada = enrolled(make_client, clock)
    clock.skip(30)
    asked: list[list[str]] = []

    def confirm(refusal: Refused) -> Proof:
        asked.append(refusal.problem["factors"])
        return Proof(password=PASSWORD, totp=ada.fresh_code())

    phone.call("POST", "/me/factors/recovery-codes", confirm=confirm, repeat=True)
    assert asked == [["password", "totp"]]


def test_a_session_that_is_void_begins_anew(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """After ten minutes the session has expired, and the person must log in again."""
    _, ada = enrolled(make_client, clock)
    tablet, _ = make_client(storage=(storage := MemoryStorage()))
    begun = tablet.login(EMAIL, PASSWORD, "Ada's tablet")
    assert isinstance(begun, LoginStep)
    before = storage.read().pending
    clock.skip(601)
    with pytest.raises(Refused) as refused:
        begun.prove(Proof(totp=ada.code()))
    assert refused.value.code == "invalid_session"
    assert tablet.pending_step() is None
    tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=lambda _: Proof(totp=ada.code()))
    assert before is not None
    assert tablet.me()["acr"] == "aal2"


def test_a_wrong_code_is_shown_and_an_automatic_function_stops(
    make_client: MakeClient, clock: DevelopmentClock
) -> None:
    """The step contains the last refusal. The fifth refusal is raised, and the login still waits for its step."""
    enrolled(make_client, clock)
    tablet, _ = make_client()
    shown: list[str | None] = []

    def second_factor(step: LoginStep) -> Proof:
        shown.append(step.refusal.code if step.refusal else None)
        assert len(shown) < 20, "the function is called again and again"
        return Proof(recovery_code="AAAA-AAAA-AAAA-AAAA")

    with pytest.raises(Refused) as refused:
        tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=second_factor)
    assert refused.value.code == "invalid_factor"
    assert shown == [None] + ["invalid_factor"] * 4
    assert tablet.pending_step() is not None


def test_the_deadline_of_a_login_is_for_all_its_requests(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """Each round loses six requests, which takes 31.5 s of pauses. The third round is over the deadline."""
    _, ada = enrolled(make_client, clock)
    tablet, line = make_client(random=lambda: 1.0)
    rounds: list[str] = []

    def second_factor(step: LoginStep) -> Proof:
        rounds.append(step.problem["code"])
        line.lose_requests = 6
        return Proof(totp=wrong(ada.code()))

    with pytest.raises(Offline):
        tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=second_factor, deadline_s=80)
    assert rounds == ["factor_required"] * 3
    assert tablet.pending_step() is not None


def test_the_time_of_the_person_is_no_time_of_the_deadline(
    make_client: MakeClient, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person types for an hour, sees that a code was wrong, and then logs in."""
    _, ada = enrolled(make_client, clock)
    tablet, _ = make_client()
    asked: list[object] = []
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 3600 * len(asked))

    def second_factor(step: LoginStep) -> Proof:
        asked.append(step.refusal)
        return Proof(recovery_code=ada.codes[0] if step.refusal else "AAAA-AAAA-AAAA-AAAA")

    tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=second_factor, deadline_s=60)
    assert len(asked) == 2


def test_the_person_cancels_a_second_factor(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """The function returns `None`, or raises an error, which `login` passes on. The login waits for its step."""
    _, ada = enrolled(make_client, clock)
    tablet, _ = make_client()
    begun = tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=lambda _: None)
    assert isinstance(begun, LoginStep)
    assert begun.factors == ("totp", "recovery_code")

    def cancel(_: LoginStep) -> Proof:
        raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=cancel)
    with pytest.raises(TypeError, match="returns a Proof"):
        tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=lambda _: "123456")  # type: ignore[arg-type, return-value]
    step = tablet.pending_step()
    assert step is not None
    step.prove(Proof(recovery_code=ada.codes[0]))


def test_the_person_cancels_a_step_up(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """The function returns `None`: the refusal is raised, as without a function.

    Its `factors` list the required proofs.
    """
    phone, _ = enrolled(make_client, clock)
    with pytest.raises(Refused) as refused:
        phone.call("POST", "/me/factors/recovery-codes", confirm=lambda _: None)
    assert (refused.value.code, refused.value.factors) == ("step_up_required", ("password", "totp"))


def test_a_step_after_a_restart_says_which_screen_to_show(
    make_client: MakeClient, clock: DevelopmentClock, tmp_path: Path
) -> None:
    """The step has the factors of the account and the reason. A record of the earlier format is read too."""
    enrolled(make_client, clock)
    file = tmp_path / "session.json"
    begun = make_client(storage=FileStorage(file))[0].login(EMAIL, PASSWORD, "tablet")
    assert isinstance(begun, LoginStep)
    step = make_client(storage=FileStorage(file))[0].pending_step()
    assert step is not None
    assert (step.factors, step.problem["code"]) == (("totp", "recovery_code"), "factor_required")
    assert step.problem == begun.problem
    assert "auth_session" not in step.problem
    record = json.loads(file.read_bytes())
    for member in ("problem", "factors", "enrol"):
        record["pending"].pop(member, None)
    file.write_text(json.dumps(record), "utf-8")
    step = make_client(storage=FileStorage(file))[0].pending_step()
    assert step is not None
    assert (step.factors, step.enrol, step.problem) == ((), (), {})


def test_every_password_may_be_a_proof(make_client: MakeClient, clock: DevelopmentClock) -> None:
    """The account has a second factor, so the password is not enough for any of these calls."""
    phone, ada = enrolled(make_client, clock)
    tablet, _ = make_client()

    def log_in(app: BatonClient) -> str:
        clock.skip(60)
        begun = app.login(EMAIL, PASSWORD, "device", second_factor=lambda _: Proof(totp=ada.fresh_code()))
        return finished(begun).device_id

    def both() -> Proof:
        clock.skip(60)
        return Proof(password=PASSWORD, totp=ada.fresh_code())

    with pytest.raises(Refused) as refused:
        phone.export_account(PASSWORD)
    assert refused.value.code == "step_up_required"
    assert phone.export_account(both())["account"]["email"] == EMAIL
    phone.change_password(both(), PASSWORD)
    phone.end_device(log_in(tablet), password=both())
    phone.logout_everywhere(password=both())
    log_in(phone)
    phone.delete_account(both())
    assert phone.session is None
