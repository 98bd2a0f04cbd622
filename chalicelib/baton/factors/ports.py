"""The stores that factors need."""

from typing import Protocol

from chalicelib.baton.events.ports import Counters
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import AccountId


class Passwords(Protocol):
    """Registered people and their password hashes."""

    def get(self, account: AccountId) -> User | None:
        """Read a user."""

    def rehash(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, expected_password_hash: bytes
    ) -> None:
        """Replace a verifier by one of the same password and better parameters, when nobody else changed it."""


class RateLimits(Counters, Protocol):
    """Counters of failed attempts."""

    def uncount(self, name: str, *, window_s: int, now: int) -> None:
        """Take one from the count again: the attempt it was taken for succeeded."""
