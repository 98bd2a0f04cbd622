"""Public keys of devices: P-256 and Ed25519, as JWK (RFC 7517, RFC 8037), thumbprint (RFC 7638) and raw bytes."""

import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.refusals import InvalidKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Curve = Literal["P-256", "Ed25519"]

SIGNATURE_BYTES = 64
ES256 = ECDSA(SHA256(), deterministic_signing=True)
"""ECDSA over SHA-256. Signing is deterministic (RFC 6979), so a repeated exchange gets exactly the same token."""

_COORDINATE_BYTES = 32
_COMPRESSED_BYTES = 33
_KEYS_CACHED = 256

# The curve edwards25519 (RFC 8032 section 5.1).
_P = 2**255 - 19
_Y_BITS = 2**255 - 1
_D = -121665 * pow(121666, -1, _P) % _P
_Y_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({1, _P - 1, 0, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})
"""The y of the points of order 1, 2, 4 and 8. No other point has one of these values."""

# The required members of a public key. The members of private and secret keys (RFC 7518 section 6) are refused, because
# a private key that was sent is no longer private. All other members are ignored (RFC 7517 section 4).
_REQUIRED: Mapping[str, tuple[str, ...]] = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class PublicKey(Struct, frozen=True):
    """A public key. ``raw`` has 33 bytes for P-256 (compressed point, SEC 1) and 32 for Ed25519 (RFC 8032).

    Each key has only one accepted encoding. Only ``check_point`` checks that an Ed25519 key is a point of the curve.
    """

    curve: Curve
    raw: bytes

    def __post_init__(self) -> None:
        """Refuse points of small order, non-canonical encodings, and a P-256 key that is not a point of the curve."""
        try:
            _ed25519(self.raw) if self.curve == "Ed25519" else _p256(self.raw)
        except ValueError:
            raise InvalidKey("not a usable point of the curve") from None

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> "PublicKey":
        """Read a JWK. Raises ``InvalidKey`` unless it is a public P-256 or Ed25519 key in canonical form.

        A member of a private key, such as ``d``, is refused. Other optional members are ignored (RFC 7517 section 4).
        """
        for name in _PRIVATE:
            if name in jwk:
                raise InvalidKey(
                    "a private member",
                    field=name,
                    detail=f"`{name}` is part of a private key. Send only the public key, and make a new key pair: "
                    "this private key has left the device.",
                )
        kty = jwk.get("kty")
        required = _REQUIRED.get(kty) if isinstance(kty, str) else None
        if required is None:
            raise InvalidKey("kty", field="kty", detail='`kty` must be "EC" or "OKP".')
        for name in required:
            if name not in jwk:
                raise InvalidKey("a member is missing", field=name, detail=f"`{name}` is missing.")
        if (kty, jwk["crv"]) == ("OKP", "Ed25519"):
            return cls("Ed25519", _coordinate(jwk, "x"))
        if (kty, jwk["crv"]) != ("EC", "P-256"):
            curve = "P-256" if kty == "EC" else "Ed25519"
            raise InvalidKey("curve", field="crv", detail=f'`crv` must be "{curve}" for `kty` "{kty}".')
        key = cls("P-256", bytes([2 + _coordinate(jwk, "y")[-1] % 2]) + _coordinate(jwk, "x"))
        if key.to_jwk()["y"] != jwk["y"]:
            raise InvalidKey("x and y are not a point", detail="`x` and `y` are not a point of the curve P-256.")
        return key

    @classmethod
    def from_raw(cls, raw: bytes) -> "PublicKey":
        """Read raw bytes: 32 bytes are an Ed25519 key, 33 bytes a P-256 key. Raises ``InvalidKey``."""
        return cls("Ed25519" if len(raw) == _COORDINATE_BYTES else "P-256", raw)

    def to_jwk(self) -> dict[str, str]:
        """Return the JWK: only the required members, in the order of RFC 7638."""
        if self.curve == "Ed25519":
            return {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(self.raw)}
        return {"crv": "P-256", "kty": "EC", "x": encode_base64url(self.raw[1:]), "y": _y(self.raw)}

    def check_point(self) -> None:
        """Refuse an Ed25519 key that is not a point of the curve. Raises ``InvalidKey``.

        No signature verifies with such a key, so this check only makes the error clearer. Baton makes the check only
        for ``device.public_key``: the app then gets ``InvalidKey`` in place of a signature error.
        """
        if self.curve == "Ed25519":
            square = pow(int.from_bytes(self.raw, "little") & _Y_BITS, 2, _P)
            # The equation of the curve gives the value of x squared. The power is 1 if this value has a square root
            # other than 0 (Euler). A point with x = 0 has small order (RFC 8032 5.1.3).
            if pow((square - 1) * (_D * square + 1), (_P - 1) // 2, _P) != 1:
                raise InvalidKey("not a point of the curve")

    @property
    def thumbprint(self) -> bytes:
        """Return the SHA-256 JWK thumbprint, 32 bytes (RFC 7638)."""
        return _thumbprint(self)

    @property
    def keyid(self) -> str:
        """Return the thumbprint in base64url: the ``keyid`` of signatures and the ``jkt`` of tokens."""
        return encode_base64url(self.thumbprint)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Verify a signature over a message. A signature has 64 bytes: raw r and s, or an Ed25519 signature."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        if self.curve == "Ed25519":
            return _verifies_ed25519(self.raw, signature, message)
        return _verifies_p256(self.raw, signature, message)


def _coordinate(jwk: Mapping[str, object], name: str) -> bytes:
    value = jwk[name]
    try:
        coordinate = decode_base64url(value) if isinstance(value, str) else None
    except ValueError:
        coordinate = None
    if coordinate is None or len(coordinate) != _COORDINATE_BYTES:
        had = "" if coordinate is None else f" It has {len(coordinate)} bytes."
        raise InvalidKey(
            "coordinate",
            field=name,
            detail=f"`{name}` must be the base64url of {_COORDINATE_BYTES} bytes, without padding.{had}",
        )
    return coordinate


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _thumbprint(key: PublicKey) -> bytes:
    members = ",".join(f'"{name}":"{value}"' for name, value in key.to_jwk().items())
    return hashlib.sha256(f"{{{members}}}".encode()).digest()


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _p256(raw: bytes) -> EllipticCurvePublicKey:
    if len(raw) != _COMPRESSED_BYTES:  # an uncompressed point would be a second encoding
        raise ValueError("not a compressed point")
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _y(raw: bytes) -> str:
    """Return y of a compressed point in base64url. It is cached, because OpenSSL computes it slowly."""
    return encode_base64url(_p256(raw).public_numbers().y.to_bytes(_COORDINATE_BYTES, "big"))


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _ed25519(raw: bytes) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - cold start: few need it

    # OpenSSL accepts any 32 bytes as a key. It checks the point when it verifies a signature, and never checks the
    # order of the point. Anyone can make signatures for a key of small order.
    y = int.from_bytes(raw, "little") & _Y_BITS
    if y >= _P or y in _SMALL_ORDER:
        raise ValueError("a second spelling, or a point of small order")
    return Ed25519PublicKey.from_public_bytes(raw)


def _verifies_p256(raw: bytes, signature: bytes, message: bytes) -> bool:
    r, s = int.from_bytes(signature[:_COORDINATE_BYTES], "big"), int.from_bytes(signature[_COORDINATE_BYTES:], "big")
    try:
        _p256(raw).verify(encode_dss_signature(r, s), message, ES256)
    except InvalidSignature:
        return False
    return True


def _verifies_ed25519(raw: bytes, signature: bytes, message: bytes) -> bool:
    try:
        _ed25519(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True
