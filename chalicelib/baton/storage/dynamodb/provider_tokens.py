"""Refresh tokens of identities, tokens that wait for their revocation, and the private key for Apple.

The refresh token of an identity is in the item of the identity. The waiting tokens are in sixteen items, the shards
(``J#apple#<shard>``). Each of these items has a map of tokens. The tokens and the key are sealed (encrypted).
"""

import contextlib
from typing import Final

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.federation.model import TokenToRevoke
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.identity_items import identity_key
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, binary, number, reading, text
from chalicelib.baton.storage.dynamodb.waiting_tokens import read_token, shard_key, token_of

OF_ACCOUNT: Final = "account = :account"
KEEP: Final = "SET refresh = :sealed, refreshed_at = :now"
STORED_UNTIL: Final = "account = :account AND refreshed_at <= :until"
DROP: Final = "REMOVE refresh, refreshed_at"
WAITS: Final = "attribute_exists(tokens.#id)"
END: Final = "REMOVE tokens.#id"

APPLE_KEY: Final[Item] = {"pk": text("K#provider#apple")}


class StoredProviderTokens:
    """``federation.ports.ProviderTokens`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def keep(self, index: str, account: AccountId, sealed: bytes, *, now: int) -> Done | Refused:
        """Store the token of an identity. ``Refused``: this account does not have the identity."""
        values = {":account": text(account), ":sealed": binary(sealed), ":now": number(now)}
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.users,
                Key=identity_key(index),
                **expression(values, condition=OF_ACCOUNT, update=KEEP),
            )
        except ConditionFailed:
            return Refused()
        return Done()

    def of(self, index: str, account: AccountId) -> bytes:
        """Return the token of an identity of this account, or empty bytes."""
        item = self._database.read(self._database.tables.users, identity_key(index))
        return token_of(item, account) if item is not None else b""

    def drop(self, index: str, account: AccountId, *, until: int) -> None:
        """Delete the token of an identity of this account, if it was stored at ``until`` or earlier."""
        values = {":account": text(account), ":until": number(until)}
        with contextlib.suppress(ConditionFailed):
            self._database.write(
                "update_item",
                TableName=self._database.tables.users,
                Key=identity_key(index),
                **expression(values, condition=STORED_UNTIL, update=DROP),
            )

    def waiting(self, shard: int) -> tuple[TokenToRevoke, ...]:
        """Return the waiting tokens of a shard. The token that has waited longest is first."""
        item = self._database.read(self._database.tables.users, shard_key(shard))
        if item is None:
            return ()
        with reading("tokens to revoke"):
            tokens = [read_token(one["M"]) for one in item["tokens"]["M"].values()]
        return tuple(sorted(tokens, key=lambda token: (token.removed_at, token.id)))

    def end(self, token: TokenToRevoke) -> None:
        """Delete a token from the waiting tokens. A repetition is safe."""
        with contextlib.suppress(ConditionFailed):
            self._database.write(
                "update_item",
                TableName=self._database.tables.users,
                Key=shard_key(token.shard),
                **expression({}, {"#id": token.id}, condition=WAITS, update=END),
            )

    def apple_key(self) -> bytes:
        """Return the sealed private key for Apple, or empty bytes."""
        item = self._database.read(self._database.tables.users, APPLE_KEY)
        if item is None:
            return b""
        with reading("key for Apple"):
            return item["sealed"]["B"]

    def replace_apple_key(self, sealed: bytes) -> None:
        """Store the sealed private key for Apple, in place of an earlier key."""
        self._database.write(
            "put_item", TableName=self._database.tables.users, Item={**APPLE_KEY, "sealed": binary(sealed)}
        )
