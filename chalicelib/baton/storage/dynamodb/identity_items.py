"""Items of identities at providers, ``I#<provider>#<index>``, and the map of them in the item of a user."""

from collections.abc import Mapping
from typing import Final

from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, Value, number, text

OF_ACCOUNT: Final = "account = :account"


def identity_key(index: str) -> Item:
    """Return the key of an identity."""
    return {"pk": text(f"I#{index}")}


def delete_identity(table: str, index: str, account: AccountId) -> dict[str, object]:
    """Build the deletion of an identity of this account."""
    condition = expression({":account": text(account)}, condition=OF_ACCOUNT)
    return {"TableName": table, "Key": identity_key(index), **condition}


def identities_value(identities: Mapping[int, LinkedIdentity]) -> Value:
    """Return the value of the identities of a user, by the code of the provider."""
    return {"M": {str(code): _value(linked) for code, linked in identities.items()}}


def identities_of(item: Item) -> dict[int, LinkedIdentity]:
    """Read the identities of a user."""
    return {int(code): _linked(value["M"]) for code, value in item["identities"]["M"].items()}


def _value(linked: LinkedIdentity) -> Value:
    email: Item = {"e": text(linked.email)} if linked.email else {}
    return {"M": {"i": text(linked.index), "t": number(linked.linked_at), **email}}


def _linked(stored: Item) -> LinkedIdentity:
    return LinkedIdentity(stored["i"]["S"], int(stored["t"]["N"]), stored["e"]["S"] if "e" in stored else "")
