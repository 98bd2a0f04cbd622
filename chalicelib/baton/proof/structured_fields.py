"""Structured field values (RFC 9651): dictionaries, lists and items.

The parser follows section 4.2. Two points are choices of Baton:

- A key that occurs twice is refused, in a dictionary and in parameters. RFC 9651 uses the last value. A proxy that uses
  the first value would check another signature than Baton does.
- A byte sequence without padding is accepted, and also a byte sequence whose pad bits are not zero (section 4.2.7).

Each private function that reads a value takes the text and the place where the value begins. It returns the value and
the place after the value.
"""

import binascii
import re
import string
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from msgspec import Struct


class Token(Struct, frozen=True):
    """A token (section 3.3.4). It does not equal the string with the same text."""

    text: str


class Date(Struct, frozen=True):
    """A date (section 3.3.7), in seconds since the epoch."""

    seconds: int


class DisplayString(Struct, frozen=True):
    """A Unicode string (section 3.3.8)."""

    text: str


BareItem: TypeAlias = int | Decimal | str | Token | bytes | bool | Date | DisplayString
Parameters: TypeAlias = Mapping[str, BareItem]
Item: TypeAlias = tuple[BareItem, Parameters]
InnerList: TypeAlias = tuple[list[Item], Parameters]


class NotStructured(ValueError):
    """The text is not the structured field that the caller expected.

    The message has the place of the error, counted from 1. It never quotes the text.
    """

    def __init__(self, at: int, problem: str) -> None:
        """Describe a problem at the index ``at``."""
        super().__init__(f"at character {at + 1}: {problem}")


def parse_dictionary(text: str) -> dict[str, Item | InnerList]:
    """Parse a dictionary (section 4.2.2). Raises ``NotStructured``."""
    members: dict[str, Item | InnerList] = {}
    at, end = _begin(text), len(text)
    while at < end:
        start = at
        key, at = _key(text, at)
        member: Item | InnerList
        if text[at : at + 1] == "=":
            member, at = _item_or_inner_list(text, at + 1)
        else:
            parameters, at = _parameters(text, at)
            member = True, parameters
        if key in members:
            raise NotStructured(start, "a duplicate key")
        members[key] = member
        at = _next_member(text, at)
    return members


def parse_list(text: str) -> list[Item | InnerList]:
    """Parse a list (section 4.2.1). Raises ``NotStructured``."""
    members = []
    at, end = _begin(text), len(text)
    while at < end:
        member, at = _item_or_inner_list(text, at)
        members.append(member)
        at = _next_member(text, at)
    return members


def parse_item(text: str) -> Item:
    """Parse an item (section 4.2.3). Raises ``NotStructured``."""
    item, at = _item(text, _begin(text))
    at = _after(_SPACES, text, at)
    if at < len(text):
        raise NotStructured(at, "expected the end of the field")
    return item


_SPACES = re.compile(" *")
_WHITESPACE = re.compile("[ \t]*")
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_PARAMETER = re.compile(r'; *(?:([a-z*][a-z0-9_.*-]*)(?:="([ !#-\[\]-~]*)"|=(-?[0-9]{1,15})(?![0-9.])|(=?)))?')
"""A parameter. If its value is an integer or a string without escapes, the match includes the value. If the parameter
has another value, the match ends after the ``=``."""
_PLAIN_LIST = re.compile(r'\((?: *+"[ !#-\[\]-~]*"(?=[ )]))*+ *+\)')
"""An inner list of strings, without escapes or parameters: the covered components of nearly every signature."""
_NUMBER = re.compile(r"-?([0-9]+)(?:\.([0-9]*))?")
_PLAIN_STRING = re.compile(r'"([ !#-\[\]-~]*)"')
_STRING = re.compile(r'"((?:[ !#-\[\]-~]+|\\["\\])*+)')
_ESCAPED = re.compile(r'\\(["\\])')
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2})")
_DISPLAY = re.compile(r'%"((?:[ !#$&-~]+|%[0-9a-f]{2})*+)')
_INTEGER_DIGITS_MAX = 15
_DECIMAL_DIGITS_MAX = 12
_FRACTION_DIGITS_MAX = 3


def _begin(text: str) -> int:
    """Find the first character of the value (section 4.2, steps 1 and 2)."""
    if not text.isascii():
        raise NotStructured(next(at for at, character in enumerate(text) if character > "\x7f"), "not ASCII")
    return _after(_SPACES, text, 0)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return the place after the match of a pattern. The match can be empty."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _next_member(text: str, at: int) -> int:
    """Step over a comma to the next member of a dictionary or list.

    After the last member, step to the end of the text.
    """
    at = _after(_WHITESPACE, text, at)
    if at == len(text):
        return at
    if text[at] != ",":
        raise NotStructured(at, "expected a comma or the end of the field")
    at = _after(_WHITESPACE, text, at + 1)
    if at == len(text):
        raise NotStructured(at, "expected a member after the comma")
    return at


def _key(text: str, at: int) -> tuple[str, int]:
    found = _KEY.match(text, at)
    if found is None:
        raise NotStructured(at, "expected a key in lower case")
    return found[0], found.end()


def _item_or_inner_list(text: str, at: int) -> tuple[Item | InnerList, int]:
    return _inner_list(text, at) if text[at : at + 1] == "(" else _item(text, at)


def _inner_list(text: str, at: int) -> tuple[InnerList, int]:
    """Read an inner list (section 4.2.1.2)."""
    items: list[Item] = []
    if plain := _PLAIN_LIST.match(text, at):
        items += [(name, {}) for name in plain[0].split('"')[1::2]]
        parameters, at = _parameters(text, plain.end())
        return (items, parameters), at
    at = _after(_SPACES, text, at + 1)
    while text[at : at + 1] != ")":
        item, at = _item(text, at)
        items.append(item)
        follows = text[at : at + 1]
        if follows == " ":
            at = _after(_SPACES, text, at)
        elif follows != ")":
            raise NotStructured(at, "expected a space or `)`")
    parameters, at = _parameters(text, at + 1)
    return (items, parameters), at


def _item(text: str, at: int) -> tuple[Item, int]:
    value, at = _bare_item(text, at)
    if text[at : at + 1] != ";":
        return (value, {}), at
    parameters, at = _parameters(text, at)
    return (value, parameters), at


def _parameters(text: str, at: int) -> tuple[Parameters, int]:
    """Read parameters (section 4.2.3.2)."""
    parameters: dict[str, BareItem] = {}
    while found := _PARAMETER.match(text, at):
        key, string, integer, equals = found.groups()
        start, at = at, found.end()
        if key is None:
            raise NotStructured(at, "expected a key in lower case")
        if key in parameters:
            raise NotStructured(start + 1, "a duplicate key")
        if string is not None:
            parameters[key] = string
        elif integer:
            parameters[key] = int(integer)
        else:
            parameters[key], at = _bare_item(text, at) if equals else (True, at)
    return parameters, at


def _bare_item(text: str, at: int) -> tuple[BareItem, int]:
    """Read a bare item (section 4.2.3.1). Its first character selects its type."""
    reader = _READERS.get(text[at : at + 1])
    if reader is None:
        raise NotStructured(at, "expected a value")
    return reader(text, at)


def _string(text: str, at: int) -> tuple[str, int]:
    """Read a string (section 4.2.5)."""
    plain = _PLAIN_STRING.match(text, at)
    if plain:
        return plain[1], plain.end()
    value, at = _up_to(_STRING, text, at, '"')
    return _ESCAPED.sub(r"\1", value), at


def _number(text: str, at: int) -> tuple[int | Decimal, int]:
    """Read an integer or a decimal (section 4.2.4)."""
    found = _NUMBER.match(text, at)
    if found is None:
        raise NotStructured(at, "expected a number")
    whole, fraction = found.groups()
    if fraction is None:
        if len(whole) > _INTEGER_DIGITS_MAX:
            raise NotStructured(at, f"an integer has at most {_INTEGER_DIGITS_MAX} digits")
        return int(found[0]), found.end()
    if len(whole) > _DECIMAL_DIGITS_MAX or not 0 < len(fraction) <= _FRACTION_DIGITS_MAX:
        raise NotStructured(
            at, f"a decimal has at most {_DECIMAL_DIGITS_MAX} digits before the point, and 1 to 3 after it"
        )
    return Decimal(found[0]), found.end()


def _token(text: str, at: int) -> tuple[Token, int]:
    """Read a token (section 4.2.6)."""
    end = _after(_TOKEN, text, at)
    return Token(text[at:end]), end


def _byte_sequence(text: str, at: int) -> tuple[bytes, int]:
    """Read a byte sequence (section 4.2.7)."""
    written, end = _up_to(_BYTES, text, at, ":")
    characters = written.rstrip("=")
    if len(characters) % 4 == 1 or (written and not characters):
        raise NotStructured(at, "the base64 does not decode")
    return binascii.a2b_base64(characters + "=" * (-len(characters) % 4)), end


def _boolean(text: str, at: int) -> tuple[bool, int]:
    """Read a Boolean (section 4.2.8)."""
    digit = text[at + 1 : at + 2]
    if digit not in {"0", "1"}:
        raise NotStructured(at + 1, "expected `0` or `1`")
    return digit == "1", at + 2


def _date(text: str, at: int) -> tuple[Date, int]:
    """Read a date (section 4.2.9)."""
    seconds, end = _number(text, at + 1)
    if not isinstance(seconds, int):
        raise NotStructured(at + 1, "a date has whole seconds")
    return Date(seconds), end


def _display_string(text: str, at: int) -> tuple[DisplayString, int]:
    """Read a display string (section 4.2.10)."""
    value, end = _up_to(_DISPLAY, text, at, '"')
    try:
        return DisplayString(unquote_to_bytes(value).decode("utf-8")), end
    except UnicodeDecodeError:
        raise NotStructured(at, "a display string is not UTF-8") from None


def _up_to(pattern: re.Pattern[str], text: str, at: int, closing: str) -> tuple[str, int]:
    """Read a value that ends with a delimiter. The first group of the pattern is the text between the delimiters."""
    found = pattern.match(text, at)
    end = found.end() if found else at + 1
    if found is None or text[end : end + 1] != closing:
        raise NotStructured(end, f"expected `{closing}`")
    return found[1], end + 1


_READERS: Mapping[str, Callable[[str, int], tuple[BareItem, int]]] = {
    '"': _string,
    ":": _byte_sequence,
    "?": _boolean,
    "@": _date,
    "%": _display_string,
    **dict.fromkeys("-0123456789", _number),
    **dict.fromkeys("*" + string.ascii_letters, _token),
}
