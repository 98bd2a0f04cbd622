"""The names of the conditions of Baton's writes: constants in ``storage/dynamodb/``, such as ``CURRENT``."""

import functools
import importlib
from collections.abc import Mapping
from typing import Final

_MODULES: Final = (
    "state_writes",
    "accounts",
    "audit",
    "factors",
    "key_ring",
    "mail_users",
    "once",
    "one_time",
    "passkeys",
)
_AND: Final = " AND "


@functools.lru_cache(maxsize=256)
def name_of(expression: str) -> str:
    """Return the name of a condition expression. If it has none, return the names of its parts, joined by `` + ``.

    A part that has no name is returned as it is.
    """
    known = _known()
    if expression in known:
        return known[expression]
    parts, named = expression.split(_AND), []
    while parts:
        # Take the longest beginning that has a name: a tuple of conditions can have its own name.
        length = next((end for end in range(len(parts), 1, -1) if _AND.join(parts[:end]) in known), 1)
        named.append(known.get(_AND.join(parts[:length]), parts[0]))
        parts = parts[length:]
    return " + ".join(dict.fromkeys(named))


@functools.cache
def _known() -> Mapping[str, str]:
    known: dict[str, str] = {}
    for module in _MODULES:
        for name, value in vars(importlib.import_module(f"chalicelib.baton.storage.dynamodb.{module}")).items():
            if name.isupper() and isinstance(value, str):
                known.setdefault(value, name)
            elif name.isupper() and isinstance(value, tuple) and all(isinstance(part, str) for part in value):
                known.setdefault(_AND.join(value), name)
    return known
