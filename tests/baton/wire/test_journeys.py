"""Each route by the reference client, for each mechanism and binding, over a network that loses messages."""

import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from joserfc import jwt as jose
from joserfc.jwk import KeySet

from baton_client import BatonClient, FileStorage, LoggedOut, MemoryStorage, Offline, Refused
from tests.baton.finished import finished
from tests.baton.wire.conftest import BASE_URL, PASSWORD, Line
from tests.baton.wire.conversation import Said
from tools.dev.gateway import DevelopmentClock

pytestmark = pytest.mark.guarantee(2)

Make = Callable[..., tuple[BatonClient, Line]]
NEW_PASSWORD = "granite umbrella conversation"
WAYS = [
    ("mobile", {"key": "p256"}),
    ("mobile-opaque", {"binding": "hmac"}),
    ("session-api", {"binding": "none"}),
]
LONG = [
    ("mobile", {"key": "ed25519"}),
    ("mobile", {"binding": "hmac"}),
    ("mobile-opaque", {"key": "p256"}),
    ("simple", {"binding": "none"}),
    ("session-api", {"key": "p256"}),
    ("legacy", {"binding": "none"}),
    ("oauth", {"binding": "none"}),
    ("oauth", {"binding": "hmac"}),
    ("iot", {"binding": "none"}),
]
"""The other clients, bindings and key types, which only CI tests."""


@pytest.mark.parametrize(
    ("client_id", "options"), [*WAYS, *(pytest.param(*way, marks=pytest.mark.prove(ci=True)) for way in LONG)], ids=str
)
def test_a_whole_account_lifetime_over_an_unreliable_network(
    make_client: Make, clock: DevelopmentClock, client_id: str, options: dict[str, str]
) -> None:
    """Register, call, exchange, pay, list, end a device, change the password, log out, delete.

    The request or the answer of some of these steps is lost.
    """
    phone, line = make_client(client_id, wrong_by_s=7200, **options)
    tablet, _ = make_client("mobile")
    line.lose_answers = 1
    phone.register("ada@example.com", PASSWORD, "Ada's phone")
    tablet.login("ada@example.com", PASSWORD, "Ada's tablet")
    line.lose_requests = 1
    assert phone.me()["email"] == "ada@example.com"
    clock.skip(16 * 60)
    line.lose_answers = 1
    assert phone.session is not None
    assert phone.me()["device_id"] == phone.session.device_id
    if client_id != "iot":
        line.lose_answers = 2
        phone.exchange()
    paid = phone.call("POST", "/transfers", json={"to": "Bob", "amount": 20_000}, confirm=lambda _: PASSWORD)
    assert paid.json()["amount"] == 20_000
    mine, other = sorted(phone.devices(), key=lambda device: device["current"], reverse=True)
    assert (mine["current"], other["current"]) == (True, False)
    assert mine["bound"] == (options.get("binding") != "none")
    phone.end_device(other["device_id"], password=PASSWORD)
    with pytest.raises(LoggedOut):
        tablet.me()
    phone.change_password(PASSWORD, NEW_PASSWORD)
    phone.login("ada@example.com", NEW_PASSWORD, "again")
    phone.logout()
    phone.login("ada@example.com", NEW_PASSWORD, "once more")
    phone.delete_account(NEW_PASSWORD)
    with pytest.raises(Refused, match="invalid_credentials"):
        phone.login("ada@example.com", NEW_PASSWORD, "gone")
    phone.register("ada@example.com", PASSWORD, "free again")


@pytest.mark.parametrize("wrong_by_s", [-7200, 7200])
def test_a_wrong_clock_costs_one_round_trip(make_client: Make, wrong_by_s: int) -> None:
    """The first signed request is refused. The second and all later requests are accepted."""
    phone, line = make_client(wrong_by_s=wrong_by_s)
    phone.register("ada@example.com", PASSWORD, "phone")
    phone.me()
    assert [answer.status for _, answer in line.carried] == [401, 201, 200]


def test_two_processes_can_share_one_storage(make_client: Make, clock: DevelopmentClock, tmp_path: Path) -> None:
    """Both find the token expired, and both continue."""
    storage = FileStorage(tmp_path / "session")
    one, _ = make_client(storage=storage)
    other, _ = make_client(storage=FileStorage(tmp_path / "session"))
    one.register("ada@example.com", PASSWORD, "phone")
    for _ in range(7):
        clock.skip(16 * 60)
        for client in (one, other):
            client.me()


def test_a_restored_backup_counts_as_a_second_holder(make_client: Make) -> None:
    """An old copy of the storage repeats an exchange with the same attempt. The second try ends the login."""
    phone, _ = make_client()
    phone.register("ada@example.com", PASSWORD, "phone")
    restored, line = make_client(storage=MemoryStorage(phone._storage.read()))
    phone.exchange()
    phone.exchange()
    with pytest.raises(Offline):
        restored.exchange(deadline_s=0)
    assert [answer.status for _, answer in line.carried] == [409]
    assert phone.me()
    with pytest.raises(LoggedOut, match="reuse"):
        restored.exchange()
    with pytest.raises(LoggedOut, match="reuse"):
        phone.me()


def test_other_libraries_verify_a_jwt_with_the_public_keys(make_client: Make, send: Callable[..., Said]) -> None:
    """PyJWT and joserfc check issuer, audience and signature. The token contains the key of the device."""
    phone, _ = make_client()
    session = finished(phone.register("ada@example.com", PASSWORD, "phone"))
    keys = send("GET", "/api/.well-known/jwks.json", [("host", "x")], b"").members
    header = jwt.get_unverified_header(session.access_token)
    assert header["typ"] == "at+jwt"
    key = jwt.PyJWKSet.from_dict(keys)[header["kid"]]
    claims = jwt.decode(
        session.access_token,
        key,
        algorithms=["ES256"],
        audience="http://localhost:8000/api",
        issuer="http://localhost:8000/api",
        options={"require": ["exp", "iat", "sub", "aud", "iss", "jti", "client_id"]},
    )
    device_key = phone._storage.read().key
    assert device_key is not None
    assert claims["cnf"] == {"jkt": device_key.thumbprint(), "jwk": device_key.jwk()}
    assert (claims["token_use"], claims["gen"], claims["sid"]) == ("both", 0, session.device_id)
    assert claims["exp"] - claims["iat"] == 900
    assert jose.decode(session.access_token, KeySet.import_key_set(keys), algorithms=["ES256"]).claims == claims  # type: ignore[arg-type] # joserfc's own type


def test_a_token_response_has_exactly_its_members(make_client: Make) -> None:
    """Only a login returns the secret of an HMAC login.

    ``long_lived`` has no refresh token, so its response has no ``refresh_token_timeout``.
    """
    common = {"access_token", "token_type", "expires_in", "scope", "device_id", "server_time"}
    common |= {"authorization_expires_in"}
    renewed = {"refresh_token", "refresh_token_timeout"}
    for client_id, options, more in (
        ("mobile", {}, renewed),
        ("mobile", {"binding": "hmac"}, {*renewed, "key_id", "secret"}),
        ("iot", {"binding": "none"}, set()),
    ):
        client, line = make_client(client_id, **options)
        client.register(f"{client_id}{len(more)}@example.com", PASSWORD, "phone")
        assert line.carried[-1][1].json().keys() == common | more
        assert line.carried[-1][1].headers["cache-control"] == "no-store"
        if "refresh_token" in more:
            client.exchange()
            assert line.carried[-1][1].json().keys() == common | renewed


def test_the_metadata_is_at_the_paths_that_clients_read(send: Callable[..., Said]) -> None:
    """RFC 8414 defines one path, OpenID Connect Discovery the other. Each URL in them begins with the issuer."""
    said = [
        send("GET", f"/api/.well-known/{name}", [("host", "x")], b"")
        for name in ("oauth-authorization-server", "openid-configuration")
    ]
    metadata, openid = (json.loads(one.body) for one in said)
    assert metadata.items() <= openid.items()
    assert metadata["grant_types_supported"] == [
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:token-exchange",  # the app of the tests has another server
    ]
    for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint", "jwks_uri"):
        path = metadata[name].removeprefix(metadata["issuer"])
        assert send("POST" if "oauth" in path else "GET", f"/api{path}", [("host", "x")], b"").status in {200, 400, 401}
    assert BASE_URL.endswith("/api")


def test_cors_is_for_exact_origins(send: Callable[..., Said]) -> None:
    """Preflights, answers and refusals have the headers for a listed origin only."""
    ours, theirs = ("origin", "https://app.example.com"), ("origin", "https://app.example.com.evil.example")
    asked = ("access-control-request-method", "POST")
    preflight = send("OPTIONS", "/api/login", [("host", "x"), ours, asked], b"")
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://app.example.com"
    allowed = preflight.headers["access-control-allow-headers"].lower()
    for name in ("signature", "signature-input", "authorization", "content-digest", "idempotency-key", "baton-grant"):
        assert name in allowed
    assert "post" in preflight.headers["access-control-allow-methods"].lower()
    refused = send("GET", "/api/me", [("host", "x"), ours], b"")
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example.com"
    for name in ("baton-time", "baton-request-id", "retry-after"):
        assert name in refused.headers["access-control-expose-headers"].lower()
    for path in ("/api/login", "/api/me"):
        said = send("OPTIONS" if path.endswith("login") else "GET", path, [("host", "x"), theirs], b"")
        assert "access-control-allow-origin" not in said.headers
        assert said.headers["vary"] == "Origin"


def test_every_answer_has_the_time_and_a_request_id(send: Callable[..., Said]) -> None:
    """Each kind of answer is tested."""
    for method, path in (("GET", "/time"), ("GET", "/me"), ("POST", "/login"), ("GET", "/nothing"), ("PUT", "/time")):
        said = send(method, f"/api{path}", [("host", "x")], b"")
        assert int(said.headers["baton-time"])
        assert said.headers["baton-request-id"]
