"""Attacks on passkeys: a registration that proves nothing, hostile client data."""

from typing import Any

import pytest

from chalicelib.baton import settings
from chalicelib.baton.testing.world import World
from tests.baton.factors.authenticator import Authenticator
from tests.baton.fixture import APP, FOLDER
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import Device
from tests.baton.wire.passkeys import (
    OPTIONS,
    PASSKEYS,
    add,
    enrol,
    factor_options,
    options_of,
    send_passkey,
    sign_in_options,
)
from tests.baton.wire.second_factor import ask, attempt, prove, stepped

pytestmark = pytest.mark.guarantee(14)


@pytest.fixture
def town() -> Town:
    """Make a deployment with passkeys, and without mail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        return Town(World(APP, settings={"BATON_CLIENTS": "clients-factors.toml", "BATON_MAIL": "off"}))


@pytest.fixture
def phone(town: Town) -> Device:
    """Give Ada's phone, which has registered."""
    return town.registered()


@pytest.fixture
def mine(phone: Device) -> Authenticator:
    """Give the authenticator with Ada's passkey."""
    mine = Authenticator()
    assert add(phone, mine).status == 201
    return mine


def counted(device: Device, event: str) -> int:
    """Count the events of one kind in the activity of the account."""
    return [one["event"] for one in device.get("/me/activity").members["events"]].count(event)


def test_an_enrolment_is_not_finished_with_the_passkey_that_another_one_added(town: Town) -> None:
    """A registration has no signature. The thief of a password makes one with the id of the owner's passkey.

    The id is public: the options of the second step have it.
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
    """JSON can escape half of a character. It is no text, and no answer and no line can contain it."""
    tablet = town.device()
    lies: dict[str, Any] = {"client": {member: "\ud800"}}
    said = send_passkey(tablet, mine.get(options_of(sign_in_options(tablet)), **lies))
    assert (said.status, said.code) in {(400, "invalid_passkey"), (409, "challenge_invalid")}
    options = options_of(stepped(phone, "POST", OPTIONS))
    said = phone.post(PASSKEYS, {"credential": Authenticator().create(options, **lies)})
    assert (said.status, said.code) in {(400, "invalid_passkey"), (409, "challenge_invalid")}


def test_a_repeated_login_with_a_counter_records_it_once(town: Town, mine: Authenticator) -> None:
    """The answer was lost. The counter of the repeated signature is the stored one, and that is no copied key."""
    tablet, key = town.device(), attempt()
    credential = mine.get(options_of(sign_in_options(tablet)), counter=5)
    for _ in range(2):
        assert send_passkey(tablet, credential, attempt=key).status == 200
    assert counted(tablet, "passkey_counter") == 0
    same = mine.get(options_of(sign_in_options(tablet)), counter=5)
    assert send_passkey(tablet, same, attempt=attempt()).status == 200
    assert counted(tablet, "passkey_counter") == 1
