"""Base64url without padding (RFC 4648 section 5), one spelling per value."""

import base64


def encode_base64url(value: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """Decode the one canonical spelling.

    Raises ``ValueError`` for padding, foreign characters, impossible lengths and stray trailing bits.
    """
    value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(value) != text:  # the standard library skips what it cannot read
        raise ValueError("not the canonical base64url spelling")
    return value
