"""Find the member of a body or a query that does not match the fields of its struct. No I/O."""

import operator
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct, inspect, structs

from chalicelib.baton import errors


def explain(value: Mapping[str, Any], shape: type[Struct], pointer: str = "", *, strict: bool = True) -> errors.Refusal:
    """Return the error about the first member that does not fit its field.

    If an item of a list does not fit, the error points to the list. If every given member fits, the error is about a
    missing member, or about a rule between members.

    With ``strict=False``, as for a query, a text fits if it can be converted to the type of its field.
    """
    fields = _fields_of(shape)
    for name, member in value.items():
        if name not in fields:
            if shape.__struct_config__.forbid_unknown_fields:
                return errors.UnknownField(pointer=f"{pointer}/{shown(name)}")
        elif not _fits(member, fields[name].annotation, strict=strict):
            at = f"{pointer}/{name}"
            for kind in fields[name].kinds:
                if isinstance(kind, inspect.StructType) and isinstance(member, dict):
                    return explain(member, kind.cls, at)
            expected = _expected(member if strict else _number_of(member, fields[name].kinds), fields[name].kinds)
            detail = f"`{at}` must be {_in_words(expected)}." if expected else None
            return errors.WrongType(pointer=at, expected=expected, detail=detail)
    for name, field in fields.items():
        if field.required and name not in value:
            at = f"{pointer}/{name}"
            return errors.Malformed("missing", pointer=at, detail=f"`{at}` is missing.")
    return errors.WrongType(pointer=pointer, expected=None, detail=None)  # a rule between members (``__post_init__``)


class _Field(Struct, frozen=True):
    annotation: Any
    kinds: list[inspect.Type]
    required: bool


@lru_cache(maxsize=64)
def _fields_of(shape: type[Struct]) -> Mapping[str, _Field]:
    """List the fields of a shape by their names in JSON.

    The list is cached: reading the annotations takes 60 microseconds.
    """
    return {
        field.encode_name: _Field(field.type, _kinds(inspect.type_info(field.type)), field.required)
        for field in structs.fields(shape)
    }


def _fits(member: object, annotation: Any, *, strict: bool) -> bool:  # noqa: ANN401 - a type
    try:
        msgspec.convert(member, type=annotation, strict=strict)
    except msgspec.ValidationError:
        return False
    return True


def _number_of(text: str, kinds: list[inspect.Type]) -> object:
    """Return the number in a text, if the field takes numbers. In any other case, return the text unchanged.

    With the number, the error can name the violated limit.
    """
    for kind, number in ((inspect.IntType, int), (inspect.FloatType, float)):
        if any(isinstance(one, kind) for one in kinds):
            try:
                return msgspec.convert(text, type=number, strict=False)
            except msgspec.ValidationError:
                continue
    return text


def _kinds(kind: inspect.Type) -> list[inspect.Type]:
    """List the types of a union, or the single type. Each `inspect.Metadata` is replaced by the type inside it."""
    if isinstance(kind, inspect.Metadata):
        return _kinds(kind.type)
    return [one for member in kind.types for one in _kinds(member)] if isinstance(kind, inspect.UnionType) else [kind]


_KINDS: Mapping[type[inspect.Type], str] = {
    inspect.BoolType: "boolean",
    inspect.DictType: "object",
    inspect.EnumType: "string",
    inspect.FloatType: "number",
    inspect.FrozenSetType: "array",
    inspect.IntType: "integer",
    inspect.ListType: "array",
    inspect.LiteralType: "string",
    inspect.NoneType: "null",
    inspect.SetType: "array",
    inspect.StrType: "string",
    inspect.StructType: "object",
    inspect.TupleType: "array",
    inspect.VarTupleType: "array",
}
_JSON_WORDS = {bool: "boolean", dict: "object", float: "number", int: "integer", list: "array", str: "string"}
_BOUNDS = (("ge", ">=", operator.ge), ("gt", ">", operator.gt), ("le", "<=", operator.le), ("lt", "<", operator.lt))
_LENGTHS = (("min_length", ">=", operator.ge), ("max_length", "<=", operator.le))


def _expected(member: object, kinds: list[inspect.Type]) -> str | None:
    """Name the types of a field, or the limit that a member of the right type violates. ``None``: no name is known."""
    given = _JSON_WORDS.get(type(member), "null")
    words = [_KINDS.get(type(kind), "") for kind in kinds]
    for kind, word in zip(kinds, words, strict=True):
        if given == word or (given, word) == ("integer", "number"):
            missed = _missed(member, kind)
            return word + missed if missed else None
    return " | ".join(words) if all(words) else None


def _missed(member: Any, kind: inspect.Type) -> str:  # noqa: ANN401 - any JSON value
    for name, sign, holds in _BOUNDS:
        bound = getattr(kind, name, None)
        if bound is not None and not holds(member, bound):
            return f" {sign} {float(bound) if isinstance(kind, inspect.FloatType) else bound}"
    for name, sign, holds in _LENGTHS:
        bound = getattr(kind, name, None)
        if bound is not None and not holds(len(member), bound):
            return f" of length {sign} {bound}"
    pattern = getattr(kind, "pattern", None)
    if pattern is not None:
        return f" matching regex {pattern!r}"
    element = getattr(kind, "item_type", None) or getattr(kind, "value_type", None)
    words = [_KINDS.get(type(one), "") for one in _kinds(element)] if element else []
    return f" of {' or '.join(f'{word}s' for word in words)}" if words and all(words) else ""


def _in_words(expected: str) -> str:
    """Write an expectation in words: ``integer >= 1`` becomes "an integer of at least 1"."""
    kinds, limit, bound = expected.partition(" of length ")
    if not limit:
        kinds, _, bound = re.sub(" (?=[<>]=?)", "\0", expected, count=1).partition("\0")
    for sign, words in ((">= ", "of at least "), ("<= ", "of at most "), ("> ", "greater than "), ("< ", "less than ")):
        if bound.startswith(sign):
            bound = words + bound.removeprefix(sign)
            break
    unit = "" if not limit else " items" if kinds == "array" else " characters"
    article = "an" if kinds[0] in "aio" else "a"
    return f"{article} {kinds.replace(' | ', ' or ')} {bound}".rstrip() + unit


def shown(name: str) -> str:
    """Return the first 64 characters of a member name from a client, with ``?`` for each unprintable character."""
    return "".join(character if character.isprintable() else "?" for character in name[:64])
