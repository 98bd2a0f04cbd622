"""Read JSON that another party signed: one object, without double members. No I/O.

Two parsers may read a double member differently. So a token with one is refused.
"""

import json
from typing import Any, NoReturn

from chalicelib.baton.policy import JSON_DEPTH_MAX


def read_object(encoded: bytes) -> dict[str, Any]:
    """Return the object. Raises ``ValueError``: it is not UTF-8, not one object, too deep, or has a double member."""
    try:
        value = json.loads(
            encoded.decode("utf-8", errors="strict"), object_pairs_hook=_members, parse_constant=_constant
        )
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - no argument has a wrong type
    _check_depth(value)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a double member")
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: object, depth: int = 1) -> None:
    if depth > JSON_DEPTH_MAX:
        raise ValueError("too deep")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _check_depth(child, depth + 1)
