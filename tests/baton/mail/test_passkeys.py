"""Passkeys with mail on: only an account with a proved address can add a passkey, so no stranger keeps access."""

from collections.abc import Callable

import pytest

from tests.baton.factors.authenticator import Authenticator
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.second_factor import ask, stepped

pytestmark = pytest.mark.guarantee(14)


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """Make a deployment with mail and passkeys."""
    return make_town(clients="clients-factors.toml")


def test_an_address_is_proved_before_a_passkey_is_added(town: Town) -> None:
    """Without the proof, neither options for a passkey nor options for an upgrade are returned."""
    phone = town.registered()
    for said in (stepped(phone, "POST", "/me/passkeys/options"), phone.request("POST", "/me/passkeys/upgrade-options")):
        assert (said.status, said.code, said.members["action"]) == (403, "email_unverified", "verify_email")
    town.verified(phone)
    assert phone.request("POST", "/me/passkeys/upgrade-options").status == 200
    options = stepped(phone, "POST", "/me/passkeys/options").members["options"]
    assert phone.post("/me/passkeys", {"credential": Authenticator().create(options)}).status == 201


def test_a_login_enrols_a_passkey_only_for_a_proved_address(town: Town) -> None:
    """Before the proof, the login gets no options for a passkey."""
    strict = town.device(client_id="strict")
    asked = ask(strict, ADA, path="/register")
    assert asked.members["enrol"] == ["totp"]
    session = {"auth_session": asked.members["auth_session"], "kind": "passkey"}
    assert strict.post("/login/enrol", session, token=None).status == 403
    phone = town.device()
    assert phone.login(ADA).status == 200
    town.verified(phone)
    assert ask(strict, ADA).members["enrol"] == ["totp", "passkey"]


def test_an_account_with_a_passkey_is_not_claimed(town: Town) -> None:
    """A reset keeps the passkey: the mailbox is no way around a second factor."""
    phone = town.verified(town.registered())
    options = stepped(phone, "POST", "/me/passkeys/options").members["options"]
    phone.post("/me/passkeys", {"credential": Authenticator().create(options)})
    laptop = town.device()
    session = town.forgot(laptop).members["mail_session"]
    assert town.reset(laptop, session, town.code()).status == 204
    assert laptop.login(ADA, password="granite umbrella conversation").status == 200
    assert laptop.get("/me/factors").members["passkeys"] == 1
