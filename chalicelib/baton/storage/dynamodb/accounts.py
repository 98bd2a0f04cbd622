"""Registered people in DynamoDB: users and e-mail index entries, in the table ``users``."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import RecoveryCodes, SecondFactors, Totp, User
from chalicelib.baton.factors.user_parts import KeptAddress
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.lineages.model import AccountState, Actor, Ended, EndReason
from chalicelib.baton.storage.aws.service import ConditionFailed, TransactionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.identity_items import RemoveIdentities, identities_of, identities_value
from chalicelib.baton.storage.dynamodb.items import expression, of_account
from chalicelib.baton.storage.dynamodb.passkeys import delete_credential, passkey_value, passkeys_of
from chalicelib.baton.storage.dynamodb.restore_keys import restore_keys_of, restore_keys_value
from chalicelib.baton.storage.dynamodb.state_writes import keep_one, put_first, raise_version_as_read
from chalicelib.baton.storage.dynamodb.values import Item, Value, all_of, binary, number, reading, text

IS_NEW: Final = "attribute_not_exists(pk)"
# The account keeps its old address until the time in `until`, which is a reserved word of DynamoDB.
KEPT: Final[Mapping[str, str]] = {"#until": "until"}
NO_LONGER_KEPT: Final = "#until <= :now"
CLAIMED_BY_ACCOUNT: Final = "account = :account"
VERSION_AS_READ: Final = "v = :version"
# A write that removes a passkey or an identity must leave a password, a passkey or an identity.
CREDENTIAL_LEFT: Final = (
    "(attribute_exists(verifier) OR size(passkeys) > :passkeys_gone"
    " OR (attribute_exists(identities) AND size(identities) > :identities_gone))"
)
PASSWORD_HASH_AS_READ: Final = "verifier = :verifier_as_read"  # noqa: S105 - an expression

# A new password raises the version and deletes all remembered devices. `REHASH_PASSWORD_HASH` stores a better hash of
# the same password, so the version stays.
REPLACE_PASSWORD_HASH: Final = "SET verifier = :verifier, v = :next_version, remembered = :nothing"  # noqa: S105 - an expression
# Condition and update for the first password of an account that was imported without a password.
WAITS_FOR_PASSWORD: Final = "attribute_not_exists(verifier) AND attribute_exists(migrate)"  # noqa: S105 - an expression
SET_FIRST_PASSWORD: Final = "SET verifier = :verifier, v = :next_version"  # noqa: S105 - an expression
VERIFIED_NOW: Final = "verified_at = if_not_exists(verified_at, :now)"
REHASH_PASSWORD_HASH: Final = "SET verifier = :verifier"  # noqa: S105 - an expression


class Users:
    """``accounts.ports.Users`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Return the account whose current address has this index, or ``None``.

        If the index belongs to an old address that an account keeps, the result is ``None`` too.
        """
        item = self._database.read(self._database.tables.users, email_entry_key(email_index))
        return account_of_entry(item) if item is not None and "until" not in item else None

    def get(self, account: AccountId) -> User | None:
        """Read a user. Return ``None`` if there is none."""
        item = self._database.read(self._database.tables.users, of_account(account))
        return user_of(item) if item is not None else None

    def register(self, user: User, account_state: AccountState) -> Done | AddressTaken:
        """Write e-mail index entry, user and account state in one transaction.

        An expired e-mail index entry counts as missing. If one of the three items exists, nothing is written, and the
        result is ``AddressTaken``. A repetition returns ``Done``.
        """
        tables = self._database.tables
        try:
            self._database.transact(
                put_free(tables.users, user.email_index, user.account, now=user.created_at),
                put_user(tables.users, user),
                put_first(tables.lineages, account_state),
            )
        except TransactionFailed as failed:
            claim, stored, _state = failed.items
            # The encrypted password hash has a random nonce. So only an earlier try of this call can have stored an
            # equal user.
            if stored is not None and user_of(stored) == user:
                return Done()
            return AddressTaken(account_of_entry(claim) if claim is not None else user.account)
        return Done()

    def change_password(self, actor: Actor, password_hash: bytes, *, expected: AccountState, now: int) -> Done | Moved:
        """Replace the password hash, raise the credentials version, and end every login except the actor's.

        If the actor's login began with a handover, it ends too, because it ends with the login of the app. Remembered
        devices are deleted. ``Moved``: a condition in `accounts.ports.Users` is false.
        """
        tables = self._database.tables
        replace_password_hash = expression(
            {
                ":verifier": binary(password_hash),
                ":version": number(actor.credentials_version),
                ":next_version": number(actor.credentials_version + 1),
                ":nothing": remembered_value({}),
            },
            condition=VERSION_AS_READ,
            update=REPLACE_PASSWORD_HASH,
        )
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(actor.account), **replace_password_hash}},
                keep_one(tables.lineages, actor=actor, expected=expected, ended=Ended(now, EndReason.PASSWORD_CHANGED)),
            )
        except TransactionFailed as failed:
            stored, _state = failed.items
            # As in `register`: only an earlier try of this call can have written this ciphertext.
            ours = stored is not None and _password_hash_of(stored) == (password_hash, actor.credentials_version + 1)
            return Done() if ours else Moved()
        return Done()

    def set_first_password(
        self, user: User, password_hash: bytes, *, expected: AccountState, verified: bool, demands: bool, now: int
    ) -> Done | Moved:
        """Set the first password of an account whose password is still in its old system (``User.migrate``)."""
        tables, version = self._database.tables, user.credentials_version
        set_password = expression(
            {
                ":verifier": binary(password_hash),
                ":version": number(version),
                ":next_version": number(version + 1),
                ":now": number(now),
            },
            condition=all_of(VERSION_AS_READ, WAITS_FOR_PASSWORD),
            update=f"{SET_FIRST_PASSWORD}{', ' + VERIFIED_NOW if verified else ''} REMOVE migrate",
        )
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(user.account), **set_password}},
                raise_version_as_read(tables.lineages, expected, demands=demands),
            )
        except TransactionFailed as failed:
            stored, _state = failed.items
            # As in `register`: only an earlier try of this call can have written this ciphertext.
            ours = stored is not None and _password_hash_of(stored) == (password_hash, version + 1)
            return Done() if ours else Moved()
        return Done()

    def rehash(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, expected_password_hash: bytes
    ) -> None:
        """Store a new hash of the same password, if the stored hash and credentials version are as expected.

        Otherwise, do nothing.
        """
        values = {
            ":verifier": binary(password_hash),
            ":version": number(expected_version),
            ":verifier_as_read": binary(expected_password_hash),
        }
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.users,
                Key=of_account(account),
                **expression(
                    values, condition=all_of(VERSION_AS_READ, PASSWORD_HASH_AS_READ), update=REHASH_PASSWORD_HASH
                ),
            )
        except ConditionFailed:
            return

    def forget(self, account: AccountId, email_index: EmailIndex, *, now: int) -> None:
        """Delete passkeys, identities and the user, then the e-mail index entries, which frees the addresses."""
        table = self._database.tables.users
        user = self.get(account)
        for passkey in user.factors.passkeys.values() if user else ():
            with contextlib.suppress(ConditionFailed):
                self._database.write("delete_item", **delete_credential(table, passkey.credential_id, account))
        indexes = [linked.index for linked in user.identities.values()] if user else []
        RemoveIdentities(self._database)(account, indexes, now=now)
        item = self._database.write("delete_item", TableName=table, Key=of_account(account), ReturnValues="ALL_OLD")
        for one in (*(kept.index for kept in _kept_of(item)), *((email_index,) if email_index else ())):
            with contextlib.suppress(ConditionFailed):
                self._database.write("delete_item", **delete_entry(table, one, account)["Delete"])


def put_user(table: str, user: User) -> dict[str, dict[str, object]]:
    """Build the write of a new user, as a part of the transaction of a registration."""
    return {"Put": {"TableName": table, "Item": _user_item(user), **expression({}, condition=IS_NEW)}}


def put_free(
    table: str, email_index: EmailIndex, account: AccountId, *, now: int, or_also: str = ""
) -> dict[str, dict[str, object]]:
    """Build the write of an e-mail index entry. Its condition: the address has no entry, or the entry has expired.

    ``or_also`` is a DynamoDB condition that also permits the write.
    """
    condition = f"{IS_NEW} OR {NO_LONGER_KEPT}" + (f" OR {or_also}" if or_also else "")
    values = {":now": number(now), ":account": text(account)}
    item = {**email_entry_key(email_index), "account": text(account)}
    return {"Put": {"TableName": table, "Item": item, **expression(values, KEPT, condition=condition)}}


def delete_entry(table: str, email_index: EmailIndex, account: AccountId) -> dict[str, dict[str, object]]:
    """Build the deletion of the entry of a current or old address. Its condition: the entry belongs to ``account``."""
    condition = expression({":account": text(account)}, condition=CLAIMED_BY_ACCOUNT)
    return {"Delete": {"TableName": table, "Key": email_entry_key(email_index), **condition}}


def email_entry_key(email_index: EmailIndex) -> Item:
    """Return the primary key of an e-mail index entry in the table ``users``."""
    return {"pk": text(f"E#{email_index}")}


def account_of_entry(item: Item) -> AccountId:
    """Return the account id in an e-mail index entry, even if the entry is of an old address."""
    with reading("e-mail index entry"):
        return AccountId(item["account"]["S"])


def _user_item(user: User) -> Item:
    fields: dict[str, Value] = {
        **({"email": text(user.email), "email_index": text(user.email_index)} if user.email else {}),
        **({} if user.password_hash is None else {"verifier": binary(user.password_hash)}),
        "v": number(user.credentials_version),
        "created_at": number(user.created_at),
    }
    if user.migrate:
        fields["migrate"] = number(1)
    if user.verified_at is not None:
        fields["verified_at"] = number(user.verified_at)
    if user.language is not None:
        fields["language"] = text(user.language)
    if user.reset_mark is not None:
        fields["reset_mark"] = binary(user.reset_mark)
    if user.kept:
        fields["kept"] = kept_value(user.kept)
    if user.identities:
        fields["identities"] = identities_value(user.identities)
    fields["restore"] = restore_keys_value(user.restore)
    return of_account(user.account) | fields | factor_values(user.factors)


def user_of(item: Item) -> User:
    """Return the user that a stored item contains."""
    with reading("user"):
        password_hash, version = _password_hash_of(item)
        return User(
            account=AccountId(item["pk"]["S"].removeprefix("U#")),
            email=item["email"]["S"] if "email" in item else "",
            email_index=EmailIndex(item["email_index"]["S"] if "email_index" in item else ""),
            password_hash=password_hash,
            credentials_version=version,
            created_at=int(item["created_at"]["N"]),
            verified_at=int(item["verified_at"]["N"]) if "verified_at" in item else None,
            language=item["language"]["S"] if "language" in item else None,
            reset_mark=item["reset_mark"]["B"] if "reset_mark" in item else None,
            factors=SecondFactors(
                on="second_factor" in item,
                totp=_totp_of(item) if "totp" in item else None,
                recovery=_recovery_of(item) if "recovery_at" in item else None,
                remembered={key: int(at["N"]) for key, at in item["remembered"]["M"].items()},
                passkeys=passkeys_of(item) if item["passkeys"]["M"] else {},
            ),
            kept=_kept_of(item),
            restore=restore_keys_of(item) if item["restore"]["M"] else {},
            migrate="migrate" in item,
            identities=identities_of(item) if "identities" in item else {},
        )


def kept_value(kept: Sequence[KeptAddress]) -> Value:
    """Return the stored value of an account's old addresses: a list with the fields of each ``KeptAddress``."""
    returns = {True: {"r": number(1)}, False: dict[str, Value]()}
    return {"L": [{"M": {"i": text(one.index), "at": number(one.at), **returns[one.returns]}} for one in kept]}


def _kept_of(item: Item) -> tuple[KeptAddress, ...]:
    stored = [one["M"] for one in item["kept"]["L"]] if "kept" in item else []
    return tuple(KeptAddress(EmailIndex(one["i"]["S"]), int(one["at"]["N"]), "r" in one) for one in stored)


def _password_hash_of(item: Item) -> tuple[bytes | None, int]:
    with reading("user"):
        return item["verifier"]["B"] if "verifier" in item else None, int(item["v"]["N"])


def factor_values(factors: SecondFactors) -> Item:
    """Return the attributes of second factors, passkeys and remembered devices, for the item of the user.

    DynamoDB has no empty set. So if all recovery codes are used, the attribute ``recovery`` is omitted.
    """
    fields: Item = {
        "remembered": remembered_value(factors.remembered),
        "passkeys": {"M": {key: passkey_value(passkey) for key, passkey in factors.passkeys.items()}},
    }
    if factors.on:
        fields["second_factor"] = number(1)
    if factors.totp is not None:
        totp = factors.totp
        fields["totp"], fields["totp_mark"] = binary(totp.sealed), binary(totp.mark)
        fields["totp_step"], fields["totp_at"] = number(totp.step), number(totp.enrolled_at)
        if totp.by_new_key:
            fields["totp_new"] = number(1)
    if factors.recovery is not None:
        codes = factors.recovery
        fields["recovery_at"], fields["recovery_mark"] = number(codes.made_at), binary(codes.mark)
        if codes.digests:
            fields["recovery"] = {"BS": sorted(codes.digests)}
        if codes.used is not None:
            fields["recovery_spent"] = binary(codes.used)
        if codes.by_new_key:
            fields["recovery_new"] = number(1)
    return fields


def remembered_value(remembered: Mapping[str, int]) -> Value:
    """Return the stored value of the remembered devices: a map from key id to the time of the second-factor proof.

    An empty map is stored too, because DynamoDB can add an entry only to a stored map.
    """
    return {"M": {key: number(at) for key, at in remembered.items()}}


def _totp_of(item: Item) -> Totp:
    return Totp(
        sealed=item["totp"]["B"],
        step=int(item["totp_step"]["N"]),
        mark=item["totp_mark"]["B"],
        enrolled_at=int(item["totp_at"]["N"]),
        by_new_key="totp_new" in item,
    )


def _recovery_of(item: Item) -> RecoveryCodes:
    return RecoveryCodes(
        digests=frozenset(item["recovery"]["BS"]) if "recovery" in item else frozenset(),
        made_at=int(item["recovery_at"]["N"]),
        mark=item["recovery_mark"]["B"],
        used=item["recovery_spent"]["B"] if "recovery_spent" in item else None,
        by_new_key="recovery_new" in item,
    )
