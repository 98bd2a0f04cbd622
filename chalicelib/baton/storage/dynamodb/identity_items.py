"""Items of identities at providers, ``I#<provider>#<index>``, and the map of them in the item of a user.

Every removal of an identity is made of `removals`: an unlink, a claim, an undo, and a deletion.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, Value, number, text

NOT_OF_OTHERS: Final = "attribute_not_exists(pk) OR account = :account"


def identity_key(index: str) -> Item:
    """Return the key of an identity."""
    return {"pk": text(f"I#{index}")}


def removals(
    database: DynamoDB, account: AccountId, indexes: Iterable[str], *, now: int
) -> tuple[dict[str, dict[str, object]], ...]:
    """Build the parts of a transaction that delete identities of an account at ``now`` (seconds).

    An identity that is gone already does no harm. One of another account cancels the transaction.
    """
    del now
    condition = expression({":account": text(account)}, condition=NOT_OF_OTHERS)
    table = database.tables.users
    return tuple({"Delete": {"TableName": table, "Key": identity_key(index), **condition}} for index in indexes)


def identities_value(identities: Mapping[int, LinkedIdentity]) -> Value:
    """Return the value of the identities of a user, by the code of the provider."""
    return {"M": {str(code): _value(linked) for code, linked in identities.items()}}


def identities_of(item: Item) -> dict[int, LinkedIdentity]:
    """Read the identities of a user."""
    return {int(code): _linked(value["M"]) for code, value in item["identities"]["M"].items()}


def _value(linked: LinkedIdentity) -> Value:
    email: Item = {"e": text(linked.email)} if linked.email else {}
    by_new_key: Item = {"n": number(1)} if linked.by_new_key else {}
    return {"M": {"i": text(linked.index), "t": number(linked.linked_at), **email, **by_new_key}}


def _linked(stored: Item) -> LinkedIdentity:
    email = stored["e"]["S"] if "e" in stored else ""
    return LinkedIdentity(stored["i"]["S"], int(stored["t"]["N"]), email, by_new_key="n" in stored)
