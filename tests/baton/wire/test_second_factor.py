"""Logins that need a second factor, through the gateway: codes, sessions, remembered devices."""

import base64
import hmac
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from baton_client import content_digest
from chalicelib.baton import StepUp
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.policy import DAY_S, WRONG_TOTP_IN_A_ROW_MAX, WRONG_TOTP_PER_DAY_MAX
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from tests.baton.wire.contract import Contract
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD, Device, Said, Send, through
from tests.baton.wire.second_factor import (
    EMAIL,
    Deployment,
    Person,
    ask,
    attempt,
    grant_of,
    prove,
    set_roles,
    set_status,
    stepped,
    wrong,
)
from tools.dev.gateway import DevelopmentClock, Gateway

pytestmark = pytest.mark.guarantee(14)

RACERS = 16
MakeDevice = Callable[..., Device]


@pytest.fixture(scope="module")
def judge() -> Contract:
    """Return the OpenAPI description, to compare answers with. Compiling it takes longer than a test."""
    return Contract()


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    """Load the environments once for all tests."""
    return Deployment.load()


@pytest.fixture
def clock(deployment: Deployment) -> DevelopmentClock:
    """Return the clock of the environments, and empty the tables."""
    return deployment.begin()


@pytest.fixture
def send(deployment: Deployment, judge: Contract) -> Send:
    """Send a request through the gateway, and compare the answer with the description."""
    return judge.judged(through(Gateway([environment.app for environment in deployment.environments])))


@pytest.fixture
def baton(deployment: Deployment) -> Any:
    """Return the Baton of one environment, for the actions of an operator."""
    return deployment.environments[0].baton


@pytest.fixture
def ada(clock: DevelopmentClock) -> Person:
    """Return Ada, who has no authenticator app yet."""
    return Person(lambda: int(clock.time()))


@pytest.fixture
def phone(make_device: MakeDevice, ada: Person) -> Device:
    """Return Ada's phone: it registered, and enrolled her authenticator app."""
    phone = make_device()
    assert phone.register(EMAIL).status == 201
    ada.enrol(phone)
    return phone


def at_once(act: Callable[[int], Said], racers: int = RACERS) -> list[Said]:
    """Send this number of requests at the same time."""
    with ThreadPoolExecutor(racers) as pool:
        return list(pool.map(act, range(racers)))


# --- Logging in ---------------------------------------------------------------------------------------------------


def test_a_login_with_the_second_factor(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """With only the password, the answer has a session and no token. With the code, the login is aal2."""
    tablet = make_device()
    asked = ask(tablet)
    assert (asked.status, asked.code, asked.members["action"]) == (403, "factor_required", "prove_factor")
    assert asked.members["error"] == "insufficient_authorization"
    assert (asked.members["factors"], asked.members["expires_in"]) == (["totp", "recovery_code"], 600)
    assert "access_token" not in asked.members
    assert prove(tablet, asked, totp=wrong(ada.code())).code == "invalid_factor"
    assert prove(tablet, asked, totp=ada.fresh_code()).status == 200
    shown = tablet.get("/me").members
    assert (shown["acr"], shown["amr"]) == ("aal2", ["pwd", "otp", "mfa"])
    assert shown["auth_time"] <= ada.clock()
    assert phone.get("/me").members["acr"] == "aal1"


def test_the_factors_are_shown(ada: Person, phone: Device) -> None:
    """The answer has the factors of the account, with the time of enrolment and the number of recovery codes."""
    shown = phone.get("/me/factors").members
    assert shown["second_factor"] == "on"
    assert shown["totp"]["enrolled_at"] <= ada.clock()
    assert shown["recovery_codes"] == {"left": 10, "low": False}


def test_an_account_without_a_factor_is_not_asked(make_device: MakeDevice) -> None:
    """The password is enough for its login."""
    phone = make_device()
    phone.register(EMAIL)
    assert phone.login(EMAIL).status == 200
    assert phone.get("/me/factors").members == {
        "second_factor": "off",
        "recovery_codes": {"left": 0, "low": False},
        "passkeys": 0,
    }


def test_the_confirming_code_is_used(make_device: MakeDevice, clock: DevelopmentClock, ada: Person) -> None:
    """A person who saw the code on the screen cannot log in with it."""
    phone = make_device()
    phone.register(EMAIL)
    ada.enrol(phone)
    seen = ada.code(ada.used_step - ada.clock() // 30)
    tablet = make_device()
    assert prove(tablet, ask(tablet), totp=seen).code == "invalid_factor"
    clock.skip(30)
    assert prove(tablet, ask(tablet), totp=ada.fresh_code()).status == 200


def test_a_code_is_used_once_and_no_earlier_one_after_it(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """Two codes are both in their time. After the later code was used, the earlier code is refused."""
    del phone
    clock.skip(60)
    later, earlier = ada.code(1), ada.code()
    tablet = make_device(client_id="forgetful")
    assert prove(tablet, ask(tablet), totp=later).status == 200
    for code in (later, earlier):
        assert prove(tablet, ask(tablet), totp=code).code == "invalid_factor"


def test_one_of_sixteen_logins_uses_a_code(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """Sixteen devices send the same code at the same time."""
    del phone
    devices = [make_device(client_id="simple", bound=False) for _ in range(RACERS)]
    attempts = [attempt() for _ in devices]
    sessions = [ask(device, attempt=mine) for device, mine in zip(devices, attempts, strict=True)]
    code = ada.fresh_code()
    said = at_once(lambda place: prove(devices[place], sessions[place], attempt=attempts[place], totp=code))
    assert [one.status for one in said].count(200) == 1
    assert {one.code for one in said} == {"", "invalid_factor"}


def test_the_same_request_again_gets_the_same_tokens(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """After a lost answer, the request is repeated at the same time, and minutes later, when the code has expired."""
    del phone
    tablet, mine = make_device(), attempt()
    session, code = ask(tablet, attempt=mine), ada.fresh_code()
    said = at_once(lambda _: prove(tablet, session, attempt=mine, totp=code))
    assert {one.status for one in said} == {200}
    assert len({one.members["access_token"] for one in said}) == 1
    clock.skip(400)
    late = prove(tablet, session, attempt=mine, totp=code)
    assert late.members["access_token"] == said[0].members["access_token"]


def test_repeating_the_first_step_fetches_no_tokens(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """A thief with the password who repeats the owner's first step does not get the tokens of the owner's login."""
    del phone
    tablet, mine = make_device(client_id="forgetful"), attempt()
    assert prove(tablet, ask(tablet, attempt=mine), attempt=mine, totp=ada.fresh_code()).status == 200
    assert ask(tablet, attempt=mine).code == "factor_required"


# --- Recovery codes -----------------------------------------------------------------------------------------------


def test_a_recovery_code_replaces_the_app(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """It works once, in any spelling of a person. The device is not remembered."""
    del phone
    tablet = make_device()
    spelled = ada.codes[0].lower().replace("-", " ")
    said = prove(tablet, ask(tablet), recovery_code=spelled)
    assert (said.status, said.members["recovery_codes_left"]) == (200, 9)
    assert tablet.get("/me").members["amr"] == ["pwd", "recovery", "mfa"]
    again = ask(tablet)
    assert again.code == "factor_required"
    assert prove(tablet, again, recovery_code=ada.codes[0]).code == "invalid_factor"
    assert prove(tablet, again, recovery_code=ada.codes[1], remember_device=True).status == 200


def test_one_of_sixteen_logins_uses_a_recovery_code(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """The same request again gets the same tokens."""
    del phone
    devices = [make_device(client_id="simple", bound=False) for _ in range(RACERS)]
    attempts = [attempt() for _ in devices]
    sessions = [ask(device, attempt=mine) for device, mine in zip(devices, attempts, strict=True)]

    def use(place: int) -> Said:
        return prove(devices[place], sessions[place], attempt=attempts[place], recovery_code=ada.codes[0])

    said = at_once(use)
    assert [one.status for one in said].count(200) == 1
    winner = next(place for place, one in enumerate(said) if one.status == 200)
    assert use(winner).members["access_token"] == said[winner].members["access_token"]


def test_ten_recovery_codes_at_the_same_time_are_each_used(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """No write undoes another write."""
    devices = [make_device(client_id="simple", bound=False) for _ in ada.codes]
    sessions = [ask(device) for device in devices]
    said = at_once(lambda place: prove(devices[place], sessions[place], recovery_code=ada.codes[place]), 10)
    assert [one.status for one in said] == [200] * 10
    assert phone.get("/me/factors").members["recovery_codes"] == {"left": 0, "low": True}


def test_a_recovery_code_is_no_step_up(ada: Person, phone: Device) -> None:
    """The body of `/step-up` has no such member."""
    assert grant_of(phone, "DELETE", "/me", recovery_code=ada.codes[0]).code == "unknown_field"


def test_renewed_codes_replace_the_old_ones(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """A repetition with the same attempt shows the new codes again. The old codes are refused."""
    path, key = "/me/factors/recovery-codes", {"idempotency-key": attempt()}
    first = stepped(phone, "POST", path, totp=ada.fresh_code(), headers=key)
    clock.skip(30)
    again = stepped(phone, "POST", path, totp=ada.fresh_code(), headers=key)
    assert first.status == again.status == 200
    assert first.members == again.members
    assert set(first.members["recovery_codes"]).isdisjoint(ada.codes)
    tablet = make_device()
    assert prove(tablet, ask(tablet), recovery_code=ada.codes[0]).code == "invalid_factor"
    assert prove(tablet, ask(tablet), recovery_code=first.members["recovery_codes"][0]).status == 200


# --- A thief with a stolen login ----------------------------------------------------------------------------------

CHANGES = [
    ("DELETE", "/me/factors/totp", b""),
    ("POST", "/me/factors/totp", b""),
    ("POST", "/me/factors/recovery-codes", b""),
    ("PUT", "/me/second-factor", b'{"on": false}'),
    ("DELETE", "/me", b""),
    ("POST", "/me/password", b'{"new_password": "granite umbrella conversation"}'),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_stolen_login_changes_nothing_by_the_password_alone(
    ada: Person, phone: Device, method: str, path: str, body: bytes
) -> None:
    """The app is not enough either, because a thief of the phone has it too. Both together are enough."""
    nothing = phone.request(method, path, body, {"content-type": "application/json"} if body else {})
    assert (nothing.code, nothing.members["acr_values"]) == ("step_up_required", "aal2")
    assert nothing.members["factors"] == ["password", "totp"]
    assert stepped(phone, method, path, body).code == "step_up_required"
    assert stepped(phone, method, path, body, password=None, totp=ada.fresh_code()).code == "step_up_required"
    assert phone.get("/me/factors").members["second_factor"] == "on"


def test_the_app_alone_is_no_step_up_of_an_account_that_is_not_asked(
    clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """The owner switched the second factor off and keeps the app.

    A thief of the phone has the app, but not the password.
    """
    off = stepped(phone, "PUT", "/me/second-factor", b'{"on": false}', totp=ada.fresh_code())
    assert off.status == 200
    clock.skip(30)
    removal = ("DELETE", "/me/factors/totp")
    assert stepped(phone, *removal, password=None, totp=ada.fresh_code()).code == "step_up_required"
    assert stepped(phone, *removal).status == 204


def test_password_and_code_together_change_a_factor(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """The removal of the last factor switches the second factor off, so logins need no factor any more."""
    clock.skip(30)
    assert stepped(phone, "DELETE", "/me/factors/totp", totp=ada.fresh_code()).status == 204
    assert phone.get("/me/factors").members["second_factor"] == "off"
    assert make_device().login(EMAIL).status == 200
    assert stepped(phone, "DELETE", "/me/factors/totp").code == "not_found"


def test_a_grant_is_void_once_a_factor_changed(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """The grant was made for the earlier credentials version."""
    tablet = make_device()
    assert prove(tablet, ask(tablet), totp=ada.fresh_code()).status == 200
    clock.skip(30)
    grant = grant_of(tablet, "DELETE", "/me", password="copper lantern drifting sideways", totp=ada.fresh_code())
    assert grant.status == 200
    clock.skip(30)
    codes = stepped(phone, "POST", "/me/factors/recovery-codes", totp=ada.fresh_code())
    assert codes.status == 200
    said = tablet.request("DELETE", "/me", b"", {"baton-grant": grant.members["grant"]})
    assert said.code == "grant_invalid"


def test_a_login_by_recovery_code_may_replace_the_lost_app(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """For fifteen minutes the password is enough, but only to change factors."""
    del phone
    tablet = make_device()
    assert prove(tablet, ask(tablet), recovery_code=ada.codes[0]).status == 200
    assert stepped(tablet, "DELETE", "/me").code == "step_up_required"
    assert stepped(tablet, "PUT", "/me/second-factor", b'{"on": false}').code == "step_up_required"
    clock.skip(900 - 30)
    assert stepped(tablet, "DELETE", "/me/factors/totp").status == 204
    ada.secret = ""
    ada.enrol(tablet)
    assert tablet.get("/me/factors").members["second_factor"] == "on"


def test_a_login_by_recovery_code_901_seconds_old_is_no_exception(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """After this time it has no special right."""
    del phone
    tablet = make_device()
    assert prove(tablet, ask(tablet), recovery_code=ada.codes[0]).status == 200
    clock.skip(901)
    assert tablet.exchange().status == 200
    said = tablet.request("DELETE", "/me/factors/totp")
    assert (said.code, said.members["acr_values"]) == ("step_up_required", "aal2")
    assert stepped(tablet, "DELETE", "/me/factors/totp").code == "step_up_required"


# --- No client is a way around ------------------------------------------------------------------------------------


def test_a_client_that_cannot_ask_is_no_way_around(make_device: MakeDevice, phone: Device) -> None:
    """The value `off` means that the client cannot ask, not that no factor is needed."""
    del phone
    said = make_device(client_id="plain").login(EMAIL)
    assert (said.status, said.code) == (403, "second_factor_unsupported")
    assert "auth_session" not in said.members


@pytest.mark.parametrize("client_id", ["mobile", "simple", "strict", "forgetful"])
def test_every_other_client_asks(make_device: MakeDevice, phone: Device, client_id: str) -> None:
    """A client with `optional` also asks for the factor, if the account requires a factor."""
    del phone
    assert make_device(client_id=client_id).login(EMAIL).code == "factor_required"


@pytest.mark.parametrize("role", ["admin", "support"])
def test_a_role_asks(make_device: MakeDevice, baton: Any, role: str) -> None:
    """The role requires a second factor, so an account without a factor must enrol a factor."""
    phone = make_device()
    phone.register(EMAIL)
    set_roles(baton, role)
    said = make_device().login(EMAIL)
    assert said.code == ("enrolment_required" if role == "admin" else "")
    assert phone.get("/me/factors").members["second_factor"] == ("required" if role == "admin" else "off")


def test_a_login_from_before_a_role_is_asked_at_step_up(make_device: MakeDevice, baton: Any) -> None:
    """The role does not end the login, but a step-up of this login needs more than the password."""
    phone = make_device()
    phone.register(EMAIL)
    assert stepped(phone, "POST", "/me/factors/totp").status == 200
    set_roles(baton, "admin")
    assert stepped(phone, "DELETE", "/me").code == "step_up_required"


def test_what_is_required_stays_switched_on(
    make_device: MakeDevice, clock: DevelopmentClock, baton: Any, ada: Person, phone: Device
) -> None:
    """The owner may switch the second factor off, unless a role requires it."""
    del make_device
    off = b'{"on": false}'
    set_roles(baton, "admin")
    clock.skip(30)
    said = stepped(phone, "PUT", "/me/second-factor", off, totp=ada.fresh_code())
    assert (said.status, said.code) == (403, "second_factor_required")
    set_roles(baton)
    clock.skip(30)
    assert stepped(phone, "PUT", "/me/second-factor", off, totp=ada.fresh_code()).members == {}
    assert phone.get("/me/factors").members["second_factor"] == "off"
    assert phone.login(EMAIL).status == 200
    assert stepped(phone, "PUT", "/me/second-factor", b'{"on": true}').members == {}
    assert phone.login(EMAIL).code == "factor_required"


def test_the_switch_needs_a_factor(make_device: MakeDevice) -> None:
    """An owner without a factor cannot switch the second factor on, because that would lock the account."""
    phone = make_device()
    phone.register(EMAIL)
    assert stepped(phone, "PUT", "/me/second-factor", b'{"on": true}').code == "factor_missing"
    assert stepped(phone, "POST", "/me/factors/recovery-codes").code == "factor_missing"


# --- Enrolment at a client that requires a factor -----------------------------------------------------------------


def enrolled_at(device: Device, asked: Said, ada: Person, **named: Any) -> Said:
    """Enrol the app during a login."""
    session = asked.members["auth_session"]
    headers = {"idempotency-key": named["attempt"]} if "attempt" in named else {}
    begun = device.post("/login/enrol", {"auth_session": session, "kind": "totp"}, headers, token=None)
    assert begun.status == 200, begun
    ada.secret, ada.used_step = begun.members["secret"], 0
    return prove(device, asked, enrolment=begun.members["enrolment"], totp=ada.fresh_code(), **named)


@pytest.mark.parametrize("path", ["/register", "/login"])
def test_a_client_that_requires_a_factor_has_one_enrolled(make_device: MakeDevice, ada: Person, path: str) -> None:
    """A registration makes the account, but no login before the enrolment.

    A login of an account without a factor enrols too.
    """
    phone = make_device(client_id="strict")
    if path == "/login":
        make_device().register(EMAIL)
    asked = ask(phone, path=path)
    assert (asked.status, asked.code, asked.members["action"]) == (403, "enrolment_required", "enrol_factor")
    assert asked.members["enrol"] == ["totp", "passkey"]
    said = enrolled_at(phone, asked, ada)
    assert (said.status, len(said.members["recovery_codes"])) == (200, 10)
    assert phone.get("/me").members["amr"] == ["pwd", "otp", "mfa"]
    assert phone.get("/me/factors").members["second_factor"] == "required"
    assert ask(phone).status == 200, "the key has just proved the factor"
    assert make_device(client_id="strict").login(EMAIL).code == "factor_required"


def test_an_enrolment_at_a_login_can_be_repeated(make_device: MakeDevice, ada: Person) -> None:
    """A repeated registration needs the enrolment too. After the enrolment, it returns the login."""
    phone, mine = make_device(client_id="strict"), attempt()
    asked = ask(phone, path="/register", attempt=mine)
    assert ask(phone, path="/register", attempt=mine).code == "enrolment_required", "the registration, repeated"
    first = enrolled_at(phone, asked, ada, attempt=mine)
    begun_again = phone.post(
        "/login/enrol",
        {"auth_session": asked.members["auth_session"], "kind": "totp"},
        {"idempotency-key": mine},
        token=None,
    )
    assert begun_again.code == "invalid_session"
    assert first.status == 200
    assert ask(phone, path="/register", attempt=mine).status == 201, "the key has just proved the factor"
    assert ask(make_device(client_id="strict", key=phone.key), path="/register", attempt=attempt()).status == 409


def test_a_repeated_registration_is_no_way_around(make_device: MakeDevice, ada: Person) -> None:
    """Its attempt finds the first login of the account, but its password is no longer enough."""
    phone, mine = make_device(client_id="forgetful"), attempt()
    said = ask(phone, path="/register", attempt=mine)
    phone.tokens = said.members
    assert ask(phone, path="/register", attempt=mine).status == 201
    ada.enrol(phone)
    assert ask(phone, path="/register", attempt=mine).code == "factor_required"


def test_a_stolen_password_enrols_no_further_factor(make_device: MakeDevice, phone: Device) -> None:
    """If the account has a factor, the login must prove that factor. Its session cannot enrol another factor."""
    del phone
    thief = make_device(client_id="strict")
    asked = ask(thief)
    body = {"auth_session": asked.members["auth_session"], "kind": "totp"}
    assert thief.post("/login/enrol", body, token=None).code == "factor_required"


def test_a_second_app_is_not_enrolled(ada: Person, phone: Device, clock: DevelopmentClock) -> None:
    """The first app must be removed before."""
    clock.skip(30)
    assert stepped(phone, "POST", "/me/factors/totp", totp=ada.fresh_code()).code == "factor_exists"


def test_an_enrolment_from_before_a_change_of_the_password_is_void(make_device: MakeDevice, ada: Person) -> None:
    """A thief began it on this login with the old password, and has the secret. The owner changes the password."""
    phone = make_device()
    phone.register(EMAIL)
    begun = stepped(phone, "POST", "/me/factors/totp").members
    ada.secret = begun["secret"]
    change = json.dumps({"new_password": NEW_PASSWORD}).encode()
    assert stepped(phone, "POST", "/me/password", change).status == 204
    confirm = {"enrolment": begun["enrolment"], "totp": ada.code()}
    assert phone.post("/me/factors/totp/confirm", confirm).code == "invalid_session"
    assert phone.get("/me/factors").members["second_factor"] == "off"


def test_a_confirmed_enrolment_can_be_repeated(make_device: MakeDevice, ada: Person) -> None:
    """The answer was lost: the same codes are returned. Another login cannot confirm the enrolment."""
    phone, tablet = make_device(), make_device()
    phone.register(EMAIL)
    tablet.login(EMAIL)
    begun = stepped(phone, "POST", "/me/factors/totp").members
    ada.secret = begun["secret"]
    body = {"enrolment": begun["enrolment"], "totp": ada.fresh_code()}
    assert tablet.post("/me/factors/totp/confirm", body).code == "invalid_session"
    assert phone.post("/me/factors/totp/confirm", body | {"totp": wrong(body["totp"])}).code == "invalid_factor"
    first, again = (phone.post("/me/factors/totp/confirm", body) for _ in range(2))
    assert first.status == again.status == 200
    assert first.members == again.members
    assert len(first.members["recovery_codes"]) == 10


def test_the_uri_of_an_app(make_device: MakeDevice) -> None:
    """The URI has the form that authenticator apps read (Key Uri Format)."""
    phone = make_device()
    phone.register(EMAIL)
    begun = stepped(phone, "POST", "/me/factors/totp").members
    assert begun["otpauth_uri"] == (
        f"otpauth://totp/localhost:ada@example.com?secret={begun['secret']}"
        "&issuer=localhost&algorithm=SHA1&digits=6&period=30"
    )
    assert len(begun["secret"]) == 32
    assert begun["expires_in"] == 900
    assert begun["enrolment"].startswith("en.")


# --- The session of an unfinished login ---------------------------------------------------------------------------


def test_a_session_is_of_one_key(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """A stolen session does not work with another key.

    The victim's phone does not finish a login that an attacker began.
    """
    del phone
    owner, thief = make_device(), make_device()
    session = ask(owner)
    assert prove(thief, session, totp=ada.code(1)).code == "invalid_session"
    assert prove(owner, ask(thief), totp=ada.code(1)).code == "invalid_session"
    assert prove(owner, session, totp=ada.code(1)).status == 200


def test_a_session_is_of_one_attempt(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """The second step must have the attempt of the first step."""
    del phone
    tablet, mine = make_device(), attempt()
    session = ask(tablet, attempt=mine)
    assert prove(tablet, session, totp=ada.code(1)).code == "invalid_session"
    assert prove(tablet, session, attempt=attempt(), totp=ada.code(1)).code == "invalid_session"
    assert prove(tablet, session, attempt=mine, totp=ada.code(1)).status == 200


def test_a_session_begins_one_login(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """Sent again, the session returns its own login. After an exchange of that login, it is refused."""
    del phone
    tablet, mine = make_device(), attempt()
    session = ask(tablet, attempt=mine)
    first = prove(tablet, session, attempt=mine, totp=ada.fresh_code())
    clock.skip(30)
    second = prove(tablet, session, attempt=mine, totp=ada.fresh_code())
    assert first.members["device_id"] == second.members["device_id"]
    assert tablet.exchange().status == 200
    clock.skip(30)
    assert prove(tablet, session, attempt=mine, totp=ada.fresh_code()).code == "superseded"


@pytest.mark.parametrize("meanwhile", ["password", "factor", "everywhere", "disabled", "enabled again"])
def test_a_session_is_void_once_the_account_changed(
    make_device: MakeDevice, clock: DevelopmentClock, baton: Any, ada: Person, phone: Device, meanwhile: str
) -> None:
    """The credentials version, the epoch or the status changed."""
    tablet = make_device()
    session = ask(tablet)
    clock.skip(30)

    def disable(*, again: bool) -> None:
        set_status(baton, Status.DISABLED)
        if again:
            set_status(baton, Status.ACTIVE)

    acts: dict[str, Callable[[], Any]] = {
        "password": lambda: stepped(
            phone, "POST", "/me/password", b'{"new_password": "granite umbrella conversation"}', totp=ada.fresh_code()
        ),
        "factor": lambda: stepped(phone, "POST", "/me/factors/recovery-codes", totp=ada.fresh_code()),
        "everywhere": lambda: stepped(phone, "POST", "/logout", b'{"everywhere": true}', totp=ada.fresh_code()),
        "disabled": lambda: disable(again=False),
        "enabled again": lambda: disable(again=True),
    }
    done = acts[meanwhile]()
    assert not isinstance(done, Said) or done.status in {200, 204}, done
    clock.skip(30)
    assert prove(tablet, session, totp=ada.fresh_code()).code == "invalid_session"
    assert NEW_PASSWORD == "granite umbrella conversation"


def test_a_session_expires(make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device) -> None:
    """It is valid after 590 seconds, and not after 601 seconds."""
    del phone
    tablet, late = make_device(), make_device()
    session, expired = ask(tablet), ask(late)
    clock.skip(590)
    assert prove(tablet, session, totp=ada.fresh_code()).status == 200
    clock.skip(11)
    assert prove(late, expired, totp=ada.fresh_code()).code == "invalid_session"


def test_a_session_is_nothing_else(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """An altered session is refused.

    A token or a grant is refused in the place of a session. A session is refused in the place of a token, a grant or an
    enrolment.
    """
    tablet = make_device()
    session = str(ask(tablet).members["auth_session"])
    place = len(session) // 2
    altered = session[:place] + ("A" if session[place] != "A" else "B") + session[place + 1 :]
    grant = grant_of(phone, "DELETE", "/me", password="copper lantern drifting sideways").members["grant"]
    for other in (altered, phone.token, str(grant), "as.", "", session.removeprefix("as.")):
        assert prove(tablet, other, totp=ada.code(1)).code == "invalid_session"
    assert tablet.request("GET", "/me", token=session).code == "token_invalid"
    assert phone.request("DELETE", "/me", b"", {"baton-grant": session}).code == "grant_invalid"
    confirm = {"enrolment": session, "totp": ada.code()}
    assert phone.post("/me/factors/totp/confirm", confirm).code == "invalid_session"


@pytest.mark.parametrize(
    "proof", [{}, {"totp": "123456", "recovery_code": "x"}, {"recovery_code": "x", "enrolment": "y"}]
)
def test_one_proof_is_sent(make_device: MakeDevice, phone: Device, proof: dict[str, str]) -> None:
    """No proof and two proofs are refused."""
    del phone
    tablet = make_device()
    assert prove(tablet, ask(tablet), **proof).code == "malformed"


@pytest.mark.parametrize("code", ["12345", "1234567", "12345a", "\uff11\uff12\uff13\uff14\uff15\uff16", " 12345"])
def test_a_code_is_six_digits(make_device: MakeDevice, phone: Device, code: str) -> None:
    """They must be ASCII digits."""
    del phone
    tablet = make_device()
    assert prove(tablet, ask(tablet), totp=code).code == "wrong_type"


# --- Remembered devices -------------------------------------------------------------------------------------------


def test_a_remembered_device_is_not_asked(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """It is remembered for thirty days. A use does not renew this time."""
    del phone
    tablet = make_device()
    assert prove(tablet, ask(tablet), totp=ada.fresh_code()).status == 200
    at = int(clock.time())
    assert tablet.login(EMAIL).status == 200
    assert tablet.get("/me").members["amr"] == ["pwd", "pop", "mfa"]
    clock.skip(30 * DAY_S - 60)
    assert tablet.login(EMAIL).status == 200
    clock.skip(at + 30 * DAY_S - int(clock.time()))
    assert tablet.login(EMAIL).code == "factor_required"


def test_a_device_is_remembered_only_if_the_person_wants_it(
    make_device: MakeDevice, ada: Person, phone: Device
) -> None:
    """The client must allow it too."""
    assert phone.login(EMAIL).status == 200, "the phone that confirmed the app has proved it"
    tablet = make_device()
    assert prove(tablet, ask(tablet), totp=ada.code(1), remember_device=False).status == 200
    assert tablet.login(EMAIL).code == "factor_required"


def test_a_client_of_zero_days_remembers_nothing(make_device: MakeDevice, ada: Person, phone: Device) -> None:
    """Directly after a proved factor, the next login with this client needs the factor again."""
    del phone
    tablet = make_device(client_id="forgetful")
    assert prove(tablet, ask(tablet), totp=ada.fresh_code()).status == 200
    assert tablet.login(EMAIL).code == "factor_required"


def test_an_unbound_device_is_not_remembered(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """It has no key to recognise it by. A device with an HMAC secret has none either."""
    del phone
    bearer = make_device(client_id="simple", bound=False)
    assert prove(bearer, ask(bearer), totp=ada.fresh_code()).status == 200
    assert bearer.login(EMAIL).code == "factor_required"
    clock.skip(30)
    laptop = make_device(client_id="simple", bound=False)
    entry = laptop.entry(EMAIL, binding="hmac")
    asked = laptop.post("/login", entry, token=None)
    said = prove(laptop, asked, totp=ada.fresh_code())
    assert said.status == 200
    assert said.members["secret"]
    assert laptop.post("/login", entry, token=None).code == "factor_required"


@pytest.mark.parametrize("end", ["logout", "reuse", "ended by the owner", "everywhere", "password", "factor"])
def test_a_device_is_forgotten_after_a_bad_end(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device, end: str
) -> None:
    """After a logout it stays remembered. After a theft, or an end by the owner, a login needs the factor."""
    tablet = make_device()
    assert prove(tablet, ask(tablet), totp=ada.fresh_code()).status == 200
    device_id, token = tablet.tokens["device_id"], tablet.token
    clock.skip(30)

    def with_code(method: str, path: str, body: bytes = b"") -> Said:
        return stepped(phone, method, path, body, totp=ada.fresh_code())

    acts: dict[str, Callable[[], Said]] = {
        "logout": lambda: tablet.post("/logout", {}),
        "reuse": lambda: [tablet.exchange(token), tablet.exchange(token)][-1],
        "ended by the owner": lambda: with_code("DELETE", f"/me/devices/{device_id}"),
        "everywhere": lambda: with_code("POST", "/logout", b'{"everywhere": true}'),
        "password": lambda: with_code("POST", "/me/password", b'{"new_password": "granite umbrella conversation"}'),
        "factor": lambda: with_code("POST", "/me/factors/recovery-codes"),
    }
    assert acts[end]().status in {200, 204, 400}
    said = tablet.login(EMAIL, **({"password": NEW_PASSWORD} if end == "password" else {}))
    assert said.code == ("" if end == "logout" else "factor_required")


# --- Guessing -----------------------------------------------------------------------------------------------------


def test_wrong_codes_are_limited_for_unknown_devices_and_the_owner_gets_in(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """After thirty wrong codes in a day, no code is checked. A known device and a recovery code are not affected."""
    clock.skip(DAY_S - int(clock.time()) % DAY_S)
    thief = make_device(client_id="simple", bound=False)
    session = ask(thief)
    for number in range(WRONG_TOTP_PER_DAY_MAX):
        assert prove(thief, session, totp=wrong(ada.code())).code == "invalid_factor", number
    full = prove(thief, session, totp=ada.fresh_code())
    assert (full.status, full.code) == (429, "too_many_requests")
    assert 0 < int(full.headers["retry-after"]) <= DAY_S
    tablet = make_device()
    assert prove(tablet, ask(tablet), totp=ada.code()).status == 429
    assert prove(tablet, ask(tablet), recovery_code=ada.codes[0]).status == 200
    assert phone.exchange().status == 200
    assert stepped(phone, "DELETE", "/me/factors/totp", totp=ada.code()).status == 204


def test_after_a_hundred_wrong_codes_in_a_row_an_unknown_device_needs_another_factor(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count lasts over days, until a known device or a recovery code succeeds. Waiting does not help."""
    monkeypatch.setattr("chalicelib.baton.factors.prove_totp.WRONG_TOTP_IN_A_ROW_MAX", 3)
    assert WRONG_TOTP_IN_A_ROW_MAX == 100
    thief = make_device(client_id="simple", bound=False)
    for _ in range(3):
        clock.skip(DAY_S)
        assert prove(thief, ask(thief), totp=wrong(ada.code())).code == "invalid_factor"
    clock.skip(DAY_S)
    full = prove(thief, ask(thief), totp=ada.code())
    assert full.status == 429
    clock.skip(DAY_S)
    assert prove(thief, ask(thief), totp=ada.code()).status == 429
    tablet = make_device()
    assert prove(tablet, ask(tablet), recovery_code=ada.codes[0]).status == 200
    assert prove(thief, ask(thief), totp=ada.code(1)).status == 200
    assert phone.exchange().status == 200


def test_right_codes_use_up_no_limit(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """The test makes more logins in a day than wrong codes are allowed, each with its own code."""
    del phone
    tablet = make_device(client_id="simple", bound=False)
    for _ in range(WRONG_TOTP_PER_DAY_MAX + 2):
        clock.skip(120)
        assert prove(tablet, ask(tablet), totp=ada.fresh_code()).status == 200


def test_a_step_up_by_the_app_has_a_limit_of_its_device(ada: Person, phone: Device) -> None:
    """A known device may send thirty wrong codes a day."""
    for _ in range(WRONG_TOTP_PER_DAY_MAX):
        said = grant_of(phone, "DELETE", "/me", totp=wrong(ada.code()))
        assert said.code == "invalid_factor"
    assert grant_of(phone, "DELETE", "/me", totp=ada.fresh_code()).status == 429


def test_a_step_up_by_the_app_without_an_app_is_refused(make_device: MakeDevice) -> None:
    """The answer is that for a wrong code."""
    phone = make_device()
    phone.register(EMAIL)
    assert grant_of(phone, "DELETE", "/me", totp="123456").code == "invalid_factor"
    assert grant_of(phone, "DELETE", "/me").code == "malformed"


def test_the_same_step_up_again_is_granted(ada: Person, phone: Device) -> None:
    """The repetition has the same attempt, because its answer was lost. Otherwise a code is not used twice."""
    code = ada.code(1)
    operation = {
        "method": "DELETE",
        "path": "/api/me",
        "digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    }
    body, key = {"operation": operation, "totp": code}, {"idempotency-key": attempt()}
    assert [phone.post("/step-up", body, key).status for _ in range(2)] == [200, 200]
    assert phone.post("/step-up", body).code == "invalid_factor"


def test_one_code_with_one_attempt_is_not_used_for_two_operations(ada: Person, phone: Device) -> None:
    """Otherwise an attacker with one code could step up for every operation, until a later code is used."""
    code, key = ada.code(1), {"idempotency-key": attempt()}
    digest = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    said = [
        phone.post(
            "/step-up", {"operation": {"method": "DELETE", "path": path, "digest": digest}, "totp": code}, key
        ).code
        for path in ("/api/me", "/api/me/factors/totp")
    ]
    assert said == ["", "invalid_factor"]


def test_the_code_of_a_login_is_no_step_up_with_the_same_attempt(
    make_device: MakeDevice, ada: Person, phone: Device
) -> None:
    """A phishing page that gets the code of a login can only log in with it."""
    del phone
    thief, same, code = make_device(), attempt(), ada.fresh_code()
    assert prove(thief, ask(thief, attempt=same), attempt=same, totp=code).status == 200
    operation = {
        "method": "DELETE",
        "path": "/api/me/factors/totp",
        "digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    }
    said = thief.post("/step-up", {"operation": operation, "totp": code}, {"idempotency-key": same})
    assert said.code == "invalid_factor"


def test_an_old_code_is_not_accepted_again_for_its_attempt(clock: DevelopmentClock, ada: Person, phone: Device) -> None:
    """A client repeats a request within minutes after a lost answer. An older code proves nothing any more."""
    code, key = ada.code(1), {"idempotency-key": attempt()}
    operation = {
        "method": "DELETE",
        "path": "/api/me",
        "digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    }
    assert phone.post("/step-up", {"operation": operation, "totp": code}, key).status == 200
    clock.skip(700)
    assert phone.post("/step-up", {"operation": operation, "totp": code}, key).code == "invalid_factor"


def test_a_repeated_step_up_is_as_old_as_its_code(clock: DevelopmentClock, ada: Person, phone: Device) -> None:
    """Bug: each repetition of a step-up made the proof new again, for ten minutes after the person typed the code."""
    operation = {"method": "DELETE", "path": "/api/me", "digest": content_digest(b"")}
    body = {"operation": operation, "password": PASSWORD, "totp": ada.code(1)}
    key = {"idempotency-key": attempt()}
    assert phone.post("/step-up", body, key).status == 200
    clock.skip(StepUp().max_age + 90)
    again = phone.post("/step-up", body, key)
    assert again.status == 200
    said = phone.request("DELETE", "/me", b"", {"baton-grant": str(again.members["grant"])})
    assert said.code == "step_up_required"


def test_a_session_does_not_live_longer_by_asking_for_an_enrolment(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """The refusal of an enrolment has a new session. It ends when the first session ends."""
    del phone
    tablet = make_device()
    session = str(ask(tablet).members["auth_session"])
    clock.skip(400)
    said = tablet.post("/login/enrol", {"auth_session": session, "kind": "totp"}, token=None)
    assert said.code == "factor_required"
    assert said.members["expires_in"] <= 200  # less, if the machine is slow
    clock.skip(200)
    assert prove(tablet, said, totp=ada.fresh_code()).code == "invalid_session"


def test_an_empty_enrolment_beside_a_recovery_code_is_malformed(
    make_device: MakeDevice, ada: Person, phone: Device
) -> None:
    """The member is present, so it needs a code of the app."""
    del phone
    tablet = make_device()
    assert prove(tablet, ask(tablet), recovery_code=ada.codes[0], enrolment="").code == "malformed"


def test_a_login_by_the_password_alone_makes_no_device_whose_wrong_codes_have_a_limit_of_their_own(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """With the switch off, a person with the password can log in with any number of keys.

    All these keys share one limit.
    """
    clock.skip(60)
    off = stepped(phone, "PUT", "/me/second-factor", b'{"on": false}', totp=ada.fresh_code())
    assert off.status == 200
    clock.skip(60)
    wrongs = 0
    for _ in range(3):
        thief = make_device()
        assert ask(thief).status == 200
        thief.login(EMAIL)
        for _ in range(WRONG_TOTP_PER_DAY_MAX):
            wrongs += grant_of(thief, "DELETE", "/me", totp=wrong(ada.code())).code == "invalid_factor"
    assert wrongs == WRONG_TOTP_PER_DAY_MAX
    assert grant_of(phone, "DELETE", "/me", totp=ada.fresh_code()).status == 200


def test_a_session_is_void_if_every_login_ends_right_before_its_admission(
    make_device: MakeDevice, deployment: Deployment, ada: Person, phone: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end comes between the read and the write of the account state.

    The write must not begin a login of the next epoch.
    """
    del phone
    tablet, add_lineage, tables = make_device(), MemoryLineageStore.add_lineage, deployment.tables
    session = ask(tablet)

    def raced(store: MemoryLineageStore, *lineage: Any, **others: Any) -> Any:
        monkeypatch.setattr(MemoryLineageStore, "add_lineage", add_lineage)
        for account, state in list(tables.lineages.items()):
            tables.lineages[account] = replace(state, epoch=state.epoch + 1)
        return add_lineage(store, *lineage, **others)

    monkeypatch.setattr(MemoryLineageStore, "add_lineage", raced)
    assert prove(tablet, session, totp=ada.fresh_code()).code == "invalid_session"


@dataclass
class HmacKey:
    """The HMAC secret of a login, used in place of a key."""

    key_id: str
    secret: str

    def thumbprint(self) -> str:
        """Return the keyid: the id of the login."""
        return self.key_id

    def sign(self, base: bytes) -> bytes:
        """Sign with HMAC-SHA-256."""
        return hmac.digest(base64.urlsafe_b64decode(self.secret + "=="), base, "sha256")


def test_a_session_of_an_hmac_device_needs_the_secret_that_signed_its_first_step(
    make_device: MakeDevice, clock: DevelopmentClock, ada: Person, phone: Device
) -> None:
    """The first step proved a known device. A copy of the session without the secret does not finish the login."""
    del phone
    bare = make_device(client_id="simple", bound=False)
    entry = bare.entry(EMAIL, binding="hmac")
    first = prove(bare, bare.post("/login", entry, token=None), totp=ada.fresh_code())
    assert first.status == 200
    known = make_device(client_id="simple")
    known.key = HmacKey(first.members["key_id"], first.members["secret"])  # type: ignore[assignment]
    clock.skip(60)
    session = str(known.post("/login", entry, token=None).members["auth_session"])
    assert prove(bare, session, totp=ada.code()).code == "invalid_session"
    assert prove(known, session, totp=ada.fresh_code()).status == 200
