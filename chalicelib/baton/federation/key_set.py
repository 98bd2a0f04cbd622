"""The public keys of a provider (RFC 7517), and the verification of a signature with a key. No I/O."""

from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.keys.strict_json import read_object

KEY_SET_BYTES_MAX: Final = 64 * 1024
KEYS_MAX: Final = 32
RSA_BITS_MIN: Final = 2048
_RSA_BITS_MAX: Final = 8192
"""With a larger key, a verification would take seconds."""
_COORDINATE_BYTES: Final = 32
_DIGEST_BYTES: Final = 32
_KTY: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}


class KeyUnfit(Exception):
    """The set has no usable key to check the signature of this token. The message is for the log only."""


class KeySet(Struct, frozen=True):
    """The keys of a provider, as they were published."""

    keys: tuple[Mapping[str, Any], ...]

    def has(self, kid: str) -> bool:
        """Check whether any key has this id."""
        return any(key.get("kid") == kid for key in self.keys)

    def verify(self, signature: bytes, message: bytes, *, kid: str, algorithm: str) -> bool:
        """Check a signature with the one key that has this id. Raises ``KeyUnfit``."""
        named = [key for key in self.keys if key.get("kid") == kid]
        if len(named) != 1:
            raise KeyUnfit(f"{len(named)} keys have this kid")
        (key,) = named
        if key.get("kty") != _KTY[algorithm]:
            raise KeyUnfit("the key is of another type than the algorithm")
        if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
            raise KeyUnfit("the key is for another use or algorithm")
        if "d" in key:
            raise KeyUnfit("the private part of the key was published")
        try:
            return _verifies(key, algorithm, signature, message)
        except (ValueError, TypeError, KeyError) as error:
            raise KeyUnfit(f"the key cannot be read: {type(error).__name__}") from None


def read_key_set(encoded: bytes) -> KeySet:
    """Parse the JSON text of a key set. Raises ``ValueError``. The members of each key are not checked."""
    if len(encoded) > KEY_SET_BYTES_MAX:
        raise ValueError("the key set is too large")
    keys = read_object(encoded).get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= KEYS_MAX or not all(isinstance(key, dict) for key in keys):
        raise ValueError(f"not a key set of 1 to {KEYS_MAX} keys")
    return KeySet(tuple(keys))


def _verifies(key: Mapping[str, Any], algorithm: str, signature: bytes, message: bytes) -> bool:
    try:
        if algorithm == "ES256":
            _verify_p256(key, signature, message)
        else:
            padding = PKCS1v15() if algorithm == "RS256" else PSS(MGF1(SHA256()), _DIGEST_BYTES)
            _rsa(key).verify(signature, message, padding, SHA256())
    except InvalidSignature:
        return False
    return True


def _verify_p256(key: Mapping[str, Any], signature: bytes, message: bytes) -> None:
    if key["crv"] != "P-256":
        raise ValueError("another curve")
    x, y = (decode_base64url(key[name]) for name in ("x", "y"))
    if not len(x) == len(y) == _COORDINATE_BYTES:
        raise ValueError("not coordinates of P-256")
    point = EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1()).public_key()
    if len(signature) != 2 * _COORDINATE_BYTES:
        raise InvalidSignature
    r, s = (int.from_bytes(part, "big") for part in (signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]))
    point.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))


def _rsa(key: Mapping[str, Any]) -> RSAPublicKey:
    e, n = (int.from_bytes(decode_base64url(key[name]), "big") for name in ("e", "n"))
    if not RSA_BITS_MIN <= n.bit_length() <= _RSA_BITS_MAX:
        raise KeyUnfit(f"an RSA key of {n.bit_length()} bits")
    return RSAPublicNumbers(e, n).public_key()
