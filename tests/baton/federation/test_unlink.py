"""Unlink identities, the notices of links and unlinks, and the deletion of accounts with identities, over the wire."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec.structs import replace

from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.policy import DAY_S, NEW_KEY_S
from tests.baton.browser.browser import SESSION, Browser
from tests.baton.federation.linking import (
    ADA,
    MINE,
    account_of,
    body_of,
    grant_by_passkey,
    granted,
    link,
    link_with_passkey,
    names,
    registered,
    unlink,
    with_passkey_added,
)
from tests.baton.federation.scene import Scene
from tests.baton.mail.town import find_link
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD, Said
from tests.baton.wire.passkeys import PASSKEYS, with_passkey

if TYPE_CHECKING:
    from chalicelib.baton.testing.world import World


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment."""
    return Scene()


@pytest.fixture
def mailed() -> Scene:
    """Begin a deployment that sends mails with links."""
    return Scene(environ={"BATON_MAIL": "mailbox", "BATON_CLIENTS": "clients-mail.toml"})


class TestUnlink:
    """An unlink ends every other login."""

    def test_every_other_login_ends(self, scene: Scene) -> None:
        """They end with a reason. The login that unlinks stays active, and the identity can no longer log in."""
        phone, other = registered(scene), scene.phone()
        link(phone)
        assert other.enter().status == 200
        assert unlink(phone).status == 204
        said = other.get("/me")
        assert (said.status, said.code, said.members["reason"]) == (401, "login_required", "identity_unlinked")
        assert phone.exchange().status == 200
        assert names(phone) == []
        assert not scene.tables.identities
        assert scene.phone().enter().code == "identity_unknown"
        event = phone.get("/me/activity").members["events"][0]
        assert (event["event"], event["reason"], event["details"]) == (
            "identity_unlinked",
            "identity_unlinked",
            {"provider": "google"},
        )
        assert link(phone).status == 201

    def test_an_unlink_in_a_browser_replaces_its_cookies(self) -> None:
        """A copy of the earlier cookies stops working, as after a password change."""
        scene = Scene(environ={"BATON_CLIENTS": "clients-web.toml"})
        browser = Browser(cast("World", scene))
        account = browser.register(remember=True).members["account_id"]
        user = scene.tables.users[account]
        scene.tables.users[account] = replace(user, identities={9: LinkedIdentity("9#x", 1)})
        copy = browser.copy()
        path = f"{MINE}/9".removeprefix("/api")
        grant = browser.step_up("DELETE", path)
        assert browser.request("DELETE", path, extra=[("baton-grant", grant)]).status == 204
        assert copy.request("GET", "/me").code == "session_superseded"
        assert browser.request("GET", "/me").status == 200
        del browser.cookies[SESSION]
        assert browser.request("GET", "/me").status == 200

    def test_an_identity_that_the_account_does_not_have(self, scene: Scene) -> None:
        """The answer is 404, also for a provider that does not exist."""
        phone = registered(scene)
        link(phone)
        for provider in ("acme", "facebook"):
            assert (unlink(phone, provider).status, names(phone)) == (404, ["google"])

    def test_an_identity_of_a_provider_that_is_gone(self, scene: Scene) -> None:
        """The row was removed from providers.toml, so the code is the name of the provider."""
        phone = registered(scene)
        link(phone)
        account = account_of(scene)
        user = scene.tables.users[account]
        scene.tables.users[account] = replace(user, identities={**user.identities, 9: LinkedIdentity("9#x", 1)})
        assert names(phone) == ["9", "google"]
        assert unlink(phone, "9").status == 204
        assert names(phone) == ["google"]

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_unlink_whose_write_is_in_doubt(self, scene: Scene, when: Any) -> None:
        """The answer is 503. The repetition unlinks, or finds nothing to unlink."""
        phone = registered(scene)
        link(phone)
        scene.faults.fail(1, when, verb="unlink")
        assert unlink(phone).status == 503
        assert unlink(phone).status == (204 if when == "before" else 404)
        assert names(phone) == []

    def test_the_last_credential_stays(self, scene: Scene) -> None:
        """After the identity, the passkey is the last credential. It can be removed only after a password is set."""
        phone = scene.phone()
        phone.enter(create=True)
        mine = with_passkey_added(phone)
        said = with_passkey(phone, "DELETE", f"{MINE}/google", mine)
        assert said.status == 204, said
        (passkey,) = phone.get(PASSKEYS).members["passkeys"]
        path = f"{PASSKEYS}/{passkey['id']}"
        said = with_passkey(phone, "DELETE", path, mine)
        assert (said.status, said.code) == (409, "last_credential")
        body = json.dumps({"new_password": PASSWORD}).encode()
        assert with_passkey(phone, "POST", "/me/password", mine, body).status == 204
        assert phone.get(MINE).members == {"identities": [], "password": True}
        assert with_passkey(phone, "DELETE", path, mine).status == 204
        assert phone.get(PASSKEYS).members["passkeys"] == []

    def test_an_identity_alone_cannot_be_unlinked(self, scene: Scene) -> None:
        """An account that has another identity can unlink one."""
        phone = scene.phone()
        phone.enter(create=True)
        mine = with_passkey_added(phone)
        account = account_of(scene)
        factors = scene.tables.users[account].factors
        link_with_passkey(phone, mine, "acme")
        grant = grant_by_passkey(phone, mine, "DELETE", f"{MINE}/google")
        scene.tables.users[account] = replace(scene.tables.users[account], factors=replace(factors, passkeys={}))
        assert phone.request("DELETE", f"{MINE}/google", b"", {"baton-grant": grant}).status == 204
        scene.tables.users[account] = replace(scene.tables.users[account], factors=factors)
        grant = grant_by_passkey(phone, mine, "DELETE", f"{MINE}/acme")
        scene.tables.users[account] = replace(scene.tables.users[account], factors=replace(factors, passkeys={}))
        said = phone.request("DELETE", f"{MINE}/acme", b"", {"baton-grant": grant})
        assert (said.status, said.code, names(phone)) == (409, "last_credential", ["acme"])

    def test_two_devices_remove_the_last_two_credentials_at_once(self, scene: Scene) -> None:
        """The account has only two identities. Each device removes one, and one of them stays."""
        phone = scene.phone()
        phone.enter(create=True)
        mine = with_passkey_added(phone)
        link_with_passkey(phone, mine, "acme")
        tablet = scene.phone()
        tablet.enter()
        account = account_of(scene)
        grants = {
            provider: (device, grant_by_passkey(device, mine, "DELETE", f"{MINE}/{provider}"))
            for provider, device in (("google", phone), ("acme", tablet))
        }
        user = scene.tables.users[account]
        scene.tables.users[account] = replace(user, factors=replace(user.factors, passkeys={}))

        def remove(provider: str) -> Said:
            device, grant = grants[provider]
            return device.request("DELETE", f"{MINE}/{provider}", b"", {"baton-grant": grant})

        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(remove, grants))
        # The loser finds its login ended, or reads first that one credential is left.
        done, refused = sorted(said, key=lambda one: one.status)
        assert (done.status, refused.status, refused.code) in {
            (204, 401, "login_required"),
            (204, 409, "last_credential"),
        }
        assert len(scene.tables.users[account].identities) == 1


class TestNotices:
    """The owner gets a notice, and can undo the change."""

    def test_a_link_can_be_undone(self, mailed: Scene) -> None:
        """A thief with the password linked another identity. The link in the notice removes this identity."""
        registered(mailed)
        thief = mailed.phone()
        assert thief.login(ADA).status == 200
        assert link(thief, sub="thief").status == 201
        mail = mailed.mailbox.mails[-1]
        assert (mail.to, mail.subject) == (ADA, "Your Example account has a new way to log in")
        undone = mailed.phone(bound=False).post("/mail/undo", {"link": find_link(mail)}, token=None)
        assert undone.status == 204, undone
        said = thief.get("/me")
        assert (said.code, said.members["reason"]) == ("login_required", "undone")
        assert mailed.phone().enter(sub="thief").code == "identity_unknown"
        assert not mailed.tables.identities

    def test_an_unlink_can_be_undone(self, mailed: Scene) -> None:
        """The undo ends every login, but does not link the identity again."""
        phone = registered(mailed)
        link(phone)
        mailed.clock.skip(seconds=60)
        assert unlink(phone).status == 204
        mail = mailed.mailbox.mails[-1]
        assert mail.subject == "A way to log in to your Example account was removed"
        assert mailed.phone(bound=False).post("/mail/undo", {"link": find_link(mail)}, token=None).status == 204
        assert phone.get("/me").members["reason"] == "undone"

    def test_an_undo_of_an_older_notice_leaves_older_identities(self, mailed: Scene) -> None:
        """The owner linked an identity before the thief came."""
        phone = registered(mailed)
        link(phone, "acme")
        mailed.clock.skip(seconds=60)
        thief = mailed.phone()
        thief.login(ADA)
        link(thief, sub="thief")
        undo = find_link(mailed.mailbox.mails[-1])
        assert mailed.phone(bound=False).post("/mail/undo", {"link": undo}, token=None).status == 204
        assert mailed.phone().enter("acme").status == 200
        assert mailed.phone().enter(sub="thief").code == "identity_unknown"

    def test_a_mailbox_thief_does_not_remove_what_a_long_used_phone_linked(self, mailed: Scene) -> None:
        """The notice of this link has no undo link, and the undo of an older notice leaves the identity."""
        phone = registered(mailed)
        mailed.clock.skip(seconds=NEW_KEY_S + DAY_S)
        assert phone.exchange().status == 200
        assert phone.confirmed("POST", "/me/password", {"new_password": PASSWORD}).status == 204
        older = find_link(mailed.mailbox.mails[-1])
        mailed.clock.skip(seconds=60)
        assert link(phone).status == 201
        assert "#t=" not in mailed.mailbox.mails[-1].text
        assert mailed.phone(bound=False).post("/mail/undo", {"link": older}, token=None).status == 204
        assert mailed.phone().enter().status == 200

    def test_a_claim_removes_the_identities_of_the_squatter(self, mailed: Scene) -> None:
        """A squatter registered the victim's address, and linked an identity. The victim resets by mail."""
        squatter = registered(mailed)
        assert link(squatter, sub="squatter").status == 201
        owner = mailed.phone()
        asked = {"email": ADA, "client_id": "mobile", "device": {"public_key": owner.key.jwk()}}
        begun = owner.post("/password/forgot", asked, token=None)
        code = next(line.strip() for line in mailed.mailbox.mails[-1].text.splitlines() if _is_code(line))
        reset = {"mail_session": begun.members["mail_session"], "code": code, "new_password": NEW_PASSWORD}
        assert owner.post("/password/reset", reset, token=None).status == 204
        assert squatter.get("/me").members["reason"] == "claimed"
        assert not mailed.tables.identities
        assert mailed.phone().enter(sub="squatter").code == "identity_unknown"

    def test_a_link_without_an_address_tells_nobody(self) -> None:
        """The link succeeds, and no notice is sent."""
        mailed = Scene(environ={"BATON_MAIL": "mailbox"})
        phone = mailed.phone()
        phone.enter(create=True)
        mine = with_passkey_added(phone)
        assert link_with_passkey(phone, mine, "acme").status == 201
        assert {line["reason"] for line in mailed.events("mail_dropped")} == {"the account has no address"}


def _is_code(line: str) -> bool:
    return len(line.strip()) == 9 and line.strip().replace(" ", "").isdigit()


def test_logout_everywhere_beside_a_link(scene: Scene) -> None:
    """In either order the account stays consistent: the identity is linked completely, or not at all."""
    phone = registered(scene)
    tablet = scene.phone()
    tablet.login(ADA)
    everywhere = json.dumps({"everywhere": True}).encode()
    sends = [granted(phone, "POST", MINE, body_of(phone)), granted(tablet, "POST", "/logout", everywhere)]
    with ThreadPoolExecutor(2) as pool:
        linked, ended = pool.map(lambda one: one(), sends)
    assert (linked.status, ended.status) in {(201, 204), (401, 204), (201, 401)}
    user = scene.tables.users[account_of(scene)]
    assert bool(user.identities) is (linked.status == 201) is bool(scene.tables.identities)
    if linked.status == 201:
        assert scene.phone().enter().status == 200


def test_a_deletion_by_the_owner_frees_every_identity(scene: Scene) -> None:
    """Another person may link the identities."""
    phone = registered(scene)
    link(phone)
    link(phone, "acme")
    assert phone.confirmed("DELETE", "/me").status == 204
    assert not scene.tables.identities
    assert link(registered(scene, "bob@example.com")).status == 201
