"""The refresh tokens that wait for their revocation: sixteen items, ``J#apple#<shard>``, each with a map of tokens."""

from typing import Final

from chalicelib.baton.federation.model import TOKENS_PER_SHARD_MAX, TokenToRevoke
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, binary, number, reading, text

IS_NEW: Final = "attribute_not_exists(pk)"
EXISTS: Final = "attribute_exists(pk)"
ADD: Final = "SET tokens.#id = :token"


def token_of(item: Item, account: AccountId) -> bytes:
    """Return the token in the item of an identity of this account, or empty bytes if there is no such token."""
    with reading("identity"):
        return item["refresh"]["B"] if "refresh" in item and item["account"]["S"] == account else b""


class WaitingTokens:
    """The tokens that wait for revocation. The transaction that removes an identity also stores its token here.

    If the shard of the token (one of the sixteen items) is full, this transaction deletes the token instead, and Baton
    never revokes it.
    """

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def add(self, account: AccountId, sealed: bytes, *, now: int) -> dict[str, dict[str, object]] | None:
        """Build the write that adds a token to its shard, for the transaction that removes the token's identity.

        If the item of the shard does not exist, this method writes an empty item first. ``None``: the item is full.
        """
        token = TokenToRevoke(account, sealed, now)
        table, key = self._database.tables.users, shard_key(token.shard)
        empty: Item = {**key, "tokens": {"M": {}}}
        try:
            self._database.write("put_item", TableName=table, Item=empty, **expression({}, condition=IS_NEW))
        except ConditionFailed as failed:
            with reading("waiting tokens"):
                if failed.item is not None and len(failed.item["tokens"]["M"]) >= TOKENS_PER_SHARD_MAX:
                    return None
        entry: Item = {"a": text(token.account), "s": binary(token.sealed), "t": number(token.removed_at)}
        update = expression({":token": {"M": entry}}, {"#id": token.id}, condition=EXISTS, update=ADD)
        return {"Update": {"TableName": table, "Key": key, **update}}


def read_token(stored: Item) -> TokenToRevoke:
    """Decode a waiting token from its entry in the map of a shard."""
    return TokenToRevoke(AccountId(stored["a"]["S"]), stored["s"]["B"], int(stored["t"]["N"]))


def shard_key(shard: int) -> Item:
    """Return the key of the item that has the waiting tokens of a shard."""
    return {"pk": text(f"J#apple#{shard}")}
