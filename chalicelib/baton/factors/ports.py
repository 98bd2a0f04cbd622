"""The ports of factors: password hashes and rate limits."""

from typing import Protocol

from chalicelib.baton.events.ports import Counters
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import AccountId


class Passwords(Protocol):
    """Registered people and their password hashes."""

    def get(self, account: AccountId) -> User | None:
        """Read a user. Return ``None`` if there is none."""

    def rehash(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, expected_password_hash: bytes
    ) -> None:
        """Replace a hash by a hash of the same password with new parameters, if the stored hash is as expected."""


class RateLimits(Counters, Protocol):
    """Counters of failed attempts."""

    def uncount(self, name: str, *, window_s: int, now: int) -> None:
        """Subtract one from the count: the counted attempt succeeded. The count never becomes negative."""
