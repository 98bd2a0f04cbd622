"""Parts of the record of a registered person: old addresses, and identities at providers. No I/O."""

from msgspec import Struct

from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.policy import ADDRESS_KEPT_S


class KeptAddress(Struct, frozen=True):
    """An old address, kept for its account for ``ADDRESS_KEPT_S`` after the account changed to another address.

    ``at`` is the time of this change, in seconds. ``returns``: an undo may restore the old address. It is false in two
    cases:

    1. A long-used device made the change with a second factor. So the owner made it, perhaps because a thief has the
       mailbox of the old address.
    2. A thief may have set the old address: the account changed to it, and then back to an address that an undo could
       restore. Example: after the changes from A to B and back to A, ``returns`` is false for B.
    """

    index: EmailIndex
    at: int
    returns: bool

    @property
    def until(self) -> int:
        """Return the time when the address becomes free, in seconds."""
        return self.at + ADDRESS_KEPT_S


class LinkedIdentity(Struct, frozen=True):
    """An identity at a provider. The owner of the account can log in with it.

    ``index`` is the key of the item of the identity. ``linked_at`` is a Unix time, in seconds. ``email`` is the address
    that the provider verified. ``by_new_key``: the device was new (`rules.is_new_key`) when it linked the
    identity.
    """

    index: str
    linked_at: int
    email: str = ""
    by_new_key: bool = False
