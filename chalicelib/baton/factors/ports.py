"""The ports of factors: password hashes, rate limits, and answers of other services."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

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


class NotFetched(Struct, frozen=True):
    """There was no usable answer. ``reason`` is for the log: the kind of the error, and no part of the answer."""

    reason: str


class Fetch(Protocol):
    """HTTPS requests to services of others."""

    def __call__(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> bytes | NotFetched:
        """Return the body of a ``GET`` that was answered with 200. It never raises.

        ``within_s`` is the time for all of it, in seconds: name, connection, TLS and the whole answer. ``bytes_max`` is
        the size of the body. The certificate of the server is verified. Redirects are not followed.
        """
