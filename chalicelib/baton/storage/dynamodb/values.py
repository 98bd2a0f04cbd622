"""Attribute values of DynamoDB, and how a stored item is read. No I/O.

A stored item that cannot be read is a server error (``errors.Unavailable``), never a verdict.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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
    """Return the value of a string."""
    return {"S": value}


def number(value: int) -> Value:
    """Return the value of an integer."""
    return {"N": str(value)}


def binary(value: bytes) -> Value:
    """Return the value of bytes."""
    return {"B": value}


def all_of(*conditions: str) -> str:
    """Join conditions, all of which must be true."""
    return " AND ".join(conditions)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise ``Unavailable`` for an item that is not as Baton writes it."""
    try:
        yield
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise Unavailable(f"malformed {what}: {type(error).__name__}") from None
