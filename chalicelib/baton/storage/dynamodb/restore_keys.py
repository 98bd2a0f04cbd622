"""Restore keys as DynamoDB stores them: a map in the item of the user, by the key id of the device. No I/O."""

from collections.abc import Mapping
from typing import Final

from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.storage.dynamodb.values import Item, Value, binary, number

# `restore` is a reserved word of DynamoDB.
NAMES: Final = {"#restore": "restore"}
SET_KEY: Final = "SET #restore.#device = :restore_key"
NO_RESTORE_KEYS: Final = "#restore = :no_restore_keys"
NONE: Final[Value] = {"M": {}}
"""The stored value without restore keys. The map always exists: DynamoDB can add an entry only to a stored map."""


def restore_key_value(key: RestoreKey) -> Value:
    """Return a restore key as an attribute value: about 120 bytes with a key of P-256."""
    return {"M": {"i": binary(key.credential_id), "k": binary(key.public_key), "r": number(key.made_at)}}


def restore_keys_value(keys: Mapping[str, RestoreKey]) -> Value:
    """Return all restore keys of a user as one attribute value: a map by the key id of the device."""
    return {"M": {device: restore_key_value(key) for device, key in keys.items()}}


def restore_keys_of(item: Item) -> dict[str, RestoreKey]:
    """Read the restore keys in the item of a user. The result maps the key id of each device to its restore key."""
    return {device: _restore_key(value["M"]) for device, value in item["restore"]["M"].items()}


def _restore_key(stored: Item) -> RestoreKey:
    return RestoreKey(stored["i"]["B"], stored["k"]["B"], int(stored["r"]["N"]))
