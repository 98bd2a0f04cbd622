"""Common parts of all kinds of password hashes: the refusal of a hash, and base64. No I/O."""

import base64
import binascii
from typing import Literal, Protocol

SALT_BYTES_MAX = 64
TAG_BYTES_MIN, TAG_BYTES_MAX = 16, 64

Why = Literal["hash_unknown", "hash_too_costly", "hash_too_weak"]


class HashRefused(ValueError):
    """A password hash that Baton does not verify. ``why`` is the code of the reason. The text names no secret."""

    def __init__(self, why: Why, text: str) -> None:
        """Set the code of the reason, and the text of the error."""
        super().__init__(text)
        self.why: Why = why


class StoredHash(Protocol):
    """A password hash whose form and cost were checked."""

    @property
    def name(self) -> str:
        """The kind with its cost, such as ``bcrypt12``. Hashes with the same name take the same time to check."""

    def matches(self, password: bytes) -> bool:
        """Check a password, with one computation of the hash."""


def unknown(text: str) -> HashRefused:
    """Return the refusal of a hash that has no known form. ``text`` says what is wrong."""
    return HashRefused("hash_unknown", text)


def check_range(name: str, value: int, lowest: int, highest: int) -> None:
    """Check a parameter of the cost. Raises ``HashRefused`` if it is less than ``lowest`` or more than ``highest``."""
    if value < lowest:
        raise HashRefused("hash_too_weak", f"{name} is {value}, less than {lowest}")
    if value > highest:
        raise HashRefused("hash_too_costly", f"{name} is {value}, more than {highest}")


def unpadded(text: str, *, least: int, most: int, what: str) -> bytes:
    """Decode standard base64 without padding (PHC string format, section B64). Raises ``HashRefused``."""
    if "=" in text:
        raise unknown(f"the {what} is padded base64")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise unknown(f"the {what} is not base64") from None
    return in_length(decoded, least=least, most=most, what=what)


def padded(text: str, *, least: int, most: int, what: str) -> bytes:
    """Decode standard base64 with padding. Raises ``HashRefused``, also if the result is too short or too long."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise unknown(f"the {what} is not base64") from None
    return in_length(decoded, least=least, most=most, what=what)


def in_length(value: bytes, *, least: int, most: int, what: str) -> bytes:
    """Return ``value`` unchanged. Raises ``HashRefused`` if its length in bytes is outside the limits."""
    if not least <= len(value) <= most:
        raise unknown(f"the {what} has {len(value)} bytes, not {least} to {most}")
    return value


def b64(value: bytes) -> str:
    """Encode bytes in standard base64, without padding."""
    return base64.b64encode(value).decode("ascii").rstrip("=")
