"""Show and link identities, over the wire."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.model import IDENTITIES_MAX
from chalicelib.baton.lineages.model import Status
from tests.baton.federation.linking import (
    ADA,
    MINE,
    account_of,
    body_of,
    granted,
    link,
    link_with_passkey,
    names,
    registered,
    send,
    with_passkey_added,
)
from tests.baton.federation.scene import Scene
from tests.baton.golden.scenario import HmacKey
from tests.baton.wire.passkeys import with_passkey
from tests.baton.wire.second_factor import stepped


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment."""
    return Scene()


class TestLink:
    """An account with a password gets identities."""

    def test_a_linked_identity_logs_in(self, scene: Scene) -> None:
        """The answer is 201, then 200 for the same identity. Another phone logs in to the same account."""
        phone = registered(scene)
        assert phone.get(MINE).members == {"identities": [], "password": True}
        said = link(phone)
        assert (said.status, said.members) == (201, {"provider": "google", "linked_at": scene.clock.now})
        assert link(phone).status == 200
        assert phone.get(MINE).members["identities"] == [said.members]
        other = scene.phone()
        assert other.enter().status == 200
        assert other.get("/me").members["account_id"] == phone.get("/me").members["account_id"]
        assert phone.exchange().status == 200, "no login ends"
        assert scene.accounts == 1

    def test_a_repeated_request_finds_the_identity(self, scene: Scene) -> None:
        """The answer was lost. The app steps up again, sends the same token, and gets 200."""
        phone = registered(scene)
        assert link(phone).status == 201
        assert link(phone, again=True).status == 200
        assert names(phone) == ["google"]

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_link_whose_write_is_in_doubt(self, scene: Scene, when: Any) -> None:
        """The answer is 503. The repetition succeeds, whether or not the write took effect."""
        phone = registered(scene)
        scene.faults.fail(1, when, verb="link")
        assert link(phone).status == 503
        assert link(phone, again=True).status == (201 if when == "before" else 200)
        assert names(phone) == ["google"]

    def test_a_step_up_is_needed(self, scene: Scene) -> None:
        """A stolen phone can neither link nor unlink an identity."""
        phone = registered(scene)
        said = phone.request("POST", MINE, body_of(phone), {"content-type": "application/json"})
        assert (said.status, said.code) == (401, "step_up_required")
        assert link(phone).status == 201
        assert phone.request("DELETE", f"{MINE}/google").code == "step_up_required"
        assert names(phone) == ["google"]

    @pytest.mark.parametrize("stolen", ["key", "attempt", "login"])
    def test_a_stolen_token_is_worthless(self, scene: Scene, stolen: str) -> None:
        """The nonce names the device key and the attempt: a token for another request links nothing."""
        phone, thief = registered(scene), registered(scene, "thief@example.com")
        token = phone.id_token()
        if stolen == "key":
            thief.attempt = phone.attempt
            said = send(thief, body_of(thief, token=token))
        else:
            if stolen == "login":
                token = scene.phone().id_token()
            phone.attempt = secrets.token_urlsafe(16)
            said = send(phone, body_of(phone, token=token))
        assert (said.status, said.code, said.members["reason"]) == (401, "identity_token_invalid", "nonce")
        assert scene.events("identity_token_refused")
        assert not scene.tables.identities

    def test_a_key_and_an_attempt_are_needed(self, scene: Scene) -> None:
        """The token is bound by nothing else."""
        phone = registered(scene)
        said = stepped(phone, "POST", MINE, body_of(phone))
        assert (said.status, said.code) == (400, "malformed")

    def test_an_unbound_login_links_nothing(self, scene: Scene) -> None:
        """A thief could steal the token together with the login."""
        unbound = scene.phone("simple", bound=False)
        assert unbound.register(ADA).status == 201
        said = send(unbound, b'{"provider":"google","id_token":"a.b.c"}')
        assert (said.status, said.code) == (401, "signature_required")

    def test_an_hmac_login_links_nothing(self, scene: Scene) -> None:
        """A nonce cannot name the secret of the login."""
        phone = scene.phone("simple", bound=False)
        entry = phone.entry(ADA, binding="hmac")
        assert phone._kept(phone.post("/register", entry, token=None)).status == 201
        phone.bound, phone.key = True, HmacKey(phone.tokens)  # type: ignore[assignment] # it has the methods of a key
        said = send(phone, b'{"provider":"google","id_token":"a.b.c"}')
        assert (said.status, said.code) == (400, "malformed")

    def test_an_identity_of_another_account(self, scene: Scene) -> None:
        """The other account signed up with the identity. The answer is 409, and no account is changed."""
        phone, other = registered(scene), scene.phone()
        assert other.enter(create=True).status == 201
        said = link(phone)
        assert (said.status, said.code) == (409, "identity_taken")
        assert names(phone) == []
        assert other.exchange().status == 200

    def test_an_identity_of_a_deleted_account(self, scene: Scene) -> None:
        """A deletion was interrupted. The link finishes the deletion first."""
        scene.phone().enter(create=True)
        account = account_of(scene)
        scene.baton.lineage_store.set_status(account, Status.DELETED, now=scene.clock.now)
        phone = registered(scene)
        assert link(phone).status == 201
        assert account not in scene.tables.users

    def test_one_identity_of_each_provider(self, scene: Scene) -> None:
        """A second identity of the provider is refused. An identity of another provider is linked."""
        phone = registered(scene)
        assert link(phone).status == 201
        said = link(phone, sub="another")
        assert (said.status, said.code) == (409, "too_many_identities")
        assert link(phone, "acme").status == 201
        assert names(phone) == ["google", "acme"]

    def test_eight_identities_in_all(self, scene: Scene) -> None:
        """The ninth identity is refused."""
        phone = registered(scene)
        account = account_of(scene)
        many = {code: LinkedIdentity(f"{code}#x", 1) for code in range(4, 4 + IDENTITIES_MAX)}
        scene.tables.users[account] = replace(scene.tables.users[account], identities=many)
        assert link(phone).code == "too_many_identities"
        del many[4]
        scene.tables.users[account] = replace(scene.tables.users[account], identities=many)
        assert link(phone).status == 201

    def test_an_unknown_provider(self, scene: Scene) -> None:
        """The file must have a row of this provider."""
        phone = registered(scene)
        said = send(phone, b'{"provider":"facebook","id_token":"a.b.c"}')
        assert (said.status, said.members["pointer"]) == (400, "/provider")

    def test_two_accounts_link_one_identity_at_once(self, scene: Scene) -> None:
        """Exactly one account gets the identity."""
        assert scene.phone().enter(sub="bob", create=True).status == 201  # the keys of the provider are there
        phones = [registered(scene, f"person{number}@example.com") for number in range(4)]
        with ThreadPoolExecutor(len(phones)) as pool:
            said = list(pool.map(link, phones))
        assert sorted(one.status for one in said) == [201, 409, 409, 409]
        assert {one.code for one in said if one.status == 409} == {"identity_taken"}

    def test_two_requests_of_one_account_at_once(self, scene: Scene) -> None:
        """The identity is linked once. The other request finds it, or its grant is void."""
        phone = registered(scene)
        tablet = scene.phone()
        assert tablet.login(ADA).status == 200
        sends = [granted(device, "POST", MINE, body_of(device)) for device in (phone, tablet)]
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(lambda one: one(), sends))
        assert sorted(one.status for one in said) in ([200, 201], [201, 401])
        assert all(one.code == "grant_invalid" for one in said if one.status == 401)
        assert names(phone) == ["google"]


class TestAddress:
    """An address that a provider verified counts only if it is the address of the account."""

    def test_the_own_address_is_proved(self, scene: Scene) -> None:
        """The activity of the account has the event."""
        phone = registered(scene, "ada@gmail.com")
        said = link(phone, email="ada@gmail.com", email_verified=True)
        assert said.members["email"] == "ada@gmail.com"
        assert phone.get("/me").members["email_verified"] is True
        events = [one["event"] for one in phone.get("/me/activity").members["events"]]
        assert events[:2] == ["address_verified", "identity_linked"]

    @pytest.mark.parametrize("claims", [{"email": "eve@gmail.com", "email_verified": True}, {"email": ADA}], ids=str)
    def test_no_other_address_proves_anything(self, scene: Scene, claims: dict[str, Any]) -> None:
        """A squatter cannot prove the address of the victim with an identity of another address."""
        phone = registered(scene)
        assert link(phone, **claims).status == 201
        me = phone.get("/me").members
        assert (me["email"], me["email_verified"]) == (ADA, False)

    def test_an_account_without_an_address_gets_none(self, scene: Scene) -> None:
        """The answer shows the address, but the account does not get it. It may enrol factors without a mailbox."""
        phone = scene.phone()
        phone.enter(create=True)
        mine = with_passkey_added(phone)
        phone.attempt = secrets.token_urlsafe(16)
        said = link_with_passkey(phone, mine, "acme", email=ADA, email_verified=True)
        assert (said.status, said.members["email"]) == (201, ADA)
        assert phone.get("/me").members["email"] == ""
        assert with_passkey(phone, "POST", "/me/factors/totp", mine).status == 200
