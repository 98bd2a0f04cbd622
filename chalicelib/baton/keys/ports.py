"""The port of the key ring."""

from typing import Protocol

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.keys.ring import Ring


class KeyRing(Protocol):
    """The key ring of the deployment, cached for ``KEY_RING_REFRESH_S``."""

    def current(self, *, now: int) -> Ring:
        """Return the cached ring, which is read again after five minutes.

        Raises ``Unavailable`` if the ring is missing or unreadable.
        """

    def refreshed(self, *, now: int) -> Ring:
        """Return the ring for a request with an unknown ``kid`` or root version.

        The ring is read again, but at most once a minute. In between, the result is the cached ring.
        """


class ChangingKeyRing(KeyRing, Protocol):
    """A key ring that can be changed: for the daily job and the operator, never for a route."""

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Replace the ring in one write. ``Moved``: the stored ring does not have ``expected_revision``."""
