"""A step-up at an identity provider, over the wire: what it permits, and each way to misuse a token for it."""

import hashlib
import json
import secrets
from typing import Any, Final

import pytest

from chalicelib.baton.federation.id_token import step_up_nonce
from chalicelib.baton.federation.model import REFUSED_TOKENS_PER_SOURCE_MAX
from chalicelib.baton.federation.providers import Provider
from chalicelib.baton.federation.step_up import PROVED_WITHIN_S
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.assurance import PROVIDER, PROVIDER_AND_TOTP
from chalicelib.baton.lineages.model import AccountState, KeyBinding, Lineage, NoBinding, Status
from chalicelib.baton.routing import StepUp
from chalicelib.baton.tokens.caller import Caller, OwnFactors
from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD, Said
from tests.baton.wire.second_factor import totp

DELETION: Final = ("DELETE", "/me")


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment."""
    return Scene()


def entered(scene: Scene, provider: str = "apple", **claims: Any) -> Federated:
    """Sign up with an identity."""
    phone = scene.phone()
    assert phone.enter(provider, create=True, **claims).status == 201
    return phone


def signed(
    phone: Federated,
    provider: str = "apple",
    *,
    sub: str = "ada",
    attempt: str = "",
    operation: dict[str, str] | None = None,
    key: str = "",
    client_id: str = "mobile",
    named: str = "",
    **claims: Any,
) -> str:
    """Sign in at the provider for an operation of this phone. The token of Acme has the time of the login there."""
    described = operation or phone.operation(*DELETION)[0]
    nonce = step_up_nonce(
        provider=named or provider,
        client_id=client_id,
        keyid=key or phone.key.thumbprint(),
        attempt=attempt or phone.attempt,
        operation=(described["method"], described["path"], described["digest"]),
    )
    told = {"auth_time": phone.scene.clock.now} if provider == "acme" else {}
    return phone.scene.providers[provider].token(sub, claims.pop("nonce", nonce), "mobile", **{**told, **claims})


def proved(
    phone: Federated,
    provider: str = "apple",
    token: str = "",
    *,
    operation: dict[str, str] | None = None,
    members: dict[str, Any] | None = None,
    **named: Any,
) -> Said:
    """Prove the identity for an operation, by default the deletion of the account."""
    described = operation or phone.operation(*DELETION)[0]
    identity = {"provider": provider, "id_token": token or signed(phone, provider, operation=operation, **named)}
    body = {"operation": described, "identity": identity, **(members or {})}
    return phone.post("/step-up", body, {"idempotency-key": phone.attempt})


def refused(said: Said) -> str:
    """Return the check that refused a token."""
    assert (said.status, said.code) == (401, "identity_token_invalid"), said
    return str(said.members["reason"])


@pytest.mark.parametrize("provider", ["apple", "acme"])
def test_a_person_without_a_password_deletes_the_account(scene: Scene, provider: str) -> None:
    """The sign-in at the provider is enough for a grant, which has the assurance `fed`."""
    phone = entered(scene, provider)
    said = proved(phone, provider)
    assert (said.status, said.members["expires_in"]) == (200, 300)
    (grant,) = scene.tables.grants.values()
    assert grant.step_up.assurance == PROVIDER
    assert phone.request("DELETE", "/me", headers={"baton-grant": said.members["grant"]}).status == 204
    assert scene.accounts == 0


def test_a_retry_with_the_same_attempt_gets_a_grant_too(scene: Scene) -> None:
    """The answer was lost. The app sends the token again, with the attempt that the token names."""
    phone = entered(scene)
    token, signed_at = signed(phone), scene.clock.now
    assert [proved(phone, token=token).status for _ in range(2)] == [200, 200]
    scene.clock.skip(seconds=200)
    assert proved(phone, token=token).status == 200
    assert {grant.step_up.at for grant in scene.tables.grants.values()} == {signed_at}, "the proof does not become new"


def test_a_proof_is_as_old_as_the_login_at_the_provider(scene: Scene) -> None:
    """The provider may remember the person, and sign a new token for a login of before."""
    phone = entered(scene, "acme")
    before = scene.clock.now - 120
    assert proved(phone, "acme", auth_time=before).status == 200
    (grant,) = scene.tables.grants.values()
    assert grant.step_up.at == before


def test_the_hash_of_the_nonce_counts_as_at_a_login(scene: Scene) -> None:
    """Many plugins hash the nonce."""
    phone = entered(scene)
    described = phone.operation(*DELETION)[0]
    nonce = step_up_nonce(
        provider="apple",
        client_id="mobile",
        keyid=phone.key.thumbprint(),
        attempt=phone.attempt,
        operation=(described["method"], described["path"], described["digest"]),
    )
    assert proved(phone, nonce=hashlib.sha256(nonce.encode()).hexdigest()).status == 200


class TestReplay:
    """A token that was made for another purpose is refused."""

    def test_a_token_for_another_request(self, scene: Scene) -> None:
        """The method, the path or the body differs from that of the token."""
        phone = entered(scene)
        for operation in (
            phone.operation("POST", "/logout", {"everywhere": True})[0],
            phone.operation("DELETE", "/me/devices/x")[0],
            phone.operation("DELETE", "/me", {"everywhere": True})[0],
        ):
            assert refused(proved(phone, token=signed(phone, operation=operation))) == "nonce"

    def test_a_step_up_with_another_attempt(self, scene: Scene) -> None:
        """`Idempotency-Key` has another attempt than the token."""
        phone = entered(scene)
        assert refused(proved(phone, attempt=secrets.token_urlsafe(16))) == "nonce"

    def test_a_step_up_with_the_token_of_another_device(self, scene: Scene) -> None:
        """The thief of the token has another phone that is logged in to the same account."""
        phone, other = entered(scene), scene.phone()
        assert other.enter("apple").status == 200
        other.attempt = phone.attempt
        assert refused(proved(other, token=signed(phone))) == "nonce"

    def test_a_step_up_names_client_and_provider(self, scene: Scene) -> None:
        """The nonce has a line for each of them."""
        phone = entered(scene)
        assert refused(proved(phone, client_id="strict")) == "nonce"
        assert refused(proved(phone, named="acme")) == "nonce"

    def test_the_token_of_a_login_is_none_of_a_step_up(self, scene: Scene) -> None:
        """Person, key and attempt are the same. A token for a step-up cannot be used for a login either."""
        phone = entered(scene)
        assert refused(proved(phone, nonce=phone.nonce("apple"))) == "nonce"
        assert refused(phone.enter("apple", token=signed(phone))) == "nonce"

    def test_the_grant_opens_no_other_request(self, scene: Scene) -> None:
        """The rule is the same as for a grant by password."""
        phone = entered(scene)
        grant = proved(phone).members["grant"]
        body = json.dumps({"everywhere": True}).encode()
        fields = {"content-type": "application/json", "baton-grant": grant}
        assert phone.request("POST", "/logout", body, fields).code == "grant_invalid"


class TestPerson:
    """Only the linked person can step up, and only while present."""

    def test_a_step_up_by_another_person(self, scene: Scene) -> None:
        """The other person may have an account here, or none."""
        phone = entered(scene)
        entered(scene, sub="eve")
        assert refused(proved(phone, sub="eve")) == "sub"
        assert refused(proved(phone, sub="nobody")) == "sub"

    def test_a_provider_that_is_not_linked(self, scene: Scene) -> None:
        """The same subject at another provider is another person."""
        phone = entered(scene)
        assert refused(proved(phone, "acme")) == "sub"

    def test_a_genuine_token_of_one_provider_sent_as_another(self, scene: Scene) -> None:
        """Acme signed the token, and the request names Apple. In one case the head has Apple's key id."""
        phone = entered(scene)
        acme, apple = scene.providers["acme"], scene.providers["apple"]
        claims = acme.claims("ada", "n", "mobile", iss="https://appleid.apple.com", aud="com.example.app")
        for token in (acme.sign(claims), acme.sign(claims, kid=apple.kid)):
            assert refused(proved(phone, token=token)) in {"key", "signature"}

    @pytest.mark.parametrize("provider", ["apple", "acme"])
    def test_a_step_up_with_an_old_token(self, scene: Scene, provider: str) -> None:
        """A login accepts a token for 600 seconds, a step-up for 300."""
        phone = entered(scene, provider)
        assert refused(proved(phone, provider, iat=scene.clock.now - PROVED_WITHIN_S - 1)) == "iat"
        assert proved(phone, provider, iat=scene.clock.now - PROVED_WITHIN_S).status == 200

    def test_a_step_up_with_an_old_login_at_the_provider(self, scene: Scene) -> None:
        """The token of an `oidc` provider must have the time at which the person logged in there."""
        phone = entered(scene, "acme")
        now = scene.clock.now
        for auth_time in (None, now - PROVED_WITHIN_S - 1, now + PROVED_WITHIN_S + 1, str(now), True):
            assert refused(proved(phone, "acme", auth_time=auth_time)) == "auth_time", auth_time
        assert proved(phone, "acme", auth_time=now - PROVED_WITHIN_S).status == 200

    def test_apple_needs_no_auth_time(self, scene: Scene) -> None:
        """Apple's sheet requires face, finger or code each time."""
        assert proved(entered(scene)).status == 200

    def test_google_does_not_count_for_a_step_up(self, scene: Scene) -> None:
        """Its token can come without a tap, even with a recent `auth_time`. Baton verifies and fetches nothing."""
        phone = entered(scene, "google")
        fetched = scene.providers["google"].fetched
        scene.clock.skip(seconds=3600)
        phone.exchange()
        for token in (signed(phone, "google", auth_time=scene.clock.now), "no token"):
            said = proved(phone, "google", token)
            assert (said.status, said.code, said.members["action"]) == (
                403,
                "reauthentication_unsupported",
                "fix_request",
            )
        assert scene.providers["google"].fetched == fetched

    def test_only_apple_and_rows_that_say_so_count(self) -> None:
        """By default, an `oidc` provider does not count."""
        row = Provider(name="a", code=2, kind="oidc", issuers=("https://a.example",), jwks_uri="", audiences={})
        assert not row.counts_for_step_up


class TestFactors:
    """An identity is one factor. With the code of the authenticator app there are two."""

    @staticmethod
    def enrolled(scene: Scene, phone: Federated) -> str:
        """Enrol an authenticator app, which switches the second factor on. Return the secret of the app."""
        begin = phone.operation("POST", "/me/factors/totp", {})
        said = proved(phone, operation=begin[0])
        fields = {"content-type": "application/json", "baton-grant": said.members["grant"]}
        begun = phone.request("POST", "/me/factors/totp", begin[1], fields)
        assert begun.status == 200, begun
        secret = str(begun.members["secret"])
        body = {"enrolment": begun.members["enrolment"], "totp": totp(secret, scene.clock.now // 30)}
        assert phone.post("/me/factors/totp/confirm", body).status == 200
        scene.clock.skip(seconds=30)
        return secret

    def test_the_refusal_names_the_factors_and_the_providers(self, scene: Scene) -> None:
        """The account has no password, so the app shows the sheet of the provider."""
        phone = entered(scene)
        said = phone.request("DELETE", "/me")
        assert said.code == "step_up_required"
        assert (said.members["factors"], said.members["providers"]) == (["identity"], ["apple"])
        assert "instead" not in said.members

    def test_two_factors(self, scene: Scene) -> None:
        """The account requires a second factor, so the identity alone is not enough."""
        phone = entered(scene)
        secret = self.enrolled(scene, phone)
        assert phone.request("DELETE", "/me").members["factors"] == ["identity", "totp"]
        alone = proved(phone).members["grant"]
        assert phone.request("DELETE", "/me", headers={"baton-grant": alone}).code == "step_up_required"
        both = proved(phone, members={"totp": totp(secret, scene.clock.now // 30)})
        assert both.status == 200, both
        assert [one.step_up.assurance for one in scene.tables.grants.values()][-1] == PROVIDER_AND_TOTP
        assert phone.request("DELETE", "/me", headers={"baton-grant": both.members["grant"]}).status == 204

    def test_a_wrong_code_beside_a_right_identity(self, scene: Scene) -> None:
        """No grant is issued."""
        phone = entered(scene)
        self.enrolled(scene, phone)
        grants = len(scene.tables.grants)
        assert proved(phone, members={"totp": "000000"}).status == 401
        assert len(scene.tables.grants) == grants

    @pytest.mark.parametrize("members", [{"password": PASSWORD}, {"passkey": {}}, {"password": "p", "totp": "000000"}])
    def test_no_other_factor_beside_it(self, scene: Scene, members: dict[str, Any]) -> None:
        """The identity replaces the password, and a passkey needs no other factor."""
        said = proved(entered(scene), members=members)
        assert (said.status, said.code) == (400, "malformed")

    def test_a_first_password_is_set_with_it(self, scene: Scene) -> None:
        """From then on the refusal names the password first. The identity alone is still enough."""
        phone = entered(scene, email="ada@icloud.com", email_verified=True)
        change = phone.operation("POST", "/me/password", {"new_password": NEW_PASSWORD})
        grant = proved(phone, operation=change[0]).members["grant"]
        fields = {"content-type": "application/json", "baton-grant": grant}
        assert phone.request("POST", "/me/password", change[1], fields).status == 204
        said = phone.request("DELETE", "/me")
        assert (said.members["factors"], said.members["instead"]) == (["password"], ["identity"])
        assert said.members["providers"] == ["apple"]
        assert proved(phone).status == 200

    def test_of_google_nothing_is_offered(self, scene: Scene) -> None:
        """The refusal names a password that does not exist. The person adds a passkey, or sets a password by mail."""
        said = entered(scene, "google").request("DELETE", "/me")
        assert said.members["factors"] == ["password"]
        assert "providers" not in said.members


ACCOUNT: Final = AccountId("a" * 16)
LINEAGE: Final = LineageId("l" * 16)


def offered(own: OwnFactors, *, acr: str = "account", key: bool = True) -> tuple[list[str], object, object]:
    """Return the members ``factors``, ``instead`` and ``providers`` of a refusal, for an account with these factors."""
    binding = KeyBinding(b"k" * 32) if key else NoBinding()
    lineage = Lineage(
        id=LINEAGE,
        generation=1,
        epoch=1,
        issued_at=1,
        expires_at=9,
        binding=binding,
        client=1,
        auth_time=1,
        assurance=PROVIDER,
        label="phone",
        attempts=(b"", b"", b"", b""),
    )
    state = AccountState(
        account=ACCOUNT, status=Status.ACTIVE, epoch=1, credentials_version=1, lineages={LINEAGE: lineage}
    )
    caller = Caller(
        account=ACCOUNT,
        device_id=LINEAGE,
        client_id="mobile",
        scope=frozenset(),
        bound=key,
        auth_time=1,
        acr="aal1",
        amr=("fed",),
        account_state=state,
        _own_factors=lambda: own,
    )
    members = caller.step_up_required(StepUp(300, acr)).members
    return list(members["factors"]), members.get("instead"), members.get("providers")  # type: ignore[call-overload]


APPLE: Final = ("apple",)


@pytest.mark.parametrize(
    ("own", "named", "expected"),
    [
        (OwnFactors(), {}, (["password"], None, None)),
        (OwnFactors(passkey=True), {}, (["password"], ["passkey"], None)),
        (OwnFactors(providers=APPLE), {}, (["password"], ["identity"], APPLE)),
        (OwnFactors(passkey=True, providers=APPLE), {}, (["password"], ["passkey", "identity"], APPLE)),
        (OwnFactors(password=False, providers=APPLE), {}, (["identity"], None, APPLE)),
        (OwnFactors(password=False, passkey=True, providers=APPLE), {}, (["identity"], ["passkey"], APPLE)),
        (OwnFactors(password=False, passkey=True), {}, (["passkey"], None, None)),
        (OwnFactors(password=False), {}, (["password"], None, None)),
        (OwnFactors(password=False, providers=APPLE), {"key": False}, (["password"], None, None)),
        (OwnFactors(providers=APPLE), {"key": False}, (["password"], None, None)),
        (OwnFactors(on=True, totp=True, providers=APPLE), {}, (["password", "totp"], None, None)),
        (OwnFactors(on=True, totp=True, password=False, providers=APPLE), {}, (["identity", "totp"], None, APPLE)),
        (OwnFactors(on=True, passkey=True, password=False, providers=APPLE), {}, (["passkey"], None, None)),
        (OwnFactors(password=False, providers=APPLE), {"acr": "phr"}, (["passkey"], None, None)),
    ],
)
def test_what_the_refusal_offers(own: OwnFactors, named: Any, expected: object) -> None:
    """An identity is offered in place of a missing password, or beside the password. It needs a login with a key."""
    assert offered(own, **named) == expected


class TestShape:
    """Requests that are no step-up at a provider."""

    def test_a_step_up_without_a_key(self, scene: Scene) -> None:
        """The nonce would name no key."""
        phone = scene.phone("simple", bound=False)
        assert phone.register("ada@example.com").status == 201
        described = phone.operation(*DELETION)[0]
        identity = {"provider": "apple", "id_token": "a.b.c"}
        said = phone.post("/step-up", {"operation": described, "identity": identity})
        assert (said.status, said.members["pointer"]) == (400, "/identity")

    def test_a_step_up_at_an_unknown_provider(self, scene: Scene) -> None:
        """The error names the member."""
        said = proved(entered(scene), "acme", "a.b.c")
        assert refused(said) == "format"
        said = proved(entered(scene, sub="eve"), "none", "a.b.c")
        assert (said.status, said.members["pointer"]) == (400, "/identity/provider")

    def test_refused_tokens_count_for_the_source(self) -> None:
        """A source may send 100 refused tokens in 15 minutes. A good token is accepted even then."""
        scene = Scene(environ={"BATON_RATE_LIMITS": "on"})
        phone = entered(scene)
        for _ in range(REFUSED_TOKENS_PER_SOURCE_MAX):
            assert proved(phone, sub="eve").status == 401
        assert proved(phone, sub="eve").status == 429
        assert proved(phone).status == 200

    def test_a_step_up_during_an_outage(self, scene: Scene) -> None:
        """The answer is 503, and no refusal of the token. The login stays active."""
        phone = entered(scene)
        scene.providers["apple"].outage = True
        scene.clock.skip(seconds=86_401)
        phone.exchange()
        assert proved(phone).status == 503
        assert phone.get("/me").status == 200
