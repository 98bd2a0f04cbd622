"""Structured fields (RFC 9651): those of a signature as apps write them, and all dictionaries by http-sf.

Nearly every signed call carries the same two plain spellings, and taking those apart by one expression each costs a
tenth of a full parse. What is not plain to the letter goes to http-sf; a test holds that both say the same.
"""

import binascii
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NoReturn, cast

from msgspec import Struct

Item = tuple[object, Mapping[str, object]]
"""A value and its parameters. The value of an inner list is a list of items (RFC 9651 section 3.1.1)."""


class SignatureInput(Struct, frozen=True):
    """One member of a Signature-Input field (RFC 9421 section 4.1).

    ``components`` are component identifiers as they are written. ``written`` is the whole member in its canonical
    spelling, which is the value of ``@signature-params`` in the signature base.
    """

    label: str
    components: tuple[str, ...]
    parameters: dict[str, str | int]
    written: str


_KEY = r"[a-z*][a-z0-9_.*-]*"
_IDENTIFIER = r'"(?:@query-param";name="[!#-\[\]-~]*|(?!@query-param")[!#-\[\]-~]+)"'
_PARAMETER = r';([a-z]+)=(?:"([ !#-\[\]-~]*)"|(0|[1-9][0-9]{0,14}))'
_IDENTIFIERS = re.compile(f"{_IDENTIFIER}(?: {_IDENTIFIER})*")
_INPUT = re.compile(rf"({_KEY})=(\(([^()]*)\)((?:{_PARAMETER})+))")
_PARAMETERS = re.compile(_PARAMETER)
_BYTES = re.compile(rf"({_KEY})=:([A-Za-z0-9+/]*={{0,2}}):")


def plain_input(text: str) -> SignatureInput | None:
    """Read a plain Signature-Input of one member; ``None`` for whatever is not plain."""
    plain = _INPUT.fullmatch(text)
    if plain is None:
        return None
    label, written, covered, tail = plain.group(1, 2, 3, 4)
    components = _components(covered)
    found = _PARAMETERS.findall(tail)
    parameters = {name: int(number) if number else string for name, string, number in found}
    if components is None or len(parameters) < len(found):
        return None
    return SignatureInput(label, components, parameters, written)


@lru_cache(maxsize=32)
def _components(covered: str) -> tuple[str, ...] | None:
    """Take the list of an inner list's plain identifiers apart. An app covers the same ones on call after call.

    Anybody may send 8 KB of them, which take 130 KB apart: so no more are kept than apps have kinds of calls.
    """
    return tuple(covered.split(" ")) if _IDENTIFIERS.fullmatch(covered) else None


def plain_bytes(text: str, label: str) -> bytes | None:
    """Read a plain dictionary whose one member, of this label, is a byte sequence; ``None`` for any other."""
    plain = _BYTES.fullmatch(text)
    if plain is None or plain[1] != label:
        return None
    try:
        return binascii.a2b_base64(plain[2], strict_mode=True)
    except binascii.Error:
        return None


class NotADictionary(ValueError):
    """The text is no dictionary of structured fields. The message says where it ends to be one, in fixed words."""


def parse_dictionary(text: str) -> dict[str, Item]:
    """Parse any dictionary. Raises ``NotADictionary``, for a duplicate key or parameter too.

    RFC 9651 lets the last of two members with one key win. Where a proxy takes the first, the two see different
    signatures, so none is taken here.
    """
    import http_sf  # noqa: PLC0415 - cold start

    try:
        parsed = http_sf.parse(text.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    except UnicodeEncodeError as error:
        raise NotADictionary(f"at character {error.start + 1}: not ASCII") from None
    except http_sf.StructuredFieldError as error:
        raise NotADictionary(f"at character {(error.position or 0) + 1}: {_expected(error.args[0])}") from None
    return cast("dict[str, Item]", parsed)


def _refuse_duplicate(_: str, __: str) -> NoReturn:
    raise NotADictionary("a duplicate key")


def _expected(words: str) -> str:
    """Take over what http-sf says, but for a quoted part: that is the sender's own text."""
    return (
        words.rstrip(".") if words.count("'") <= 1 or words.endswith("':'") else "characters that do not belong there"
    )
