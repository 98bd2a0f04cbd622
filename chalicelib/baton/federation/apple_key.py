"""The private key with which this deployment authenticates to Apple: how Baton reads, encrypts and stores the key.

A key of the key ring encrypts the private key, so a reader of the table cannot use the private key. The private key and
its id are in one item, so one write changes both the key and the id.
"""

from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from msgspec import Struct

from chalicelib.baton.federation.ports import ProviderTokens
from chalicelib.baton.ids import AccountId, Secret
from chalicelib.baton.keys.ring import KEY_BYTES, CannotDecrypt, Ring, SigningKey

FILE_BYTES_MAX: Final = 4096
_PLACE: Final = AccountId("provider#apple")
"""The text in place of an account id in the encryption: the key belongs to no account. No account id has a ``#``."""
_KIND: Final = "provider key"


class NoKey(Exception):
    """The private key for Apple is missing or invalid, or cannot be decrypted.

    The message is a reason for the operator, and quotes no key.
    """


class _Stored(Struct, frozen=True, array_like=True):
    key_id: str
    private: bytes


def read_key_file(encoded: bytes) -> Secret:
    """Return the scalar of the key in a ``.p8`` file (PEM, PKCS #8). Raises ``NoKey``."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only the operator reads files
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

    if len(encoded) > FILE_BYTES_MAX:
        raise NoKey("the file is too large for a private key")
    try:
        key = load_pem_private_key(encoded, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: a password is needed
        raise NoKey("the file is not an unencrypted private key in PEM form") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise NoKey("the key is not of the curve P-256: download the .p8 file of a Sign in with Apple key")
    return Secret(key.private_numbers().private_value.to_bytes(KEY_BYTES, "big"))


def keep_key(tokens: ProviderTokens, key_id: str, private: Secret, *, ring: Ring, nonce: bytes) -> None:
    """Store the key for Apple, in place of an earlier key."""
    encoded = msgspec.msgpack.encode(_Stored(key_id, private.reveal()))
    tokens.replace_apple_key(ring.encrypt_for(encoded, account=_PLACE, nonce=nonce, kind=_KIND))


def stored_key(tokens: ProviderTokens, *, ring: Ring) -> SigningKey:
    """Return the key for Apple. Its ``kid`` is the id of the key at Apple. Raises ``NoKey``."""
    sealed = tokens.apple_key()
    if not sealed:
        raise NoKey("no key is stored")
    try:
        stored = msgspec.msgpack.decode(ring.decrypt_for(sealed, account=_PLACE, kind=_KIND), type=_Stored)
        key = SigningKey(stored.key_id, Secret(stored.private), made_at=0, signs_from=0)
        key.private_key()
    except (CannotDecrypt, ValueError):  # ValueError: msgspec cannot decode, or the number is no scalar of the curve
        raise NoKey("it cannot be decrypted with the key ring of this deployment") from None
    return key
