"""Event -> values: one strict adapter for everything a client can send (wire.md, "Reading input")."""

import json
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct, inspect, structs

from chalicelib.baton import errors
from chalicelib.baton.policy import BODY_BYTES_MAX, FIELD_BYTES_MAX, JSON_DEPTH_MAX, TOKEN_BYTES_MAX
from chalicelib.baton.routing import Message

ONCE_FIELDS = (
    "authorization",
    "baton-grant",
    "content-digest",
    "content-type",
    "dpop",
    "host",
    "idempotency-key",
)
SEVERAL_LINES = ("signature", "signature-input")
"""Dictionaries (RFC 9651 section 4.2): a proxy that signs too may add a line of its own. Their lines count together."""
_FORM_FIELDS_MAX = 32
_PATH = re.compile(r"/[!-~]*\Z")
_NUL_OR_SURROGATE = re.compile("[\0\ud800-\udfff]")
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_MEDIA_PARAMETER = re.compile(
    r"""[ \t]*;[ \t]*(?:([!#$%&'*+.^_`|~0-9a-z-]+)=([!#$%&'*+.^_`|~0-9a-z-]+|"(?:[^"\\]|\\.)*"))?"""
)
"""One parameter of a media type in lower case, or none (RFC 9110 section 5.6.6)."""
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
"""Names of what the body is read as, and of what is part of it."""

Shape = TypeVar("Shape", bound=msgspec.Struct)


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The shape of a body that says nothing: none, or ``{}``."""


class Request(Struct, frozen=True):
    """A request as its sender saw it, with what the gateway adds.

    ``source`` is the address the gateway saw; it is never taken from forwarded headers.
    """

    message: Message
    source: str


def read_request(event: Mapping[str, Any], *, development: bool = False) -> Request:
    """Read an API Gateway proxy event (v1), or one of ``chalice local``, which says less.

    In ``development`` a request may come over plain http, whose default port is 80.

    Raises ``BodyTooLarge``, ``FieldTooLarge``, ``DuplicateField`` or ``Malformed``.
    """
    context = event.get("requestContext") or {}
    fields = _fields(event)
    body = _body(event)
    if len(body) > BODY_BYTES_MAX:
        raise errors.BodyTooLarge(limit=BODY_BYTES_MAX)
    for name in ONCE_FIELDS:
        values = fields.get(name)
        if values is None or (name == "content-type" and not body):  # RFC 9110 section 8.3: of a body that is not there
            continue
        if len(values) > 1:
            raise errors.DuplicateField(field=name)
        limit = TOKEN_BYTES_MAX if name == "authorization" else FIELD_BYTES_MAX
        if len(values[0]) > limit:
            raise errors.FieldTooLarge(field=name, limit=limit)
    for name in SEVERAL_LINES:
        if name in fields and sum(len(value) for value in fields[name]) > FIELD_BYTES_MAX:
            raise errors.FieldTooLarge(field=name, limit=FIELD_BYTES_MAX)
    path = str(context.get("path") or "/")
    if not _PATH.match(path):
        raise errors.Malformed("path", detail="The path has characters that a request line cannot carry.")
    message = Message(
        method=str(context.get("httpMethod") or ""),
        authority=_authority(fields, development=development),
        path=path,
        query=_query(event),
        fields=fields,
        body=body,
    )
    source = str((context.get("identity") or {}).get("sourceIp") or "")
    return Request(message=message, source=source)


def _authority(fields: Mapping[str, Sequence[str]], *, development: bool) -> str:
    """Read the host that the client called, without the default port (RFC 9421 section 2.2.3).

    API Gateway speaks https alone. The development server speaks http, and an https proxy may stand before it.
    """
    authority = fields.get("host", ("",))[0].strip().lower().removesuffix(":443")
    return authority.removesuffix(":80") if development else authority


def _fields(event: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Collect header fields; two spellings of one name are one name."""
    given = event.get("multiValueHeaders") or {name: (value,) for name, value in (event.get("headers") or {}).items()}
    fields: dict[str, Sequence[str]] = {name.lower(): values for name, values in given.items()}
    if len(fields) < len(given):
        fields = {}
        for name, values in given.items():
            fields[name.lower()] = (*fields.get(name.lower(), ()), *values)
    return fields


def _query(event: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    query = event.get("multiValueQueryStringParameters") or {}
    pairs = tuple((name, value) for name, values in query.items() for value in values)
    for pair in pairs:
        for text in pair:
            _check_text(text)
    return pairs


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body")
    if not body:
        return b""
    if event.get("isBase64Encoded"):
        import base64  # noqa: PLC0415 - binary bodies are none of ours: seldom needed

        return base64.b64decode(body)
    if isinstance(body, bytes):
        return body
    try:
        return str(body).encode()
    except UnicodeEncodeError:
        raise errors.Malformed("surrogates", detail="The body is not UTF-8.") from None


def refuse_query(request: Request, known: Iterable[str] = ()) -> None:
    """Refuse query parameters that the route does not take, and what is given twice: nobody knows who reads which."""
    if not request.message.query:
        return
    given: set[str] = set()
    for name, _ in request.message.query:
        if name not in known:
            raise errors.UnknownParameter(parameter=name[:64])
        if name in given:
            raise errors.DuplicateField(field=name)
        given.add(name)


def read_json(request: Request, shape: type[Shape]) -> Shape:
    """Read one JSON object of a shape.

    No body counts as ``{}``, whatever ``Content-Type`` says of it (RFC 9110 section 8.3).
    UTF-8 without BOM, no duplicate members, no NaN or Infinity, bounded depth, no lone surrogates or NUL. A missing
    member is ``Malformed``, an unknown one ``UnknownField``, one of the wrong type ``WrongType``; each carries a
    JSON pointer (RFC 6901).
    """
    body = request.message.body
    if not body:
        return _shaped({}, shape)
    _require_media_type(request, _JSON)
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
    return _shaped(value, shape)


def read_form(request: Request, known: Iterable[str]) -> dict[str, str]:
    """Read the known fields of a form (RFC 6749 appendix B). Unknown ones are ignored, empty ones count as absent."""
    if not request.message.body:
        return {}
    _require_media_type(request, _FORM)
    try:
        pairs = parse_qsl(
            request.message.body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FORM_FIELDS_MAX,
        )
    except ValueError:
        raise errors.Malformed("not a form", detail="The body is not a well-formed form in UTF-8.") from None
    wanted = set(known)
    form: dict[str, str] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise errors.Malformed("NUL", detail="The form has a NUL character.")
        if name not in wanted:
            continue
        if name in form:
            raise errors.DuplicateField(field=name)
        form[name] = value
    return {name: value for name, value in form.items() if value}


def require(form: Mapping[str, str], name: str) -> str:
    """Take a required field of a form."""
    try:
        return form[name]
    except KeyError:
        raise errors.Malformed("missing", pointer=f"/{name}", detail=f"`{name}` is missing.") from None


def _require_media_type(request: Request, wanted: str) -> None:
    """Compare the media type whole and case-insensitively, and ignore its parameters.

    Neither JSON (RFC 8259 section 11) nor forms define any. One is not ignored: a ``charset`` of JSON that says the
    body is not UTF-8, for it would be read as something else than its sender wrote. A form is ASCII in any case.
    """
    given = request.message.fields.get("content-type", ("",))[0].strip(" \t").lower()
    media_type, semicolon, parameters = given.partition(";")
    if media_type.rstrip(" \t") != wanted or not _harmless(semicolon + parameters, utf_8=wanted == _JSON):
        raise errors.UnsupportedMediaType(expected=wanted, detail=f"This route requires `Content-Type: {wanted}`.")


def _harmless(parameters: str, *, utf_8: bool) -> bool:
    """Read parameters to their end, and tell whether none says that the body is not UTF-8."""
    position = 0
    while position < len(parameters):
        parameter = _MEDIA_PARAMETER.match(parameters, position)
        if parameter is None:
            return False
        if utf_8 and parameter[1] == "charset" and parameter[2].strip('"') not in _UTF_8:
            return False
        position = parameter.end()
    return True


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise errors.DuplicateField(field=_shown(name))
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
                _check_text(name)
                _check_depth(member, depth + 1)
        case list():
            for member in value:
                _check_depth(member, depth + 1)
        case str():
            _check_text(value)
        case _:
            pass


def _check_text(text: str) -> None:
    if _NUL_OR_SURROGATE.search(text):
        raise errors.Malformed("text", detail="The request has a NUL character or half of a surrogate pair.")


def _shaped(value: dict[str, Any], shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(value, type=shape, strict=True)
    except msgspec.ValidationError:
        pass  # its words may quote the request: the shape explains instead
    raise _explain(value, shape, "")


def _explain(value: dict[str, Any], shape: type[Struct], pointer: str) -> errors.Refusal:
    """Find the first member that does not fit its field. The pointer to an element of a list ends at the list."""
    fields = _fields_of(shape)
    for name, member in value.items():
        if name not in fields:
            if shape.__struct_config__.forbid_unknown_fields:
                return errors.UnknownField(pointer=f"{pointer}/{_shown(name)}")
        elif not _fits(member, fields[name].annotation):
            at = f"{pointer}/{name}"
            for kind in fields[name].kinds:
                if isinstance(kind, inspect.StructType) and isinstance(member, dict):
                    return _explain(member, kind.cls, at)
            expected = _expected(member, fields[name].kinds)
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
    """List the fields of a shape by their names in JSON. To read the annotations takes 60 us, so it is done once."""
    return {
        field.encode_name: _Field(field.type, _kinds(inspect.type_info(field.type)), field.required)
        for field in structs.fields(shape)
    }


def _fits(member: object, annotation: Any) -> bool:  # noqa: ANN401 - a type
    try:
        msgspec.convert(member, type=annotation, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _kinds(kind: inspect.Type) -> list[inspect.Type]:
    """List the types of a union, or the one type, without their descriptions."""
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
    """Name the types that a field takes, or the bound that a member of the right type misses; ``None`` if unnamed."""
    given = _JSON_WORDS.get(type(member), "null")
    words = [_KINDS.get(type(kind), "") for kind in kinds]
    for kind, word in zip(kinds, words, strict=True):
        if given == word or (given, word) == ("integer", "number"):
            missed = _missed(member, kind)
            return word + missed if missed else None
    return " | ".join(words) if all(words) else None


def _missed(member: Any, kind: inspect.Type) -> str:  # noqa: ANN401 - what JSON held
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
    """Say in a sentence what is expected: ``integer >= 1`` is "an integer of at least 1"."""
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


def _shown(name: str) -> str:
    """Show a member's name from outside, bounded and printable."""
    return "".join(character if character.isprintable() else "?" for character in name[:64])
