"""Apple App Attest: verify an attestation and an assertion. No I/O.

Source: Apple, "Validating apps that connect to your server" and "Attestation Object Validation Guide". The flags of the
authenticator data are ignored: real devices and Apple's own sample set them differently.
"""

from hashlib import sha256
from typing import Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from chalicelib.baton.attestation.certificates import (
    UNREADABLE,
    check_issued,
    check_time,
    extension_of,
    point_of,
    read_certificates,
    serial_of,
)
from chalicelib.baton.attestation.rules import Accepted, AppleRules, EvidenceRefused, refusing, require
from chalicelib.baton.keys.cbor import Cbor, read_cbor, read_cbor_at
from chalicelib.baton.lineages.model import Attestation

_NONCE: Final = "1.2.840.113635.100.8.2"
_AAGUIDS: Final = {b"appattest" + bytes(7): "production", b"appattestdevelop": "development"}
_CATEGORY: Final = "apple_validation_category_01"
_CATEGORY_BYTES: Final = 4

_HASH_BYTES: Final = 32
_HEAD_BYTES: Final = 37  # the hash of the app, flags, counter
_KEY_AT: Final = 55  # after the AAGUID and the length of the credential id
_CERTIFICATES: Final = 2


@asn1.sequence
class _Nonce:
    """The extension that binds a certificate to the challenge."""

    nonce: Annotated[bytes, asn1.Explicit(1)]


class _Data(Struct, frozen=True):
    """The authenticator data of an attestation. ``point`` is the attested key."""

    app: bytes
    counter: int
    environment: str | None
    credential_id: bytes
    point: bytes
    category: int | None


def verify_attestation(
    attestation: bytes,
    *,
    key_id: bytes,
    client_data_hash: bytes,
    rules: AppleRules,
    anchor: x509.Certificate,
    now: int,
) -> Accepted:
    """Verify the object that ``attestKey`` made, and return the proved facts. Raises ``EvidenceRefused``.

    ``client_data_hash`` is the SHA-256 of the text that the function ``client_data`` returns. ``anchor`` is Apple's
    root certificate.
    """
    chain, encoded = _read_object(attestation)
    leaf, intermediate = _checked_chain(chain, anchor, now=now)
    extension = extension_of(leaf, _NONCE)
    with refusing("challenge", "the extension of the nonce cannot be read"):
        nonce = asn1.decode_der(_Nonce, extension or b"").nonce
    require(nonce == sha256(encoded + client_data_hash).digest(), "challenge", "the nonce is of another request")
    point = point_of(leaf)
    require(point is not None, "key", "the certificate has no P-256 key")
    assert point is not None
    data = _read_data(encoded)
    same = sha256(point).digest() == key_id == data.credential_id and data.point == point
    require(same, "key", "certificate, key id and authenticator data are not of one key")
    app = _app_of(data.app, rules.app_ids)
    environment = data.environment
    require(environment in rules.environments, "environment", f"{environment or 'an unknown environment'}")
    listed = data.category is None or not rules.categories or data.category in rules.categories
    require(listed, "environment", f"category {data.category}")
    require(data.counter == 0, "counter", "an attestation counts from zero")
    in_development = environment == "development"
    return Accepted(
        attestation=Attestation.APP_IN_DEVELOPMENT if in_development else Attestation.APP,
        app=app,
        serials=(serial_of(leaf), serial_of(intermediate)),
        apple_key=key_id,
        point=point,
    )


def verify_assertion(assertion: bytes, *, point: bytes, app: str, client_data_hash: bytes) -> int:
    """Verify the object that ``generateAssertion`` made, and return its counter. Raises ``EvidenceRefused``.

    ``point``, ``app``: the values that the attestation of the App Attest key proved.

    The caller must compare the counter with the stored counter, in one conditional write.
    """
    with refusing("chain", "not an assertion"):
        read = read_cbor(assertion)
    signature, encoded = _member(read, "signature"), _member(read, "authenticatorData")
    if not (isinstance(signature, bytes) and isinstance(encoded, bytes) and len(encoded) >= _HEAD_BYTES):
        raise EvidenceRefused("chain", "not an assertion")
    nonce = sha256(encoded + client_data_hash).digest()
    with refusing("key", "not signed by the attested key", InvalidSignature, *UNREADABLE):
        key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
        key.verify(signature, nonce, ECDSA(SHA256()))
    require(encoded[:_HASH_BYTES] == sha256(app.encode()).digest(), "app", "the assertion is of another app")
    _read_extras(encoded, _HEAD_BYTES)
    return int.from_bytes(encoded[_HASH_BYTES + 1 : _HEAD_BYTES], "big")


def _read_object(attestation: bytes) -> tuple[list[bytes], bytes]:
    """Return the certificates and the authenticator data of an attestation object."""
    with refusing("chain", "not an attestation object"):
        read = read_cbor(attestation)
    chain, encoded = _member(_member(read, "attStmt"), "x5c"), _member(read, "authData")
    if _member(read, "fmt") != "apple-appattest" or not isinstance(chain, list) or not isinstance(encoded, bytes):
        raise EvidenceRefused("chain", "not an attestation object of App Attest")
    certificates = [one for one in chain if isinstance(one, bytes)]
    require(len(certificates) == len(chain) == _CERTIFICATES, "chain", "not exactly two certificates")
    return certificates, encoded


def _checked_chain(
    chain: list[bytes], anchor: x509.Certificate, *, now: int
) -> tuple[x509.Certificate, x509.Certificate]:
    leaf, intermediate = read_certificates(chain)
    check_issued(leaf, intermediate)
    check_issued(intermediate, anchor)
    with refusing("chain", "the upper certificate has no basic constraints", *UNREADABLE):
        is_ca = intermediate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    require(is_ca, "chain", "the upper certificate is not of a certificate authority")
    for one in (leaf, intermediate):
        check_time(one, now=now)
    return leaf, intermediate


def _read_data(encoded: bytes) -> _Data:
    require(len(encoded) > _KEY_AT, "chain", "the authenticator data end too early")
    length = int.from_bytes(encoded[_KEY_AT - 2 : _KEY_AT], "big")
    with refusing("chain", "the authenticator data have no key"):
        cose, end = read_cbor_at(encoded, _KEY_AT + length)
    kind, algorithm, curve, x, y = (_member(cose, label) for label in (1, 3, -1, -2, -3))
    if (kind, algorithm, curve) != (2, -7, 1) or not (isinstance(x, bytes) and isinstance(y, bytes)):
        raise EvidenceRefused("key", "the key of the authenticator data is not of P-256")
    return _Data(
        app=encoded[:_HASH_BYTES],
        counter=int.from_bytes(encoded[_HASH_BYTES + 1 : _HEAD_BYTES], "big"),
        environment=_AAGUIDS.get(encoded[_HEAD_BYTES : _KEY_AT - 2]),
        credential_id=encoded[_KEY_AT : _KEY_AT + length],
        point=b"\x04" + x + y,
        category=_read_extras(encoded, end),
    )


def _read_extras(encoded: bytes, offset: int) -> int | None:
    """Read the bytes from ``offset`` on: none (iOS up to 26) or exactly one map (iOS 27).

    Return the category in the map. ``None``: there is no map, or the map has no valid category.
    """
    if offset == len(encoded):
        return None
    with refusing("chain", "the bytes at the end are not one map"):
        extras = read_cbor(encoded[offset:])
    require(isinstance(extras, dict), "chain", "the bytes at the end are not one map")
    category = _member(extras, _CATEGORY)
    known = isinstance(category, bytes) and len(category) == _CATEGORY_BYTES
    return int.from_bytes(category, "little") if known and isinstance(category, bytes) else None


def _app_of(digest: bytes, app_ids: tuple[str, ...]) -> str:
    for app_id in app_ids:
        if sha256(app_id.encode()).digest() == digest:
            return app_id
    raise EvidenceRefused("app", "another app")


def _member(value: Cbor, name: int | str) -> Cbor:
    """Return a member of a map. ``None``: the map has no such member, or the value is not a map."""
    return value.get(name) if isinstance(value, dict) else None
