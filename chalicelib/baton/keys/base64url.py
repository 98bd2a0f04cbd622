"""Base64url without padding (RFC 4648 section 5). Each value has exactly one accepted spelling. No I/O."""

import binascii

_FROM_URL = bytes.maketrans(b"-_+/=", b"+/---")
"""Base64url to base64. Characters that base64url lacks become characters that strict base64 refuses."""
_TO_URL = bytes.maketrans(b"+/", b"-_")
_LAST = {0: None, 2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}
"""Length modulo 4 -> the last characters whose unused bits are zero. ``None``: the last character has no such bits."""


def encode_base64url(value: bytes) -> str:
    """Return the base64url text of the bytes, without padding."""
    return binascii.b2a_base64(value, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """Return the bytes of a base64url text. Each value has one accepted text: the result of `encode_base64url`.

    Raises ``ValueError`` for padding, characters outside the alphabet, impossible lengths and unused bits that are not
    zero.
    """
    over = len(text) % 4
    if over not in _LAST or not text.isascii():
        raise ValueError("not base64url without padding")
    last = _LAST[over]
    if last is not None and text[-1] not in last:
        raise ValueError("not the canonical base64url spelling")
    padded = text.encode().translate(_FROM_URL) + b"=" * (-over % 4)
    return binascii.a2b_base64(padded, strict_mode=True)
