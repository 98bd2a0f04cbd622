"""Notices of Apple: `POST /federation/apple/notifications`."""

import json
import secrets
from typing import Any

import pytest
from msgspec.structs import replace

from chalicelib.baton.federation.model import NOTICE_KEPT_S
from chalicelib.baton.lineages.model import EndReason, Status
from chalicelib.baton.mail.ports import Suppression
from chalicelib.baton.policy import BOUNCE_SUPPRESSED_S
from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import Said

RELAY = "abc@privaterelay.appleid.com"
PATH = "/federation/apple/notifications"


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment that has its key for Apple."""
    scene = Scene()
    scene.set_key()
    return scene


def payload(scene: Scene, kind: str, *, event: dict[str, Any] | None = None, **changed: Any) -> str:
    """Sign a notice, as Apple does. A claim or a member with the value ``None`` is left out."""
    now = scene.clock.now
    members = {"type": kind, "sub": "ada", "event_time": now * 1000, **(event or {})}
    events = json.dumps({name: value for name, value in members.items() if value is not None})
    claims = {
        "iss": "https://appleid.apple.com",
        "aud": "com.example.app",
        "iat": now,
        "exp": now + 86_400,
        "jti": secrets.token_urlsafe(16),
        "events": events,
        **changed,
    }
    return scene.providers["apple"].sign({name: value for name, value in claims.items() if value is not None})


def send(scene: Scene, signed: str) -> Said:
    """Send a notice. The request has no token, no signature and no device."""
    return scene.phone().post(PATH, {"payload": signed}, token=None)


def outcomes(scene: Scene) -> list[str]:
    """Return what each notice changed."""
    return [line["reason"] for line in scene.events("apple_notice")]


def with_apple(scene: Scene, *, create: bool = False, **named: Any) -> Federated:
    """Return a phone that logged in with Apple, and traded its code."""
    phone = scene.phone(**named)
    said = phone.enter("apple", create=create, members={"authorization_code": scene.apple.code()})
    assert said.status == (201 if create else 200), said
    return phone


class TestConsentRevoked:
    """The person removed the app in the settings of the Apple Account."""

    def test_the_logins_that_apple_began_end(self, scene: Scene) -> None:
        """The refresh token is deleted, and the identity works again after a new consent."""
        phones = [with_apple(scene, create=True), with_apple(scene)]
        (account,) = scene.tables.users
        assert send(scene, payload(scene, "consent-revoked")).status == 200
        assert [phone.get("/me").code for phone in phones] == ["login_required"] * 2
        ended = [lineage.ended for lineage in scene.tables.lineages[account].lineages.values()]
        assert {one.reason for one in ended if one} == {EndReason.ENDED_BY_OWNER}
        assert (scene.tables.refresh_tokens, scene.tables.to_revoke) == ({}, {}), "Apple has revoked it"
        assert outcomes(scene) == ["consent-revoked: 2 logins ended"]
        assert with_apple(scene).get("/me").status == 200
        assert scene.accounts == 1

    def test_other_logins_go_on(self, scene: Scene) -> None:
        """The logins of another person stay active, and so do the logins that Apple did not begin."""
        phone, other = with_apple(scene, create=True), scene.phone()
        assert other.enter("apple", sub="bob", create=True).status == 201
        by_google = with_apple(scene)
        account = scene.tables.identities[next(iter(scene.tables.refresh_tokens))].account
        state = scene.tables.lineages[account]
        device_id = by_google.tokens["device_id"]
        lineages = {**state.lineages, device_id: replace(state.lineages[device_id], provider=2)}
        scene.tables.lineages[account] = replace(state, lineages=lineages)
        assert send(scene, payload(scene, "consent-revoked")).status == 200
        assert phone.get("/me").code == "login_required"
        assert (other.get("/me").status, by_google.get("/me").status) == (200, 200)

    def test_a_late_notice_ends_nothing_that_is_newer(self, scene: Scene) -> None:
        """Apple repeats a notice that was not answered. Meanwhile the person may have consented again."""
        late = payload(scene, "consent-revoked")
        old = with_apple(scene, create=True)
        scene.clock.skip(minutes=5)
        new = with_apple(scene)
        assert send(scene, late).status == 200
        assert (old.get("/me").code, new.get("/me").status) == ("login_required", 200)
        assert len(scene.tables.refresh_tokens) == 1

    def test_a_person_without_an_account(self, scene: Scene) -> None:
        """The answer is 200, because Apple repeats a notice after any other answer."""
        assert send(scene, payload(scene, "consent-revoked")).status == 200
        assert outcomes(scene) == ["consent-revoked: no account has the identity"]


@pytest.mark.parametrize("kind", ["account-delete", "account-deleted"])
class TestAccountDeleted:
    """The person deleted the Apple Account. The identity can never log in again."""

    def test_the_last_way_in_stays(self, scene: Scene, kind: str) -> None:
        """Baton records an event. The account and its logins stay, but the refresh token of Apple is deleted."""
        phone = with_apple(scene, create=True)
        assert send(scene, payload(scene, kind)).status == 200
        assert outcomes(scene) == [f"{kind}: the identity stays: it is the last way in"]
        assert phone.get("/me").status == 200
        assert len(scene.tables.identities) == 1
        assert scene.tables.refresh_tokens == {}

    def test_the_identity_goes(self, scene: Scene, kind: str) -> None:
        """The password still opens the account. Every login ends, because the credentials changed."""
        phone = with_apple(scene, create=True)
        (account,) = scene.tables.users
        scene.tables.users[account] = replace(scene.tables.users[account], password_hash=b"sealed")
        for _ in range(2):
            assert send(scene, payload(scene, kind)).status == 200
        assert outcomes(scene) == [
            f"{kind}: the identity was removed, and every login of the account ended",
            f"{kind}: no account has the identity",
        ]
        assert phone.get("/me").code == "login_required"
        (event,) = [one for one in scene.tables.events.values() if one.event == "identity_unlinked"]
        assert (event.account, event.details) == (account, {"provider": "apple", "by": "provider"})
        assert scene.tables.users[account].identities == {}
        assert scene.phone().enter("apple").code == "identity_unknown"
        assert (scene.tables.identities, scene.tables.refresh_tokens, scene.tables.to_revoke) == ({}, {}, {})

    @pytest.mark.parametrize("status", [Status.DISABLED, Status.DELETED])
    def test_an_account_that_is_not_active(self, scene: Scene, kind: str, status: Status) -> None:
        """The answer is 200, because Apple repeats a notice after any other answer."""
        with_apple(scene, create=True)
        (account,) = scene.tables.users
        scene.tables.users[account] = replace(scene.tables.users[account], password_hash=b"sealed")
        scene.tables.lineages[account] = replace(scene.tables.lineages[account], status=status)
        assert send(scene, payload(scene, kind)).status == 200
        assert outcomes(scene) == [f"{kind}: the identity stays: its account is not active"]
        assert len(scene.tables.identities) == 1

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_storage_that_fails(self, scene: Scene, kind: str, when: Any) -> None:
        """The answer is 503. The repeated notice takes effect."""
        with_apple(scene, create=True)
        (account,) = scene.tables.users
        scene.tables.users[account] = replace(scene.tables.users[account], password_hash=b"sealed")
        signed = payload(scene, kind)
        scene.faults.fail(1, when, verb="lose")
        assert send(scene, signed).status == 503
        assert send(scene, signed).status == 200
        assert scene.tables.identities == {}
        assert scene.tables.users[account].credentials_version == 2


class TestForwarding:
    """The person stopped the forwarding of mails to an address of Apple's relay."""

    def test_no_mail_is_sent_until_it_is_enabled(self, scene: Scene) -> None:
        """Baton treats the address as after a bounce, which the relay would cause."""
        index = scene.baton.key_ring.current(now=scene.clock.now).email_index(RELAY)
        assert send(scene, payload(scene, "email-disabled", event={"email": RELAY.upper()})).status == 200
        until = scene.clock.now + BOUNCE_SUPPRESSED_S
        assert scene.tables.suppressions[index] == Suppression(why="bounce", at=scene.clock.now, until=until)
        assert send(scene, payload(scene, "email-enabled", event={"email": RELAY})).status == 200
        assert scene.tables.suppressions == {}

    def test_a_complaint_stays(self, scene: Scene) -> None:
        """Only an operator removes the suppression after a complaint."""
        index = scene.baton.key_ring.current(now=scene.clock.now).email_index(RELAY)
        complaint = scene.tables.suppressions[index] = Suppression(why="complaint", at=1, until=None)
        for kind in ("email-disabled", "email-enabled"):
            assert send(scene, payload(scene, kind, event={"email": RELAY})).status == 200
        assert scene.tables.suppressions == {index: complaint}

    @pytest.mark.parametrize("email", ["", "no address", 7, None])
    def test_a_notice_without_an_address_changes_nothing(self, scene: Scene, email: object) -> None:
        """The answer is 200."""
        assert send(scene, payload(scene, "email-disabled", event={"email": email})).status == 200
        assert scene.tables.suppressions == {}


class TestGenuine:
    """Baton accepts only notices of Apple, and each notice once."""

    @pytest.mark.parametrize(
        "changed",
        [
            {"iss": "https://accounts.google.com"},
            {"aud": "com.example.foreign"},
            {"aud": ["com.example.app"]},
            {"exp": 0},
            {"exp": "soon"},
            {"iat": None},
            {"iat": True},
            {"iat": 2**40},
            {"jti": None},
            {"jti": ""},
            {"jti": "x" * 256},
            {"jti": 7},
            {"jti": "\ud800"},
            {"events": None},
            {"events": "no JSON"},
            {"events": "[]"},
            {"events": '{"type": "consent-revoked"}'},
            {"events": '{"sub": "ada"}'},
            {"events": '{"type": "consent-revoked", "sub": ""}'},
            {"events": '{"type": "consent-revoked", "sub": "\\ud800"}'},
            {"events": '{"type": "other", "type": "consent-revoked", "sub": "ada"}'},
            {"events": {"type": "consent-revoked", "sub": "ada"}},
        ],
        ids=str,
    )
    def test_another_payload_is_refused(self, scene: Scene, changed: dict[str, Any]) -> None:
        """The answer is 400, and the notice has no effect. The answer names only the expected body."""
        phone = with_apple(scene, create=True)
        said = send(scene, payload(scene, "consent-revoked", **changed))
        assert (said.status, said.code, said.members["pointer"]) == (400, "malformed", "/payload")
        assert phone.get("/me").status == 200
        assert outcomes(scene) == []

    def test_another_signature_is_refused(self, scene: Scene) -> None:
        """The notice is signed by Google, has no signature, was altered, or is no token at all."""
        phone = with_apple(scene, create=True)
        genuine = payload(scene, "consent-revoked")
        assert scene.phone().enter(create=True).status == 201  # the keys of Google are known
        forged = scene.providers["google"].sign({"iss": "https://appleid.apple.com"})
        head = genuine.partition(".")[0]
        as_apple = f"{head}.{forged.partition('.')[2]}"
        for signed in (genuine[:-8] + "AAAAAAAA", f"{head}.e30.", "a.b.c", "", forged, as_apple):
            assert send(scene, signed).status == 400, signed
        assert phone.get("/me").status == 200

    def test_every_app_of_the_row_is_meant(self, scene: Scene) -> None:
        """A notice names one app of the team. Any app in the row is accepted."""
        phone = with_apple(scene, create=True)
        assert send(scene, payload(scene, "consent-revoked", aud="com.example.other")).status == 200
        assert phone.get("/me").code == "login_required"

    def test_an_unknown_event_is_answered(self, scene: Scene) -> None:
        """The answer is 200, because Apple repeats a notice after any other answer. Further members are ignored."""
        said = scene.phone().post(PATH, {"payload": payload(scene, "transferred"), "more": 1}, token=None)
        assert (said.status, said.members) == (200, {})
        assert outcomes(scene) == ["transferred: nothing to do"]

    def test_a_notice_counts_once(self, scene: Scene) -> None:
        """As long as a copy of the notice is accepted, it ends no later login."""
        with_apple(scene, create=True)
        signed = payload(scene, "consent-revoked", exp=scene.clock.now + 2 * NOTICE_KEPT_S)
        assert send(scene, signed).status == 200
        phone = with_apple(scene)
        for seconds in (0, NOTICE_KEPT_S - 1, 1):
            scene.clock.skip(seconds=seconds)
            assert send(scene, signed).status in (200, 400)
        assert len(outcomes(scene)) == 1
        assert send(scene, signed).status == 400
        del phone

    def test_a_notice_of_a_clock_that_is_ahead_counts_once(self, scene: Scene) -> None:
        """The id of the notice is kept for as long as the notice is accepted."""
        with_apple(scene, create=True)
        signed = payload(scene, "consent-revoked", iat=scene.clock.now + 590, exp=None)
        assert send(scene, signed).status == 200
        scene.clock.skip(seconds=NOTICE_KEPT_S + 100)
        assert send(scene, signed).status == 200
        assert len(outcomes(scene)) == 1

    @pytest.mark.parametrize("verb", ["end", "drop", "get", "is_consumed", "consume_ticket"])
    def test_a_storage_that_fails_is_told(self, scene: Scene, verb: str) -> None:
        """The answer is 503. The notice that Apple repeats has the whole effect."""
        phone = with_apple(scene, create=True)
        signed = payload(scene, "consent-revoked")
        for when in ("before", "after"):
            scene.faults.fail(1, when, verb=verb)
            assert send(scene, signed).status == 503
        assert send(scene, signed).status == 200
        assert phone.get("/me").code == "login_required"
        assert scene.tables.refresh_tokens == {}

    def test_the_keys_of_apple_cannot_be_fetched(self, scene: Scene) -> None:
        """The answer is 503, so Apple repeats the notice."""
        scene.providers["apple"].outage = True
        assert send(scene, payload(scene, "consent-revoked")).status == 503

    def test_a_deployment_without_apple(self, scene: Scene) -> None:
        """The answer is 400."""
        signed = payload(scene, "consent-revoked")
        assert Scene(rows="").phone().post(PATH, {"payload": signed}, token=None).status == 400
