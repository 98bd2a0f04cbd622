"""The CSRF token of a session, for browsers that send neither ``Origin`` nor Fetch Metadata. No I/O.

A token is ``mask || (mask XOR value)`` in base64url. The value is an HMAC with the key of the session. The mask is
random, so that compression does not reveal the token (BREACH). The key is derived from the root secret, the account id
and the lineage id. Baton does not store the key.
"""

import hmac
from typing import Final
from urllib.parse import parse_qsl

from chalicelib.baton.effects import Entropy
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import Ring, hkdf, root_version
from chalicelib.baton.routing import Message

_VALUE_BYTES: Final = 32
_FORM: Final = "application/x-www-form-urlencoded"
_FIELD: Final = "csrf_token"
_FIELDS_MAX: Final = 32


def sent_token(message: Message) -> str:
    """Return the CSRF token of a request: the header field or, without this field, the form field.

    The result is empty if the request has no token, or if the field that counts is given more than once.
    """
    given = message.fields.get("baton-csrf")
    if given is not None:
        return given[0] if len(given) == 1 else ""
    if message.fields.get("content-type", ("",))[0].partition(";")[0].strip().lower() != _FORM:
        return ""
    try:
        pairs = parse_qsl(message.body.decode("ascii"), max_num_fields=_FIELDS_MAX)
    except ValueError:
        return ""
    tokens = [value for name, value in pairs if name == _FIELD]
    return tokens[0] if len(tokens) == 1 else ""


def csrf_token(account: AccountId, lineage: LineageId, ring: Ring, entropy: Entropy) -> str:
    """Return a new token of this session, or an empty text if the ring does not have the session's root secret."""
    mask = entropy(_VALUE_BYTES)
    value = _value(account, lineage, ring)
    return encode_base64url(mask + _xor(mask, value)) if value else ""


def is_csrf_token(text: str, account: AccountId, lineage: LineageId, ring: Ring) -> bool:
    """Check whether a text is a token of this session."""
    try:
        given = decode_base64url(text)
    except ValueError:
        return False
    value = _value(account, lineage, ring)
    if value is None or len(given) != 2 * _VALUE_BYTES:
        return False
    return hmac.compare_digest(_xor(given[:_VALUE_BYTES], given[_VALUE_BYTES:]), value)


def _value(account: AccountId, lineage: LineageId, ring: Ring) -> bytes | None:
    root = ring.root(root_version(lineage))
    if root is None:
        return None
    key = hkdf(root.secret, f"web session {account} {lineage}".encode(), _VALUE_BYTES)
    return hmac.digest(key, b"csrf", "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
