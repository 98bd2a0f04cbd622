"""Users: people, found through claims on their e-mail address. No exchange ever comes here."""

from typing import Final

from chalicelib.baton.accounts.ports import Taken
from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.lineages.model import Actor, Gate
from chalicelib.baton.storage.aws.service import ConditionFailed, TransactionFailed
from chalicelib.baton.storage.dynamodb.database import Engine
from chalicelib.baton.storage.dynamodb.items import (
    Item,
    Value,
    all_of,
    binary,
    expression,
    number,
    of_account,
    reading,
    text,
)
from chalicelib.baton.storage.dynamodb.lineages import keep_one, put_first

IS_NEW: Final = "attribute_not_exists(pk)"
CLAIMED_BY_ACCOUNT: Final = "account = :account"
VERSION_AS_READ: Final = "verifier_version = :version"
VERIFIER_AS_READ: Final = "verifier = :verifier_as_read"

# A new password: a new version. A better hash of the same password: the same version.
REPLACE_VERIFIER: Final = "SET verifier = :verifier, verifier_version = :next_version"
REHASH_VERIFIER: Final = "SET verifier = :verifier"


class Users:
    """``ports.Users`` on DynamoDB."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine."""
        self._engine = engine

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Find the account that claims an e-mail address."""
        item = self._engine.read(self._engine.tables.users, _claim_key(email_index))
        return _claimed_by(item) if item is not None else None

    def get(self, account: AccountId) -> User | None:
        """Read a user."""
        item = self._engine.read(self._engine.tables.users, of_account(account))
        return _user_of(item) if item is not None else None

    def register(self, user: User, gate: Gate) -> Done | Taken:
        """Write claim, user and gate, all of them or none, each of which must not exist."""
        tables = self._engine.tables
        try:
            self._engine.transact(
                _put_new(tables.users, _claim_item(user)),
                _put_new(tables.users, _user_item(user)),
                put_first(tables.gates, gate),
            )
        except TransactionFailed as failed:
            claim, stored, _gate = failed.items
            # A verifier is sealed with fresh random bytes: the very same one is there by our own earlier sending.
            if stored is not None and _user_of(stored) == user:
                return Done()
            return Taken(_claimed_by(claim) if claim is not None else user.account)
        return Done()

    def change_password(self, actor: Actor, verifier: bytes, *, expected: Gate, now: int) -> Done | Moved:
        """Replace the verifier, raise verifier version and epoch, and keep the actor's lineage: all or none."""
        tables = self._engine.tables
        replace_verifier = expression(
            {
                ":verifier": binary(verifier),
                ":version": number(actor.verifier_version),
                ":next_version": number(actor.verifier_version + 1),
            },
            condition=VERSION_AS_READ,
            update=REPLACE_VERIFIER,
        )
        try:
            self._engine.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(actor.account), **replace_verifier}},
                keep_one(tables.gates, actor=actor, expected=expected, now=now),
            )
        except TransactionFailed as failed:
            stored, _gate = failed.items
            # As in `register`: our own verifier, one version on, is there by our own earlier sending alone.
            ours = stored is not None and _verifier_of(stored) == (verifier, actor.verifier_version + 1)
            return Done() if ours else Moved()
        return Done()

    def rehash(self, account: AccountId, verifier: bytes, *, expected_version: int, expected_verifier: bytes) -> None:
        """Replace a verifier by one of the same password and better parameters, when nobody else changed it."""
        values = {
            ":verifier": binary(verifier),
            ":version": number(expected_version),
            ":verifier_as_read": binary(expected_verifier),
        }
        try:
            self._engine.write(
                "update_item",
                TableName=self._engine.tables.users,
                Key=of_account(account),
                **expression(values, condition=all_of(VERSION_AS_READ, VERIFIER_AS_READ), update=REHASH_VERIFIER),
            )
        except ConditionFailed:
            return

    def forget(self, account: AccountId, email_index: EmailIndex) -> None:
        """Remove the user, and its claim last, so that the e-mail address becomes free."""
        table = self._engine.tables.users
        self._engine.write("delete_item", TableName=table, Key=of_account(account))
        try:
            self._engine.write(
                "delete_item",
                TableName=table,
                Key=_claim_key(email_index),
                **expression({":account": text(account)}, condition=CLAIMED_BY_ACCOUNT),
            )
        except ConditionFailed:
            return


def _put_new(table: str, item: Item) -> dict[str, dict[str, object]]:
    return {"Put": {"TableName": table, "Item": item, **expression({}, condition=IS_NEW)}}


def _claim_key(email_index: EmailIndex) -> Item:
    return {"pk": text(f"E#{email_index}")}


def _claim_item(user: User) -> Item:
    return {**_claim_key(user.email_index), "account": text(user.account)}


def _claimed_by(item: Item) -> AccountId:
    with reading("claim"):
        return AccountId(item["account"]["S"])


def _user_item(user: User) -> Item:
    fields: dict[str, Value] = {
        "email": text(user.email),
        "email_index": text(user.email_index),
        "verifier": binary(user.verifier),
        "verifier_version": number(user.verifier_version),
        "created_at": number(user.created_at),
    }
    return of_account(user.account) | fields


def _user_of(item: Item) -> User:
    with reading("user"):
        verifier, version = _verifier_of(item)
        return User(
            account=AccountId(item["pk"]["S"].removeprefix("U#")),
            email=item["email"]["S"],
            email_index=EmailIndex(item["email_index"]["S"]),
            verifier=verifier,
            verifier_version=version,
            created_at=int(item["created_at"]["N"]),
        )


def _verifier_of(item: Item) -> tuple[bytes, int]:
    with reading("user"):
        return item["verifier"]["B"], int(item["verifier_version"]["N"])
