"""Parts of the record of a registered person: old addresses, and identities at providers. No I/O."""

from msgspec import Struct

from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.policy import ADDRESS_KEPT_S


class KeptAddress(Struct, frozen=True):
    """An old address, kept for its account for ``ADDRESS_KEPT_S`` after the change ``at`` (seconds).

    ``returns``: an undo may give the address back. It may not if a long-used device made the change with a second
    factor: its owner may have left a stolen mailbox.
    """

    index: EmailIndex
    at: int
    returns: bool

    @property
    def until(self) -> int:
        """Return when the address is free, in seconds."""
        return self.at + ADDRESS_KEPT_S


class LinkedIdentity(Struct, frozen=True):
    """An identity at a provider with which the account can be logged in to.

    ``index`` is the key of its item, and ``linked_at`` in seconds. ``email`` is the address that the provider verified.
    ``by_new_key``: the device that linked it had no login older than 7 days.
    """

    index: str
    linked_at: int
    email: str = ""
    by_new_key: bool = False
