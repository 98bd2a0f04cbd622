"""Read JSON strictly: one object, without duplicate members. No I/O.

Two programs may read a duplicate member differently: one checks the first value, and the other uses the second.
"""

import json
import math
from typing import Any, Literal, NoReturn

from chalicelib.baton.policy import JSON_DEPTH_MAX


class NotStrict(ValueError):
    """The text is not strict JSON. ``name`` is the name of the duplicate member, or empty for any other ``reason``."""

    def __init__(
        self,
        reason: Literal["not JSON", "not an object", "constant", "number", "depth", "a member is given twice"],
        name: str = "",
    ) -> None:
        """Keep reason and name."""
        super().__init__(reason)
        self.reason = reason
        self.name = name


def read_object(encoded: bytes) -> dict[str, Any]:
    """Decode a JSON object from its bytes.

    Raises ``NotStrict``:

    - The bytes are not JSON in UTF-8, or the value is not an object.
    - The value has more than ``JSON_DEPTH_MAX`` levels.
    - A member is given twice.
    - A number is NaN, Infinity or a float that is out of range, such as ``1e999``.
    """
    try:
        value = json.loads(
            encoded.decode("utf-8", errors="strict"),
            object_pairs_hook=_members,
            parse_constant=_constant,
            parse_float=_finite,
        )
    except NotStrict:
        raise
    except RecursionError:
        raise NotStrict("depth") from None
    except ValueError:
        raise NotStrict("not JSON") from None
    if not isinstance(value, dict):
        raise NotStrict("not an object")
    _check_depth(value)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise NotStrict("a member is given twice", name)
        members[name] = value
    return members


def _constant(_: str) -> NoReturn:
    raise NotStrict("constant")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrict("number")
    return number


def _check_depth(value: object, depth: int = 1) -> None:
    if depth > JSON_DEPTH_MAX:
        raise NotStrict("depth")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _check_depth(child, depth + 1)
