"""Passkeys through the gateway: register, log in, second factor, step-up, and attempts to misuse them.

The numbers of cases are those of docs/baton/attacks.md.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from msgspec.structs import replace

from baton_client import content_digest
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.factors.model import passkey_id
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES
from tests.baton.factors.authenticator import BE, BS, UP, UV, Authenticator
from tests.baton.wire.contract import Contract
from tests.baton.wire.conversation import PASSWORD, PREFIX, Device, Send, through
from tests.baton.wire.passkeys import (
    OPTIONS,
    PASSKEYS,
    UPGRADE,
    add,
    add_with_passkey,
    enrol,
    factor_options,
    options_of,
    send_passkey,
    sign_in,
    sign_in_options,
    step_up_options,
    switch_on,
    with_passkey,
)
from tests.baton.wire.second_factor import EMAIL, Deployment, Person, ask, attempt, grant_of, prove, stepped
from tools.dev.gateway import DevelopmentClock, Gateway

pytestmark = pytest.mark.guarantee(14)

RACERS: Final = 8
OTHER_EMAIL: Final = "bob@example.com"
ANDROID: Final = "android:apk-key-hash:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
MakeDevice = Callable[..., Device]


@pytest.fixture(scope="module")
def judge() -> Contract:
    """Return the OpenAPI description, to compare answers with."""
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
def phone(make_device: MakeDevice) -> Device:
    """Return Ada's phone, which has registered."""
    phone = make_device()
    assert phone.register(EMAIL).status == 201
    return phone


@pytest.fixture
def mine(phone: Device) -> Authenticator:
    """Return the authenticator with Ada's passkey."""
    mine = Authenticator()
    assert add(phone, mine).status == 201
    return mine


def events(phone: Device) -> list[str]:
    """List the events of the account, the newest first."""
    return [event["event"] for event in phone.get("/me/activity").members["events"]]


# --- Adding, showing, removing ------------------------------------------------------------------------------------


def test_a_passkey_is_registered_and_shown(phone: Device) -> None:
    """The options have the form that platforms read, and the answer has no secret."""
    options = options_of(stepped(phone, "POST", OPTIONS))
    account = phone.get("/me").members["account_id"]
    assert options["rp"] == {"id": "example.com", "name": "Example"}
    assert options["user"] == {"id": account, "name": EMAIL, "displayName": EMAIL}
    assert [one["alg"] for one in options["pubKeyCredParams"]] == [-7, -8, -257]
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert (options["attestation"], options["timeout"], options["excludeCredentials"]) == ("none", 300_000, [])
    mine = Authenticator(flags=UP | UV | BE | BS, aaguid=b"a" * 16)
    added = phone.post(PASSKEYS, {"credential": mine.create(options), "name": "Ada's phone"})
    assert added.status == 201
    assert added.members.keys() == {"id", "name", "created_at", "backed_up"}
    assert (added.members["name"], added.members["backed_up"]) == ("Ada's phone", True)
    shown = phone.get(PASSKEYS).members
    assert (shown["rp_id"], shown["user_handle"], shown["name"]) == ("example.com", account, EMAIL)
    assert shown["accepted_credential_ids"] == [mine.create(options)["id"]]
    (passkey,) = shown["passkeys"]
    assert passkey["id"] == added.members["id"]
    assert passkey["aaguid"] == "61616161-6161-6161-6161-616161616161"
    assert phone.get("/me/factors").members["passkeys"] == 1
    assert phone.get("/me/factors").members["second_factor"] == "off"
    assert "factor_added" in events(phone)
    again = options_of(stepped(phone, "POST", OPTIONS))
    assert [one["id"] for one in again["excludeCredentials"]] == shown["accepted_credential_ids"]


def test_a_repeated_registration_gets_the_same_answer(phone: Device) -> None:
    """The answer was lost. The repetition records no second event."""
    credential = Authenticator().create(options_of(stepped(phone, "POST", OPTIONS)))
    first = phone.post(PASSKEYS, {"credential": credential, "name": "phone"})
    again = phone.post(PASSKEYS, {"credential": credential, "name": "phone"})
    assert (first.status, again.status, again.members) == (201, 201, first.members)
    assert events(phone).count("factor_added") == 1


def test_one_challenge_registers_one_passkey(phone: Device) -> None:
    """The challenge contains the credentials version, which the first registration raises."""
    options = options_of(stepped(phone, "POST", OPTIONS))
    assert phone.post(PASSKEYS, {"credential": Authenticator().create(options)}).status == 201
    said = phone.post(PASSKEYS, {"credential": Authenticator().create(options)})
    assert (said.status, said.code) == (409, "challenge_invalid")


def test_a_passkey_is_named_and_removed(phone: Device, mine: Authenticator) -> None:
    """A new name needs no step-up. A removal needs a step-up."""
    del mine
    (passkey,) = phone.get(PASSKEYS).members["passkeys"]
    path = f"{PASSKEYS}/{passkey['id']}"
    named = phone.request("PATCH", path, b'{"name":"Work"}', {"content-type": "application/json"})
    assert named.status == 204
    assert phone.get(PASSKEYS).members["passkeys"][0]["name"] == "Work"
    too_long = json.dumps({"name": "\u00e9" * 64}).encode()
    assert phone.request("PATCH", path, too_long, {"content-type": "application/json"}).code == "wrong_type"
    assert phone.request("DELETE", path).code == "step_up_required"
    assert stepped(phone, "DELETE", path).status == 204
    assert phone.get(PASSKEYS).members["passkeys"] == []
    assert "factor_removed" in events(phone)


def test_a_passkey_of_another_account_does_not_exist(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """An unknown passkey and the passkey of another account get the same answer."""
    del mine
    (passkey,) = phone.get(PASSKEYS).members["passkeys"]
    bob = make_device()
    bob.register(OTHER_EMAIL)
    for one in (passkey["id"], "AAAAAAAAAAAAAAAA"):
        path = f"{PASSKEYS}/{one}"
        assert bob.request("PATCH", path, b'{"name":"x"}', {"content-type": "application/json"}).status == 404
        assert stepped(bob, "DELETE", path).status == 404
    assert len(phone.get(PASSKEYS).members["passkeys"]) == 1


def test_an_account_has_ten_passkeys_at_most(phone: Device) -> None:
    """The eleventh is refused before the platform makes it."""
    for _ in range(10):
        assert add(phone, Authenticator()).status == 201
    assert stepped(phone, "POST", OPTIONS).code == "too_many_passkeys"


def test_removing_the_last_factor_switches_the_second_factor_off(phone: Device, mine: Authenticator) -> None:
    """After that, a login has no factor to prove. While another factor is left, the switch stays on."""
    switch_on(phone)
    other = Authenticator()
    assert add_with_passkey(phone, mine, other).status == 201
    ids = [one["id"] for one in phone.get(PASSKEYS).members["passkeys"]]
    for number, one in enumerate(ids):
        said = with_passkey(
            phone, "DELETE", f"{PASSKEYS}/{one}", other if number == 0 else mine_of(ids, number, mine, other)
        )
        assert said.status == 204, said
        expected = "on" if number == 0 else "off"
        assert phone.get("/me/factors").members["second_factor"] == expected


def mine_of(ids: list[str], number: int, mine: Authenticator, other: Authenticator) -> Authenticator:
    """Return the authenticator whose passkey still exists: the passkey that the test removes last."""
    return next(one for one in (mine, other) if passkey_id(one.credential_id) == ids[number])


# --- Logging in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://example.com", ANDROID, ANDROID + "="])
def test_a_login_with_a_passkey_alone(make_device: MakeDevice, mine: Authenticator, origin: str) -> None:
    """The login has no name and no password.

    It comes from a page, an iOS app (with the same origin), or an Android app.
    """
    tablet = make_device()
    options = options_of(sign_in_options(tablet))
    assert (options["rpId"], options["allowCredentials"], options["userVerification"]) == (
        "example.com",
        [],
        "required",
    )
    said = send_passkey(tablet, mine.get(options, origin=origin))
    assert said.status == 200
    shown = tablet.get("/me").members
    assert (shown["acr"], shown["amr"]) == ("phr", ["pop", "user", "mfa"])
    assert events(tablet).count("logged_in") == 1


def test_a_repeated_login_gets_the_same_tokens(make_device: MakeDevice, mine: Authenticator) -> None:
    """The answer was lost. The repetition has the same attempt and the same signature."""
    tablet, key = make_device(), attempt()
    credential = mine.get(options_of(sign_in_options(tablet)))
    first = send_passkey(tablet, credential, attempt=key)
    again = send_passkey(tablet, credential, attempt=key)
    assert first.status == again.status == 200
    assert first.members["device_id"] == again.members["device_id"]


def test_a_challenge_logs_one_device_in_once(make_device: MakeDevice, mine: Authenticator) -> None:
    """Case 29: it is replayed by the same key with another attempt, and by another key."""
    tablet, thief = make_device(), make_device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    assert send_passkey(thief, credential).code == "challenge_invalid"
    assert send_passkey(tablet, credential, attempt=attempt()).status == 200
    replayed = send_passkey(tablet, credential, attempt=attempt())
    assert (replayed.status, replayed.code) == (409, "challenge_invalid")


def test_one_of_many_logins_uses_a_challenge(make_device: MakeDevice, mine: Authenticator) -> None:
    """The logins run at the same time with one key. Each has its own attempt."""
    tablet = make_device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    with ThreadPoolExecutor(RACERS) as pool:
        said = list(pool.map(lambda _: send_passkey(tablet, credential, attempt=attempt()), range(RACERS)))
    assert sorted(one.status for one in said) == [200] + [409] * (RACERS - 1)


def test_a_challenge_of_another_kind_is_of_no_use(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """Case 30: the challenge is for a step-up, a second factor or a registration, or Baton did not make it."""
    challenges = [
        options_of(step_up_options(phone, "DELETE", "/me")),
        options_of(stepped(phone, "POST", OPTIONS)),
        {"challenge": "A" * 100},
        {"challenge": "not base64url!"},
    ]
    switch_on(phone)
    tablet = make_device()
    challenges.append(options_of(factor_options(tablet, ask(tablet))))
    for options in challenges:
        assert send_passkey(tablet, mine.get(options)).code == "challenge_invalid"
    sign_in_challenge = options_of(sign_in_options(phone))
    operation = grant_of(phone, "DELETE", "/me", passkey=mine.get(sign_in_challenge))
    assert operation.code == "challenge_invalid"


def test_a_challenge_is_of_the_client_that_fetched_it(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """Case 30: the device key is the same, and the origin belongs to both clients."""
    del phone
    app = make_device()
    credential = mine.get(options_of(sign_in_options(app)))
    app.client_id = "strict"
    assert send_passkey(app, credential).code == "challenge_invalid"
    app.client_id = "mobile"
    assert send_passkey(app, credential).status == 200


def test_a_challenge_expires(make_device: MakeDevice, clock: DevelopmentClock, mine: Authenticator) -> None:
    """Case 31: a challenge expires after five minutes."""
    tablet = make_device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    clock.skip(TICKET_PURPOSES["challenge"].life_s)
    assert send_passkey(tablet, credential).code == "challenge_invalid"


def test_a_challenge_is_small(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """A challenge has 16 to 150 bytes. All platforms accept this size."""
    del mine
    for options in (
        options_of(sign_in_options(make_device())),
        options_of(step_up_options(phone, "DELETE", "/me")),
        options_of(stepped(phone, "POST", OPTIONS)),
    ):
        assert 16 <= len(options["challenge"]) * 3 // 4 <= 150


def test_the_passkey_must_be_of_the_account_that_it_names(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """Case 32: the request has Bob's passkey with Ada's user handle, without a handle, and with an unknown handle."""
    bob, bobs = make_device(), Authenticator()
    bob.register(OTHER_EMAIL)
    assert add(bob, bobs).status == 201
    tablet = make_device()
    said = sign_in(tablet, bobs, user_handle=mine.user_handle)
    assert (said.status, said.code, said.members["action"]) == (401, "unknown_passkey", "log_in")
    assert (said.members["rp_id"], said.members["credential_id"]) == ("example.com", bobs.get({"challenge": ""})["id"])
    assert sign_in(tablet, bobs, user_handle=b"x" * 12).code == "unknown_passkey"
    assert sign_in(tablet, bobs, user_handle=b"x").code == "invalid_passkey"
    without = bobs.get(options_of(sign_in_options(tablet)))
    del without["response"]["userHandle"]
    assert send_passkey(tablet, without).code == "invalid_passkey"
    assert phone.get("/me").status == 200


def test_a_credential_belongs_to_one_account(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """Case 33: the credential is added once, and only to one account."""
    bob = make_device()
    bob.register(OTHER_EMAIL)
    options = options_of(stepped(bob, "POST", OPTIONS))
    said = bob.post(PASSKEYS, {"credential": mine.create(options)})
    assert (said.status, said.code) == (409, "passkey_exists")
    options = options_of(stepped(phone, "POST", OPTIONS))
    assert phone.post(PASSKEYS, {"credential": mine.create(options)}).code == "passkey_exists"
    assert bob.get(PASSKEYS).members["passkeys"] == []


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param({"origin": "https://evil.example"}, id="foreign origin"),
        pytest.param({"origin": "https://example.co.uk"}, id="of another client"),
        pytest.param({"client": {"crossOrigin": True}}, id="in a frame of another origin"),
        pytest.param({"flags": UV}, id="without presence"),
        pytest.param({"flags": UP}, id="the person was not verified"),
        pytest.param({"flags": UP | UV | BS}, id="backed up, but not eligible"),
        pytest.param({"rp_id": "evil.example"}, id="for another RP ID"),
    ],
)
def test_a_lie_logs_nobody_in(make_device: MakeDevice, mine: Authenticator, lies: dict[str, Any]) -> None:
    """Cases 34 to 36: the hint names the failed check. The challenge can still be used."""
    tablet = make_device()
    options = options_of(sign_in_options(tablet))
    said = send_passkey(tablet, mine.get(options, **lies))
    assert (said.status, said.code) == (400, "invalid_passkey")
    assert said.members["hint"]
    assert send_passkey(tablet, mine.get(options)).status == 200


def test_the_origins_of_a_client_are_its_own(make_device: MakeDevice, mine: Authenticator) -> None:
    """The related origin belongs to another client, which accepts only this origin."""
    web = make_device(client_id="simple")
    assert sign_in(web, mine, origin="https://example.co.uk").status == 200
    assert sign_in(web, mine).code == "invalid_passkey"
    assert sign_in(web, mine, origin=ANDROID).code == "invalid_passkey"


def test_a_client_without_origins_has_no_passkeys(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """The answer is 404, and the password still works."""
    del phone, mine
    other = make_device(client_id="forgetful")
    assert sign_in_options(other).status == 404
    assert other.login(EMAIL).status == 200
    assert stepped(other, "POST", OPTIONS).status == 404
    assert other.get(PASSKEYS).status == 404


def test_a_counter_that_goes_back_is_told_and_logs_in(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """Case 37: the cause may be a copy of the authenticator. The larger counter is kept."""
    tablet = make_device()
    assert sign_in(tablet, mine, counter=5).status == 200
    assert "passkey_counter" not in events(phone)
    for counter in (5, 3):
        assert sign_in(tablet, mine, counter=counter).status == 200
    assert events(tablet).count("passkey_counter") == 2
    assert sign_in(tablet, mine, counter=6).status == 200
    assert events(tablet).count("passkey_counter") == 2


def test_a_passkey_that_becomes_synced_is_told_and_logs_in(make_device: MakeDevice, mine: Authenticator) -> None:
    """Case 37: by the standard this never happens, but platforms do it."""
    tablet = make_device()
    assert sign_in(tablet, mine, flags=UP | UV | BE | BS).status == 200
    assert events(tablet).count("passkey_backup_changed") == 1
    assert tablet.get(PASSKEYS).members["passkeys"][0]["backed_up"] is True
    assert sign_in(tablet, mine, flags=UP | UV | BE).status == 200
    assert events(tablet).count("passkey_backup_changed") == 1


def test_a_passkey_that_was_removed_logs_nobody_in(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """Case 38: this is also true if it was removed after the options were fetched."""
    tablet = make_device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    (passkey,) = phone.get(PASSKEYS).members["passkeys"]
    assert stepped(phone, "DELETE", f"{PASSKEYS}/{passkey['id']}").status == 204
    assert send_passkey(tablet, credential).code == "unknown_passkey"


def removing_passkeys(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next request read the account, and remove the passkeys of the account before the request writes."""
    tables, store = deployment.tables, type(deployment.environments[0].baton.storage.one_time)
    consume = store.consume_ticket

    def removing(self: Any, *given: Any, **named: Any) -> Any:
        (account, user), *_ = tables.users.items()
        state = tables.lineages[account]
        version = user.credentials_version + 1
        factors = replace(user.factors, passkeys={})
        tables.users[account] = replace(user, credentials_version=version, factors=factors)
        tables.lineages[account] = replace(state, credentials_version=version)
        monkeypatch.setattr(store, "consume_ticket", consume)
        return consume(self, *given, **named)

    monkeypatch.setattr(store, "consume_ticket", removing)


def test_a_passkey_that_is_removed_between_the_read_and_the_admission_logs_nobody_in(
    make_device: MakeDevice, phone: Device, mine: Authenticator, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 38: the condition of both writes has the credentials version. The retry gets the reason."""
    del phone
    tablet, key = make_device(), attempt()
    credential = mine.get(options_of(sign_in_options(tablet)))
    removing_passkeys(deployment, monkeypatch)
    assert send_passkey(tablet, credential, attempt=key).status == 503
    assert send_passkey(tablet, credential, attempt=key).code == "unknown_passkey"


def test_a_disabled_account_keeps_its_passkey(make_device: MakeDevice, baton: Any, mine: Authenticator) -> None:
    """Case 38: the answer is not ``unknown_passkey``, because the phone would then delete the passkey.

    Only the holder of the passkey learns that the account is disabled.
    """
    act = SetStatus(
        clock=baton.clock,
        key_ring=baton.key_ring,
        users=baton.users,
        lineage_store=baton.lineage_store,
        record=baton.recorder,
    )
    act(EMAIL, Status.DISABLED)
    tablet = make_device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    assert send_passkey(tablet, credential).code == "invalid_credentials"
    assert sign_in(tablet, mine, flags=UP).code == "invalid_passkey"
    act(EMAIL, Status.ACTIVE)
    assert send_passkey(tablet, credential, attempt=attempt()).status == 200  # the refusal had used nothing


def test_a_deleted_account_frees_its_passkey(
    make_device: MakeDevice, phone: Device, mine: Authenticator, deployment: Deployment
) -> None:
    """The passkey is then unknown, and can be added to another account."""
    assert stepped(phone, "DELETE", "/me").status == 204
    assert deployment.tables.credentials == {}
    assert sign_in(make_device(), mine).code == "unknown_passkey"
    bob = make_device()
    bob.register(OTHER_EMAIL)
    assert add(bob, mine).status == 201


# --- The second factor --------------------------------------------------------------------------------------------


def test_a_passkey_is_a_second_factor(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """After the second factor is switched on, each login needs the passkey. The switch also makes recovery codes."""
    tablet = make_device()
    assert tablet.login(EMAIL).status == 200
    assert len(switch_on(phone).members["recovery_codes"]) == 10
    asked = ask(tablet)
    assert (asked.code, asked.members["factors"]) == ("factor_required", ["passkey", "recovery_code"])
    options = options_of(factor_options(tablet, asked))
    assert [one["id"] for one in options["allowCredentials"]] == phone.get(PASSKEYS).members["accepted_credential_ids"]
    assert options["userVerification"] == "preferred"
    said = prove(tablet, asked, passkey=mine.get(options, flags=UP))
    assert said.status == 200
    shown = tablet.get("/me").members
    assert (shown["acr"], shown["amr"]) == ("phr", ["pwd", "pop", "user", "mfa"])
    assert tablet.login(EMAIL).status == 200, "the device is remembered"
    assert tablet.get("/me").members["acr"] == "aal2"


def test_a_second_factor_is_of_this_login(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """The challenge is only for this device, this attempt and this account, and works once."""
    switch_on(phone)
    tablet, thief, key = make_device(), make_device(), attempt()
    asked, other = ask(tablet), ask(thief)
    credential = mine.get(options_of(factor_options(tablet, asked)))
    assert prove(thief, other, passkey=credential).code == "challenge_invalid"
    assert prove(tablet, ask(tablet, attempt=key), passkey=credential, attempt=key).code == "challenge_invalid"
    assert prove(tablet, asked, passkey=mine.get({"challenge": "A" * 100})).code == "challenge_invalid"
    stranger = Authenticator()
    options = options_of(factor_options(tablet, asked))
    assert prove(tablet, asked, passkey=stranger.get(options)).code == "unknown_passkey"
    assert prove(tablet, asked, passkey=mine.get(options, user_handle=b"x" * 12)).code == "invalid_passkey"
    assert prove(tablet, asked, passkey=credential).status == 200


def test_a_repeated_second_step_gets_the_same_tokens(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """The answer to the first request was lost."""
    switch_on(phone)
    tablet, key = make_device(), attempt()
    asked = ask(tablet, attempt=key)
    credential = mine.get(options_of(factor_options(tablet, asked, attempt=key)))
    first = prove(tablet, asked, passkey=credential, attempt=key)
    again = prove(tablet, asked, passkey=credential, attempt=key)
    assert (first.status, again.status) == (200, 200)
    assert first.members["device_id"] == again.members["device_id"]


def test_an_account_with_a_passkey_alone_cannot_be_enrolled_by_its_password(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """A client that cannot use passkeys must not enrol an app either: a thief with the password could then log in."""
    switch_on(phone)
    del mine
    other = make_device(client_id="forgetful")
    asked = ask(other)
    assert (asked.code, asked.members["factors"]) == ("factor_required", ["passkey", "recovery_code"])
    assert factor_options(other, asked).status == 404
    for kind in ("totp", "passkey"):
        said = other.post("/login/enrol", {"auth_session": asked.members["auth_session"], "kind": kind}, token=None)
        assert said.code == "factor_required"


def test_a_client_that_cannot_ask_takes_a_passkey_alone(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """A passkey satisfies every requirement, so no further factor is needed."""
    switch_on(phone)
    plain = make_device(client_id="plain")
    assert ask(plain).code == "second_factor_unsupported"
    assert sign_in(plain, mine).status == 200


def test_the_options_of_a_second_factor_need_a_passkey(make_device: MakeDevice, phone: Device) -> None:
    """An account that has only an app gets 404."""
    ada = Person(lambda: int(phone.clock()))
    ada.enrol(phone)
    tablet = make_device()
    assert factor_options(tablet, ask(tablet)).status == 404
    assert step_up_options(phone, "DELETE", "/me").status == 404


# --- Enrolment at a login -----------------------------------------------------------------------------------------


def test_a_login_enrols_a_passkey(make_device: MakeDevice) -> None:
    """The client requires a second factor, from the registration on. The account gets recovery codes."""
    strict, mine, key = make_device(client_id="strict"), Authenticator(), attempt()
    asked = ask(strict, path="/register", attempt=key)
    assert asked.members["enrol"] == ["totp", "passkey"]
    begun = enrol(strict, asked, attempt=key)
    enrolment = begun.members["enrolment"]
    credential = mine.create(options_of(begun))
    wrong = prove(strict, asked, passkey=credential, enrolment="en.other", attempt=key)
    assert wrong.code == "invalid_session"
    first = prove(strict, asked, passkey=credential, enrolment=enrolment, attempt=key)
    assert first.status == 200, first
    assert len(first.members["recovery_codes"]) == 10
    again = prove(strict, asked, passkey=credential, enrolment=enrolment, attempt=key)
    assert again.status == 200, again
    assert again.members["recovery_codes"] == first.members["recovery_codes"]
    assert again.members["device_id"] == first.members["device_id"]
    shown = strict.get("/me").members
    assert (shown["acr"], shown["amr"]) == ("phr", ["pwd", "pop", "user", "mfa"])
    assert strict.get("/me/factors").members["second_factor"] == "required"
    assert sign_in(make_device(client_id="strict"), mine).status == 200


def test_an_enrolment_at_a_login_is_of_this_login(make_device: MakeDevice, mine: Authenticator) -> None:
    """The test has a credential of another account, and a challenge of another device."""
    strict, other = make_device(client_id="strict"), make_device(client_id="strict")
    asked = ask(strict, OTHER_EMAIL, path="/register")
    begun, begun_there = enrol(strict, asked), enrol(other, ask(other, "carol@example.com", path="/register"))
    there = Authenticator().create(options_of(begun_there))
    said = prove(strict, asked, passkey=there, enrolment=begun_there.members["enrolment"])
    assert said.code == "challenge_invalid"
    lie = Authenticator(flags=0)
    said = prove(strict, asked, passkey=lie.create(options_of(begun)), enrolment=begun.members["enrolment"])
    assert said.code == "invalid_passkey"
    taken = mine.create(options_of(begun))
    said = prove(strict, asked, passkey=taken, enrolment=begun.members["enrolment"])
    assert said.code == "passkey_exists"


def test_one_proof_is_sent(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """With two proofs, it would be unclear which one counts."""
    switch_on(phone)
    tablet = make_device()
    asked = ask(tablet)
    credential = mine.get(options_of(factor_options(tablet, asked)))
    assert prove(tablet, asked, passkey=credential, totp="123456").code == "malformed"
    assert prove(tablet, asked, recovery_code="x", enrolment="en.x").code == "malformed"
    assert prove(tablet, asked).code == "malformed"


# --- Step-up ------------------------------------------------------------------------------------------------------


def test_a_passkey_steps_up_for_one_operation(phone: Device, mine: Authenticator) -> None:
    """The level is ``phr``, and the grant is only for this operation, which the authenticator signed."""
    refused = phone.request("DELETE", "/me")
    assert (refused.members["factors"], refused.members["instead"]) == (["password"], ["passkey"])
    options = options_of(step_up_options(phone, "DELETE", "/me"))
    assert options["userVerification"] == "required"
    credential = mine.get(options)
    assert grant_of(phone, "DELETE", "/me/factors/totp", passkey=credential).code == "challenge_invalid"
    assert grant_of(phone, "DELETE", "/me", passkey=mine.get(options, flags=UP)).code == "invalid_passkey"
    granted = grant_of(phone, "DELETE", "/me", passkey=credential)
    assert granted.status == 200
    assert grant_of(phone, "DELETE", "/me", passkey=credential).code == "challenge_invalid"
    assert phone.request("DELETE", "/me", b"", {"baton-grant": granted.members["grant"]}).status == 204


def test_a_repeated_step_up_by_passkey_is_as_old_as_its_challenge(
    phone: Device, mine: Authenticator, clock: DevelopmentClock
) -> None:
    """Bug: each repetition made the proof new again, for the five minutes of the challenge."""
    operation = {"method": "DELETE", "path": "/api/me", "digest": content_digest(b"")}
    body = {"operation": operation, "passkey": mine.get(options_of(step_up_options(phone, "DELETE", "/me")))}
    key = {"idempotency-key": attempt()}
    assert phone.post("/step-up", body, key).status == 200
    clock.skip(290)
    again = phone.post("/step-up", body, key)
    assert again.status == 200
    clock.skip(20)
    said = phone.request("DELETE", "/me", b"", {"baton-grant": str(again.members["grant"])})
    assert said.code == "step_up_required"


def test_a_step_up_by_passkey_is_of_one_body(phone: Device, mine: Authenticator) -> None:
    """The authenticator signed the digest of the body."""
    credential = mine.get(options_of(step_up_options(phone, "PUT", "/me/second-factor", b'{"on":true}')))
    said = grant_of(phone, "PUT", "/me/second-factor", b'{"on":false}', passkey=credential)
    assert said.code == "challenge_invalid"
    assert grant_of(phone, "PUT", "/me/second-factor", b'{"on":true}', passkey=credential).status == 200


def test_a_passkey_that_is_removed_during_a_step_up_proves_nothing(
    phone: Device, mine: Authenticator, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 38: the write that stores the use has the condition that the passkey exists."""
    credential = mine.get(options_of(step_up_options(phone, "DELETE", "/me")), counter=1)
    removing_passkeys(deployment, monkeypatch)
    assert grant_of(phone, "DELETE", "/me", passkey=credential).status == 503


def test_a_step_up_is_of_this_login(make_device: MakeDevice, phone: Device, mine: Authenticator) -> None:
    """The options of another login of the account are refused."""
    tablet = make_device()
    assert tablet.login(EMAIL).status == 200
    credential = mine.get(options_of(step_up_options(phone, "DELETE", "/me")))
    assert grant_of(tablet, "DELETE", "/me", passkey=credential).code == "challenge_invalid"
    assert grant_of(phone, "DELETE", "/me", passkey=credential).status == 200


def test_factors_of_a_step_up_are_told(phone: Device, mine: Authenticator) -> None:
    """If the passkey is the only factor, a step-up needs the passkey, and the password is not enough."""
    switch_on(phone)
    refused = phone.request("DELETE", "/me")
    assert (refused.members["factors"], refused.members["acr_values"]) == (["passkey"], "aal2")
    assert "instead" not in refused.members
    assert stepped(phone, "DELETE", "/me").code == "step_up_required"
    ada = Person(lambda: int(phone.clock()))
    begun = with_passkey(phone, "POST", "/me/factors/totp", mine)
    ada.secret = begun.members["secret"]
    confirm = {"enrolment": begun.members["enrolment"], "totp": ada.fresh_code()}
    assert phone.post("/me/factors/totp/confirm", confirm).status == 200
    refused = phone.request("DELETE", "/me")
    assert (refused.members["factors"], refused.members["instead"]) == (["password", "totp"], ["passkey"])
    options = options_of(step_up_options(phone, "DELETE", "/me"))
    both = grant_of(phone, "DELETE", "/me", passkey=mine.get(options), password=PASSWORD)
    assert both.status == 200
    three = grant_of(phone, "DELETE", "/me", passkey=mine.get(options), password=PASSWORD, totp="123456")
    assert three.code == "malformed"


# --- Upgrade: conditional create ----------------------------------------------------------------------------------


def test_a_fresh_login_adds_a_passkey_silently(phone: Device, make_device: MakeDevice) -> None:
    """The request has no gesture (UP=0) and no step-up. The second factor stays off."""
    options = options_of(phone.request("POST", UPGRADE))
    mine = Authenticator()
    assert phone.post(PASSKEYS, {"credential": mine.create(options, flags=0)}).status == 201
    assert phone.get("/me/factors").members["second_factor"] == "off"
    assert make_device().login(EMAIL).status == 200, "a silent passkey locks nobody out"
    assert sign_in(make_device(), mine).status == 200


def test_presence_is_missing_in_an_upgrade_only(phone: Device) -> None:
    """Case 36: UP=0 is refused unless the challenge is for an upgrade."""
    options = options_of(stepped(phone, "POST", OPTIONS))
    assert phone.post(PASSKEYS, {"credential": Authenticator().create(options, flags=0)}).code == "invalid_passkey"


def test_an_older_login_adds_nothing_silently(phone: Device, clock: DevelopmentClock) -> None:
    """Case 11: a thief of the device has a login that is older than five minutes."""
    clock.skip(300)
    assert phone.request("POST", UPGRADE).status == 200
    clock.skip(1)
    said = phone.request("POST", UPGRADE)
    assert (said.status, said.code) == (401, "step_up_required")


def test_a_login_by_a_passkey_adds_nothing_silently(make_device: MakeDevice, mine: Authenticator) -> None:
    """The person did not prove the password, and already has a passkey."""
    tablet = make_device()
    assert sign_in(tablet, mine).status == 200
    assert tablet.request("POST", UPGRADE).code == "step_up_required"


def test_an_account_that_is_asked_adds_nothing_below_aal2(
    make_device: MakeDevice, phone: Device, mine: Authenticator
) -> None:
    """The login began before the second factor was on. A login with the second factor may add a passkey."""
    switch_on(phone)
    assert phone.request("POST", UPGRADE).code == "step_up_required"
    tablet = make_device()
    asked = ask(tablet)
    assert prove(tablet, asked, passkey=mine.get(options_of(factor_options(tablet, asked)))).status == 200
    options = options_of(tablet.request("POST", UPGRADE))
    assert tablet.post(PASSKEYS, {"credential": Authenticator().create(options, flags=0)}).status == 201
    assert tablet.login(EMAIL).status == 200, "the tablet has just proved a factor, so it is still remembered"


# --- What a thief cannot do ---------------------------------------------------------------------------------------


def test_a_stolen_login_adds_no_passkey(phone: Device, clock: DevelopmentClock) -> None:
    """Case 10: the thief has no proof of the person, or the challenge of another login."""
    clock.skip(301)
    assert phone.request("POST", OPTIONS).code == "step_up_required"
    made = Authenticator().create({"challenge": "A" * 100, "user": {"id": "AAAA"}})
    assert phone.post(PASSKEYS, {"credential": made}).code == "challenge_invalid"


def test_a_registration_is_of_the_login_that_fetched_its_options(make_device: MakeDevice, phone: Device) -> None:
    """Another login of the account, and another account, are refused."""
    credential = Authenticator().create(options_of(stepped(phone, "POST", OPTIONS)))
    tablet, bob = make_device(), make_device()
    assert tablet.login(EMAIL).status == 200
    bob.register(OTHER_EMAIL)
    for other in (tablet, bob):
        assert other.post(PASSKEYS, {"credential": credential}).code == "challenge_invalid"
    assert phone.post(PASSKEYS, {"credential": credential}).status == 201


def test_the_export_shows_the_passkeys(phone: Device, mine: Authenticator) -> None:
    """The export has the credential id and the name of each passkey."""
    exported = stepped(phone, "GET", "/me/export").members
    (passkey,) = [one for one in exported["factors"] if one["kind"] == "passkey"]
    assert passkey["credential_id"] == mine.get({"challenge": ""})["id"]
    assert passkey["name"] == "phone"


# --- Files of apps ------------------------------------------------------------------------------------------------


def test_the_files_of_apps_and_origins_are_served(send: Send) -> None:
    """The files are JSON, need no login, and caches keep them for some minutes."""

    def file(name: str) -> Any:
        said = send("GET", f"{PREFIX}/.well-known/{name}", [("host", "api.example.com")], b"")
        assert said.status == 200, said
        assert said.headers["content-type"] == "application/json"
        assert "max-age" in said.headers["cache-control"]
        return json.loads(said.body)

    app = "TEAM123456.com.example.app"
    assert file("apple-app-site-association") == {
        "webcredentials": {"apps": [app]},
        "applinks": {"details": [{"appIDs": [app], "components": [{"/": "/baton/*"}]}]},
    }
    of_app, of_web = file("assetlinks.json")
    assert of_app["target"] == {
        "namespace": "android_app",
        "package_name": "com.example.app",
        "sha256_cert_fingerprints": [":".join(f"{number:02X}" for number in range(32))],
    }
    links, passwords = of_app["relation"]
    assert links == "delegate_permission/common.handle_all_urls"
    assert of_web == {"relation": [passwords], "target": {"namespace": "web", "site": "https://example.com"}}
    assert passwords == "delegate_permission/common.get_login_creds"
    assert file("webauthn") == {"origins": ["https://example.co.uk"]}
    assert file("passkey-endpoints") == {"enroll": "https://example.com/passkeys/new"}
