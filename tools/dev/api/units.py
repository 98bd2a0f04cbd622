"""The sizes of items and the capacity units of calls by DynamoDB's rules, for an engine that does not count them.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from chalicelib.baton.storage.dynamodb.values import Item, Value

WRITE_UNIT_BYTES: Final = 1024
READ_UNIT_BYTES: Final = 4096

READS: Final = frozenset({"get_item", "query", "scan"})


def size_of_item(item: Item) -> int:
    """Return the size of an item in bytes: the sum of its attribute names and values."""
    return sum(len(name.encode()) + size_of(value) for name, value in item.items())


def size_of(value: Value) -> int:
    """Return the size of one value in bytes. A map or a list costs 3 bytes, plus 1 byte for each element."""
    [(kind, held)] = value.items()
    match kind, held:
        case "S", str():
            return len(held.encode())
        case "B", bytes() | str():
            return _length(held)
        case "N", str():
            digits = held.lstrip("-").strip("0") or "0"
            return (len(digits) + 1) // 2 + 1 + held.startswith("-")
        case "M", dict():
            return 3 + sum(1 + len(name.encode()) + size_of(inner) for name, inner in held.items())
        case "L", list():
            return 3 + sum(1 + size_of(inner) for inner in held)
        case "BS", list() | set() | frozenset():
            return sum(map(_length, held))
        case _:
            raise AssertionError(kind)


def _length(held: bytes | str) -> int:
    """Return the number of bytes. The embedded database has bytes in base64."""
    return len(held) if isinstance(held, bytes) else len(held) * 3 // 4 - held.count("=")


def write_units(size: int) -> int:
    """Return the write units of an item. A write costs at least one unit."""
    return max(1, -(-size // WRITE_UNIT_BYTES))


def read_units(size: int) -> int:
    """Return the read units of a strongly consistent read. A read costs at least one unit."""
    return max(1, -(-size // READ_UNIT_BYTES))


def counted(consumed: object) -> float | None:
    """Return the units in ``ConsumedCapacity``, summed over the tables. ``None``: the units of a table are missing."""
    listed = consumed if isinstance(consumed, list) else [consumed] if isinstance(consumed, dict) else []
    units = [float(one["CapacityUnits"]) for one in listed if "CapacityUnits" in one]
    return sum(units) if units and len(units) == len(listed) else None


Stored = Callable[[str, Item], int | None]
"""Return the size of the item that a table has under a key."""


def items_of(
    operation: str, request: Mapping[str, Any], answer: Mapping[str, Any], stored: Stored | None
) -> list[int | None]:
    """Return the size in bytes of each item that a call read or wrote. ``None``: unknown, as for a deleted item.

    A query or scan has only one size, the sum of its items.
    """
    match operation:
        case "get_item":
            return [size_of_item(answer["Item"]) if "Item" in answer else 0]
        case "query" | "scan":
            return [sum(map(size_of_item, answer.get("Items", ())))]
        case "batch_write_item":
            return [None for requests in request["RequestItems"].values() for _ in requests]
        case _:
            parts = request.get("TransactItems", ())
            writes = [request] if "TableName" in request else [write for one in parts for write in one.values()]
            return [_written(write, stored) for write in writes]


def _written(write: Mapping[str, Any], stored: Stored | None) -> int | None:
    if "Item" in write:
        return size_of_item(write["Item"])
    return stored(write["TableName"], write["Key"]) if stored and "Key" in write else None


def computed(operation: str, sizes: list[int | None]) -> tuple[int, int]:
    """Return the read and the write units of a call, computed from the sizes. An unknown size counts as one unit.

    A transaction costs twice the units.
    """
    if operation in READS:
        return sum(read_units(size or 0) for size in sizes), 0
    each = 2 if operation == "transact_write_items" else 1
    return 0, sum(each * write_units(size or 0) for size in sizes)
