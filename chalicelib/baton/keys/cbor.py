"""Read the part of CBOR (RFC 8949) that WebAuthn and attestation use, strictly. No I/O.

Accepted: integers, byte and text strings, arrays, maps, true, false and null. The keys of a map must be different texts
or integers. Items may be nested at most ``DEPTH_MAX`` deep. Refused: tags, floats, indefinite lengths, and lengths
beyond the end. Baton does not use a general decoder, because such a decoder evaluates tags (one tag compiles a regular
expression), and accepts a map with a repeated key.
"""

from typing import Final

DEPTH_MAX: Final = 8

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _SIMPLE = 0, 1, 2, 3, 4, 5, 7
_SIMPLES: Final = {20: False, 21: True, 22: None}
_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
"""How many bytes of the number follow the first byte, by the value of the lower five bits of the first byte.

A value below 24 is the number itself.
"""

Cbor = int | bytes | str | bool | None | list["Cbor"] | dict[int | str, "Cbor"]


def read_cbor(value: bytes) -> Cbor:
    """Read one item, which must be the whole value. Raises ``ValueError``."""
    item, end = read_cbor_at(value, 0)
    if end != len(value):
        raise ValueError("CBOR: bytes follow the item")
    return item


def read_cbor_at(value: bytes, offset: int, depth: int = 0) -> tuple[Cbor, int]:
    """Read the item at an offset. Return the item and the offset after the item. Raises ``ValueError``."""
    if depth > DEPTH_MAX:
        raise ValueError(f"CBOR: nested deeper than {DEPTH_MAX}")
    kind, number, offset = _head(value, offset)
    match kind:
        case 0:
            return number, offset
        case 1:
            return -1 - number, offset
        case 2 | 3:
            content, offset = _content(value, offset, number)
            return (content if kind == _BYTES else content.decode()), offset
        case 4:
            items: list[Cbor] = []
            for _ in range(number):
                item, offset = read_cbor_at(value, offset, depth + 1)
                items.append(item)
            return items, offset
        case 5:
            return _map(value, offset, number, depth)
        case _:
            if kind != _SIMPLE or number not in _SIMPLES:
                raise ValueError("CBOR: a tag, a float or an unknown simple value")
            return _SIMPLES[number], offset


def encode_byte_string(value: bytes) -> bytes:
    """Encode a byte string of fewer than 65,536 bytes."""
    return b"\x59" + len(value).to_bytes(2, "big") + value


def _map(value: bytes, offset: int, number: int, depth: int) -> tuple[Cbor, int]:
    items: dict[int | str, Cbor] = {}
    for _ in range(number):
        key, offset = read_cbor_at(value, offset, depth + 1)
        if type(key) not in (int, str) or key in items:
            raise ValueError("CBOR: a key that is neither text nor integer, or that is given twice")
        assert isinstance(key, int | str)
        items[key], offset = read_cbor_at(value, offset, depth + 1)
    return items, offset


def _head(value: bytes, offset: int) -> tuple[int, int, int]:
    """Read the first bytes of an item. Return its kind, its number, and the offset after these bytes."""
    first, offset = _content(value, offset, 1)
    kind, low = first[0] >> 5, first[0] & 31
    if low < min(_SIZES):
        return kind, low, offset
    if low not in _SIZES or kind == _SIMPLE:
        raise ValueError("CBOR: an indefinite length, a float or an unknown simple value")
    more, offset = _content(value, offset, _SIZES[low])
    return kind, int.from_bytes(more, "big"), offset


def _content(value: bytes, offset: int, length: int) -> tuple[bytes, int]:
    end = offset + length
    if end > len(value):
        raise ValueError("CBOR: the value ends too early")
    return value[offset:end], end
