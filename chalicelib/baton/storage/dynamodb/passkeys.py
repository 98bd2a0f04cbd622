"""Passkeys as DynamoDB stores them. No I/O.

The item of the user has a map of the passkeys. For each passkey, another item, whose key begins with ``C#``, maps the
credential to its account. A passkey can be added only if its ``C#`` item does not exist. So a credential belongs to
only one account.

To add or remove a passkey, one transaction changes the map and the ``C#`` item. The deletion of an account uses
separate writes: it first deletes the ``C#`` items, then the item of the user.
"""

import hashlib
from typing import Final

from chalicelib.baton.factors.model import PASSKEYS_MAX, Passkey
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, Value, binary, number, reading, text

ROOM_FOR_ONE: Final = "size(passkeys) < :passkeys_max"
NO_PASSKEY: Final = "attribute_not_exists(passkeys.#passkey)"
HAS_PASSKEY: Final = "attribute_exists(passkeys.#passkey)"
SAME_KEY: Final = "passkeys.#passkey.#key = :key"
COUNTER_GROWS: Final = "passkeys.#passkey.#counter <= :counter"
CREDENTIAL_IS_NEW: Final = "attribute_not_exists(pk)"
CREDENTIAL_NOT_OF_OTHERS: Final = "attribute_not_exists(pk) OR account = :account"

ADD_PASSKEY: Final = "passkeys.#passkey = :passkey"
NO_PASSKEYS: Final = "passkeys = :no_passkeys"
REMOVE_PASSKEY: Final = "passkeys.#passkey"
USE_PASSKEY: Final = (
    "SET passkeys.#passkey.#counter = :counter, passkeys.#passkey.#flags = :flags, passkeys.#passkey.#used = :used"
)
RENAME_PASSKEY: Final = "SET passkeys.#passkey.#name = :name"
NAMES: Final = {"#key": "k", "#counter": "c", "#flags": "f", "#used": "u", "#name": "n"}
"""The stored names of the passkey members that a write expression mentions."""

ROOM: Final = number(PASSKEYS_MAX)

_BACKUP_ELIGIBLE, _BACKED_UP, _BY_NEW_KEY = 1, 2, 4
_NO_AAGUID: Final = bytes(16)


def passkey_value(passkey: Passkey) -> Value:
    """Return a passkey as an attribute value.

    With a P-256 key, and a name and a credential id of 16 bytes each, the value has about 170 bytes.
    """
    stored: Item = {
        "i": binary(passkey.credential_id),
        "k": binary(passkey.public_key),
        "c": number(passkey.counter),
        "f": flags_value(passkey),
        "t": text(" ".join(passkey.transports)),
        "n": text(passkey.name),
        "r": number(passkey.added_at),
        "u": number(passkey.used_day),
    }
    if passkey.aaguid != _NO_AAGUID:
        stored["a"] = binary(passkey.aaguid)
    return {"M": stored}


def flags_value(passkey: Passkey) -> Value:
    """Return the flags of a passkey as one number, with one bit for each flag."""
    return number(
        _BACKUP_ELIGIBLE * passkey.backup_eligible + _BACKED_UP * passkey.backed_up + _BY_NEW_KEY * passkey.by_new_key
    )


def passkeys_of(item: Item) -> dict[str, Passkey]:
    """Read the passkeys in the item of a user, by passkey id."""
    return {key: _passkey(value["M"]) for key, value in item["passkeys"]["M"].items()}


def credential_key(credential_id: bytes) -> Item:
    """Return the key of the item that maps a credential to its account."""
    return {"pk": text(f"C#{encode_base64url(hashlib.sha256(credential_id).digest())}")}


def put_credential(table: str, credential_id: bytes, account: AccountId) -> dict[str, dict[str, object]]:
    """Build the part of a transaction that gives a credential to an account, if no account has it."""
    item = {**credential_key(credential_id), "account": text(account)}
    return {"Put": {"TableName": table, "Item": item, **expression({}, condition=CREDENTIAL_IS_NEW)}}


def delete_credential(table: str, credential_id: bytes, account: AccountId) -> dict[str, object]:
    """Build the write that deletes the item of a credential, unless the item belongs to another account."""
    condition = expression({":account": text(account)}, condition=CREDENTIAL_NOT_OF_OTHERS)
    return {"TableName": table, "Key": credential_key(credential_id), **condition}


def account_of_credential(item: Item) -> AccountId:
    """Read which account has a credential, from the item of the credential."""
    with reading("credential"):
        return AccountId(item["account"]["S"])


def _passkey(stored: Item) -> Passkey:
    flags = int(stored["f"]["N"])
    return Passkey(
        credential_id=stored["i"]["B"],
        public_key=stored["k"]["B"],
        counter=int(stored["c"]["N"]),
        backup_eligible=bool(flags & _BACKUP_ELIGIBLE),
        backed_up=bool(flags & _BACKED_UP),
        transports=tuple(stored["t"]["S"].split()),
        name=stored["n"]["S"],
        added_at=int(stored["r"]["N"]),
        used_day=int(stored["u"]["N"]),
        aaguid=stored["a"]["B"] if "a" in stored else _NO_AAGUID,
        by_new_key=bool(flags & _BY_NEW_KEY),
    )
