"""Identifiers of accounts and logins, and secret bytes. No I/O."""

from typing import NewType

AccountId = NewType("AccountId", str)
"""12 bytes in base64url: 16 characters. The first byte is the version of the root it was derived under."""

LineageId = NewType("LineageId", str)
"""12 bytes in base64url: 16 characters. The first byte is the version of the root it was derived under."""

EmailIndex = NewType("EmailIndex", str)
"""HMAC of a canonical e-mail address, base64url: finds an account without storing the address as a key."""


class Secret:
    """Bytes that hide themselves: masked in ``repr`` and ``str``, revealed only by ``reveal()``."""

    __slots__ = ("_bytes",)

    def __init__(self, value: bytes) -> None:
        """Hold ``value``."""
        self._bytes = value

    def reveal(self) -> bytes:
        """Give the bytes themselves."""
        return self._bytes

    def __repr__(self) -> str:
        """Mask."""
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        """Compare by value, for tests and caches; never on a path an attacker can time."""
        return isinstance(other, Secret) and self._bytes == other._bytes

    def __hash__(self) -> int:
        """Hash by value."""
        return hash(self._bytes)
