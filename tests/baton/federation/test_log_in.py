"""Sign-up and login with an identity, over the wire."""

import base64
import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from chalicelib.baton.accounts.devices import ListDevices
from chalicelib.baton.accounts.export import ExportAccount
from chalicelib.baton.accounts.profile import never_suppressed
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.federation.model import REFUSED_TOKENS_PER_SOURCE_MAX
from chalicelib.baton.federation_assembly import prove_identity_of
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.storage.memory.identities import MemoryIdentities
from chalicelib.baton.tokens.caller import Caller
from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import PASSWORD, Said
from tests.baton.wire.second_factor import totp


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment."""
    return Scene()


def claims_of(said: Said) -> dict[str, Any]:
    """Read the claims of the access token."""
    payload = said.members["access_token"].split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return read


def test_no_account_by_surprise(scene: Scene) -> None:
    """Without `create`, an unknown identity gets 404. With `create` it gets an account (201), and later 200."""
    phone = scene.phone()
    assert (phone.enter().status, scene.accounts) == (404, 0)
    made = phone.enter(create=True)
    assert (made.status, scene.accounts) == (201, 1)
    claims = claims_of(made)
    assert (claims["idp"], claims["acr"], claims["amr"]) == ("google", "aal1", ["fed"])
    again = scene.phone().enter(create=True)
    assert (again.status, scene.accounts) == (200, 1)
    assert claims_of(again)["sub"] == claims["sub"]
    assert [line["message"] for line in scene.lines if str(line.get("message")).startswith("federated")] == [
        "federated_signed_up",
        "federated_logged_in",
    ]


def test_the_login_calls_and_is_exchanged(scene: Scene) -> None:
    """The exchanged token names the provider too. The account has neither address nor password."""
    phone = scene.phone()
    phone.enter(create=True)
    me = phone.get("/me")
    assert (me.status, me.members["email"], me.members["amr"]) == (200, "", ["fed"])
    assert claims_of(phone.exchange())["idp"] == "google"
    exported = phone.get("/me/devices")
    assert exported.status == 200


@pytest.mark.parametrize("create", [False, True])
def test_a_repeated_request_gets_the_same_tokens(scene: Scene, *, create: bool) -> None:
    """The answer was lost. The repetition makes no second login, and a sign-up finds its own account."""
    if not create:
        scene.phone().enter(create=True)
    phone = scene.phone()
    first = phone.enter(create=create)
    token = phone.id_token()
    second = phone.enter(token=token, create=create)
    assert second.status == 200
    assert second.members["device_id"] == first.members["device_id"]
    assert scene.accounts == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sign_up_whose_write_is_in_doubt(scene: Scene, when: Any) -> None:
    """The answer is 503. The repetition succeeds, whether or not the write took effect."""
    phone = scene.phone()
    phone.attempt = "a" * 22
    token = phone.id_token()
    scene.faults.fail(1, when, verb="sign_up")
    assert phone.enter(token=token, create=True).status == 503
    assert phone.enter(token=token, create=True).status == (201 if when == "before" else 200)
    assert scene.accounts == 1


def test_two_sign_ups_of_one_identity_make_one_account(scene: Scene) -> None:
    """Four phones sign up at the same time. One makes the account, and the others log in to it."""
    assert scene.phone().enter(sub="bob", create=True).status == 201  # the keys of the provider are there
    phones = [scene.phone() for _ in range(4)]
    with ThreadPoolExecutor(len(phones)) as pool:
        said = list(pool.map(lambda phone: phone.enter(create=True), phones))
    assert sorted(one.status for one in said) == [200, 200, 200, 201]
    assert scene.accounts == 2
    assert len({claims_of(one)["sub"] for one in said}) == 1


def test_one_sign_up_that_is_sent_twice_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request makes the account while the first one is at its write. Both get the same login."""
    phone, sign_up, said = scene.phone(), MemoryIdentities.sign_up, list[Said]()
    token = phone.id_token()

    def slow(store: MemoryIdentities, *items: Any) -> Any:
        monkeypatch.setattr(MemoryIdentities, "sign_up", sign_up)
        said.append(phone.enter(token=token, create=True))
        return sign_up(store, *items)

    monkeypatch.setattr(MemoryIdentities, "sign_up", slow)
    said.append(phone.enter(token=token, create=True))
    assert [one.status for one in said] == [201, 200]
    assert len({one.members["device_id"] for one in said}) == 1
    assert scene.accounts == 1


class TestBinding:
    """A stolen token cannot be used."""

    def test_another_device_key(self, scene: Scene) -> None:
        """The thief signs with another key, or lacks the private key that the nonce names."""
        phone, thief = scene.phone(), scene.phone()
        phone.attempt = thief.attempt = "a" * 22
        said = thief.enter(token=phone.id_token(), create=True)
        assert (said.status, said.code, said.members["reason"]) == (401, "identity_token_invalid", "nonce")
        body: dict[str, Any] = {"provider": "google", "id_token": phone.id_token(), "client_id": "mobile"}
        body |= {"device": {"public_key": phone.key.jwk()}}
        said = thief.post("/login/federated", body, {"idempotency-key": phone.attempt}, token=None)
        assert said.status == 401
        assert scene.accounts == 0

    def test_another_attempt(self, scene: Scene) -> None:
        """The same device may repeat the request, but cannot begin a second login with the token."""
        phone = scene.phone()
        token = phone.id_token()
        assert phone.enter(token=token, create=True).status == 201
        phone.attempt = "b" * 22
        assert phone.enter(token=token).members["reason"] == "nonce"

    def test_another_client_and_another_provider(self, scene: Scene) -> None:
        """Audience and nonce name the client. Only `provider` selects the row."""
        phone = scene.phone()
        token = phone.id_token()
        assert phone.enter("acme", token=token, create=True).code == "identity_token_invalid"
        other = scene.phone("strict", key=phone.key, attempt=phone.attempt)
        assert other.enter(token=token, create=True).members["reason"] == "aud"

    def test_no_key_and_no_attempt(self, scene: Scene) -> None:
        """Key and attempt are both required, because nothing else binds the token."""
        unbound = scene.phone("simple", bound=False)
        body = {"provider": "google", "id_token": "a.b.c", "client_id": "simple", "device": {"name": "x"}}
        said = unbound.post("/login/federated", body, {"idempotency-key": "a" * 22}, token=None)
        assert (said.status, said.code, said.members["pointer"]) == (400, "malformed", "/device/public_key")
        phone = scene.phone()
        body = {"provider": "google", "id_token": phone.id_token(), "client_id": "mobile"}
        body |= {"device": {"public_key": phone.key.jwk()}}
        assert phone.post("/login/federated", body, token=None).code == "malformed"

    def test_an_unknown_provider(self, scene: Scene) -> None:
        """The file must have a row of this provider."""
        said = scene.phone().enter("google", members={"provider": "facebook"})
        assert (said.status, said.members["pointer"]) == (400, "/provider")


class TestAddresses:
    """An identity is never found or moved by an address."""

    def test_a_verified_address_is_the_accounts(self, scene: Scene) -> None:
        """The sign-up proves the address. Another identity with the same address gets 409, and nothing changes."""
        phone = scene.phone()
        assert phone.enter(create=True, email="ada@gmail.com", email_verified=True).status == 201
        me = phone.get("/me").members
        assert (me["email"], me["email_verified"]) == ("ada@gmail.com", True)
        said = scene.phone().enter("acme", "other", create=True, email="ada@gmail.com", email_verified=True)
        assert (said.status, said.code, scene.accounts) == (409, "account_exists", 1)

    def test_an_address_that_is_registered(self, scene: Scene) -> None:
        """The account with this address was registered with a password. The answer is 409, and no account is made."""
        scene.phone().register("ada@gmail.com")
        said = scene.phone().enter(create=True, email="ada@gmail.com", email_verified=True)
        assert (said.status, said.code, scene.accounts) == (409, "account_exists", 1)

    def test_an_address_that_does_not_count(self, scene: Scene) -> None:
        """The address is dropped, and the answer reveals nothing about other accounts."""
        scene.phone().register("ada@example.com")
        phone = scene.phone()
        assert phone.enter(create=True, email="ada@example.com", email_verified=True).status == 201
        assert phone.get("/me").members["email"] == ""

    def test_the_password_of_an_account_without_one(self, scene: Scene) -> None:
        """A login by password gets the same answer as for an unknown address."""
        scene.phone().enter(create=True, email="ada@gmail.com", email_verified=True)
        unknown = scene.phone().login("nobody@gmail.com")
        said = scene.phone().login("ada@gmail.com", password=PASSWORD)
        assert (said.status, said.code) == (unknown.status, unknown.code) == (401, "invalid_credentials")


class TestAccounts:
    """Disabled and deleted accounts, and second factors."""

    def _set(self, scene: Scene, status: Status) -> None:
        baton = scene.baton
        SetStatus(
            clock=baton.clock,
            key_ring=baton.key_ring,
            users=baton.users,
            lineage_store=baton.lineage_store,
            record=baton.recorder,
        )("ada@gmail.com", status)

    def test_disabled_is_told(self, scene: Scene) -> None:
        """The identity is proved, so the answer may reveal that the account is disabled."""
        scene.phone().enter(create=True, email="ada@gmail.com", email_verified=True)
        self._set(scene, Status.DISABLED)
        said = scene.phone().enter(create=True)
        assert (said.status, said.code, scene.accounts) == (403, "account_disabled", 1)

    def test_a_deleted_account_frees_its_identity(self, scene: Scene) -> None:
        """The person may sign up again, and gets another account."""
        first = scene.phone().enter(create=True, email="ada@gmail.com", email_verified=True)
        self._set(scene, Status.DELETED)
        assert not scene.tables.identities
        assert scene.phone().enter().code == "identity_unknown"
        second = scene.phone().enter(create=True, email="ada@gmail.com", email_verified=True)
        assert second.status == 201
        assert claims_of(second)["sub"] != claims_of(first)["sub"]

    @pytest.mark.parametrize("left", ["user", "nothing"])
    def test_an_interrupted_deletion_is_finished(self, scene: Scene, left: str) -> None:
        """The account state is deleted. The other items are still stored, or only the identity."""
        scene.phone().enter(create=True, email="ada@gmail.com", email_verified=True)
        (account,) = scene.tables.users
        scene.baton.lineage_store.set_status(account, Status.DELETED, now=scene.clock.now)
        if left == "nothing":
            del scene.tables.users[account], scene.tables.claims[next(iter(scene.tables.claims))]
        assert scene.phone().enter().code == "identity_unknown"
        assert scene.phone().enter(create=True, email="ada@gmail.com", email_verified=True).status == 201

    @pytest.mark.parametrize("end", ["deleted", "unlinked"])
    def test_a_sign_up_that_is_repeated_after_its_account_lost_the_identity(self, scene: Scene, end: str) -> None:
        """The answer is 409. After a 503 the app would repeat the request, and use up the sign-ups of its network."""
        phone = scene.phone()
        token = phone.id_token()
        assert phone.enter(token=token, create=True).status == 201
        (account,) = scene.tables.users
        if end == "deleted":
            state = scene.tables.lineages[account]
            scene.tables.lineages[account] = replace(state, status=Status.DELETED)
        else:
            scene.tables.identities.clear()
            scene.tables.users[account] = replace(scene.tables.users[account], identities={})
        said = phone.enter(token=token, create=True)
        assert (said.status, said.code) == (409, "superseded")
        assert scene.phone().enter(create=True).status == 201, "another attempt makes another account"

    def test_an_identity_that_the_account_no_longer_has(self, scene: Scene) -> None:
        """The item of the identity is not enough for a login."""
        scene.phone().enter(create=True)
        (account,) = scene.tables.users
        scene.tables.users[account] = replace(scene.tables.users[account], identities={})
        assert scene.phone().enter().code == "identity_unknown"

    def test_a_client_that_requires_a_second_factor(self, scene: Scene) -> None:
        """The account is made, and the app enrols a factor. The token has both methods."""
        phone = scene.phone("strict")
        said = phone.enter(create=True)
        assert (said.status, said.code) == (403, "enrolment_required")
        tokens = enrol_totp(scene, phone, said.members["auth_session"])
        assert tokens.status == 200, tokens
        claims = claims_of(tokens)
        assert (claims["amr"], claims["acr"], claims["idp"]) == (["fed", "otp", "mfa"], "aal2", "google")
        asked = scene.phone("strict").enter()
        assert (asked.status, asked.code, asked.members["factors"]) == (
            403,
            "factor_required",
            ["totp", "recovery_code"],
        )


def enrol_totp(scene: Scene, phone: Federated, auth_session: str) -> Said:
    """Enrol an authenticator app in the middle of a login."""
    attempt = {"idempotency-key": phone.attempt}
    begun = phone.post("/login/enrol", {"auth_session": auth_session, "kind": "totp"}, attempt, token=None)
    assert begun.status == 200, begun
    proof = {
        "auth_session": auth_session,
        "enrolment": begun.members["enrolment"],
        "totp": totp(begun.members["secret"], scene.clock.now // 30),
    }
    return phone._kept(phone.post("/login/factor", proof, attempt, token=None))


class TestKeys:
    """The keys of the provider: cached, sealed, fetched at most once a minute, and kept for a day."""

    def test_one_fetch_serves_all_environments(self, scene: Scene) -> None:
        """Two environments take turns, and share the sealed keys for ten minutes."""
        google = scene.providers["google"]
        for _ in range(6):
            assert scene.phone().enter(create=True).status in {200, 201}
        assert google.fetched == 1
        scene.clock.skip(seconds=601)
        assert scene.phone().enter().status == 200
        assert google.fetched == 2

    def test_a_new_key_is_fetched_at_once_and_a_removed_one_stops(self, scene: Scene) -> None:
        """The old key is accepted until the cached keys are ten minutes old."""
        google = scene.providers["google"]
        scene.phone().enter(create=True)
        phone = scene.phone()
        old = phone.id_token(exp=scene.clock.now + 9000, iat=scene.clock.now + 590)
        scene.clock.skip(seconds=61)
        google.rotate()
        assert scene.phone().enter().status == 200
        assert google.fetched == 2
        scene.clock.skip(seconds=601)
        said = phone.enter(token=old)
        assert (said.status, said.members["reason"]) == (401, "key")

    def test_many_unknown_kids_make_one_fetch_a_minute(self, scene: Scene) -> None:
        """The tokens of a stranger do not change this."""
        google = scene.providers["google"]
        scene.phone().enter(create=True)
        scene.clock.skip(seconds=60)
        phone = scene.phone()
        phone.attempt = "a" * 22
        for number in range(40):
            claims = google.claims("ada", phone.nonce(), "mobile")
            said = phone.enter(token=google.sign(claims, kid=f"unknown-{number}"))
            assert said.members["reason"] == "key"
        assert google.fetched == 2

    def test_ten_thousand_unknown_kids_in_ten_minutes(self, scene: Scene) -> None:
        """All environments together make ten fetches. The test calls only `ProviderKeys`, so it needs no signatures."""
        google = scene.providers["google"]
        verifiers = [prove_identity_of(baton._parts).keys for baton in scene.batons]
        for number in range(10_000):
            now = scene.clock.now + number * 600 // 10_000
            with contextlib.suppress(Unavailable):
                assert not verifiers[number % 2](google.provider, f"unknown-{number}", now=now).has(f"unknown-{number}")
        assert google.fetched == 10

    def test_an_altered_key_set_does_not_count(self, scene: Scene) -> None:
        """A thief who can write the table puts another key into it. Baton fetches the key set again."""
        scene.phone().enter(create=True)
        at, sealed = scene.tables.key_sets[2]
        for altered in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"\x01", b'{"keys":[]}'):
            fresh = Scene(tables=scene.tables, clock=scene.clock)
            fresh.providers["google"] = scene.providers["google"]
            fresh.clock.skip(seconds=60)
            scene.tables.key_sets[2] = (at, altered)
            before = scene.providers["google"].fetched
            assert fresh.phone().enter().status == 200
            assert scene.providers["google"].fetched == before + 1
            assert fresh.events("provider_keys_unreadable")

    def test_the_key_set_of_another_provider_does_not_count(self, scene: Scene) -> None:
        """The key set is genuine and sealed, but in the item of another provider."""
        scene.phone().enter(create=True)
        scene.phone().enter("acme", create=True)
        scene.tables.key_sets[2], scene.tables.key_sets[3] = scene.tables.key_sets[3], scene.tables.key_sets[2]
        fresh = Scene(tables=scene.tables, clock=scene.clock)
        fresh.providers |= scene.providers
        fresh.clock.skip(seconds=60)
        assert fresh.phone().enter().status == 200
        assert fresh.events("provider_keys_unreadable")

    @pytest.mark.parametrize("seconds", [1, 60])
    def test_keys_of_an_environment_whose_clock_is_ahead(self, scene: Scene, seconds: int) -> None:
        """Another environment uses the keys. Bug: it answered 503, because the keys were from the future."""
        scene.phone().enter(create=True)
        fresh = Scene(tables=scene.tables, clock=scene.clock)
        fresh.providers = scene.providers
        fresh.clock.now -= seconds
        assert fresh.phone().enter().status == 200
        assert scene.providers["google"].fetched == 1

    def test_a_clock_that_was_set_back(self, scene: Scene) -> None:
        """After more than a minute back, keys are fetched again and shared. Bug: both environments answered 503."""
        for _ in range(2):  # each has the keys
            assert scene.phone().enter(create=True).status in {200, 201}
        scene.clock.now -= 3600
        for _ in range(4):
            assert scene.phone().enter().status == 200
        assert scene.providers["google"].fetched == 2

    def test_an_outage(self, scene: Scene) -> None:
        """Keys are used until they are 24 hours old. Then logins get 503, and the live logins are not affected."""
        phone, google = scene.phone(), scene.providers["google"]
        phone.enter(create=True)
        google.outage = True
        scene.clock.skip(seconds=23 * 3600)
        assert scene.phone().enter().status == 200
        assert scene.events("provider_unreachable")
        scene.clock.skip(seconds=3600)
        said = scene.phone().enter()
        assert (said.status, said.code) == (503, "unavailable")
        assert phone.exchange().status == 200
        assert phone.get("/me").status == 200
        google.outage = False
        scene.clock.skip(seconds=60)
        assert scene.phone().enter().status == 200

    def test_a_new_kid_during_an_outage(self, scene: Scene) -> None:
        """The answer is 503 and not 401, because the key may be genuine."""
        scene.phone().enter(create=True)
        google = scene.providers["google"]
        google.rotate()
        google.outage = True
        scene.clock.skip(seconds=61)
        assert scene.phone().enter().status == 503

    def test_no_key_set(self, scene: Scene) -> None:
        """The provider sends a body that is no key set."""
        google = scene.providers["google"]
        google.jwks = lambda: {"keys": []}  # type: ignore[method-assign]
        assert scene.phone().enter(create=True).status == 503


def test_refused_tokens_are_limited_per_source_and_successes_cost_nothing() -> None:
    """The limit is 100 refused tokens in 15 minutes."""
    scene = Scene(environ={"BATON_RATE_LIMITS": "on"})
    phone = scene.phone()
    phone.enter(create=True)
    for _ in range(REFUSED_TOKENS_PER_SOURCE_MAX):
        assert phone.enter(nonce="another").status == 401
        assert phone.enter().status in {200, 429}
    assert phone.enter(nonce="another").status == 429


class TestWithoutPassword:
    """The rules of docs/baton/federation.md for accounts from a provider."""

    def test_a_passkey_is_added_after_the_login(self, scene: Scene) -> None:
        """Within 300 seconds, no step-up is needed. Later the person must log in again."""
        phone = scene.phone()
        phone.enter(create=True)
        assert phone.post("/me/passkeys/upgrade-options", {}).status == 200
        scene.clock.skip(seconds=301)
        assert phone.post("/me/passkeys/upgrade-options", {}).code == "step_up_required"

    def test_a_password_is_set_by_mail(self) -> None:
        """The address is proved, so a code from the mailbox sets the first password. The identity stays."""
        scene = Scene(environ={"BATON_MAIL": "mailbox"})
        phone = scene.phone()
        phone.enter(create=True, email="ada@gmail.com", email_verified=True)
        device = {"public_key": phone.key.jwk()}
        asked = {"email": "ada@gmail.com", "client_id": "mobile", "device": device}
        begun = phone.post("/password/forgot", asked, token=None)
        assert begun.status == 202, begun
        code = re.search(r"\d{4} \d{4}", scene.mailbox.mails[-1].text)
        assert code
        reset = {"mail_session": begun.members["mail_session"], "code": code[0], "new_password": PASSWORD}
        assert phone.post("/password/reset", reset, token=None).status == 204
        assert scene.phone().login("ada@gmail.com").status == 200
        assert scene.phone().enter().status == 200

    def test_nothing_else_opens_a_step_up(self, scene: Scene) -> None:
        """The account has no password, so every password is wrong."""
        phone = scene.phone()
        phone.enter(create=True)
        operation, _ = phone.operation("DELETE", "/me")
        said = phone.post("/step-up", {"operation": operation, "password": PASSWORD})
        assert (said.status, said.code) == (401, "invalid_credentials")
        assert phone.request("DELETE", "/me").code == "step_up_required"

    def test_a_notice_needs_an_address(self) -> None:
        """Without an address, the notice of a login on a new device is dropped. The login succeeds."""
        scene = Scene(environ={"BATON_MAIL": "mailbox"})
        scene.phone().enter(create=True)
        assert scene.phone().enter().status == 200
        assert [line["reason"] for line in scene.events("mail_dropped")] == ["the account has no address"]

    def test_the_export_has_the_identity(self) -> None:
        """It has the provider's name, the time of the link and the verified address, but no password."""
        scene = Scene()
        phone = scene.phone()
        phone.enter(create=True, email="ada@gmail.com", email_verified=True)
        (account,) = scene.tables.users
        caller = SimpleNamespace(
            account=account,
            account_state=scene.tables.lineages[account],
            device_id=phone.tokens["device_id"],
            not_before=0,
        )
        parts = scene.baton._parts
        export = ExportAccount(
            clock=parts.clock,
            clients=parts.clients,
            users=parts.storage.accounts,
            email_status=never_suppressed,
            audit=parts.storage.audit,
            list_devices=ListDevices(clock=parts.clock, key_ring=parts.storage.key_ring, clients=parts.clients),
            record=parts.record,
            on_export=lambda: None,
            providers=parts.names.providers,
        )
        exported = export(cast("Caller", caller))
        (identity,) = exported.identities
        assert (identity.provider, identity.linked_at, identity.email) == ("google", scene.clock.now, "ada@gmail.com")
        assert exported.factors == []
