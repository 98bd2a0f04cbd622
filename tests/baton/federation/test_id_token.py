"""Each check of an id_token, with a token that has exactly one defect."""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec.structs import replace

from chalicelib.baton.federation.id_token import IdTokenRefused, Proved, login_nonce, read_head, step_up_nonce, verify
from chalicelib.baton.federation.key_set import KEY_SET_BYTES_MAX, read_key_set
from chalicelib.baton.federation.providers import Provider
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.testing.identity_provider import IdentityProvider, encode_number
from tests.baton.repository import ROOT

NOW: Final = 1_800_000_000
NONCE: Final = login_nonce(provider="google", client_id="mobile", keyid="k" * 43, attempt="a" * 22)
GOOGLE: Final = Provider(
    name="google",
    code=2,
    kind="google",
    issuers=("https://accounts.google.com", "accounts.google.com"),
    jwks_uri="https://www.googleapis.com/oauth2/v3/certs",
    audiences={"mobile": ("1234", "1235"), "other": ("5678",)},
    azp=("android", "1234"),
)
APPLE: Final = replace(
    GOOGLE, name="apple", code=1, kind="apple", issuers=("https://appleid.apple.com",), azp=(), team_id="T", key_id="K"
)
ACME: Final = replace(
    GOOGLE,
    name="acme",
    code=3,
    kind="oidc",
    issuers=("https://id.acme.example",),
    azp=(),
    algorithms=("RS256", "ES256", "PS256"),
)
IDP: Final = IdentityProvider(GOOGLE, lambda: NOW)


def judged(token: str, provider: Provider = GOOGLE, *, jwks: object = None, now: int = NOW) -> Proved:
    """Verify a token for the client ``mobile``."""
    keys = read_key_set(json.dumps(IDP.jwks() if jwks is None else jwks).encode())
    return verify(read_head(token, provider), provider, keys, client_id="mobile", nonce=NONCE, now=now)


def refused(token: str, provider: Provider = GOOGLE, **named: Any) -> str:
    """Return the check that refuses a token."""
    with pytest.raises(IdTokenRefused) as caught:
        judged(token, provider, **named)
    return caught.value.reason


def token(**changed: Any) -> str:
    """Return a token of Google."""
    return IDP.token("1234567890", NONCE, **changed)


def test_a_genuine_token_names_the_person() -> None:
    """PyJWT reads the same token."""
    proved = judged(token(email="Ada@gmail.com", email_verified=True, auth_time=NOW - 5))
    assert (proved.issuer, proved.sub) == ("https://accounts.google.com", "1234567890")
    assert (proved.email, proved.issued_at, proved.auth_time) == ("ada@gmail.com", NOW, NOW - 5)
    read = jwt.decode(
        token(),
        IDP.key.public_key(),
        algorithms=["RS256"],
        audience="1234",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert read["sub"] == proved.sub
    assert "1234567890" not in repr(proved)


def test_the_nonce_names_provider_client_key_and_attempt() -> None:
    """The nonce is the digest of the text in wire.md, and a change of any part changes the nonce."""
    text = f"baton-nonce-v1\ngoogle\nmobile\n{'k' * 43}\n{'a' * 22}"
    assert encode_base64url(hashlib.sha256(text.encode()).digest()) == NONCE
    parts = {"provider": "google", "client_id": "mobile", "keyid": "k" * 43, "attempt": "a" * 22}
    assert login_nonce(**parts) == NONCE
    assert len({login_nonce(**parts | {name: "x"}) for name in parts} | {NONCE}) == 5


def test_the_nonces_of_the_page() -> None:
    """Ports can compare their nonces with the two examples in wire.md."""
    page = (ROOT / "docs/baton/wire.md").read_text("utf-8").partition("Two examples, for the provider")[2]
    provider, client_id, keyid, attempt, login, _, step_up = re.findall(r"`([^`]+)`", page)[:7]
    named = {"provider": provider, "client_id": client_id, "keyid": keyid, "attempt": attempt}
    nothing = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    assert login_nonce(**named) == login
    assert step_up_nonce(**named, operation=("DELETE", "/api/me", nothing)) == step_up
    text = "\n".join(("baton-step-up-v1", *named.values(), "DELETE", "/api/me", nothing))
    assert encode_base64url(hashlib.sha256(text.encode()).digest()) == step_up


def test_the_nonce_may_be_hashed() -> None:
    """Apple's convention is accepted. Upper case, and a nonce that was hashed twice, are refused."""
    hashed = hashlib.sha256(NONCE.encode()).hexdigest()
    assert judged(token(nonce=hashed)).sub
    assert refused(token(nonce=hashed.upper())) == "nonce"
    assert refused(token(nonce=hashlib.sha256(hashed.encode()).hexdigest())) == "nonce"


def _claims(**changed: Any) -> dict[str, Any]:
    return IDP.claims("1234567890", NONCE, "mobile", **changed)


def _with_head(head: bytes) -> str:
    return f"{encode_base64url(head)}.{token().partition('.')[2]}"


def _altered() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{encode_base64url(json.dumps(_claims(sub='another')).encode())}.{signature}"


def _by_public_key() -> str:
    """Sign with HMAC, with the public key as the secret (algorithm confusion)."""
    import hmac

    pem = IDP.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = IDP.sign(_claims(), alg="HS256").rpartition(".")[0]
    return f"{signed}.{encode_base64url(hmac.digest(pem, signed.encode(), 'sha256'))}"


def _with_own_key() -> str:
    """Sign with a key that the head of the token brings."""
    other = IdentityProvider(GOOGLE, lambda: NOW)
    return other.sign(_claims(), kid=IDP.kid, jwk=other.jwk(other.kid), jku="https://evil.example/keys")


def _nonce(**changed: str) -> str:
    parts = {"provider": "google", "client_id": "mobile", "keyid": "k" * 43, "attempt": "a" * 22} | changed
    return login_nonce(**parts)


DEFECTS: Final[Mapping[str, tuple[str, Callable[[], str]]]] = {
    "two parts": ("format", lambda: token().rpartition(".")[0]),
    "over 8 KB": ("format", lambda: token(extra="x" * 8192)),
    "padding": ("format", lambda: token().replace(".", "=.", 1)),
    "a double member in the head": ("format", lambda: _with_head(b'{"alg":"RS256","alg":"RS256","kid":"x"}')),
    "a head that is no object": ("format", lambda: _with_head(b"[]")),
    "none": ("alg", lambda: IDP.sign(_claims(), alg="none")),
    "HS256": ("alg", _by_public_key),
    "ES256 in a row of RS256": ("alg", lambda: IDP.sign(_claims(), alg="ES256")),
    "another algorithm of the key": ("alg", lambda: IDP.sign(_claims(), alg="PS256")),
    "no algorithm": ("alg", lambda: IDP.sign(_claims(), alg=None)),
    "another type": ("typ", lambda: IDP.sign(_claims(), typ="at+jwt")),
    "a critical member": ("crit", lambda: IDP.sign(_claims(), crit=["b64"], b64=False)),
    "no kid": ("key", lambda: IDP.sign(_claims(), kid=None)),
    "an unknown kid": ("key", lambda: IDP.sign(_claims(), kid="another")),
    "a key of its own": ("signature", _with_own_key),
    "an altered claim": ("signature", _altered),
    "a double member": ("payload", lambda: IDP.sign(b'{"iss":"https://accounts.google.com","iss":"x"}')),
    "a payload that is no object": ("payload", lambda: IDP.sign(b'"text"')),
    "NaN": ("payload", lambda: IDP.sign(b'{"exp":NaN}')),
    "deep": ("payload", lambda: IDP.sign(b'{"a":' * 40 + b"1" + b"}" * 40)),
    "another issuer": ("iss", lambda: token(iss="https://accounts.google.com.evil.example")),
    "a list of issuers": ("iss", lambda: token(iss=["https://accounts.google.com"])),
    "no issuer": ("iss", lambda: token(iss=None)),
    "another audience": ("aud", lambda: token(aud="9999")),
    "a list of audiences": ("aud", lambda: token(aud=["1234"])),
    "the audience of another client": ("aud", lambda: token(aud="5678")),
    "no audience": ("aud", lambda: token(aud=None)),
    "expired": ("exp", lambda: token(exp=NOW - 61)),
    "an expiry that is no integer": ("exp", lambda: token(exp=float(NOW + 600))),
    "an expiry that is true": ("exp", lambda: token(exp=True)),
    "no expiry": ("exp", lambda: token(exp=None)),
    "issued long ago": ("iat", lambda: token(iat=NOW - 601)),
    "issued in the future": ("iat", lambda: token(iat=NOW + 601)),
    "a time of issue that is no integer": ("iat", lambda: token(iat=str(NOW))),
    "no time of issue": ("iat", lambda: token(iat=None)),
    "an empty subject": ("sub", lambda: IDP.token("", NONCE)),
    "a long subject": ("sub", lambda: IDP.token("s" * 256, NONCE)),
    "half of a character in the subject": ("sub", lambda: IDP.token("\ud800", NONCE)),
    "a control character in the subject": ("sub", lambda: IDP.token("a\nb", NONCE)),
    "a numeric subject": ("sub", lambda: token(sub=1234567890)),
    "no nonce": ("nonce", lambda: token(nonce=None)),
    "another attempt": ("nonce", lambda: token(nonce=_nonce(attempt="b" * 22))),
    "another device key": ("nonce", lambda: token(nonce=_nonce(keyid="o" * 43))),
    "a foreign authorized party": ("azp", lambda: token(azp="foreign")),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_token_with_one_defect_is_refused(defect: str) -> None:
    """The reason names the check."""
    reason, make = DEFECTS[defect]
    assert refused(make()) == reason


def test_the_limits_themselves_pass() -> None:
    """Accepted: 60 s after the expiry, an age of 600 s, 255 characters, and the other spelling of the issuer."""
    proved = judged(IDP.token("s" * 255, NONCE, exp=NOW - 60, iat=NOW - 600, iss="accounts.google.com", azp="android"))
    assert proved.issuer == "https://accounts.google.com"


def test_a_token_of_one_provider_is_none_of_another() -> None:
    """A genuine token of Google is sent as Apple's. It fails even if Apple's key set has a key with the same kid."""
    assert refused(token(), APPLE) == "iss"
    apple = IdentityProvider(APPLE, lambda: NOW)
    as_apples = apple.jwk(apple.kid) | {"kid": IDP.kid}
    assert refused(token(), APPLE, jwks={"keys": [as_apples]}) == "signature"


def test_hosted_domains() -> None:
    """A Workspace domain that is not in the row is refused, and so is a token without a domain."""
    staff = replace(GOOGLE, hosted_domains=("example.com",))
    assert judged(token(hd="example.com"), staff).sub
    assert refused(token(hd="evil.example"), staff) == "hd"
    assert refused(token(), staff) == "hd"


@pytest.mark.parametrize(
    ("provider", "claims", "counts"),
    [
        (GOOGLE, {"email": "ada@gmail.com", "email_verified": True}, True),
        (GOOGLE, {"email": "ada@example.com", "email_verified": True, "hd": "example.com"}, True),
        (GOOGLE, {"email": "ada@example.com", "email_verified": True}, False),
        (GOOGLE, {"email": "ada@gmail.com", "email_verified": False}, False),
        (GOOGLE, {"email": "ada@gmail.com", "email_verified": "true"}, False),
        (GOOGLE, {"email": "ada@gmail.com"}, False),
        (GOOGLE, {"email": "ada@gmail.com.evil.example", "email_verified": True}, False),
        (APPLE, {"email": "x@privaterelay.appleid.com", "email_verified": True}, True),
        (APPLE, {"email": "x@privaterelay.appleid.com", "email_verified": "true"}, True),
        (APPLE, {"email": "x@privaterelay.appleid.com", "email_verified": "false"}, False),
        (APPLE, {"email": "not an address", "email_verified": True}, False),
        (APPLE, {"email": ["x@example.com"], "email_verified": True}, False),
        (ACME, {"email": "ada@acme.example", "email_verified": True}, False),
        (replace(ACME, trusts_email=True), {"email": "ada@acme.example", "email_verified": True}, True),
        (replace(ACME, trusts_email=True), {"email": "ada@acme.example"}, False),
    ],
)
def test_whose_word_about_an_address_counts(provider: Provider, claims: dict[str, Any], *, counts: bool) -> None:
    """Any other address is dropped, and the login continues."""
    proved = judged(token(iss=provider.issuers[0], **claims), provider)
    assert bool(proved.email) is counts


class TestKeySets:
    """Which key of a set may verify a token."""

    @pytest.mark.parametrize(
        "changed",
        [
            {"kty": "EC"},
            {"use": "enc"},
            {"alg": "RS512"},
            {"d": "AQAB"},
            {"n": "AQ"},
            {"n": 5},
            {"n": "not base64url!"},
            {"e": None},
        ],
    )
    def test_a_key_that_does_not_fit(self, changed: dict[str, Any]) -> None:
        """It has another type, use or algorithm, a published private part, or is too small or unreadable."""
        assert refused(token(), jwks={"keys": [IDP.jwk(IDP.kid) | changed]}) == "key"

    def test_two_keys_of_one_kid(self) -> None:
        """Baton selects neither key."""
        assert refused(token(), jwks={"keys": [IDP.jwk(IDP.kid)] * 2}) == "key"

    def test_a_key_of_1024_bits(self) -> None:
        """For such a key PyJWT prints only a warning."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the weak key under test
        signed = token().rpartition(".")[0]
        signature = small.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        jwk = IDP.jwk(IDP.kid) | {"n": encode_number(small.public_key().public_numbers().n)}
        assert refused(f"{signed}.{encode_base64url(signature)}", jwks={"keys": [jwk]}) == "key"

    @pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
    def test_the_other_algorithms(self, algorithm: str) -> None:
        """PyJWT made the token. The same token is refused in a row without the algorithm, and by another key."""
        key: Any = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else IDP.key
        claims = _claims(iss=ACME.issuers[0])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        text = jwt.encode(claims, pem, algorithm, headers={"kid": "a"})
        jwk = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())) | {"kid": "a"}
        jwk.pop("key_ops", None)
        assert judged(text, ACME, jwks={"keys": [jwk]}).sub == "1234567890"
        assert refused(text, jwks={"keys": [jwk]}) == "alg"
        head, _, signature = text.rpartition(".")
        wrong = signature[:-8] + ("A" * 4 if signature[-8:-4] != "A" * 4 else "B" * 4) + signature[-4:]
        assert refused(f"{head}.{wrong}", ACME, jwks={"keys": [jwk]}) == "signature"
        if algorithm == "ES256":
            r, s = decode_dss_signature(key.sign(head.encode(), ec.ECDSA(hashes.SHA256())))
            assert judged(f"{head}.{encode_base64url(r.to_bytes(32) + s.to_bytes(32))}", ACME, jwks={"keys": [jwk]})
            for odd in (b"short", r.to_bytes(32) + s.to_bytes(33)):
                assert refused(f"{head}.{encode_base64url(odd)}", ACME, jwks={"keys": [jwk]}) == "signature"
            for bad in ({"crv": "P-384"}, {"x": "AQ"}, {"y": jwk["x"]}):
                assert refused(text, ACME, jwks={"keys": [jwk | bad]}) == "key"

    @pytest.mark.parametrize(
        "encoded",
        [
            b"",
            b"[]",
            b"{}",
            b'{"keys":[]}',
            b'{"keys":["text"]}',
            b'{"keys":[],"keys":[{}]}',
            b'{"keys":[' + b"{}," * 32 + b"{}]}",
            b'{"keys":[{}]}' + b" " * KEY_SET_BYTES_MAX,
        ],
    )
    def test_what_is_no_key_set(self, encoded: bytes) -> None:
        """It is empty, has a double member or more than 32 keys, or is over 64 KB."""
        with pytest.raises(ValueError, match=r"."):
            read_key_set(encoded)
