"""Identities at providers in the table ``users``, and the key sets of providers in the table ``ephemeral``."""

from typing import Final

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import Remember, User
from chalicelib.baton.federation.model import (
    FETCH_EVERY_S,
    IDENTITIES_MAX,
    KEYS_KEPT_S,
    Identity,
    NewIdentity,
    SealedKeys,
)
from chalicelib.baton.federation.ports import IdentityTaken
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState, Actor, Ended, EndReason
from chalicelib.baton.storage.aws.service import ConditionFailed, TransactionFailed
from chalicelib.baton.storage.dynamodb.accounts import (
    CREDENTIAL_LEFT,
    VERIFIED_NOW,
    VERSION_AS_READ,
    account_of_entry,
    put_free,
    put_user,
    remembered_value,
    user_of,
)
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB
from chalicelib.baton.storage.dynamodb.identity_items import RemoveIdentities, identities_value, identity_key, removals
from chalicelib.baton.storage.dynamodb.items import expression, of_account
from chalicelib.baton.storage.dynamodb.state_writes import end_logins, keep_one, put_first, raise_version
from chalicelib.baton.storage.dynamodb.values import Item, all_of, binary, number, reading, text

IS_NEW: Final = "attribute_not_exists(pk)"
NOT_LINKED: Final = "attribute_not_exists(identities.#provider)"
IS_LINKED: Final = "identities.#provider.i = :index"
ROOM_FOR_ONE: Final = "(attribute_not_exists(identities) OR size(identities) < :identities_max)"
CHANGE: Final = "SET v = :next_version, remembered = :remembered"
# It is safe to replace the whole map, because the same write compares and raises the credentials version.
LINK: Final = f"{CHANGE}, identities = :identities"
LINK_AND_VERIFY: Final = f"{LINK}, {VERIFIED_NOW}"
UNLINK_LAST: Final = f"{CHANGE} REMOVE identities"
# The clock of another environment may be ahead, by less than `FETCH_EVERY_S`. A stored time further ahead is ignored.
NOT_ASKED: Final = "attribute_not_exists(asked_at) OR asked_at <= :before OR asked_at > :ahead"
ASK: Final = f"SET asked_at = :now, {EXPIRY} = :expires_at"
OLDER: Final = "attribute_not_exists(fetched_at) OR fetched_at < :now OR fetched_at > :ahead"
KEEP: Final = f"SET fetched_at = :now, sealed = :sealed, {EXPIRY} = :expires_at"


class StoredIdentities:
    """``federation.ports.Identities`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def get(self, index: str) -> Identity | None:
        """Return the identity with this index, or ``None``."""
        item = self._database.read(self._database.tables.users, identity_key(index))
        return identity_of(item) if item is not None else None

    def sign_up(
        self, user: User, account_state: AccountState, *identities: Identity
    ) -> Done | IdentityTaken | AddressTaken:
        """Write the identities, user, account state and index entry of a new account in one transaction.

        A user without an address has no index entry.
        """
        tables = self._database.tables
        address = (put_free(tables.users, user.email_index, user.account, now=user.created_at),) if user.email else ()
        try:
            self._database.transact(
                *(_put(tables.users, identity) for identity in identities),
                put_user(tables.users, user),
                put_first(tables.lineages, account_state),
                *address,
            )
        except TransactionFailed as failed:
            stored = [identity_of(item) for item in failed.items[: len(identities)] if item is not None]
            if stored:
                # Subjects are sealed with random nonces: equal items were written by an earlier try of this call.
                return Done() if tuple(stored) == identities else IdentityTaken(stored[0].account)
            for entry in failed.items[len(identities) + 2 :]:
                if entry is not None:
                    return AddressTaken(account_of_entry(entry))
            return IdentityTaken(user.account)
        return Done()

    def link(
        self, actor: Actor, user: User, new: NewIdentity, *, remember: Remember | None, now: int
    ) -> Done | Moved | IdentityTaken:
        """Give the actor's account an identity. One transaction writes the identity, the user and the account state."""
        tables, identity = self._database.tables, new.identity
        values: Item = {
            **_versions(user, remember),
            ":identities": identities_value({**user.identities, identity.provider: new.linked}),
            ":identities_max": number(IDENTITIES_MAX),
            ":now": number(now),
        }
        update = expression(
            values,
            {"#provider": str(identity.provider)},
            condition=all_of(VERSION_AS_READ, NOT_LINKED, ROOM_FOR_ONE),
            update=LINK_AND_VERIFY if new.verified else LINK,
        )
        try:
            self._database.transact(
                _put(tables.users, identity),
                {"Update": {"TableName": tables.users, "Key": of_account(user.account), **update}},
                raise_version(tables.lineages, actor, now=now),
            )
        except TransactionFailed as failed:
            stored, *_others = failed.items
            if stored is None:
                return Moved()
            # The subject is sealed with a random nonce: an equal item was written by an earlier try of this call.
            taken = identity_of(stored)
            if taken.account == actor.account:
                return Done() if taken == identity else Moved()
            return IdentityTaken(taken.account)
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

        One transaction makes both changes. If an app handed the actor's login over to a browser, this login ends too,
        because the login of the app ends.
        """
        tables, removed, update = self._database.tables, user.identities[provider], _without(user, provider, remember)
        try:
            ended = Ended(now, EndReason.IDENTITY_UNLINKED)
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(user.account), **update}},
                keep_one(tables.lineages, actor=actor, expected=expected, ended=ended),
                *removals(self._database, user.account, (removed.index,), now=now),
            )
        except TransactionFailed as failed:
            item, *_others = failed.items
            stored = user_of(item) if item is not None else None
            if stored is None or stored.credentials_version != user.credentials_version + 1:
                return Moved()
            return Moved() if provider in stored.identities else Done()
        return Done()

    def forget(self, index: str, account: AccountId, *, now: int) -> None:
        """Delete an identity of a deleted account, unless the identity now belongs to another account."""
        RemoveIdentities(self._database)(account, (index,), now=now)

    def key_set(self, provider: int) -> SealedKeys:
        """Return the sealed (encrypted) key set of a provider, and the time when the last fetch of its keys began.

        If no key set is stored, ``sealed`` is empty. If no fetch of the provider's keys began, the time is 0.
        """
        item = self._database.read(self._database.tables.ephemeral, _key(provider))
        if item is None:
            return SealedKeys()
        with reading("key set"):
            return SealedKeys(
                asked_at=int(item["asked_at"]["N"]) if "asked_at" in item else 0,
                sealed=item["sealed"]["B"] if "sealed" in item else b"",
            )

    def claim_fetch(self, provider: int, *, now: int) -> Done | Refused:
        """Store that a fetch of a provider's keys begins now. ``Refused``: a fetch began in the last minute."""
        values = {
            ":now": number(now),
            ":before": number(now - FETCH_EVERY_S),
            ":ahead": number(now + FETCH_EVERY_S),
            ":expires_at": number(now + KEYS_KEPT_S),
        }
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.ephemeral,
                Key=_key(provider),
                **expression(values, condition=NOT_ASKED, update=ASK),
            )
        except ConditionFailed:
            return Refused()
        return Done()

    def keep_key_set(self, provider: int, sealed: bytes, *, now: int) -> None:
        """Store a key set that was fetched at ``now``, unless the stored set is as new or newer.

        Exception: if the stored set is more than a minute newer, a clock was wrong, and the new set replaces it.
        """
        values = {
            ":now": number(now),
            ":ahead": number(now + FETCH_EVERY_S),
            ":sealed": binary(sealed),
            ":expires_at": number(now + KEYS_KEPT_S),
        }
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.ephemeral,
                Key=_key(provider),
                **expression(values, condition=OLDER, update=KEEP),
            )
        except ConditionFailed:
            return

    def lose(self, user: User, provider: int, *, now: int) -> Done | Moved:
        """Remove an identity that its provider deleted, and end every login of the account, in one transaction."""
        tables, account, version = self._database.tables, user.account, user.credentials_version
        index, update = user.identities[provider].index, _without(user, provider, None)
        ended = Ended(at=now, reason=EndReason.IDENTITY_UNLINKED)
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(account), **update}},
                end_logins(tables.lineages, account, expected_version=version, ended=ended, clear=False),
                *removals(self._database, account, (index,), now=now),
            )
        except TransactionFailed as failed:
            item, *_others = failed.items
            stored = user_of(item) if item is not None else None
            # `Done` if an earlier try of this call made the change: version higher by one, identity removed.
            if stored is None or provider in stored.identities or stored.credentials_version != version + 1:
                return Moved()
        return Done()


def _without(user: User, provider: int, remember: Remember | None) -> dict[str, object]:
    """Build the update that removes an identity from its user, if another way to log in is left."""
    left = {code: linked for code, linked in user.identities.items() if code != provider}
    values: Item = {
        **_versions(user, remember),
        ":index": text(user.identities[provider].index),
        ":identities": identities_value(left),
        ":passkeys_gone": number(0),
        ":identities_gone": number(1),
    }
    return expression(
        values,
        {"#provider": str(provider)},
        condition=all_of(VERSION_AS_READ, IS_LINKED, CREDENTIAL_LEFT),
        update=LINK if left else UNLINK_LAST,
    )


def _versions(user: User, remember: Remember | None) -> Item:
    """Return the values of a change of credentials: old and new version, and the device that stays remembered."""
    return {
        ":version": number(user.credentials_version),
        ":next_version": number(user.credentials_version + 1),
        ":remembered": remembered_value({remember.key: remember.at} if remember else {}),
    }


def _put(table: str, identity: Identity) -> dict[str, dict[str, object]]:
    """Build the part of a transaction that stores an identity, if no account has it."""
    item: Item = {
        **identity_key(identity.index),
        "account": text(identity.account),
        "linked_at": number(identity.linked_at),
        "sub": binary(identity.sealed_sub),
    }
    return {"Put": {"TableName": table, "Item": item, **expression({}, condition=IS_NEW)}}


def identity_of(item: Item) -> Identity:
    """Read an identity from its item."""
    with reading("identity"):
        return Identity(
            index=item["pk"]["S"].removeprefix("I#"),
            account=AccountId(item["account"]["S"]),
            linked_at=int(item["linked_at"]["N"]),
            sealed_sub=item["sub"]["B"],
        )


def _key(provider: int) -> Item:
    return {"pk": text(f"P#{provider}")}
