"""Published test vectors: RFC 9421, RFC 9530, RFC 7638, RFC 8032, RFC 4231 and Wycheproof.

A row outside Baton's profile must be refused. Each test counts its verdicts, so that no row is skipped.
"""

import base64
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import http_sf
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from chalicelib.baton import errors
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.refusals import InvalidKey
from chalicelib.baton.proof.refusals import InvalidDigest, SignatureDefective
from chalicelib.baton.proof.signature import _verifies, check_digest, content_digest, signature_base
from chalicelib.baton.proof.signature_input import Signature, read_signature, write_input
from chalicelib.baton.routing import Message
from tests.vectors import load

pytestmark = pytest.mark.guarantee(12)

RFC9421: dict[str, Any] = load("rfc9421")
KEYS: dict[str, Any] = RFC9421["keys"]
NOT_SERVED = frozenset({"@query", "@target-uri", "@request-target", "@scheme", "@status"})


def message_of(row: Mapping[str, Any], *more: tuple[str, str]) -> Message:
    """Read a vector's message as Baton reads a request: the host in lower case, the query decoded once."""
    target = urlsplit(row.get("target") or "")
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in [*row["headers"], *more]:
        fields[name.lower()] = (*fields.get(name.lower(), ()), value)
    return Message(
        method=row.get("method") or "",
        authority=(row.get("authority") or "").lower(),
        path=target.path or "/",  # a request line has no empty path (RFC 9112 section 3.2.1)
        query=tuple(parse_qsl(target.query, keep_blank_values=True)),
        fields=fields,
        body=row.get("body", "").encode(),
    )


def adopted(vector: Mapping[str, Any]) -> tuple[Message, Signature]:
    """Read a vector's signature with Baton's tag, then restore its own parameters."""
    items, parameters = parsed(vector["signature_input"])[vector["label"]]
    ours = {"nonce": "adopted", **parameters, "tag": "baton"}
    given = [
        ("Signature-Input", http_sf.ser({vector["label"]: (items, ours)})),
        ("Signature", vector["signature"]),
    ]
    message = message_of(vector["message"], *given)
    read = read_signature(message)
    assert read is not None
    assert set(read.parameters) == set(ours)
    return message, Signature(read.components, parameters, write_input(read.components, parameters), read.value)


def parsed(text: str) -> Any:
    """Parse a dictionary of structured fields."""
    return http_sf.parse(text.encode(), tltype="dictionary")


def verifies(keyid: str, signature: bytes, base: bytes) -> bool | None:
    """Verify with one of the RFC's keys. Return ``None`` for an algorithm that Baton does not support."""
    key = KEYS[keyid]
    match key["alg"]:
        case "ecdsa-p256-sha256" | "ed25519":
            public = {name: value for name, value in key["jwk"].items() if name != "d"}
            return _verifies(PublicKey.from_jwk(public), signature, base)
        case "hmac-sha256":
            return _verifies(base64.b64decode(key["secret_b64"]), signature, base)
        case _:
            return None


def test_signatures_printed_in_rfc_9421() -> None:
    """If Baton's profile can build the base, it equals the RFC's base byte for byte and verifies.

    Other signatures are refused.
    """
    verdicts: Counter[str] = Counter()
    for vector in RFC9421["vectors"]:
        signature = base64.b64decode(vector["signature_b64"])
        if "base" in vector:
            assert verifies(vector["keyid"], signature, vector["base"].encode()) in {True, None}, vector["id"]
        try:
            message, read = adopted(vector)
            base = signature_base(message, read)
        except SignatureDefective:
            covered = {item for item, _ in parsed(vector["signature_input"])[vector["label"]][0]}
            assert covered & NOT_SERVED, vector["id"]
            verdicts["outside the profile"] += 1
            continue
        assert read.value == signature
        if vector["expect"] == "valid" and "base" in vector:
            assert base.decode() == vector["base"], vector["id"]
        match verifies(vector["keyid"], signature, base):
            case None:
                verdicts["the RFC's base, an algorithm that Baton does not support"] += 1
            case verdict:
                assert verdict == (vector["expect"] == "valid"), vector["id"]
                verdicts["verifies" if verdict else "does not verify, as it must not"] += 1
    assert verdicts == {
        "verifies": 7,
        "does not verify, as it must not": 3,
        "the RFC's base, an algorithm that Baton does not support": 4,
        "outside the profile": 6,
    }


def test_a_signature_with_another_tag_counts_as_none() -> None:
    """No signature of the RFC has Baton's tag, so each of its requests counts as unsigned."""
    for vector in RFC9421["vectors"]:
        fields = (("Signature-Input", vector["signature_input"]), ("Signature", vector["signature"]))
        assert read_signature(message_of(vector["message"], *fields)) is None


def test_components_of_rfc_9421() -> None:
    """Each example of sections 2.1 and 2.2 gives the RFC's line. Components that Baton does not support are refused."""
    verdicts: Counter[str] = Counter()
    for case in load("rfc9421_components")["cases"]:
        item = case["identifier"]
        asked = ("Signature-Input", f'sig=({item});created=1;keyid="key";nonce="nonce";tag="baton"')
        message = message_of(case["message"], asked, ("Signature", "sig=:AA==:"))
        try:
            read = read_signature(message)
            assert read is not None
            line, _, _ = signature_base(message, read).decode().rpartition("\n")
        except (SignatureDefective, errors.DuplicateField):
            name, parameters = parsed(f"identifier={item}")["identifier"]
            foreign = bool(set(parameters) - {"name"}) or name in NOT_SERVED or name == "x-obs-fold-header"
            assert foreign or case["expect"] == "error", case
            verdicts["refused, as it must be" if case["expect"] == "error" else "outside the profile"] += 1
            continue
        assert case["expect"] == "value", case
        if line == case["line"]:
            verdicts["the RFC's line"] += 1
            continue
        # Baton does not normalise this port away, so the host is not one of the accepted hosts.
        assert message.authority.partition(":")[0] == case["value"]
        verdicts["a host that is not accepted"] += 1
    assert verdicts == {
        "the RFC's line": 19,
        "outside the profile": 14,
        "refused, as it must be": 10,
        "a host that is not accepted": 2,
    }


def bare_message(field: str, body: bytes) -> Message:
    """Make a request that has only a body and its Content-Digest."""
    return Message("POST", "api.example", "/", (), {"content-digest": (field,)}, body)


def test_digests_of_rfc_9530() -> None:
    """Each digest that the RFC prints is accepted, and each changed digest is refused.

    Baton writes digests as the RFC does.
    """
    rows = load("rfc9530_content_digest")
    assert (len(rows["positive"]), len(rows["negative"])) == (5, 8)
    for row in rows["positive"]:
        body = bytes.fromhex(row["content_hex"])
        check_digest(bare_message(row["field"], body))
        assert row["alg"] != "sha-256" or content_digest(body) == row["field"]
    for row in rows["negative"]:
        with pytest.raises(InvalidDigest):
            check_digest(bare_message(row["field"], row["content"].encode()))


def test_thumbprints_of_rfc_7638() -> None:
    """The P-256 and Ed25519 keys of the RFCs have the thumbprints of the RFCs. The RSA key is refused."""
    verdicts: Counter[str] = Counter()
    for case in load("rfc7638_thumbprint")["cases"]:
        if case["jwk"]["kty"] == "RSA":
            with pytest.raises(InvalidKey):
                PublicKey.from_jwk(case["jwk"])
            verdicts["refused"] += 1
            continue
        key = PublicKey.from_jwk(case["jwk"])
        assert key.keyid == case["thumbprint_sha256_b64url"]
        assert key.to_jwk() == case["jwk"]
        assert PublicKey.from_raw(key.raw) == key
        verdicts["equal"] += 1
    assert verdicts == {"equal": 2, "refused": 1}


def test_keys_printed_in_rfc_9421() -> None:
    """The RFC's JWKs and PEMs contain the same keys. A JWK with its private part is refused."""
    read = 0
    for key in KEYS.values():
        if "jwk" not in key:
            continue
        with pytest.raises(InvalidKey):
            PublicKey.from_jwk(key["jwk"])
        ours = PublicKey.from_jwk({name: value for name, value in key["jwk"].items() if name != "d"})
        pem: Any = load_pem_public_key(key["public_pem"].encode())
        if isinstance(pem, EllipticCurvePublicKey):
            assert pem.public_bytes(Encoding.X962, PublicFormat.CompressedPoint) == ours.raw
        else:
            assert pem.public_bytes(Encoding.Raw, PublicFormat.Raw) == ours.raw
        read += 1
    assert read == 2


def test_signatures_of_rfc_8032() -> None:
    """The RFC's Ed25519 signatures verify. None of them verifies for another message."""
    rows = load("rfc4231_rfc8032")["ed25519"]
    assert len(rows) == 3
    for row in rows:
        key, message = PublicKey.from_raw(bytes.fromhex(row["pk"])), bytes.fromhex(row["msg"])
        assert key.curve == "Ed25519"
        assert key.verifies(bytes.fromhex(row["sig"]), message)
        assert not key.verifies(bytes.fromhex(row["sig"]), message + b".")


def test_wycheproof_p256() -> None:
    """Each row of Wycheproof's P-256 signatures in raw form has the published result."""
    verdicts: Counter[str] = Counter()
    for number, point, message, signature, result, comment in load("wycheproof_ecdsa_p256_p1363")["rows"]:
        raw = bytes.fromhex(point)
        assert (len(raw), raw[0]) == (65, 4)
        key = PublicKey.from_jwk(
            {"kty": "EC", "crv": "P-256", "x": encode_base64url(raw[1:33]), "y": encode_base64url(raw[33:])}
        )
        verified = key.verifies(bytes.fromhex(signature), bytes.fromhex(message))
        assert verified == (result == "valid"), (number, comment)
        verdicts[result] += 1
    assert verdicts == {"valid": 173, "invalid": 89}


def test_wycheproof_ed25519() -> None:
    """Each row of Wycheproof's Ed25519 signatures has the published result."""
    verdicts: Counter[str] = Counter()
    for number, raw, message, signature, result, comment in load("wycheproof_ed25519")["rows"]:
        key = PublicKey.from_raw(bytes.fromhex(raw))
        verified = key.verifies(bytes.fromhex(signature), bytes.fromhex(message))
        assert verified == (result == "valid"), (number, comment)
        verdicts[result] += 1
    assert verdicts == {"valid": 88, "invalid": 63}


def test_tags_of_rfc_4231() -> None:
    """The RFC's HMAC-SHA-256 tags verify when complete, and not when truncated."""
    rows = load("rfc4231_rfc8032")["hmac_sha256"]
    assert len(rows) == 6
    for row in rows:
        key, base, tag = (bytes.fromhex(row[name]) for name in ("key", "msg", "mac"))
        assert _verifies(key, tag, base)
        assert not any(_verifies(key, tag[:length], base) for length in range(32))


def test_wycheproof_hmac_sha256() -> None:
    """Each row has the published result, except the truncated tags, which RFC 9421 does not define."""
    verdicts: Counter[tuple[int, str, bool]] = Counter()
    for number, bits, key, message, tag, result, comment in load("wycheproof_hmac_sha256")["rows"]:
        verified = _verifies(bytes.fromhex(key), bytes.fromhex(tag), bytes.fromhex(message))
        assert verified == (result == "valid" and bits == 256), (number, comment)
        verdicts[bits, result, verified] += 1
    assert verdicts == {
        (256, "valid", True): 33,
        (256, "invalid", False): 54,
        (128, "valid", False): 33,
        (128, "invalid", False): 54,
    }
