"""How a key ring is stored: format 2. Format 1, in which two members have other names, can be read too. No I/O."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from chalicelib.baton.ids import Secret
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import KEY_BYTES, NUMBER_MAX, Number, Ring, Root, SigningKey

_FORMAT = 2


class RingUnreadable(Exception):
    """The stored bytes are not a key ring. The message never quotes them."""


class _Format(Struct):
    format: int = 0


class _Stored(Struct):
    """A stored ring: the members of ``Ring``, in their order, after the number of the format."""

    format: int
    revision: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    signing: Annotated[tuple[SigningKey, ...], Meta(min_length=1)]
    roots: Annotated[tuple[Root, ...], Meta(min_length=1)]
    email_key: Secret
    password_key: Secret
    not_before: Number


class _FirstFormat(_Stored):
    """A ring that is stored in format 1."""

    password_key: Secret = field(name="verifier_key")
    not_before: Number = field(name="fence")


_FORMATS: dict[int, type[_Stored]] = {1: _FirstFormat, _FORMAT: _Stored}


def ring_to_bytes(ring: Ring) -> bytes:
    """Write a ring in the current format. The bytes contain the secret keys, not encrypted."""
    return _written(ring, _FORMAT)


def ring_from_bytes(stored: bytes) -> Ring:
    """Read a ring in format 2 or 1. Raises ``RingUnreadable`` for bytes that Baton does not write for a valid ring."""
    try:
        number = msgspec.json.decode(stored, type=_Format).format
        if number not in _FORMATS:
            raise RingUnreadable("not a key ring, or of a format that this version does not have")
        read = asdict(msgspec.json.decode(stored, type=_FORMATS[number], dec_hook=_to_secret))
        del read["format"]
        ring = Ring(**read)
        # `public_key` raises ValueError for a scalar out of range.
        wrong = [key.kid for key in ring.signing if key.kid != key.public_key().keyid]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # The cause may quote the stored bytes, so it is not chained.
        raise RingUnreadable(f"not a key ring: {type(error).__name__}") from None
    if wrong:
        raise RingUnreadable("a signing key does not match its kid")
    if len({key.kid for key in ring.signing}) < len(ring.signing):
        raise RingUnreadable("two signing keys have one kid")
    if len({root.version for root in ring.roots}) < len(ring.roots):
        raise RingUnreadable("two roots have one version")
    if _written(ring, number) != stored:  # msgspec ignores an unknown member, and the first of two with one name
        raise RingUnreadable("not the exact bytes that Baton writes for this ring")
    return ring


def _written(ring: Ring, number: int) -> bytes:
    return msgspec.json.encode(_FORMATS[number](number, **asdict(ring)), enc_hook=_from_secret)


def _from_secret(value: object) -> str:
    if not isinstance(value, Secret):
        raise NotImplementedError
    return encode_base64url(value.reveal())


def _to_secret(_: type, value: object) -> Secret:
    key = decode_base64url(value) if isinstance(value, str) else b""
    if len(key) != KEY_BYTES:
        raise ValueError("expected a key of 32 bytes")
    return Secret(key)
