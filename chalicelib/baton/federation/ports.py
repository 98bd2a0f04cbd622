"""The ports of federation: identities, tokens of providers, and the key sets, which all Lambda environments share."""

from typing import Protocol

from msgspec import Struct

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import Remember, User
from chalicelib.baton.federation.model import Identity, NewIdentity, SealedKeys, TokenToRevoke
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState, Actor


class IdentityTaken(Struct, frozen=True):
    """Nothing was written, for one of two reasons.

    - ``account`` has the identity.
    - ``account`` is the account that `Identities.sign_up` was to create, and already has a user item or account state.
    """

    account: AccountId


class Identities(Protocol):
    """The storage of identities, and of the encrypted key sets of providers.

    ``Identity.index`` identifies an identity. ``Provider.code`` identifies the key set of a provider.
    """

    def get(self, index: str) -> Identity | None:
        """Return the identity with this index, or ``None``."""

    def sign_up(
        self, user: User, account_state: AccountState, *identities: Identity
    ) -> Done | IdentityTaken | AddressTaken:
        """Write identities, user, account state, and the e-mail index entry if there is an address: all or none.

        - ``Done``: this call or an earlier try of it wrote the items.
        - ``AddressTaken``: the address has an e-mail index entry that has not expired.
        - ``IdentityTaken``: an account has one of ``identities``, or the account of ``user`` already has a user item or
          an account state. A deleted account keeps its account state.
        """

    def link(
        self, actor: Actor, user: User, new: NewIdentity, *, remember: Remember | None, now: int
    ) -> Done | Moved | IdentityTaken:
        """Give the actor's account an identity, and raise the credentials version in user and account state.

        This is one transaction, with these conditions:
        - No account has the identity.
        - The actor's account has no identity of this provider, and fewer than ``IDENTITIES_MAX`` identities.
        - The login of ``actor`` is live, and the credentials version is as in ``user`` and in ``actor``.

        If ``new.verified`` is true, the provider verified the address of ``user``. Then this address becomes proved,
        unless it was proved earlier. Only the device of ``remember`` stays remembered. No login ends.

        - ``Done``: this call or an earlier try of it stored the identity.
        - ``IdentityTaken``: another account has the identity.
        - ``Moved``: another condition failed. Nothing was written.
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
        """Remove the actor's identity at a provider, and end every other login of the account.

        This is one transaction, with these conditions:
        - The account has the identity that ``user`` has at this provider.
        - The account also has a password, a passkey or another identity.
        - The login of ``actor`` is live, and the credentials version is as in ``user`` and in ``actor``.
        - The epoch is as in ``expected``.

        The same transaction makes these changes:
        - Credentials version and epoch rise by one.
        - If ``actor.in_cookies`` is true, the generation of the actor's lineage rises by one.
        - The other logins end with reason ``identity_unlinked``. If an app handed the actor's login over, the app's
          login ends, and so the actor's login ends too.
        - Only the device of ``remember`` stays remembered.

        ``Done``: this call or an earlier try of it made the change. Two facts show that an earlier try made it: the
        stored credentials version is one higher than in ``user``, and the stored user has no identity of the provider.
        """

    def forget(self, index: str, account: AccountId, *, now: int) -> None:
        """Delete an identity of this deleted account, unless another account has it now. A repetition is safe."""

    def key_set(self, provider: int) -> SealedKeys:
        """Return the encrypted key set of a provider, and the time when the last fetch of the provider's keys began."""

    def claim_fetch(self, provider: int, *, now: int) -> Done | Refused:
        """Store that a fetch of a provider's keys begins now. ``Refused``: another fetch began in the last minute."""

    def keep_key_set(self, provider: int, sealed: bytes, *, now: int) -> None:
        """Store a key set that was fetched at ``now``, if the stored set is missing or was fetched before ``now``.

        A stored set that was fetched more than a minute after ``now`` is replaced too, because a clock was wrong.
        """

    def lose(self, user: User, provider: int, *, now: int) -> Done | Moved:
        """Remove an identity that its provider has deleted, and end every login of its account.

        This is one transaction, with these conditions:
        - The account is active, and has the identity that ``user`` has at this provider.
        - The account also has a password, a passkey or another identity.
        - The credentials version in the user's item and in the account state is as in ``user``.

        Credentials version and epoch rise by one. The logins end with reason ``identity_unlinked``. No device stays
        remembered.

        ``Done``: this call or an earlier try of it made the change (see `unlink`).
        """


class ProviderTokens(Protocol):
    """The encrypted refresh tokens of identities, the tokens that wait for revocation, and the private key for Apple.

    If a method of any port removes an identity, the same write moves the identity's token to the waiting tokens. The
    waiting tokens are in ``TOKEN_SHARDS`` shards. If the shard of the moved token is full (``TOKENS_PER_SHARD_MAX``
    tokens), the write deletes this token instead, and Baton never revokes it.
    """

    def keep(self, index: str, account: AccountId, sealed: bytes, *, now: int) -> Done | Refused:
        """Store the token of an identity, in place of an earlier token. ``Refused``: the account has no such identity.

        ``sealed`` must have a random nonce: `TokenToRevoke.id` is a digest of ``sealed``, and must be unique.
        """

    def of(self, index: str, account: AccountId) -> bytes:
        """Return the token of an identity of this account, or empty bytes."""

    def drop(self, index: str, account: AccountId, *, until: int) -> None:
        """Delete the token of an identity of this account, if it was stored at ``until`` (seconds) or earlier."""

    def waiting(self, shard: int) -> tuple[TokenToRevoke, ...]:
        """Return the tokens of a shard that wait for their revocation, the oldest first."""

    def end(self, token: TokenToRevoke) -> None:
        """Delete a token from the waiting tokens. A repetition is safe."""

    def apple_key(self) -> bytes:
        """Return the encrypted private key for Apple, or empty bytes if no key was ever stored."""

    def replace_apple_key(self, sealed: bytes) -> None:
        """Store the encrypted private key for Apple, in place of an earlier key."""
