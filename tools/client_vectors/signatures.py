"""Vectors of signatures: ``signature_base``, ``signatures``, ``digest``, ``thumbprint``, ``der``.

The private keys are those of RFC 8037 appendix A.1 and RFC 7515 appendix A.3. The signatures of P-256 are deterministic
(RFC 6979), so the files do not change.
"""

# ruff: noqa: E501 - a table: one vector, one line
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

ED25519_JWK: Final = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
ED25519_PRIVATE: Final = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
P256_JWK: Final = {
    "crv": "P-256",
    "kty": "EC",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
P256_PRIVATE: Final = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
HMAC_SECRET: Final = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
TRANSFER: Final = b'{"to":"Bob","amount":1000}'
COVERED: Final = ("content-digest", "authorization", "idempotency-key", "baton-grant")
BEARER: Final = "Bearer example-token"


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Return the thumbprint of a JWK. ``jwk`` must have exactly the members that RFC 7638 requires."""
    return _base64url(hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest())


def digest(body: bytes) -> str:
    """Return the value of the field Content-Digest for a body, with SHA-256 (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def _encoded(text: str) -> str:
    """Encode a name or value of the query as RFC 9421 section 2.2.8 does."""
    return quote(text, safe="*").replace("~", "%7E")


def _base(  # one argument for each part of a request
    name: str,
    method: str,
    authority: str,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    scheme: str = "https",
    body: bytes = b"",
    key_id: str = "",
    nonce: str = "vbQ0Vh2xvqsDXt1ReW5pNA",
    created: int = 1_800_000_000,
    **fields: str,
) -> dict[str, Any]:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if body:
        headers = {"content-digest": digest(body), **headers}
    pairs = [(_encoded(key), _encoded(value)) for key, value in (query or {}).items()]
    lines = [('"@method"', method), ('"@authority"', authority), ('"@path"', path)]
    lines += [(f'"@query-param";name="{key}"', value) for key, value in pairs]
    lines += [(f'"{field}"', headers[field]) for field in COVERED if field in headers]
    key_id = key_id or thumbprint(P256_JWK)
    names = " ".join(one for one, _ in lines)
    given = f'({names});created={created};keyid="{key_id}";nonce="{nonce}";tag="baton"'
    base = "\n".join(f"{one}: {value}" for one, value in [*lines, ('"@signature-params"', given)])
    sent = "&".join(f"{key}={value}" for key, value in pairs)
    url = f"{scheme}://{authority}{path}" + (f"?{sent}" if sent else "")
    asked = {"created": created, "key_id": key_id, "nonce": nonce}
    return {"name": name, "method": method, "url": url, "headers": headers, "query": dict(query or {}), **asked} | {
        "input": given,
        "base": base,
    }


def bases() -> list[dict[str, Any]]:
    """List requests and their signature bases."""
    api, key, queries = "api.example.com", '"transfer-7-0f8b2c"', "/api/search"
    return [
        _base("the first request of wire.md", "POST", api, "/api/transfers", body=TRANSFER, key_id=thumbprint(ED25519_JWK), authorization=BEARER, idempotency_key=key, baton_grant="example-grant"),
        _base("the second request of wire.md", "GET", api, "/api/search/books", {"q": "caf\u00e9 au lait", "sort": "a~b"}, nonce="Zk1TtUkW6sBnpbLCxqVrhQ", authorization=BEARER),
        _base("RFC 9421 2.1, in the profile", "POST", "example.com", "/foo", {"param": "Value", "Pet": "dog"}, body=b'{"hello": "world"}'),
        _base("RFC 9421 2.2.8, values", "GET", "www.example.com", "/parameters", {"var": "this is a big\nmultiline value", "bar": "with plus+whitespace", "fa\u00e7ade": "something"}),
        _base("no stage", "GET", api, "/me", authorization=BEARER),
        _base("a stage", "GET", api, "/prod/me", authorization=BEARER),
        _base("the root", "GET", api, "/", authorization=BEARER),
        _base("an IPv6 address", "GET", "[::1]:8000", "/api/me", scheme="http", authorization=BEARER),
        _base("a port", "GET", "localhost:8000", "/api/me", scheme="http", authorization=BEARER),
        _base("the default port of http", "GET", "localhost", "/api/me", scheme="http", authorization=BEARER),
        _base("an encoded path", "GET", api, "/api/caf%C3%A9/a%2Fb", authorization=BEARER),
        _base("an upper-case path", "DELETE", api, "/Prod/Me", authorization=BEARER),
        _base("no token", "GET", api, "/api/time"),
        _base("a login", "POST", api, "/api/login", body=b'{"email":"ada@example.com"}', idempotency_key='"AAAAAAAAAAAAAAAAAAAAAA"'),
        _base("an exchange", "POST", api, "/api/oauth/token", body=b"grant_type=refresh_token&refresh_token=t", idempotency_key='"AAAAAAAAAAAAAAAAAAAAAA"'),
        _base("a revocation", "POST", api, "/api/oauth/revoke", body=b"token=t"),
        _base("a body without a token", "POST", api, "/api/register", body=TRANSFER),
        _base("a body of one byte", "PUT", api, "/api/x", body=b"0", authorization=BEARER),
        _base("a body that is no text", "PUT", api, "/api/x", body=bytes(range(256)), authorization=BEARER),
        _base("no body", "POST", api, "/api/logout", authorization=BEARER),
        _base("a grant", "DELETE", api, "/api/me", authorization=BEARER, baton_grant="grant.1"),
        _base("a key of the app", "POST", api, "/api/transfers", body=TRANSFER, authorization=BEARER, idempotency_key='"0123456789abcdef"'),
        _base("HMAC", "GET", api, "/api/me", key_id="hmac-key-1", authorization=BEARER),
        _base("a blank", "GET", api, queries, {"q": "a b"}, authorization=BEARER),
        _base("a tilde and a star", "GET", api, queries, {"q": "~*-._"}, authorization=BEARER),
        _base("UTF-8", "GET", api, queries, {"\u540d": "\u00e9\U0001f600"}, authorization=BEARER),
        _base("an empty value", "GET", api, queries, {"q": ""}, authorization=BEARER),
        _base("delimiters", "GET", api, queries, {"a&b": "c=d+e/f?g#h"}, authorization=BEARER),
        _base("quotes and brackets", "GET", api, queries, {"q": "\"'()!<>[]{}|\\^`"}, authorization=BEARER),
        _base("percent signs", "GET", api, queries, {"q": "100%25"}, authorization=BEARER),
        _base("two parameters, in the order of the URL", "GET", api, queries, {"z": "1", "a": "2"}, authorization=BEARER),
    ]  # fmt: skip


def signatures() -> list[dict[str, Any]]:
    """List the signatures of four signature bases, each by Ed25519, by P-256 and by HMAC.

    A client must verify the Ed25519 and P-256 signatures, and must compute the same HMAC.
    """
    base = {one["name"]: one["base"] for one in bases()}
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(_unbase64(ED25519_PRIVATE))
    private = ec.derive_private_key(int.from_bytes(_unbase64(P256_PRIVATE)), ec.SECP256R1())
    made = []
    for name in ("the first request of wire.md", "the second request of wire.md", "an exchange", "UTF-8"):
        text = base[name].encode()
        r, s = decode_dss_signature(private.sign(text, ec.ECDSA(SHA256(), deterministic_signing=True)))
        raw = {
            "ed25519": edwards.sign(text),
            "hmac": hmac.digest(_unbase64(HMAC_SECRET), text, "sha256"),
            "p256": r.to_bytes(32) + s.to_bytes(32),
        }
        keys: dict[str, Any] = {"ed25519": ED25519_JWK, "hmac": HMAC_SECRET, "p256": P256_JWK}
        made += [
            {"name": f"{kind}: {name}", "kind": kind, "key": keys[kind], "base": base[name]}
            | {"signature": base64.b64encode(signature).decode()}
            for kind, signature in raw.items()
        ]
    return made


def digests() -> list[dict[str, Any]]:
    """List bodies (base64) and their Content-Digest."""
    bodies = (b"", b'{"hello": "world"}', b'{"hello": "world"}\n', TRANSFER, "caf\u00e9".encode(), bytes(range(256)))
    return [{"body": base64.b64encode(body).decode(), "expect": digest(body)} for body in bodies]


def thumbprints() -> list[dict[str, Any]]:
    """List the public keys of RFC 8037 A.3, RFC 9449 and RFC 7515 A.3, each with its thumbprint (RFC 7638)."""
    dpop = {"crv": "P-256", "kty": "EC", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}  # fmt: skip
    return [{"jwk": jwk, "expect": thumbprint(jwk)} for jwk in (ED25519_JWK, dpop, P256_JWK)]


def der() -> list[dict[str, Any]]:
    """List DER signatures (hexadecimal), each with its 64 raw bytes, or with ``refused`` if a client must refuse it."""
    high, most = 1 << 255, (1 << 256) - 1
    pairs = [
        (1, 1),
        (127, 128),
        (255, 256),
        (high, 1),
        (1, high),
        (most, most),
        (high - 1, high),
        (1 << 247, (1 << 248) - 1),
    ]
    pairs += [((1 << 240) + 5, 3), (0x80, 1 << 200), (int.from_bytes(bytes(range(1, 33))), 7), (high + 9, high + 11)]
    good: list[dict[str, Any]] = [
        {"der": encode_dss_signature(r, s).hex(), "expect": (r.to_bytes(32) + s.to_bytes(32)).hex()} for r, s in pairs
    ]
    bad = (
        "", "30", "3000", "3003020101", "300602010102010100", "3007020101020101", "3106020101020101", "3006030101020101",
        "3006020101030101", "3006020181020101", "30070202000102" + "0101", "3006020100020101", "308106020101020101",
        "30060201010200" + "01", "3007020101020200" + "01", "30050201010200", "3027022201" + "00" * 33 + "020101",
        "3026022100" + "01" + "00" * 31 + "020101", "3026022101" + "00" * 32 + "020101",
    )  # fmt: skip
    return good + [{"der": text, "refused": True} for text in bad]
