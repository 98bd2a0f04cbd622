"""Attribute values of DynamoDB, and how a stored item is read. No I/O.

A stored item that cannot be read is a server error (``errors.Unavailable``). It never ends or refuses a login.
"""

from typing import TypedDict

from chalicelib.baton.errors import Unavailable


class Value(TypedDict, total=False):
    """One attribute value: a string, a number, bytes, a list, a map or a set of bytes."""

    S: str
    N: str
    B: bytes
    L: "list[Value]"
    M: "dict[str, Value]"
    BS: list[bytes]


Item = dict[str, Value]


def text(value: str) -> Value:
    """Return a string as an attribute value."""
    return {"S": value}


def number(value: int) -> Value:
    """Return an integer as an attribute value."""
    return {"N": str(value)}


def binary(value: bytes) -> Value:
    """Return bytes as an attribute value."""
    return {"B": value}


def all_of(*conditions: str) -> str:
    """Join conditions with ``AND``. A condition with ``OR`` must be in parentheses."""
    return " AND ".join(conditions)


class reading:  # noqa: N801 - a context, as those of contextlib
    """A context in which reading a malformed item raises ``Unavailable``."""

    def __init__(self, what: str) -> None:
        """Keep ``what``, the name of the item for the error."""
        self._what = what

    def __enter__(self) -> None:
        """Begin to read."""

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        """Raise ``Unavailable`` in place of an error of a malformed item."""
        if isinstance(error, (KeyError, ValueError, TypeError, IndexError)):
            raise Unavailable(f"malformed {self._what}: {type(error).__name__}") from None
