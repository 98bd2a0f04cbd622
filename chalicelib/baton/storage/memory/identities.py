"""Identities at providers, and the key sets of providers, in memory."""

from collections.abc import Iterable

from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import Remember, User
from chalicelib.baton.factors.rules import leaves_a_credential
from chalicelib.baton.federation.model import (
    FETCH_EVERY_S,
    IDENTITIES_MAX,
    TOKENS_PER_SHARD_MAX,
    Identity,
    NewIdentity,
    SealedKeys,
    TokenToRevoke,
)
from chalicelib.baton.federation.ports import IdentityTaken
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState, Actor, Ended, EndReason, Lineage, Status
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.storage.memory.tables import MemoryTables, kept


def remove_identities(tables: MemoryTables, account: AccountId, indexes: Iterable[str], *, now: int) -> None:
    """Delete the identities with these indexes, if they belong to the account. The caller has the lock.

    The refresh tokens of the identities then wait for revocation, with ``now`` (seconds) as the time of removal. The
    waiting tokens are in ``TOKEN_SHARDS`` shards. If the shard of a token is full (``TOKENS_PER_SHARD_MAX``), the token
    is deleted and never revoked.
    """
    for index in indexes:
        stored = tables.identities.get(index)
        if stored is not None and stored.account == account:
            del tables.identities[index]
            sealed, _at = tables.refresh_tokens.pop(index, (b"", 0))
            token = TokenToRevoke(account, sealed, now)
            waiting = sum(other.shard == token.shard for other in tables.to_revoke.values())
            if sealed and waiting < TOKENS_PER_SHARD_MAX:
                tables.to_revoke[token.id] = token


class MemoryIdentities:
    """`federation.ports.Identities` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def get(self, index: str) -> Identity | None:
        """Return the identity with this index, or ``None``."""
        with self._tables.lock:
            return self._tables.identities.get(index)

    def sign_up(
        self, user: User, account_state: AccountState, *identities: Identity
    ) -> Done | IdentityTaken | AddressTaken:
        """Write identities, user, account state and, if the user has an address, the index entry of the address.

        ``AddressTaken``: the address has an index entry that has not expired. ``IdentityTaken``: one of the other items
        already exists. In both cases, nothing is written. A repetition returns ``Done``.
        """
        tables = self._tables
        with tables.lock:
            stored = [tables.identities[one.index] for one in identities if one.index in tables.identities]
            if stored:
                return Done() if tuple(stored) == identities else IdentityTaken(stored[0].account)
            if user.email:
                until = tables.kept_until.get(user.email_index)
                owner = tables.claims.get(user.email_index) if until is None or until > user.created_at else None
                if owner is not None:
                    return AddressTaken(owner)
            if user.account in tables.users or user.account in tables.lineages:
                return IdentityTaken(user.account)
            if user.email:
                tables.claims[user.email_index] = user.account
                tables.kept_until.pop(user.email_index, None)
            tables.identities |= {identity.index: identity for identity in identities}
            tables.users[user.account] = user
            tables.lineages[user.account] = account_state
            return Done()

    def link(
        self, actor: Actor, user: User, new: NewIdentity, *, remember: Remember | None, now: int
    ) -> Done | Moved | IdentityTaken:
        """Give the actor's account the identity of ``new``, and raise the credentials version. No login ends."""
        tables, account, identity = self._tables, actor.account, new.identity
        with tables.lock:
            taken = tables.identities.get(identity.index)
            if taken is not None and taken.account != account:
                return IdentityTaken(taken.account)
            if taken is not None:
                return Done() if taken == identity else Moved()
            stored = self._changeable(actor, user, now=now)
            if stored is None or identity.provider in stored.identities or len(stored.identities) >= IDENTITIES_MAX:
                return Moved()
            proves = new.verified and stored.verified_at is None
            tables.identities[identity.index] = identity
            tables.users[account] = replace(
                _forgetting(stored, remember),
                identities={**stored.identities, identity.provider: new.linked},
                verified_at=now if proves else stored.verified_at,
            )
            account_state = tables.lineages[account]
            tables.lineages[account] = replace(account_state, credentials_version=account_state.credentials_version + 1)
            return Done()

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
        """Remove the identity at a provider from the actor's account, and end every login except the actor's.

        If an app handed the actor's login over to a browser, this login ends too, because the login of the app ends.
        """
        tables, account, version = self._tables, actor.account, user.credentials_version
        with tables.lock:
            there = tables.users.get(account)
            if there and there.credentials_version == version + 1 and provider not in there.identities:
                return Done()
            stored = self._changeable(actor, user, now=now)
            account_state = tables.lineages.get(account)
            if stored is None or account_state is None or account_state.epoch != expected.epoch:
                return Moved()
            if provider not in stored.identities or not leaves_a_credential(stored, identities=1):
                return Moved()
            left = {code: linked for code, linked in stored.identities.items() if code != provider}
            remove_identities(tables, account, (stored.identities[provider].index,), now=now)
            tables.users[account] = replace(_forgetting(stored, remember), identities=left)
            own, epoch = account_state.lineages[actor.lineage], account_state.epoch + 1
            tables.lineages[account] = replace(
                account_state,
                epoch=epoch,
                credentials_version=version + 1,
                lineages={**account_state.lineages, own.id: kept(own, actor, epoch=epoch)},
                raised=Ended(at=now, reason=EndReason.IDENTITY_UNLINKED),
            )
            return Done()

    def _changeable(self, actor: Actor, user: User, *, now: int) -> User | None:
        """Return the stored user. ``None``: the actor's login is not live, or the credentials version has changed.

        The caller has the lock.
        """
        stored = self._tables.users.get(actor.account)
        live = isinstance(may_act(self._tables.lineages.get(actor.account), actor, now=now), Lineage)
        as_read = stored is not None and stored.credentials_version == user.credentials_version
        return stored if live and as_read else None

    def forget(self, index: str, account: AccountId, *, now: int) -> None:
        """Delete the identity with this index, if the identity belongs to this account."""
        with self._tables.lock:
            remove_identities(self._tables, account, (index,), now=now)

    def key_set(self, provider: int) -> SealedKeys:
        """Return the sealed (encrypted) key set of a provider, and the time when the last fetch of its keys began.

        If no key set is stored, ``sealed`` is empty. If no fetch of the provider's keys began, the time is 0.
        """
        with self._tables.lock:
            return SealedKeys(
                self._tables.keys_asked.get(provider, 0), self._tables.key_sets.get(provider, (0, b""))[1]
            )

    def claim_fetch(self, provider: int, *, now: int) -> Done | Refused:
        """Store that a fetch of a provider's keys begins now. ``Refused``: a fetch began in the last minute."""
        with self._tables.lock:
            asked_at = self._tables.keys_asked.get(provider)
            if asked_at is not None and now - FETCH_EVERY_S < asked_at <= now + FETCH_EVERY_S:
                return Refused()
            self._tables.keys_asked[provider] = now
            return Done()

    def keep_key_set(self, provider: int, sealed: bytes, *, now: int) -> None:
        """Store a key set that was fetched at ``now``, unless the stored set is as new or newer.

        Exception: if the stored set is more than a minute newer, a clock was wrong, and the new set replaces it.
        """
        with self._tables.lock:
            if not now <= self._tables.key_sets.get(provider, (-1, b""))[0] <= now + FETCH_EVERY_S:
                self._tables.key_sets[provider] = (now, sealed)

    def lose(self, user: User, provider: int, *, now: int) -> Done | Moved:
        """Remove an identity that its provider has deleted, and end every login of its account."""
        tables, account, version = self._tables, user.account, user.credentials_version
        with tables.lock:
            stored, account_state = tables.users.get(account), tables.lineages.get(account)
            if stored is None or account_state is None:
                return Moved()
            linked = stored.identities.get(provider)
            if linked is None and stored.credentials_version == version + 1:
                return Done()
            versions = {stored.credentials_version, account_state.credentials_version}
            if account_state.status is not Status.ACTIVE or versions != {version}:
                return Moved()
            others = leaves_a_credential(stored, identities=1)
            if linked is None or linked.index != user.identities[provider].index or not others:
                return Moved()
            remove_identities(tables, account, (linked.index,), now=now)
            tables.users[account] = replace(
                stored,
                credentials_version=version + 1,
                factors=replace(stored.factors, remembered={}),
                identities={code: one for code, one in stored.identities.items() if code != provider},
            )
            tables.lineages[account] = replace(
                account_state,
                epoch=account_state.epoch + 1,
                credentials_version=version + 1,
                raised=Ended(at=now, reason=EndReason.IDENTITY_UNLINKED),
            )
            return Done()


def _forgetting(user: User, remember: Remember | None) -> User:
    """Return the user with the next credentials version. Only the device of ``remember`` stays remembered."""
    remembered = {remember.key: remember.at} if remember else {}
    factors = replace(user.factors, remembered=remembered)
    return replace(user, credentials_version=user.credentials_version + 1, factors=factors)
