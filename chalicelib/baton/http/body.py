"""Strict JSON: the body of a request as one struct."""

import json
import math
from typing import Any, NoReturn, TypeVar

import msgspec

from chalicelib.baton import errors
from chalicelib.baton.http.explain import explain, shown
from chalicelib.baton.http.media_type import JSON, require_media_type
from chalicelib.baton.http.request import check_text
from chalicelib.baton.policy import JSON_DEPTH_MAX
from chalicelib.baton.routing import Message

Shape = TypeVar("Shape", bound=msgspec.Struct)


def read_json(message: Message, shape: type[Shape]) -> Shape:
    """Read one JSON object of a shape.

    No body counts as ``{}``, whatever ``Content-Type`` says of it (RFC 9110 section 8.3).
    UTF-8 without BOM, no duplicate members, no NaN or Infinity, bounded depth, no lone surrogates or NUL. A missing
    member is ``Malformed``, an unknown one ``UnknownField``, one of the wrong type ``WrongType``; each carries a
    JSON pointer (RFC 6901).
    """
    body = message.body
    if not body:
        return _converted({}, shape)
    require_media_type(message, JSON)
    try:
        value = json.loads(
            body.decode("utf-8", errors="strict"),
            object_pairs_hook=_members,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except errors.Refusal:
        raise
    except (ValueError, RecursionError):
        raise errors.Malformed("not JSON", detail="The body is not well-formed JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise errors.Malformed("not an object", detail="The body must be a JSON object.")
    _check_depth(value)
    return _converted(value, shape)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise errors.DuplicateField(field=shown(name))
        members[name] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise errors.Malformed("constant", detail=f"{name} is not JSON (RFC 8259 section 6).")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise errors.Malformed("number", detail="A number in the body is too large.")
    return number


def _check_depth(value: object, depth: int = 1) -> None:
    if depth > JSON_DEPTH_MAX:
        raise errors.Malformed("depth", detail=f"The body is nested deeper than {JSON_DEPTH_MAX} levels.")
    match value:
        case dict():
            for name, member in value.items():
                check_text(name)
                _check_depth(member, depth + 1)
        case list():
            for member in value:
                _check_depth(member, depth + 1)
        case str():
            check_text(value)
        case _:
            pass


def _converted(value: dict[str, Any], shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(value, type=shape, strict=True)
    except msgspec.ValidationError:
        pass  # its words may quote the request: the shape explains instead
    raise explain(value, shape, "")
