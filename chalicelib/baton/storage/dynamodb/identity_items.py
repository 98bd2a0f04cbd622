"""Items of identities at providers, ``I#<code of the provider>#<HMAC>``, and the map of them in the item of a user.

Every removal of an identity uses `removals`: an unlink, a claim, an undo, a loss at the provider, and a deletion. If
the item has a refresh token of Apple, the same transaction adds this token to the tokens that wait for revocation
(`waiting_tokens`): a deletion alone would lose the token. If there is no room for the token, it is lost.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.assurance import APPLE_CODE
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.storage.aws.service import TransactionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, Value, binary, number, text

NOT_OF_OTHERS: Final = "attribute_not_exists(pk) OR account = :account"
AS_READ: Final = "attribute_not_exists(pk) OR (account = :account AND refresh = :refresh)"
HAS_NONE: Final = "attribute_not_exists(pk) OR (account = :account AND attribute_not_exists(refresh))"


def identity_key(index: str) -> Item:
    """Return the DynamoDB key of the item of an identity."""
    return {"pk": text(f"I#{index}")}


def removals(
    database: DynamoDB, account: AccountId, indexes: Iterable[str], *, now: int
) -> tuple[dict[str, dict[str, object]], ...]:
    """Build the parts of a transaction that delete identities of an account at ``now`` (seconds).

    An identity that is already deleted does no harm. The transaction fails in two cases:

    - An identity belongs to another account.
    - A refresh token of Apple changed after this function read it. The caller must build the parts again.
    """
    return tuple(part for index in indexes for part in _removal(database, account, index, now=now))


class RemoveIdentities:
    """Remove the identities of a deleted account."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def __call__(self, account: AccountId, indexes: Iterable[str], *, now: int) -> None:
        """Remove each identity, unless it now belongs to another account. Raises ``Unavailable`` as `remove` does."""
        for index in indexes:
            self.remove(account, index, now=now)

    def remove(self, account: AccountId, index: str, *, now: int) -> None:
        """Remove one identity, unless it now belongs to another account.

        If the refresh token of the identity changes meanwhile, this method tries again. Raises ``Unavailable`` after
        ``START_OVER_MAX`` tries.
        """
        for _ in range(START_OVER_MAX):
            try:
                self._database.transact(*removals(self._database, account, (index,), now=now))
            except TransactionFailed as failed:
                item = failed.items[-1]
                if item is not None and item["account"]["S"] != account:
                    return
            else:
                return
        raise Unavailable("the token of an identity kept changing while it was removed", by_caller=True)


def _removal(database: DynamoDB, account: AccountId, index: str, *, now: int) -> Iterator[dict[str, dict[str, object]]]:
    key = {"TableName": database.tables.users, "Key": identity_key(index)}
    values: dict[str, Value] = {":account": text(account)}
    if not index.startswith(f"{APPLE_CODE}#"):
        yield {"Delete": {**key, **expression(values, condition=NOT_OF_OTHERS)}}
        return
    from chalicelib.baton.storage.dynamodb.waiting_tokens import WaitingTokens, token_of  # noqa: PLC0415 - cold start

    item = database.read(database.tables.users, identity_key(index))
    sealed = token_of(item, account) if item is not None else b""
    if sealed:
        values[":refresh"] = binary(sealed)
        waits = WaitingTokens(database).add(account, sealed, now=now)
        if waits is not None:
            yield waits
    yield {"Delete": {**key, **expression(values, condition=AS_READ if sealed else HAS_NONE)}}


def identities_value(identities: Mapping[int, LinkedIdentity]) -> Value:
    """Return the stored value of the identities of a user: a map from the code of the provider to the identity."""
    return {"M": {str(code): _value(linked) for code, linked in identities.items()}}


def identities_of(item: Item) -> dict[int, LinkedIdentity]:
    """Read the identities from the item of a user: a map from the code of the provider to the identity."""
    return {int(code): _linked(value["M"]) for code, value in item["identities"]["M"].items()}


def _value(linked: LinkedIdentity) -> Value:
    email: Item = {"e": text(linked.email)} if linked.email else {}
    by_new_key: Item = {"n": number(1)} if linked.by_new_key else {}
    return {"M": {"i": text(linked.index), "t": number(linked.linked_at), **email, **by_new_key}}


def _linked(stored: Item) -> LinkedIdentity:
    email = stored["e"]["S"] if "e" in stored else ""
    return LinkedIdentity(stored["i"]["S"], int(stored["t"]["N"]), email, by_new_key="n" in stored)
