"""The Python client with identity providers. It stores the attempt before the sheet of the provider opens.

The nonce of the id_token names the attempt.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from baton_client import (
    Answer,
    BatonClient,
    Identity,
    LoginStep,
    MemoryStorage,
    NoResponse,
    Offline,
    Pending,
    Proof,
    Refused,
    Request,
    Session,
    SignedIn,
    SignIn,
)
from chalicelib.baton.federation.id_token import login_nonce, step_up_nonce
from tests.baton.federation.scene import Scene
from tests.baton.wire.conversation import PASSWORD, through
from tests.baton.wire.second_factor import totp

KEY_BOUND: Final = "needs a client with the binding `key`"


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment."""
    return Scene()


class Phone:
    """A client, the sheet of its providers, and the requests that it sent."""

    def __init__(self, scene: Scene, client_id: str = "mobile", **named: Any) -> None:
        """Make a client without a login."""
        self.scene, self.sent = scene, list[Request]()
        self.nonces: list[str] = []
        self.lose_answers_of = ""
        self.storage = named.pop("storage", None) or MemoryStorage()
        self.client = BatonClient(
            "https://api.example.com/api",
            client_id,
            self.storage,
            clock=lambda: scene.clock.now,
            transport=self.carry,
            sleep=lambda _: None,
            **named,
        )

    def carry(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request through the gateway."""
        del timeout_s
        self.sent.append(request)
        path = "/" + request.url.split("/", 4)[4]
        said = through(self.scene.gateway)(request.method, f"/api{path}", list(request.headers.items()), request.body)
        if path == self.lose_answers_of:
            self.lose_answers_of = ""
            raise NoResponse("the answer was lost")
        return Answer(said.status, said.headers, said.body)

    def sheet(self, provider: str = "apple", sub: str = "ada", **claims: Any) -> SignIn:
        """Return the function that shows the sheet of a provider."""

        def sign_in(nonce: str) -> str:
            assert self.storage.read().pending or self.storage.read().session  # stored before the sheet opens
            self.nonces.append(nonce)
            told = {"auth_time": self.scene.clock.now} if provider == "acme" else {}
            return self.scene.providers[provider].token(sub, nonce, **told, **claims)

        return sign_in

    def signed_up(self, provider: str = "apple", **claims: Any) -> BatonClient:
        """Sign up with an identity."""
        session = self.client.login_federated(provider, self.sheet(provider, **claims), "phone", create=True)
        assert isinstance(session, Session)
        return self.client


def test_a_sign_up_and_a_login(scene: Scene) -> None:
    """An unknown identity is refused, unless the app requests a new account."""
    phone = Phone(scene)
    with pytest.raises(Refused) as refused:
        phone.client.login_federated("google", phone.sheet("google"), "phone")
    assert refused.value.code == "identity_unknown"
    assert phone.signed_up("google").me()["amr"] == ["fed"]
    other = Phone(scene)
    assert isinstance(other.client.login_federated("google", other.sheet("google"), "tablet"), Session)
    assert other.client.me()["account_id"] == phone.client.me()["account_id"]
    assert other.storage.read().pending is None


def test_the_nonce_is_the_servers(scene: Scene) -> None:
    """Client and server compute the same nonce, from the attempt in the record."""
    phone = Phone(scene)
    kept: list[str] = []

    def sign_in(nonce: str) -> SignedIn:
        record = phone.storage.read()
        assert record.pending is not None
        assert record.key is not None
        kept.append(record.pending.attempt)
        expected = login_nonce(
            provider="acme", client_id="mobile", keyid=record.key.thumbprint(), attempt=record.pending.attempt
        )
        assert nonce == expected
        return phone.sheet("acme")(nonce)

    phone.client.login_federated("acme", sign_in, "phone", create=True)
    assert phone.sent[-1].headers["idempotency-key"] == f'"{kept[0]}"'


def test_a_lost_answer_is_repeated_and_makes_one_account(scene: Scene) -> None:
    """The repetition has the same token, so the sheet is shown once."""
    phone = Phone(scene)
    phone.lose_answers_of = "/login/federated"
    phone.signed_up()
    assert (len(phone.nonces), len(phone.sent), scene.accounts) == (1, 2, 1)


def test_a_crash_after_the_sheet_continues_with_the_same_attempt(scene: Scene) -> None:
    """The process ends while the answer is on its way. The next start shows the sheet with the same nonce."""
    phone = Phone(scene)
    phone.lose_answers_of = "/login/federated"
    with pytest.raises(Offline):
        phone.client.login_federated("apple", phone.sheet(), "phone", create=True, deadline_s=0)
    again = Phone(scene, storage=phone.storage)
    again.client.login_federated("apple", again.sheet(), "phone", create=True)
    assert again.nonces == phone.nonces
    assert scene.accounts == 1
    assert len(next(iter(scene.tables.lineages.values())).lineages) == 1


def test_an_app_that_ends_while_the_sheet_is_open(scene: Scene) -> None:
    """The app gets the nonce first, and gives the id_token after the restart. A sign-up needs no second sheet."""
    phone = Phone(scene)
    nonce = phone.client.provider_nonce("google")
    id_token = phone.sheet("google")(nonce)
    later = Phone(scene, storage=phone.storage).client
    assert later.provider_nonce("google") == nonce
    with pytest.raises(Refused, match="identity_unknown"):
        later.login_federated("google", id_token, "phone")
    assert isinstance(later.login_federated("google", id_token, "phone", create=True), Session)
    assert later.provider_nonce("google") != nonce


def test_a_person_who_cancels_the_sheet(scene: Scene) -> None:
    """The error of the app is passed on, and no request is sent."""
    phone = Phone(scene)

    def cancelled(_: str) -> str:
        raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        phone.client.login_federated("apple", cancelled, "phone")
    assert phone.sent == []


def test_a_login_that_needs_a_second_factor(scene: Scene) -> None:
    """The login returns the step, or passes it to the function, as after a password."""
    phone = Phone(scene, "strict")
    step = phone.client.login_federated("google", sheet_of(phone), "phone", create=True)
    assert isinstance(step, LoginStep)
    begun = step.enrolment()
    code = totp(begun["secret"], scene.clock.now // 30)
    assert isinstance(step.prove(Proof(totp=code, enrolment=begun["enrolment"])), Session)
    scene.clock.skip(seconds=30)
    other = Phone(scene, "strict")
    session = other.client.login_federated(
        "google",
        sheet_of(other),
        "tablet",
        second_factor=lambda _: {"totp": totp(begun["secret"], scene.clock.now // 30)},
    )
    assert isinstance(session, Session)
    assert other.client.me()["amr"] == ["fed", "otp", "mfa"]


def sheet_of(phone: Phone) -> SignIn:
    """Return the sheet of Google for the client `strict`."""
    return lambda nonce: phone.scene.providers["google"].token("ada", nonce, "strict")


def test_a_login_that_another_process_finished(scene: Scene) -> None:
    """The lineage of the attempt was exchanged meanwhile. The client shows the sheet again, for a new attempt."""
    phone = Phone(scene)
    phone.signed_up()
    record = phone.storage.read()
    pending = Pending("", "mobile", "key", attempt_of(phone.sent[-1]))
    phone.client.exchange()
    phone.storage.update(lambda now: replace(now, pending=pending))
    assert isinstance(phone.client.login_federated("apple", phone.sheet(), "phone"), Session)
    assert len(set(phone.nonces)) == 2
    assert record.session != phone.storage.read().session


def attempt_of(request: Request) -> str:
    """Return the attempt of a request."""
    return request.headers["idempotency-key"].strip('"')


class TestStepUp:
    """An identity as the proof of the person."""

    def test_a_person_without_a_password_deletes_the_account(self, scene: Scene) -> None:
        """The refusal names the provider, and the sheet is shown for exactly this request."""
        phone = Phone(scene)
        client = phone.signed_up()
        refusals: list[Refused] = []

        def confirm(refusal: Refused) -> Proof:
            refusals.append(refusal)
            return Proof(identity=Identity(refusal.problem["providers"][0], phone.sheet()))

        client.logout_everywhere(confirm)
        assert refusals[0].factors == ("identity",)
        again = Phone(scene)
        again.client.login_federated("apple", again.sheet(), "phone")
        again.client.delete_account({"identity": {"provider": "apple", "sign_in": again.sheet()}})
        assert scene.accounts == 0

    def test_the_nonce_of_a_step_up_is_the_servers(self, scene: Scene) -> None:
        """The nonce names the request, and the attempt of the step-up."""
        phone = Phone(scene)
        client = phone.signed_up("acme")
        proof = Proof(identity=Identity("acme", phone.sheet("acme")))
        grant = client.step_up(proof, "DELETE", "/me", attempt="a" * 22)
        key = phone.storage.read().key
        assert key is not None
        digest = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
        assert phone.nonces[-1] == step_up_nonce(
            provider="acme",
            client_id="mobile",
            keyid=key.thumbprint(),
            attempt="a" * 22,
            operation=("DELETE", "/api/me", digest),
        )
        assert client.call("DELETE", "/me", grant=grant).status == 204

    def test_google_is_refused(self, scene: Scene) -> None:
        """The refusal is raised, so the app can offer another proof."""
        phone = Phone(scene)
        client = phone.signed_up("google")
        with pytest.raises(Refused) as refused:
            client.delete_account(Proof(identity=Identity("google", phone.sheet("google"))))
        assert (refused.value.code, refused.value.action) == ("reauthentication_unsupported", "fix_request")

    def test_an_identity_is_no_proof_at_a_login(self, scene: Scene) -> None:
        """The error is raised before a request is sent."""
        with pytest.raises(TypeError, match="step-up only"):
            Proof(identity=Identity("apple", Phone(scene).sheet())).members(dict)


class TestPrograms:
    """A mistake of the app raises an error before a request is sent."""

    @pytest.mark.parametrize("given", [{"token": "x"}, {"id_token": 1}, {"id_token": "a.b.c", "code": "x"}, {}])
    def test_what_a_sheet_returns(self, scene: Scene, given: Any) -> None:
        """It returns the id_token, or a dictionary that has the id_token."""
        phone = Phone(scene)
        with pytest.raises(TypeError, match="id_token"):
            phone.client.login_federated("apple", lambda _: given, "phone")
        assert phone.sent == []

    @pytest.mark.parametrize("binding", ["hmac", "none"])
    def test_only_a_client_with_a_key(self, scene: Scene, binding: Any) -> None:
        """The nonce needs the key."""
        phone = Phone(scene, "simple", binding=binding)
        for attempted in (
            lambda: phone.client.provider_nonce("apple"),
            lambda: phone.client.login_federated("apple", phone.sheet(), "phone"),
        ):
            with pytest.raises(TypeError, match=KEY_BOUND):
                attempted()
        phone.client.register("ada@example.com", PASSWORD, "phone")
        before = len(phone.sent)
        with pytest.raises(TypeError, match="bound to a key"):
            phone.client.link_identity("apple", phone.sheet())
        assert len(phone.sent) == before

    def test_what_is_no_identity(self) -> None:
        """A text is refused, and so is a dictionary with missing or further members."""
        for given in ("apple", {"provider": "apple"}, {"provider": "apple", "sign_in": str, "more": 1}):
            with pytest.raises(TypeError):
                Proof(identity=given).members(dict, str)  # type: ignore[arg-type] # on purpose


class Scripted:
    """A server that answers each route with one prepared answer."""

    def __init__(self, client: BatonClient, answers: Mapping[str, tuple[int, object]]) -> None:
        """Answer the requests of a client from now on."""
        self.answers, self.sent = dict(answers), list[Request]()
        client._transport = self

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Answer a request."""
        del timeout_s
        self.sent.append(request)
        status, body = self.answers[f"{request.method} {request.url.partition('.com/api')[2]}"]
        headers = {"baton-request-id": "0123abcd-ef", "content-type": "application/json"}
        return Answer(status, headers, json.dumps(body).encode() if body is not None else b"")


class TestIdentities:
    """The requests about linked identities, as wire.md has them."""

    def test_they_are_listed(self, scene: Scene) -> None:
        """The list shows whether the account has a password."""
        client = Phone(scene).signed_up()
        listed = {"identities": [{"provider": "apple", "linked_at": 1}], "password": False}
        Scripted(client, {"GET /me/identities": (200, listed)})
        assert client.identities() == listed

    @pytest.mark.parametrize("status", [200, 201])
    @pytest.mark.parametrize(
        "pack", [lambda token: token, lambda token: {"id_token": token, "authorization_code": "c"}]
    )
    def test_one_is_linked(self, scene: Scene, status: int, pack: Callable[[str], SignedIn]) -> None:
        """The nonce is that of a login, with this key and the attempt of this request."""
        phone = Phone(scene)
        client = phone.signed_up()
        server = Scripted(client, {"POST /me/identities": (status, {"provider": "google"})})
        nonces: list[str] = []

        def sign_in(nonce: str) -> SignedIn:
            nonces.append(nonce)
            return pack("a.b.c")

        client.link_identity("google", sign_in)
        (request,) = server.sent
        key = phone.storage.read().key
        assert key is not None
        attempt = attempt_of(request)
        expected = login_nonce(provider="google", client_id="mobile", keyid=key.thumbprint(), attempt=attempt)
        assert nonces == [expected]
        body = json.loads(request.body)
        assert (body["provider"], body["id_token"], body.get("authorization_code", "c")) == ("google", "a.b.c", "c")

    def test_one_is_unlinked(self, scene: Scene) -> None:
        """The request names the provider."""
        client = Phone(scene).signed_up()
        server = Scripted(client, {"DELETE /me/identities/google": (204, None)})
        client.unlink_identity("google")
        assert [request.method for request in server.sent] == ["DELETE"]
