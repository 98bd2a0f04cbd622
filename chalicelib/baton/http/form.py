"""Forms: ``application/x-www-form-urlencoded`` bodies (RFC 6749 appendix B)."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from chalicelib.baton import errors
from chalicelib.baton.http.media_type import FORM, require_media_type
from chalicelib.baton.routing import Message

_FIELDS_MAX = 32


def read_form(message: Message, known: Iterable[str]) -> dict[str, str]:
    """Read the known fields of a form (RFC 6749 appendix B). Unknown ones are ignored, empty ones count as absent."""
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
