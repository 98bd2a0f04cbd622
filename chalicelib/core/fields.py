"""Dictionaries of structured fields (RFC 9651): read as apps write them, or by http-sf, which reads them all.

Nearly every signed call carries the same two plain spellings, and taking those apart by one expression each costs a
fifth of a full parse. What is not plain to the letter goes to http-sf; a test holds that both say the same.
"""

import binascii
import re
from collections.abc import Mapping
from typing import NoReturn, cast

Item = tuple[object, Mapping[str, object]]
"""A value and its parameters. The value of an inner list is a list of items (RFC 9651 section 3.1.1)."""

_KEY = r"[a-z*][a-z0-9_.*-]*"
_TEXT = r'"[ !#-\[\]-~]*"'
_SIGNED = re.compile(
    rf"({_KEY})=\(((?:{_TEXT}(?:;name={_TEXT})? )*{_TEXT}(?:;name={_TEXT})?)\)((?:;[a-z]+=(?:{_TEXT}|[0-9]{{1,15}}))+)"
)
_COMPONENT = re.compile(rf"({_TEXT})(?:;name=({_TEXT}))?")
_PARAMETER = re.compile(rf";([a-z]+)=(?:({_TEXT})|([0-9]+))")
_BYTES = re.compile(rf"({_KEY})=:([A-Za-z0-9+/]*={{0,2}}):")


def parse_dictionary(text: str) -> dict[str, Item]:
    """Parse a dictionary, refusing every duplicate key and parameter. Raises ``ValueError``."""
    plain = parse_plain(text)
    return _parse(text) if plain is None else plain


def parse_plain(text: str) -> dict[str, Item] | None:
    """Parse the one member of a plain Signature-Input or Signature; ``None`` for whatever is not plain."""
    if signed := _SIGNED.fullmatch(text):
        label, components, written = signed.groups()
        items = [
            (name[1:-1], {"name": parameter[1:-1]} if parameter else {})
            for name, parameter in _COMPONENT.findall(components)
        ]
        found = _PARAMETER.findall(written)
        parameters = {name: string[1:-1] if string else int(number) for name, string, number in found}
        return {label: (items, parameters)} if len(parameters) == len(found) else None
    if sequence := _BYTES.fullmatch(text):
        label, encoded = sequence.groups()
        try:
            return {label: (binascii.a2b_base64(encoded, strict_mode=True), {})}
        except binascii.Error:
            return None
    return None


def _parse(text: str) -> dict[str, Item]:
    import http_sf  # noqa: PLC0415 - cold start

    parsed = http_sf.parse(text.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    return cast("dict[str, Item]", parsed)


def _refuse_duplicate(key: str, _: str) -> NoReturn:
    raise ValueError(f"duplicate key {key}")
