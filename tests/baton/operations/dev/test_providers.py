"""The identity providers of the development server: a person signs in, keys change, and a provider has an outage."""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from baton_client import BatonClient, Identity, MemoryStorage, Offline, Proof, Refused
from baton_testing import Development, DevelopmentError
from chalicelib.baton import settings
from chalicelib.baton.environment import Effects
from chalicelib.baton.federation.id_token import login_nonce
from chalicelib.baton.federation.key_set import read_key_set
from chalicelib.baton.federation.providers import Provider, Providers
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.testing.gateway import load_app
from tests.baton.federation.scene import ENVIRON
from tests.baton.fixture import APP, FOLDER
from tests.baton.operations.dev.conftest import Server
from tests.baton.wire.conversation import Device, Said
from tools.dev.providers import CODE_S, DevelopmentProviders

NOW: Final = 1_800_000_000
FORM: Final = [("Content-Type", "application/x-www-form-urlencoded")]


@pytest.fixture(autouse=True)
def well(server: Server) -> Iterator[None]:
    """End every outage after a test."""
    yield
    server.running.server.clock.skipped_s = 0.0
    for name in ("apple", "google", "acme"):
        server.dev("POST", f"/providers/{name}/outage", {"on": False})


def signed_in(server: Server, phone: Device, provider: str = "google", **claims: object) -> tuple[str, str]:
    """Sign in at a provider. Return the attempt and the id_token."""
    attempt = secrets.token_urlsafe(16)
    nonce = login_nonce(provider=provider, client_id=phone.client_id, keyid=phone.key.thumbprint(), attempt=attempt)
    status, said = server.dev("POST", f"/providers/{provider}/token", {"sub": "ada", "nonce": nonce, **claims})
    assert status == 200, said
    assert len(said["authorization_code"]) > 20
    return attempt, said["id_token"]


def entered(phone: Device, provider: str, signed: tuple[str, str], *, create: bool = True) -> Said:
    """Log in with an id_token."""
    attempt, id_token = signed
    body = {
        "provider": provider,
        "id_token": id_token,
        "client_id": phone.client_id,
        "device": {"name": "phone", "public_key": phone.key.jwk()},
        "create": create,
    }
    return phone.post("/login/federated", body, {"idempotency-key": attempt}, token=None)


@pytest.mark.parametrize("provider", ["apple", "google", "acme"])
@pytest.mark.parametrize("client_id", ["mobile", "mobile-opaque"])
def test_a_person_of_each_provider_logs_in(server: Server, provider: str, client_id: str) -> None:
    """The login works without a file of the team, for every client, and without a network."""
    phone = server.phone(client_id=client_id)
    assert entered(phone, provider, signed_in(server, phone, provider, sub=f"{client_id} of {provider}")).status == 201
    again = server.phone(client_id=client_id)
    signed = signed_in(server, again, provider, sub=f"{client_id} of {provider}")
    assert entered(again, provider, signed, create=False).status == 200


def test_a_verified_address_becomes_the_address_of_the_account(server: Server) -> None:
    """The test may give any claim to the token."""
    phone = server.phone()
    email = f"{secrets.token_hex(4)}@gmail.com"
    said = entered(phone, "google", signed_in(server, phone, sub=email, email=email, email_verified=True))
    assert said.status == 201
    phone.tokens = said.members
    assert phone.get("/me").members["email"] == email


def test_another_audience_is_refused(server: Server) -> None:
    """The token has exactly the requested audience."""
    phone = server.phone()
    said = entered(phone, "google", signed_in(server, phone, audience="another-app"))
    assert (said.status, said.members["reason"]) == (401, "aud")


def test_the_keys_are_published_and_rotate(server: Server) -> None:
    """Ten minutes after the rotation, a token of the earlier key is refused."""
    phone = server.phone()
    now = int(server.running.server.clock.time())
    early = signed_in(server, phone, "acme", sub="rotated", iat=now + 300, exp=now + 900)
    before = server.got("/providers/acme/jwks")
    status, shown = server.dev("POST", "/providers/acme/rotate", {})
    assert (status, shown["kids"]) == (200, [key["kid"] for key in server.got("/providers/acme/jwks")["keys"]])
    assert before["keys"][0]["kid"] not in shown["kids"]
    server.running.server.clock.skip(601)
    said = entered(phone, "acme", early)
    assert (said.status, said.members["reason"]) == (401, "key")
    assert entered(phone, "acme", signed_in(server, phone, "acme", sub="rotated")).status == 201


def test_an_outage_stops_logins_and_its_end_lets_them_in(server: Server) -> None:
    """Baton uses keys for a day after their fetch, so the clock moves by two days."""
    phone = server.phone()
    status, shown = server.dev("POST", "/providers/apple/outage", {"on": True})
    assert (status, shown["outage"]) == (200, True)
    assert server.dev("GET", "/providers/apple/jwks")[0] == 503
    server.running.server.clock.skip(2 * 86_400)
    assert entered(phone, "apple", signed_in(server, phone, "apple")).status == 503
    server.dev("POST", "/providers/apple/outage", {"on": False})
    server.running.server.clock.skip(61)
    assert entered(phone, "apple", signed_in(server, phone, "apple")).status == 201


def test_the_providers_are_listed(server: Server) -> None:
    """The list has what an app's test needs."""
    listed = {one["name"]: one for one in server.got("/providers")["providers"]}
    assert list(listed) == ["apple", "google", "acme"]
    assert listed["acme"]["audiences"]["mobile"] == ["baton-dev"]
    assert listed["google"]["kind"] == "google"


@pytest.mark.parametrize(
    ("method", "path", "members", "status"),
    [
        ("GET", "/providers/none/jwks", None, 404),
        ("POST", "/providers/none/token", {"sub": "ada", "nonce": "n"}, 404),
        ("POST", "/providers/google/token", {"sub": "ada"}, 400),
        ("POST", "/providers/google/token", {"nonce": "n", "sub": 1}, 400),
        ("POST", "/providers/google/outage", {"on": "yes"}, 400),
        ("POST", "/providers/google/outage", {"off": True}, 400),
        ("POST", "/providers/google/rotate", {"keep": True}, 400),
        ("GET", "/providers/google/token", None, 405),
    ],
)
def test_a_wrong_request_is_refused(server: Server, method: str, path: str, members: object, status: int) -> None:
    """The answer is an error of the development API."""
    given, said = server.dev(method, path, members)
    assert (given, "detail" in said) == (status, True)


def secret(**changed: object) -> str:
    """Return a client secret. Its signature is not checked."""
    head = {"alg": "ES256", "kid": "KEY1234567"}
    claims = {
        "iss": "TEAM123456",
        "aud": "https://appleid.apple.com",
        "sub": "baton-dev",
        "iat": NOW,
        "exp": NOW + 300,
        **changed,
    }
    parts = [json.dumps(one).encode() for one in (head, claims)]
    return ".".join(map(encode_base64url, [*parts, b"signature"]))


class Apple:
    """The development Apple in this process, with a clock."""

    def __init__(self) -> None:
        """Begin with the rows of a team that has no file."""
        self.now = NOW
        self.providers = DevelopmentProviders("http://localhost:8000", lambda: self.now)
        self.providers.serve(self.providers.rows([type("Row", (), {"id": "mobile"})()]))  # type: ignore[arg-type]

    def code(self) -> str:
        """Sign in, and return the authorization code."""
        apple = self.providers.get("apple")
        assert apple is not None
        return apple.token({"sub": "ada", "nonce": "n"}, audience="baton-dev")["authorization_code"]

    def post(self, path: str, **form: str) -> tuple[int, dict[str, Any]]:
        """Send a form to Apple."""
        named = {"client_id": "baton-dev", "client_secret": secret(), **form}
        answered = self.providers.answer(f"https://appleid.apple.com{path}", named)
        assert answered is not None
        return answered

    def trade(self, code: str, **form: str) -> tuple[int, dict[str, Any]]:
        """Trade a code."""
        return self.post("/auth/token", grant_type="authorization_code", code=code, **form)


def test_a_code_is_traded_once_and_its_token_revoked_once() -> None:
    """A second time, Apple answers ``invalid_grant``."""
    apple = Apple()
    code = apple.code()
    status, tokens = apple.trade(code)
    assert status == 200
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "id_token"}
    assert apple.trade(code) == (400, {"error": "invalid_grant"})
    found = apple.providers.get("apple")
    assert found is not None
    assert found.refresh_tokens == {tokens["refresh_token"]: "ada"}
    assert apple.post("/auth/revoke", token=tokens["refresh_token"]) == (200, {})
    assert apple.post("/auth/revoke", token=tokens["refresh_token"]) == (400, {"error": "invalid_grant"})
    assert found.refresh_tokens == {}


def test_a_code_ends_after_five_minutes() -> None:
    """An expired code gets the same error as an unknown code."""
    apple = Apple()
    code = apple.code()
    apple.now += CODE_S + 1
    late = secret(iat=apple.now, exp=apple.now + 300)
    assert apple.trade(code, client_secret=late) == (400, {"error": "invalid_grant"})
    assert apple.trade("unknown", client_secret=late) == (400, {"error": "invalid_grant"})


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "ANOTHER"},
        {"aud": "https://another.example"},
        {"sub": "another"},
        {"exp": NOW},
        {"iat": NOW + 1},
        {"iat": None},
    ],
)
def test_a_wrong_client_secret_is_refused(changed: dict[str, object]) -> None:
    """The development Apple checks each claim."""
    apple = Apple()
    assert apple.trade(apple.code(), client_secret=secret(**changed)) == (400, {"error": "invalid_client"})


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "e30.e30.", secret()[: secret().rindex(".")]])
def test_what_is_not_a_client_secret_is_refused(text: str) -> None:
    """The error is that of a wrong client secret."""
    apple = Apple()
    assert apple.trade(apple.code(), client_secret=text) == (400, {"error": "invalid_client"})


def test_an_outage_is_one_of_the_code_trade_too() -> None:
    """Requests to other hosts and paths are not for the development Apple."""
    apple = Apple()
    found = apple.providers.get("apple")
    assert found is not None
    code = apple.code()
    found.signs.outage = True
    assert apple.trade(code)[0] == 503
    found.signs.outage = False
    assert apple.trade(code)[0] == 200
    assert apple.providers.answer("https://another.example/auth/token", {}) is None
    assert apple.providers.answer("https://appleid.apple.com/auth/keys", {}) is None
    assert apple.post("/auth/token", grant_type="refresh_token")[1] == {"error": "unsupported_grant_type"}


def test_the_forms_are_served_over_http(server: Server) -> None:
    """Only the media type of a form is accepted, and only on these two routes."""
    body = urlencode({"grant_type": "authorization_code"}).encode()
    for path in ("token", "revoke"):
        target = f"/_dev/providers/apple/auth/{path}"
        host = [("Host", f"localhost:{server.port}")]
        status, _, said = server.send("POST", target, [*host, *FORM], body)
        assert (status, json.loads(said)) == (400, {"error": "invalid_client"})
        assert server.send("POST", target, [*host, ("Content-Type", "application/json")], body)[0] == 415
        assert server.send("POST", "/_dev/providers/apple/rotate", [*host, *FORM], body)[0] == 415


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
def test_a_row_of_the_team_is_served_under_its_name(algorithm: Any) -> None:
    """The keys have the algorithm of the row. They outlive a reload, and a changed row applies after it."""
    row = Provider(
        name="own",
        code=7,
        kind="oidc",
        issuers=("https://own.example",),
        jwks_uri="https://own.example/keys",
        audiences={"mobile": ("own-app",)},
        algorithms=(algorithm,),
    )
    providers = DevelopmentProviders("http://localhost:8000", lambda: NOW)
    assert providers.listed() == []
    providers.serve(Providers({"own": row}))
    fetched = providers.fetch("https://own.example/keys", headers={}, within_s=1, bytes_max=1000)
    assert isinstance(fetched, bytes)
    own = providers.get("own")
    assert own is not None
    token = own.token({"sub": "ada", "nonce": "n"}, audience=own.audiences[0])["id_token"]
    signed, _, signature = token.rpartition(".")
    kid = own.signs.kid
    assert read_key_set(fetched).verify(decode_base64url(signature), signed.encode(), kid=kid, algorithm=algorithm)
    providers.serve(Providers({"own": row}))
    assert providers.get("own") is own
    providers.serve(None)
    assert providers.get("own") is None


def test_a_file_of_the_team_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has its own rows only if the team has no file."""
    given: list[str] = []

    def rows(clients: Clients) -> Providers:
        given.extend(client.id for client in clients)
        return DevelopmentProviders("http://localhost:8000", lambda: NOW).rows(clients)

    effects = Effects(lambda: NOW, secrets.token_bytes, ENVIRON, providers=rows)
    monkeypatch.setattr(settings, "_FOLDER", FOLDER)
    served = load_app(APP, effects).baton.settings.providers
    assert served.get("acme").audiences == dict.fromkeys(given, ("baton-dev",))
    assert (served.get("acme").step_up, served.for_step_up("mobile")) == (True, {1: "apple", 3: "acme"})
    monkeypatch.setattr(settings, "_PROVIDERS", "identity-providers.toml")
    assert load_app(APP, effects).baton.settings.providers.get("acme").audiences == {"mobile": ("acme-app",)}


def client_of(server: Server) -> BatonClient:
    """Make a client of this server, whose clock is the server's."""
    clock = server.running.server.clock.time
    return BatonClient(f"{server.url}/api", "mobile", MemoryStorage(), clock=clock, sleep=lambda _: None)


def test_an_app_tests_its_logins_with_the_helper(server: Server, dev: Development) -> None:
    """The test has a sign-up, a step-up, a changed key, and an outage that does not affect a live login."""
    sub = secrets.token_hex(4)
    phone, tablet = client_of(server), client_of(server)
    with closing(phone._transport), closing(tablet._transport):  # type: ignore[type-var] # both close
        ada = dev.person("apple", sub, email=f"{sub}@icloud.com", email_verified=True)
        phone.login_federated("apple", ada, "phone", create=True)
        assert phone.me()["email"] == f"{sub}@icloud.com"
        with dev.outage("apple"):
            dev.skip(10 * 86_400)  # not the day of the other test: keys of that day would be there
            with pytest.raises(Offline):
                tablet.login_federated("apple", ada, "tablet", deadline_s=1)
            assert phone.me()["amr"] == ["fed"]
        dev.skip(61)
        dev.rotate("apple")
        dev.skip(601)
        tablet.login_federated("apple", ada, "tablet")
        tablet.delete_account(Proof(identity=Identity("apple", ada)))


def refresh_tokens(dev: Development) -> int:
    """Return the number of refresh tokens of the development Apple that are not revoked."""
    return next(int(one["refresh_tokens"]) for one in dev.providers() if one["name"] == "apple")


def test_the_code_of_a_login_with_apple_is_traded_and_revoked_with_the_account(
    server: Server, dev: Development
) -> None:
    """A deletion revokes the refresh tokens at Apple. The server stores a key for Apple automatically."""
    phone, before = client_of(server), refresh_tokens(dev)
    with closing(phone._transport):  # type: ignore[type-var] # it closes
        ada = dev.person("apple", secrets.token_hex(4))
        phone.login_federated("apple", ada, "phone", create=True)
        assert refresh_tokens(dev) == before + 1
        phone.delete_account(Proof(identity=Identity("apple", ada)))
    assert refresh_tokens(dev) == before


def test_google_gives_no_step_up_and_acme_does(server: Server, dev: Development) -> None:
    """The server has its own rows, because the team has no file."""
    for provider, code in (("google", "reauthentication_unsupported"), ("acme", "")):
        person, phone = dev.person(provider, secrets.token_hex(4)), client_of(server)
        with closing(phone._transport):  # type: ignore[type-var] # it closes
            phone.login_federated(provider, person, "phone", create=True)
            refusal = ""
            try:
                phone.delete_account(Proof(identity=Identity(provider, person)))
            except Refused as refused:
                refusal = refused.code
            assert refusal == code


def test_the_helper_tells_an_unknown_provider(dev: Development) -> None:
    """The error lists the known providers."""
    with pytest.raises(DevelopmentError) as refused:
        dev.rotate("facebook")
    assert (refused.value.status, refused.value.known) == (404, ["apple", "google", "acme"])
