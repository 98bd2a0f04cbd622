"""Parts of the record of a registered person: old addresses, and identities at providers. No I/O."""

from msgspec import Struct

from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.policy import ADDRESS_KEPT_S


class KeptAddress(Struct, frozen=True):
    """An old address, kept for its account for ``ADDRESS_KEPT_S`` after the account changed to another address.

    ``at`` is the time of this change, in seconds. ``returns``: an undo may restore the old address. ``returns`` is
    false in two cases:

    1. A long-used device (`rules.is_new_key`) made the change with a second factor. So the owner made the change,
       and no undo is needed.
    2. The account returned to an earlier address. After the changes from A to B and back to A, ``returns`` is false for
       B: a thief may have set B.
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

    - ``index``: identifies the stored identity (`federation.model.Identity.index`).
    - ``linked_at``: a Unix time, in seconds.
    - ``email``: the address that the provider verified.
    - ``by_new_key``: the device was new (`rules.is_new_key`) when it linked the identity.
    """

    index: str
    linked_at: int
    email: str = ""
    by_new_key: bool = False
