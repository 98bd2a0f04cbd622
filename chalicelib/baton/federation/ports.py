"""The ports of federation: identities, tokens of providers, and the key sets, which all environments share."""

from typing import Protocol

from msgspec import Struct

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import Remember, User
from chalicelib.baton.federation.model import Identity, NewIdentity, SealedKeys, TokenToRevoke
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState, Actor


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

        No such item may exist, except for an index entry that is no longer kept. Also returns ``IdentityTaken`` if only
        the user or the account state exists: an account with this id was deleted.
        """

    def link(
        self, actor: Actor, user: User, new: NewIdentity, *, remember: Remember | None, now: int
    ) -> Done | Moved | IdentityTaken:
        """Give the actor's account an identity, and raise the credentials version in user and account state.

        This is one transaction, with these conditions: no account has the identity; the account has none of this
        provider, and fewer than ``IDENTITIES_MAX``; the credentials version is as in ``user`` and ``actor``, whose
        login is live. ``new.verified``: the identity proves the address of ``user``. An earlier time of proof is kept.
        No device stays remembered, except for ``remember``. No login ends. Also returns ``Done`` if this identity is
        stored already. ``IdentityTaken``: another account has the identity.
        """

    def unlink(
        self,
        actor: Actor,
        user: User,
        provider: int,
        *,
        expected: AccountState,
        remember: Remember | None,
        now: int,
    ) -> Done | Moved:
        """Take the identity of a provider from the actor's account. Every other login ends.

        This is one transaction, with these conditions: the account has this identity of ``user``, and a password, a
        passkey or another identity; the credentials version is as in ``user`` and ``actor``, whose login is live; the
        epoch is as in ``expected``. Credentials version and epoch rise, and the actor's login stays active. The other
        logins end with reason ``identity_unlinked``. No device stays remembered, except for ``remember``. Also returns
        ``Done`` if the user has the next version, and no identity of the provider.
        """

    def forget(self, index: str, account: AccountId, *, now: int) -> None:
        """Delete an identity if it belongs to this account, which was deleted. A repetition is safe."""

    def key_set(self, provider: int) -> SealedKeys:
        """Return the sealed key set of a provider, and the time of the last request for it."""

    def claim_fetch(self, provider: int, *, now: int) -> Done | Refused:
        """Store that the keys of a provider are fetched now. ``Refused``: a fetch began in the last minute."""

    def keep_key_set(self, provider: int, sealed: bytes, *, now: int) -> None:
        """Store a key set that was fetched now, unless the stored set is at least as new, and not from the future."""

    def lose(self, user: User, provider: int, *, now: int) -> Done | Moved:
        """Take from an account an identity that its provider has deleted, and end every login of the account.

        This is one transaction, with these conditions: the account is active; it has this identity of ``user``, and a
        password, a passkey or another identity; the credentials version is as in ``user`` in both items, and rises.
        The logins end with reason ``identity_unlinked``. No device stays remembered. Also returns ``Done`` if the user
        has the next version, and no identity of the provider.
        """


class ProviderTokens(Protocol):
    """The sealed refresh tokens: of identities, or waiting for their revocation. Also the private key for Apple.

    The removal of an identity, by any method of any port, moves its token to the waiting tokens, in the same write. If
    there is no room, the token is dropped.
    """

    def keep(self, index: str, account: AccountId, sealed: bytes, *, now: int) -> Done | Refused:
        """Store the token of an identity, in place of an earlier token. ``Refused``: it is not this account's identity.

        ``sealed`` has a random nonce.
        """

    def of(self, index: str, account: AccountId) -> bytes:
        """Return the token of an identity of this account, or empty bytes."""

    def drop(self, index: str, account: AccountId, *, until: int) -> None:
        """Delete the token of an identity of this account, if it was stored at ``until`` at the latest (seconds)."""

    def waiting(self, shard: int) -> tuple[TokenToRevoke, ...]:
        """Return the tokens of a shard that wait for their revocation, the oldest first."""

    def end(self, token: TokenToRevoke) -> None:
        """Delete a token that waited. A repetition is safe."""

    def apple_key(self) -> bytes:
        """Return the sealed private key for Apple, or empty bytes if none was ever set."""

    def replace_apple_key(self, sealed: bytes) -> None:
        """Replace the private key for Apple, for the operator."""
