"""The key ring, as packages above need it."""

from typing import Protocol

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.keys.ring import Ring


class KeyRing(Protocol):
    """The deployment's keys, cached for a few minutes."""

    def current(self, *, now: int) -> Ring:
        """Give the ring, refreshed at most every five minutes. Absent or unreadable is ``Unavailable``."""

    def refreshed(self, *, now: int) -> Ring:
        """Give the ring after an unknown ``kid`` or root version: read again, at most once a minute."""


class ChangingKeyRing(KeyRing, Protocol):
    """The keys, for whoever may change them: never a route."""

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Put a newer ring in place of the one of ``expected_revision``: one write."""
