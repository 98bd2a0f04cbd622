"""Read the body of a request strictly, as a struct (JSON) or a form, and read its query parameters as a struct."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import structs

from chalicelib.baton import errors
from chalicelib.baton.http.explain import explain, shown
from chalicelib.baton.http.request import check_text
from chalicelib.baton.policy import JSON_DEPTH_MAX
from chalicelib.baton.routing import Message, Query

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_PARAMETER = re.compile(
    r"""[ \t]*;[ \t]*(?:([!#$%&'*+.^_`|~0-9a-z-]+)=([!#$%&'*+.^_`|~0-9a-z-]+|"(?:[^"\\]|\\.)*"))?"""
)
"""One parameter of a media type in lower case (RFC 9110 section 5.6.6). A semicolon without a parameter matches too."""
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
"""The names of UTF-8, and of ASCII, which is a subset of UTF-8."""
_FIELDS_MAX = 32
"""The maximum number of fields of a form."""

Shape = TypeVar("Shape", bound=msgspec.Struct)


def read_json(message: Message, shape: type[Shape]) -> Shape:
    """Read the body as one JSON object, and convert it to a struct of the type ``shape``.

    A request without a body counts as ``{}``. Its ``Content-Type`` is ignored (RFC 9110 section 8.3).

    Raises:
        UnsupportedMediaType: the media type is not JSON.
        DuplicateField: a member is given twice.
        Malformed: the body is not strict JSON (`read_object`), a text has NUL or a lone surrogate, or a member is
            missing. The error about a missing member has its JSON pointer (RFC 6901).
        UnknownField: the shape does not have this member. The error has the JSON pointer of the member.
        WrongType: a member has the wrong type or is out of range. The error has the JSON pointer of the member.

    """
    body = message.body
    if not body:
        return _converted({}, shape)
    require_media_type(message, JSON)
    from chalicelib.baton.keys.strict_json import NotStrict, read_object  # noqa: PLC0415 - cold start: not for a form

    try:
        value = read_object(body)
    except NotStrict as refused:
        if refused.reason == "a member is given twice":
            raise errors.DuplicateField(field=shown(refused.name)) from None
        raise errors.Malformed(refused.reason, detail=_NOT_STRICT[refused.reason]) from None
    _check_texts(value)
    return _converted(value, shape)


_NOT_STRICT: Mapping[str, str] = {
    "not JSON": "The body is not well-formed JSON in UTF-8.",
    "not an object": "The body must be a JSON object.",
    "constant": "NaN and Infinity are not JSON (RFC 8259 section 6).",
    "number": "A number in the body is too large.",
    "depth": f"The body is nested deeper than {JSON_DEPTH_MAX} levels.",
}


def _check_texts(value: object) -> None:
    match value:
        case dict():
            for name, member in value.items():
                check_text(name)
                _check_texts(member)
        case list():
            for member in value:
                _check_texts(member)
        case str():
            check_text(value)
        case _:
            pass


def _converted(value: dict[str, Any], shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(value, type=shape, strict=True)
    except msgspec.ValidationError:
        pass  # the message may quote the request, so `explain` makes another error
    raise explain(value, shape, "")


def read_form(message: Message, known: Iterable[str]) -> dict[str, str]:
    """Read the known fields of a form (RFC 6749 appendix B). Unknown and empty fields are ignored."""
    if not message.body:
        return {}
    require_media_type(message, FORM)
    try:
        pairs = parse_qsl(
            message.body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FIELDS_MAX,
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


def require_media_type(message: Message, wanted: str) -> None:
    """Refuse a request whose media type is not ``wanted``. The comparison ignores case.

    Well-formed parameters are ignored, because JSON (RFC 8259 section 11) and forms define none. Exception: JSON with a
    ``charset`` other than UTF-8 or ASCII is refused, because Baton would misread the characters.
    """
    given = message.fields.get("content-type", ("",))[0].strip(" \t").lower()
    media_type, semicolon, parameters = given.partition(";")
    if media_type.rstrip(" \t") != wanted or not _harmless(semicolon + parameters, utf_8=wanted == JSON):
        raise errors.UnsupportedMediaType(expected=wanted, detail=f"This route requires `Content-Type: {wanted}`.")


def _harmless(parameters: str, *, utf_8: bool) -> bool:
    """Check that the parameters are well-formed. If ``utf_8`` is true, a ``charset`` must be UTF-8 or ASCII."""
    position = 0
    while position < len(parameters):
        parameter = _PARAMETER.match(parameters, position)
        if parameter is None:
            return False
        if utf_8 and parameter[1] == "charset" and parameter[2].strip('"') not in _UTF_8:
            return False
        position = parameter.end()
    return True


Parameters = TypeVar("Parameters", bound=Query)


def refuse_query(message: Message, known: Iterable[str] = ()) -> None:
    """Refuse a query parameter that the route does not take, or that is given twice.

    If a parameter is given twice, two programs that read the request may use different values.
    """
    given: set[str] = set()
    for name, _ in message.query:
        if name not in known:
            raise errors.UnknownParameter(parameter=name[:64])
        if name in given:
            raise errors.DuplicateField(field=name)
        given.add(name)


def read_query(message: Message, shape: type[Parameters]) -> Parameters:
    """Read the query as a struct.

    Raises ``UnknownParameter``, ``DuplicateField``, ``Malformed`` for a missing parameter, and ``WrongType`` for a
    parameter that cannot be converted to the type of its field.
    """
    refuse_query(message, shape.__struct_encode_fields__)
    values = dict(message.query)
    try:
        parameters = msgspec.convert(values, type=shape, strict=False)
    except msgspec.ValidationError:
        pass  # the message may quote the request, so `explain` makes another error
    else:
        _refuse_infinite(parameters, values)
        return parameters
    raise explain(values, shape, strict=False)


def _refuse_infinite(parameters: Query, given: Iterable[str]) -> None:
    """Refuse NaN and Infinity, as in a body.

    Every comparison with NaN is false, so NaN could pass a limit check of the view.
    """
    for field in structs.fields(parameters):
        value = getattr(parameters, field.name)
        if field.encode_name in given and isinstance(value, float) and not math.isfinite(value):
            at = f"/{field.encode_name}"
            raise errors.WrongType(pointer=at, expected="number", detail=f"`{at}` must be a finite number.")
