"""Identifiers of accounts and logins, and secret bytes. No I/O."""

from typing import NewType

AccountId = NewType("AccountId", str)
"""12 bytes in base64url: 16 characters. The first byte is the version of the root secret from which the id derives."""

ACCOUNT_BYTES = 12

LineageId = NewType("LineageId", str)
"""12 bytes in base64url: 16 characters. The first byte is the version of the root secret from which the id derives."""

EmailIndex = NewType("EmailIndex", str)
"""The HMAC of a canonical e-mail address, in base64url.

It is the key of the e-mail index entry, because a table key must not be an address.
"""


class Secret:
    """Bytes that ``repr`` and ``str`` mask. Call ``reveal()`` to read them."""

    __slots__ = ("_bytes",)

    def __init__(self, value: bytes) -> None:
        """Keep the bytes."""
        self._bytes = value

    def reveal(self) -> bytes:
        """Return the bytes."""
        return self._bytes

    def __repr__(self) -> str:
        """Return a constant text."""
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        """Compare by value, for tests and caches.

        The comparison is not in constant time: never use it where an attacker can measure the time.
        """
        return isinstance(other, Secret) and self._bytes == other._bytes

    def __hash__(self) -> int:
        """Hash by value."""
        return hash(self._bytes)
