"""Empty the tables of the development server. The key ring stays, because the environments have it in their caches."""

import dataclasses
import importlib
from typing import Any, Final

from tools.dev.engine import client

_RING: Final = "K#ring"


def empty(baton: Any) -> None:  # noqa: ANN401 - of the current modules
    """Delete every item of Baton's tables, except the key ring."""
    if baton.settings.storage == "memory":
        _empty_memory()
        return
    from chalicelib.baton.storage.dynamodb.database import KEYS  # noqa: PLC0415 - `make dev` reloads it

    dynamodb = client()
    for table, key in KEYS.items():
        name = baton.database.tables.name(table)
        for page in dynamodb.get_paginator("scan").paginate(TableName=name, ConsistentRead=True):
            for item in page["Items"]:
                if item["pk"].get("S") != _RING:
                    dynamodb.delete_item(TableName=name, Key={part: item[part] for part in key})


def _empty_memory() -> None:
    tables = importlib.import_module("chalicelib.baton.storage.memory.tables").OF_THIS_PROCESS
    with tables.lock:
        for field in dataclasses.fields(tables):
            held = getattr(tables, field.name)
            if isinstance(held, dict):
                held.clear()
        tables.revoked, tables.switches, tables.apple_key = None, "", b""
