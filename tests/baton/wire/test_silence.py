"""Invalid tokens cause no database call, and no secret is stored or logged."""

import base64
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from moto.dynamodb.responses import DynamoHandler

from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.wire.conftest import Line
from tests.baton.wire.conversation import FORM, HOST, NEW_PASSWORD, PASSWORD, Device
from tools.dev.engine import client

NO_KEY = {"binding": "none"}


@pytest.fixture
def asked(embedded_engine: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record each call to DynamoDB."""
    calls: list[str] = []
    answer = DynamoHandler.call_action

    def noted(handler: DynamoHandler) -> Any:
        calls.append(str(handler.headers.get("X-Amz-Target")))
        return answer(handler)

    monkeypatch.setattr(DynamoHandler, "call_action", noted)
    return calls


def garbage(token: str, opaque: str, public_pem: bytes) -> Iterator[str]:
    """Make tokens that Baton never issued."""
    header, payload, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(token)["kid"]
    none = encode_base64url(json.dumps({"alg": "none", "typ": "at+jwt", "kid": kid}).encode())
    yield from (
        "",
        "x",
        "a.b.c",
        "..",
        token[:-1],
        token + "=",
        token + "A",
        f"{none}.{payload}.",
        f"{header}.{payload}.",
    )
    yield f"{header}.{payload}.{'A' * 86}"
    yield f"{header}.{payload[:-2]}AA.{signature}"
    for secret in (public_pem, b"", kid.encode()):
        with_secret = base64.urlsafe_b64encode(secret).decode()
        yield jwt.api_jws.PyJWS().encode(
            json.dumps(claims).encode(), with_secret.encode().ljust(32, b"0"), "HS256", {"typ": "at+jwt", "kid": kid}
        )
    yield from ("baton_", "baton_AAAA", opaque[:-1], opaque + "A", opaque.replace("baton_", ""), "\x7f" * 40, "é" * 40)
    flipped = bytearray(base64.urlsafe_b64decode(opaque.removeprefix("baton_") + "=="))
    for position in range(1, len(flipped), 7):
        other = bytearray(flipped)
        other[position] ^= 1
        yield "baton_" + encode_base64url(bytes(other))


def test_invalid_tokens_cause_no_database_call(make_device: Callable[..., Device], asked: list[str]) -> None:
    """Each route that accepts a token is tested."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    phone, other = make_device(), make_device(client_id="mobile-opaque")
    token = str(phone.register("ada@example.com").members["access_token"])
    opaque = str(other.login("ada@example.com").members["access_token"])
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    basic = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".encode()).decode()
    for _ in range(2):  # so that both environments have read the key ring
        phone.get("/me")
    asked.clear()
    seen = 0
    for text in garbage(token, opaque, pem):
        from urllib.parse import urlencode

        form = urlencode({"grant_type": "refresh_token", "refresh_token": text, "token": text}).encode()
        headers = [("host", HOST), *FORM.items()]
        said = [
            phone.send("GET", "/api/me", [("host", HOST), ("authorization", f"Bearer {text}")], b""),
            phone.send("POST", "/api/oauth/token", headers, form),
            phone.send("POST", "/api/oauth/revoke", headers, form),
            phone.send("POST", "/api/oauth/introspect", [*headers, ("authorization", f"Basic {basic}")], form),
        ]
        assert said[0].status == 401, text
        assert said[1].status == 400, text
        assert said[2].status in ({200} if text else {400}), text
        assert said[3].members == {"active": False} if text else said[3].status == 400, text
        seen += 1
    assert seen > 25
    assert asked == []


def test_requests_that_prove_nothing_cause_no_database_call(
    make_device: Callable[..., Device], asked: list[str]
) -> None:
    """The requests are signed by another key, too old, changed, malformed, or name another client."""
    phone, thief = make_device(), make_device()
    phone.register("ada@example.com")
    for _ in range(2):
        phone.get("/me")
    asked.clear()
    codes = [
        thief.get("/me", token=phone.token).code,
        phone.get("/me", created=1).code,
        phone.get("/me", sent_path="/me/devices").code,
        phone.post("/logout", {"everywhere": False}, sent_body=b'{"everywhere": true}').code,
        phone.post("/logout", {"everywhere": "yes"}).code,
        phone.post("/logout", {"surprise": 1}).code,
        thief.exchange(phone.token).code,
        phone.exchange(phone.token, client_id="oauth").code,
        phone.exchange(phone.token, client_id="nobody").code,
    ]
    wrong = ["wrong_key", "clock_skew", "invalid_signature", "invalid_digest", "wrong_type", "unknown_field"]
    assert codes == [*wrong, "wrong_key", "unauthorized_client", "invalid_client"]
    assert asked == []


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the log level DEBUG for the environments that start later."""
    monkeypatch.setenv("BATON_LOG_LEVEL", "DEBUG")


@pytest.mark.guarantee(10)
def test_no_secret_is_stored_or_logged(
    loud: None,
    make_client: Callable[..., Any],
    tables: Tables,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """After complete flows of all kinds, no table and no log line has a password, token, attempt, secret or grant."""
    del loud
    caplog.set_level(logging.DEBUG)
    secrets_used: set[str] = {PASSWORD, NEW_PASSWORD}
    lines: list[Line] = []
    ways: tuple[tuple[str, dict[str, str]], ...]
    ways = (("mobile", {}), ("mobile-opaque", {"binding": "hmac"}), ("simple", NO_KEY), ("oauth", NO_KEY))
    for number, (client_id, options) in enumerate(ways):
        phone, line = make_client(client_id, **options)
        lines.append(line)
        phone.register(f"person{number}@example.com", PASSWORD, "phone")
        phone.exchange()
        phone.call("POST", "/transfers", json={"to": "Bob", "amount": 20_000}, confirm=lambda _: PASSWORD)
        phone.change_password(PASSWORD, NEW_PASSWORD)
        phone.login(f"person{number}@example.com", NEW_PASSWORD, "phone")
        secret = phone.session.secret
        secrets_used |= {secret} if secret else set()
    for request, answer in [carried for line in lines for carried in line.carried]:
        said_of = {**request.headers, **answer.members()}
        for name in ("idempotency-key", "baton-grant", "access_token", "refresh_token", "grant", "secret"):
            secrets_used |= {str(said_of[name]).strip('"')} if name in said_of else set()
    assert len(secrets_used) > 25
    kept = json.dumps([client().scan(TableName=tables.name(table))["Items"] for table in KEYS], default=str)
    said = caplog.text + "".join(capfd.readouterr())
    assert "person0@example.com" in kept
    assert "password_changed" in said
    assert "answered" in said
    for secret in secrets_used:
        assert secret not in kept
        assert secret not in said
