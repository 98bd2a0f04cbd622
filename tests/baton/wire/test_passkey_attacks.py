"""Attacks on passkeys: a registration that proves nothing, hostile client data, and parallel requests."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from chalicelib.baton import settings
from chalicelib.baton.factors.prove_passkey import ProvePasskey
from chalicelib.baton.testing.world import World
from tests.baton.factors.authenticator import Authenticator
from tests.baton.fixture import APP, FOLDER
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD, Device
from tests.baton.wire.passkeys import (
    OPTIONS,
    PASSKEYS,
    add,
    enrol,
    factor_options,
    options_of,
    send_passkey,
    sign_in_options,
    step_up_options,
)
from tests.baton.wire.second_factor import ask, attempt, grant_of, prove, stepped

pytestmark = pytest.mark.guarantee(14)

RACERS: Final = 8


@pytest.fixture
def town() -> Town:
    """Make a deployment with passkeys, and without mail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        return Town(World(APP, settings={"BATON_CLIENTS": "clients-factors.toml", "BATON_MAIL": "off"}))


@pytest.fixture
def phone(town: Town) -> Device:
    """Return Ada's phone, which has registered."""
    return town.registered()


@pytest.fixture
def mine(phone: Device) -> Authenticator:
    """Return the authenticator with Ada's passkey."""
    mine = Authenticator()
    assert add(phone, mine).status == 201
    return mine


def counted(device: Device, event: str) -> int:
    """Count the events of one kind in the activity of the account."""
    return [one["event"] for one in device.get("/me/activity").members["events"]].count(event)


def test_an_enrolment_is_not_finished_with_the_passkey_that_another_one_added(town: Town) -> None:
    """A registration has no signature. A thief with the password can make a passkey with the id of the owner's passkey.

    The id is public: the options of the second step contain it.
    """
    owner = town.device(client_id="strict")
    asked = ask(owner, ADA, path="/register", attempt="attempt-of-the-owner-1")
    thief = town.device(client_id="strict")
    key = attempt()
    stolen = ask(thief, ADA, attempt=key)
    begun = enrol(thief, stolen, attempt=key)
    mine, own = Authenticator(), enrol(owner, asked, attempt="attempt-of-the-owner-1")
    credential = mine.create(options_of(own))
    added = prove(
        owner, asked, passkey=credential, enrolment=own.members["enrolment"], attempt="attempt-of-the-owner-1"
    )
    assert added.status == 200, added
    again = ask(thief, ADA)
    (known,) = options_of(factor_options(thief, again))["allowCredentials"]
    assert known["id"] == credential["id"]
    forged = Authenticator(credential_id=mine.credential_id).create(options_of(begun))
    said = prove(thief, stolen, passkey=forged, enrolment=begun.members["enrolment"], attempt=key)
    assert (said.status, said.code) == (400, "invalid_session")
    repeated = prove(
        owner, asked, passkey=credential, enrolment=own.members["enrolment"], attempt="attempt-of-the-owner-1"
    )
    assert repeated.members["recovery_codes"] == added.members["recovery_codes"]


@pytest.mark.parametrize("member", ["origin", "type", "challenge"])
def test_half_a_surrogate_in_client_data_is_refused(
    town: Town, phone: Device, mine: Authenticator, member: str
) -> None:
    """JSON can escape half of a character. Such a value is not text, and no answer and no log line can contain it."""
    tablet = town.device()
    lies: dict[str, Any] = {"client": {member: "\ud800"}}
    said = send_passkey(tablet, mine.get(options_of(sign_in_options(tablet)), **lies))
    assert (said.status, said.code) in {(400, "invalid_passkey"), (409, "challenge_invalid")}
    options = options_of(stepped(phone, "POST", OPTIONS))
    said = phone.post(PASSKEYS, {"credential": Authenticator().create(options, **lies)})
    assert (said.status, said.code) in {(400, "invalid_passkey"), (409, "challenge_invalid")}


def test_a_repeated_login_with_a_counter_records_it_once(town: Town, mine: Authenticator) -> None:
    """The answer was lost.

    The repeated signature has the stored counter, which does not mean that the key was copied.
    """
    tablet, key = town.device(), attempt()
    credential = mine.get(options_of(sign_in_options(tablet)), counter=5)
    for _ in range(2):
        assert send_passkey(tablet, credential, attempt=key).status == 200
    assert counted(tablet, "passkey_counter") == 0
    same = mine.get(options_of(sign_in_options(tablet)), counter=5)
    assert send_passkey(tablet, same, attempt=attempt()).status == 200
    assert counted(tablet, "passkey_counter") == 1


def test_one_credential_of_many_accounts_at_once_is_of_one(town: Town) -> None:
    """Many accounts add the same credential, each with its own challenge. One account gets the passkey."""
    stolen = Authenticator()
    sent = []
    for number in range(RACERS):
        device = town.registered(f"person{number}@example.com")
        credential = stolen.create(options_of(stepped(device, "POST", OPTIONS)))
        stolen.user_handle = None
        sent.append((device, credential))
    with ThreadPoolExecutor(RACERS) as pool:
        said = list(pool.map(lambda one: one[0].post(PASSKEYS, {"credential": one[1]}), sent))
    assert sorted(one.status for one in said) == [201] + [409] * (RACERS - 1)
    assert {one.code for one in said if one.status == 409} == {"passkey_exists"}
    assert sum(len(device.get(PASSKEYS).members["passkeys"]) for device, _ in sent) == 1


def test_of_many_passkeys_for_one_challenge_one_is_added(town: Town, phone: Device) -> None:
    """The other requests send other credentials. Each is refused, or gets 503 and may be repeated."""
    options = options_of(stepped(phone, "POST", OPTIONS))
    credentials = [Authenticator().create(options) for _ in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        said = list(pool.map(lambda one: phone.post(PASSKEYS, {"credential": one}), credentials))
    assert [one.status for one in said].count(201) == 1
    assert {one.status for one in said} <= {201, 401, 409, 503}
    assert len(phone.get(PASSKEYS).members["passkeys"]) == 1
    assert town.world.events.count("factor_added") == 1


@pytest.mark.guarantee(6)
def test_of_a_removal_and_logins_at_the_same_time_no_login_survives_unseen(
    town: Town, phone: Device, mine: Authenticator
) -> None:
    """A login with the passkey begins before the removal, or it does not begin. After the removal, none begins."""
    devices = [town.device() for _ in range(RACERS)]
    credentials = [mine.get(options_of(sign_in_options(device))) for device in devices]
    (passkey,) = phone.get(PASSKEYS).members["passkeys"]
    with ThreadPoolExecutor(RACERS + 1) as pool:
        logins = [pool.submit(send_passkey, *one) for one in zip(devices, credentials, strict=True)]
        removed = pool.submit(stepped, phone, "DELETE", f"{PASSKEYS}/{passkey['id']}")
    assert removed.result().status in {204, 401, 503}
    assert {one.result().status for one in logins} <= {200, 401, 503}
    if removed.result().status == 204:
        began = {one["device_id"] for one in phone.get("/me/devices").members["devices"]}
        assert len(began) == 1 + [one.result().status for one in logins].count(200)
        late = town.device()
        assert send_passkey(late, mine.get(options_of(sign_in_options(late)))).code == "unknown_passkey"


@pytest.mark.parametrize("status", ["disabled", "deleted"])
def test_an_account_that_ends_while_its_passkey_is_checked_begins_no_login(
    town: Town, phone: Device, mine: Authenticator, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account ends between the read and the write that adds the login.

    The condition of this write has the epoch and the status.
    """
    tablet = town.device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    use = ProvePasskey.use

    def ending(self: ProvePasskey, *given: Any, **named: Any) -> None:
        if status == "disabled":
            town.world.disable(ADA)
        else:
            assert phone.confirmed("DELETE", "/me").status == 204
        use(self, *given, **named)

    monkeypatch.setattr(ProvePasskey, "use", ending)
    assert send_passkey(tablet, credential).code in {"invalid_credentials", "unavailable"}
    monkeypatch.undo()
    said = send_passkey(tablet, credential)
    assert said.code in {"invalid_credentials", "unknown_passkey"}


def test_a_grant_of_a_passkey_that_was_removed_is_void(phone: Device, mine: Authenticator) -> None:
    """The removal raises the credentials version, which is part of the grant."""
    credential = mine.get(options_of(step_up_options(phone, "DELETE", "/me")))
    granted = grant_of(phone, "DELETE", "/me", passkey=credential)
    assert granted.status == 200
    (passkey,) = phone.get(PASSKEYS).members["passkeys"]
    assert stepped(phone, "DELETE", f"{PASSKEYS}/{passkey['id']}").status == 204
    refused = phone.request("DELETE", "/me", b"", {"baton-grant": granted.members["grant"]})
    assert (refused.status, refused.code) == (401, "grant_invalid")


def test_a_challenge_from_before_another_change_is_void(town: Town, phone: Device, mine: Authenticator) -> None:
    """A password change makes the challenge of a step-up void.

    The challenge of a login names no account, so it stays valid.
    """
    of_step_up = mine.get(options_of(step_up_options(phone, "DELETE", "/me")))
    of_sign_in_device = town.device()
    of_sign_in = mine.get(options_of(sign_in_options(of_sign_in_device)))
    assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    assert grant_of(phone, "DELETE", "/me", passkey=of_step_up).code == "challenge_invalid"
    assert send_passkey(of_sign_in_device, of_sign_in).status == 200
