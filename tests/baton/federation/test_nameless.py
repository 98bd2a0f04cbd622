"""An account without an e-mail address, in features that use the address."""

from typing import Any

import pytest

from chalicelib.baton.accounts.handover import masked
from chalicelib.baton.accounts.roles import SetRoles
from chalicelib.baton.accounts.second_factor import RequireSecondFactor
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.errors import NotFound
from chalicelib.baton.lineages.model import Status
from tests.baton.federation.linking import account_of
from tests.baton.federation.scene import Federated, Scene
from tests.baton.federation.test_apple_notices import outcomes, payload
from tests.baton.federation.test_apple_notices import send as send_notice
from tests.baton.wire.restore import keep, restore, silent


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment."""
    return Scene()


@pytest.fixture
def mailed() -> Scene:
    """Begin a deployment that sends mails."""
    return Scene(environ={"BATON_MAIL": "mailbox", "BATON_CLIENTS": "clients-mail.toml"})


def entered(scene: Scene, client_id: str = "mobile") -> Federated:
    """Sign up with an identity whose address does not count."""
    phone = scene.phone(client_id)
    phone.enter("apple", create=True)
    (user,) = scene.tables.users.values()
    assert (user.email, user.verified_at) == ("", None)
    return phone


class TestRestore:
    """A person without an address moves to a new phone."""

    def test_a_restore_without_an_address_is_answered(self, scene: Scene) -> None:
        """No notice can be sent, but the login has begun, so the answer is 200."""
        old, new, platform = entered(scene), scene.phone(), silent()
        assert keep(old, platform).status == 204
        said = restore(new, platform)
        assert said.status == 200, said
        assert new.get("/me").status == 200
        events = [one["event"] for one in new.get("/me/activity").members["events"]]
        assert "restored_on_new_device" in events

    def test_a_revoked_consent_ends_the_restored_login_too(self, scene: Scene) -> None:
        """A restored login has the provider of the login of the old phone."""
        old, new, platform = entered(scene), scene.phone(), silent()
        assert keep(old, platform).status == 204
        assert restore(new, platform).status == 200
        lineages = scene.tables.lineages[account_of(scene)].lineages
        assert [one.provider for one in lineages.values()] == [1, 1]
        assert send_notice(scene, payload(scene, "consent-revoked")).status == 200
        assert outcomes(scene) == ["consent-revoked: 2 logins ended"]
        assert [phone.get("/me").code for phone in (old, new)] == ["login_required"] * 2


class TestCodes:
    """There is no mailbox, so no code is sent, and none is accepted."""

    def test_no_code_of_a_login_is_sent_to_an_account_without_an_address(self, mailed: Scene) -> None:
        """Both requests get 404: a right code would prove an address that does not exist."""
        phone = mailed.phone("strict")
        asked = phone.enter("apple", create=True)
        assert asked.code == "enrolment_required"
        attempt = {"idempotency-key": phone.attempt}
        session = {"auth_session": asked.members["auth_session"]}
        sent = phone.post("/login/email-code", session, attempt, token=None)
        typed = phone.post("/login/factor", {**session, "email_code": "12345678"}, attempt, token=None)
        assert [(said.status, said.code) for said in (sent, typed)] == [(404, "not_found")] * 2
        assert mailed.mailbox.mails == []
        enrolled = phone.post("/login/enrol", {**session, "kind": "totp"}, attempt, token=None)
        assert enrolled.status == 200, "a factor is enrolled without a code"


class TestOperator:
    """A command of an operator names an account by its address, or by its id."""

    def test_a_command_finds_an_account_by_its_id(self, scene: Scene) -> None:
        """An account without an address can get a role, and can be deleted."""
        entered(scene)
        account, baton = account_of(scene), scene.baton
        stores: Any = {
            "clock": baton.clock,
            "key_ring": baton.key_ring,
            "users": baton.users,
            "lineage_store": baton.lineage_store,
            "record": baton.recorder,
        }
        assert SetRoles(clients=baton.settings.registry, **stores).grant(account, "support") == account
        assert RequireSecondFactor(**stores)(account, required=True) == account
        state = scene.tables.lineages[account]
        assert (state.roles, state.second_factor_required) == (frozenset({2}), True)
        for unknown in ("", "x", "ada"):
            with pytest.raises(NotFound):
                SetRoles(clients=baton.settings.registry, **stores).grant(unknown, "support")
            with pytest.raises(NotFound):
                SetStatus(**stores)(unknown, Status.DELETED)
        assert SetStatus(**stores)(account, Status.DELETED) == account
        assert (scene.accounts, scene.tables.identities) == (0, {})


def test_a_person_without_an_address_is_shown_in_words() -> None:
    """The page of a handover asks "Continue as …?"."""
    assert masked("") == "a person without an e-mail address"
