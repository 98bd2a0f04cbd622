"""`httpsig-oauth`: the messages of draft-richer-oauth-httpsig, and calls with it over the whole app."""

import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from baton_client import DeviceKey, content_digest
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.proof.refusals import ClockSkew, SignatureDefective
from chalicelib.baton.proof.signature import VerifiedSignature, signature_base, verify_target
from chalicelib.baton.proof.signature_input import HTTPSIG, read_signature
from chalicelib.baton.routing import Message
from tests.baton.conftest import ENVIRONMENT
from tests.baton.wire.conversation import HOST, JSON, PASSWORD, PREFIX, Device, Said
from tests.vectors import load

FILES: Mapping[str, str] = load("httpsig_oauth")["files"]
SIGNED = ("rs-request-signed.http", "present-request-signed.http")
CREATED = 1776650875
EMAIL = "ada@example.com"
SCHEME = ENVIRONMENT["BATON_ISSUER"].partition("://")[0]


def unwrapped(name: str) -> str:
    """Undo the line wrapping of RFC 8792, single backslash."""
    return re.sub(r"\\\n\s*", "", re.sub(r"^NOTE:[^\n]*\n\n", "", FILES[name]))


def message(name: str) -> Message:
    """Read a message of the draft."""
    head, _, body = unwrapped(name).partition("\n\n")
    first, *lines = head.strip().split("\n")
    method, path, _version = first.split(" ")
    fields = {line.partition(": ")[0].lower(): (line.partition(": ")[2],) for line in lines}
    (host,) = fields.pop("host")
    return Message(method, host, path, (), fields, body.strip().encode())


def key_of(name: str) -> PublicKey:
    """Return the key that made the signature of a message: each of the two has its own."""
    if name == "present-request-signed.http":
        jwk = json.loads(FILES["token-key.jwk"])
        return PublicKey.from_jwk({member: jwk[member] for member in ("kty", "crv", "x")})
    key = load_pem_private_key(FILES["test-key-ecdsa-p256.pem"].encode(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    point = key.public_key().public_numbers()
    return PublicKey.from_raw(bytes([2 + point.y % 2]) + point.x.to_bytes(32, "big"))


def verified(
    name: str, *, of: Message | None = None, now: int = CREATED, host: str = "example.com", **options: Any
) -> VerifiedSignature:
    """Verify a message of the draft."""
    sent = of or message(name)
    signature = read_signature(sent, HTTPSIG)
    assert signature is not None
    expected: dict[str, Any] = {"key": key_of(name), "scheme": "https", **options}
    return verify_target(
        sent,
        signature,
        keyid="the token's",
        expected_authorities=frozenset({host}),
        now=now,
        window_s=300,
        **expected,
    )


@pytest.mark.parametrize("name", SIGNED)
def test_the_messages_of_the_draft_verify(name: str) -> None:
    """The key is that of the token: the message does not name it. The signature base is that of the draft."""
    sent = message(name)
    signature = read_signature(sent, HTTPSIG)
    assert signature is not None
    base = signature_base(sent, signature, target_uri="https://example.com/foo")
    assert base.decode() == unwrapped("rs-sig-base.sigbase").strip()
    assert verified(name) == VerifiedSignature("the token's", "k9Jyxempel2305Nmx7Rk", CREATED)


@pytest.mark.parametrize("name", SIGNED)
def test_a_request_to_another_host_is_refused(name: str) -> None:
    """A server with the same path could send the signed request on to Baton."""
    with pytest.raises(SignatureDefective, match="the host is not accepted"):
        verified(name, host="login.example.com")


@pytest.mark.parametrize("name", SIGNED)
def test_another_key_method_target_token_or_time_does_not_verify(name: str) -> None:
    """The signature covers each of these parts."""
    sent = message(name)
    other = {"method": "DELETE", "path": "/bar", "fields": {**sent.fields, "authorization": ("HTTPSig other",)}}
    for member, value in other.items():
        changed = {each: getattr(sent, each) for each in Message.__struct_fields__} | {member: value}
        with pytest.raises(SignatureDefective):
            verified(name, of=Message(**changed))
    with pytest.raises(SignatureDefective):
        verified(name, key=key_of(SIGNED[1 - SIGNED.index(name)]))
    with pytest.raises(SignatureDefective):
        verified(name, scheme="http")
    for now in (CREATED - 301, CREATED + 301):
        with pytest.raises(ClockSkew):
            verified(name, now=now)


def test_a_message_to_a_token_endpoint_has_another_tag() -> None:
    """Baton's exchange uses its own tag. A call does not accept the tag of the token endpoint."""
    assert read_signature(message("token-request-signed.http"), HTTPSIG) is None


def sign(
    phone: Device,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    cover: tuple[str, ...] | None = None,
    parameters: str = "",
    nonce: str | None = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    scheme: str = "HTTPSig",
    key: DeviceKey | None = None,
) -> dict[str, str]:
    """Return the fields of a call, signed as the draft requires."""
    fields = {"host": HOST, "authorization": f"{scheme} {token or phone.token}", **(headers or {})}
    if body:
        fields |= {**JSON, "content-digest": content_digest(body)}
    optional = ("content-digest", "idempotency-key", "baton-grant")
    covered = cover or ("@method", "@target-uri", "authorization", *(name for name in optional if name in fields))
    values = {"@method": method, "@target-uri": f"{SCHEME}://{HOST}{PREFIX}{path}", **fields}
    nonce = nonce or secrets.token_urlsafe(16)
    quoted = " ".join([f'"{name}"' for name in covered])
    written = f'({quoted});created={phone.clock()};nonce="{nonce}"{parameters};tag="httpsig-oauth"'
    lines = [f'"{name}": {values[name]}' for name in covered] + [f'"@signature-params": {written}']
    value = (key or phone.key).sign("\n".join(lines).encode())
    fields["signature-input"] = f"sig1={written}"
    fields["signature"] = f"sig1=:{base64.b64encode(value).decode()}:"
    return fields


@pytest.fixture
def phone(make_device: Callable[..., Device]) -> Device:
    """Log in on a phone with a key."""
    phone = make_device()
    phone.register(EMAIL)
    return phone


def call(phone: Device, method: str, path: str, body: bytes = b"", **options: Any) -> Said:
    """Send a call."""
    return phone.send(method, PREFIX + path, list(sign(phone, method, path, body, **options).items()), body)


GRANT_BODY = {"operation": {"method": "DELETE", "path": PREFIX + "/me", "digest": content_digest(b"")}}


class TestCalls:
    """Calls over the whole app."""

    def test_a_safe_call_and_one_with_a_body(self, phone: Device) -> None:
        """The scheme `Authorization: HTTPSig` may have any case."""
        assert call(phone, "GET", "/me").status == 200
        assert call(phone, "GET", "/me", scheme="httpsig").status == 200
        body = json.dumps({**GRANT_BODY, "password": PASSWORD}).encode()
        said = call(phone, "POST", "/step-up", body)
        assert said.status == 200
        assert call(phone, "DELETE", "/me", headers={"baton-grant": said.members["grant"]}).status == 204

    @pytest.mark.guarantee(12)
    def test_a_state_changing_call_works_once(self, phone: Device) -> None:
        """The nonce is stored for the key of the token."""
        body = json.dumps({**GRANT_BODY, "password": PASSWORD}).encode()
        fields = list(sign(phone, "POST", "/step-up", body).items())
        assert phone.send("POST", PREFIX + "/step-up", fields, body).status == 200
        assert phone.send("POST", PREFIX + "/step-up", fields, body).code == "replayed_nonce"

    @pytest.mark.parametrize("name", ["alg", "keyid", "pub"])
    def test_a_message_that_names_its_key_is_refused(self, phone: Device, name: str) -> None:
        """The key must be that of the token."""
        value = ":AAAA:" if name == "pub" else '"ed25519"'
        assert call(phone, "GET", "/me", parameters=f";{name}={value}").code == "invalid_signature"

    @pytest.mark.parametrize("left_out", ["@method", "@target-uri", "authorization"])
    def test_each_component_must_be_covered(self, phone: Device, left_out: str) -> None:
        """The error names the missing component."""
        cover = tuple(name for name in ("@method", "@target-uri", "authorization") if name != left_out)
        said = call(phone, "GET", "/me", cover=cover)
        assert (said.code, said.members["missing"]) == ("insufficient_coverage", [f'"{left_out}"'])

    @pytest.mark.parametrize("name", ["content-digest", "idempotency-key", "baton-grant"])
    def test_what_is_there_must_be_covered(self, phone: Device, name: str) -> None:
        """Otherwise the body or the effect of the call could be replaced."""
        body = b"{}" if name == "content-digest" else b""
        headers = {} if body else {name: "a-value-of-sixteen-characters"}
        cover = ("@method", "@target-uri", "authorization")
        said = call(phone, "POST", "/logout", body, cover=cover, headers=headers)
        assert (said.code, said.members["missing"]) == ("insufficient_coverage", [f'"{name}"'])

    def test_a_query_is_refused_with_the_way_out(self, phone: Device) -> None:
        """API Gateway passes no raw query, so Baton could not verify it."""
        said = call(phone, "GET", "/me/activity?before=x")
        assert (said.status, said.code) == (401, "invalid_signature")
        assert "sign with the tag `baton`" in said.members["detail"]

    def test_another_key_is_refused_and_the_login_stays(self, phone: Device) -> None:
        """A stolen token without its key is useless."""
        assert call(phone, "GET", "/me", key=DeviceKey.generate("p256")).code == "invalid_signature"
        assert call(phone, "GET", "/me").status == 200

    def test_the_scheme_and_the_tag_belong_together(self, phone: Device) -> None:
        """Each is refused without the other, so an attacker cannot remove a signature."""
        assert call(phone, "GET", "/me", scheme="Bearer").code == "invalid_signature"
        fields = sign(phone, "GET", "/me")
        del fields["signature"], fields["signature-input"]
        assert phone.send("GET", PREFIX + "/me", list(fields.items()), b"").code == "signature_required"
        own = Device(phone.send, phone.clock, key=phone.key, tokens=phone.tokens)

        def other_scheme(sent: dict[str, str]) -> None:
            sent["authorization"] = sent["authorization"].replace("Bearer", "HTTPSig")

        assert own.request("GET", "/me", tamper=other_scheme).code == "signature_required"

    def test_an_unbound_login_has_no_key(self, make_device: Callable[..., Device], phone: Device) -> None:
        """Such a login sends `Bearer`."""
        simple = make_device(client_id="simple", bound=False)
        simple.login(EMAIL)
        said = call(phone, "GET", "/me", token=simple.token)
        assert said.code == "signature_required"
        assert "Bearer" in said.members["detail"]

    def test_two_signatures_with_the_tag_are_refused(self, phone: Device) -> None:
        """There must be exactly one signature with the tag."""
        fields = sign(phone, "GET", "/me")
        fields["signature-input"] += ", sig2=" + fields["signature-input"].partition("=")[2]
        fields["signature"] += ", sig2=" + fields["signature"].partition("=")[2]
        assert phone.send("GET", PREFIX + "/me", list(fields.items()), b"").code == "invalid_signature"

    def test_the_exchange_keeps_its_own_tag(self, phone: Device) -> None:
        """An exchange has no authorization field, and only Baton's own profile."""
        assert phone.exchange().status == 200


class TestBothTags:
    """A request with both signatures: both must verify and have the same nonce."""

    def both(self, phone: Device, *, nonces: tuple[str, str], break_one: str = "") -> dict[str, str]:
        """Sign a call with both tags."""
        body = json.dumps({**GRANT_BODY, "password": PASSWORD}).encode()
        fields = sign(phone, "POST", "/step-up", body, nonce=nonces[0])
        sent: dict[str, str] = {}

        def keep(signed: dict[str, str]) -> None:
            sent.update(signed)

        # The client signs `authorization` as it is sent: with the scheme of the other signature.
        phone.request(
            "POST", "/step-up", body, {**JSON, "authorization": fields["authorization"]}, token=None, nonce=nonces[1],
            tamper=keep,
        )  # fmt: skip
        if break_one == "baton":
            sent["signature"] = re.sub(r":[A-Za-z0-9+/]{4}", ":AAAA", sent["signature"], count=1)
        if break_one == "httpsig":
            fields["signature"] = re.sub(r":[A-Za-z0-9+/]{4}", ":AAAA", fields["signature"], count=1)
        for name in ("signature", "signature-input"):
            fields[name] += ", " + sent[name]
        return fields

    def send(self, phone: Device, fields: dict[str, str]) -> Said:
        """Send the call."""
        body = json.dumps({**GRANT_BODY, "password": PASSWORD}).encode()
        return phone.send("POST", PREFIX + "/step-up", list(fields.items()), body)

    def test_with_one_nonce(self, phone: Device) -> None:
        """The call works once. If one of the two signatures is removed, it does not work again."""
        nonce = encode_base64url(secrets.token_bytes(12))
        fields = self.both(phone, nonces=(nonce, nonce))
        # `both` sent the call with the tag `baton` alone, and was refused: the scheme was HTTPSig.
        assert self.send(phone, fields).status == 200
        assert self.send(phone, fields).code == "replayed_nonce"
        stripped = {name: value.split(", ")[0] for name, value in fields.items()}
        assert self.send(phone, stripped).code == "replayed_nonce"

    def test_with_two_nonces(self, phone: Device) -> None:
        """Such a call is refused: a captured copy would work a second time."""
        said = self.send(phone, self.both(phone, nonces=("the-first-nonce", "the-second-nonce")))
        assert (said.code, "same `nonce`" in said.members["detail"]) == ("invalid_signature", True)

    @pytest.mark.parametrize("broken", ["baton", "httpsig"])
    def test_with_one_that_does_not_verify(self, phone: Device, broken: str) -> None:
        """Both signatures must verify."""
        fields = self.both(phone, nonces=("the-only-nonce", "the-only-nonce"), break_one=broken)
        assert self.send(phone, fields).code == "invalid_signature"


def test_a_wrong_digest_is_refused(phone: Device) -> None:
    """The signature covers the digest, and the digest covers the body."""
    fields = sign(phone, "POST", "/logout", b"{}")
    said = phone.send("POST", PREFIX + "/logout", list(fields.items()), b'{"a":1}')
    assert said.code == "invalid_digest"
