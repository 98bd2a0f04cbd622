"""The ports of federation: identities, and the key sets of providers, which all environments share."""

from typing import Protocol

from msgspec import Struct

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.federation.model import Identity, SealedKeys
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState


class IdentityTaken(Struct, frozen=True):
    """The identity belongs to ``account``. Nothing was written."""

    account: AccountId


class Identities(Protocol):
    """Identities by their index, and the sealed key sets by the code of the provider."""

    def get(self, index: str) -> Identity | None:
        """Return an identity, or ``None``."""

    def sign_up(
        self, user: User, account_state: AccountState, *identities: Identity
    ) -> Done | IdentityTaken | AddressTaken:
        """Write identities, user, account state, and the e-mail index entry if there is an address: all or none.

        None of them may exist, except an entry that is no longer kept. ``IdentityTaken`` also if only the user or the
        account state exists: an account with this id was deleted.
        """

    def forget(self, index: str, account: AccountId, *, now: int) -> None:
        """Delete an identity if it belongs to this account, which was deleted. A repetition is safe."""

    def key_set(self, provider: int) -> SealedKeys:
        """Return the sealed key set of a provider, and when it was last asked for."""

    def claim_fetch(self, provider: int, *, now: int) -> Done | Refused:
        """Store that the keys of a provider are asked for now. ``Refused``: they were, in the last minute."""

    def keep_key_set(self, provider: int, sealed: bytes, *, now: int) -> None:
        """Store a key set that was fetched now, unless the stored one is as new."""
