"""The media type of a request body."""

import re

from chalicelib.baton import errors
from chalicelib.baton.routing import Message

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_PARAMETER = re.compile(
    r"""[ \t]*;[ \t]*(?:([!#$%&'*+.^_`|~0-9a-z-]+)=([!#$%&'*+.^_`|~0-9a-z-]+|"(?:[^"\\]|\\.)*"))?"""
)
"""One parameter of a media type in lower case, or none (RFC 9110 section 5.6.6)."""
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
"""Names of UTF-8 and of a subset of it."""


def require_media_type(message: Message, wanted: str) -> None:
    """Compare the media type whole and case-insensitively, and ignore its parameters.

    Neither JSON (RFC 8259 section 11) nor forms define any. One is not ignored: a ``charset`` of JSON that says the
    body is not UTF-8, for it would be read as something else than its sender wrote. A form is ASCII in any case.
    """
    given = message.fields.get("content-type", ("",))[0].strip(" \t").lower()
    media_type, semicolon, parameters = given.partition(";")
    if media_type.rstrip(" \t") != wanted or not _harmless(semicolon + parameters, utf_8=wanted == JSON):
        raise errors.UnsupportedMediaType(expected=wanted, detail=f"This route requires `Content-Type: {wanted}`.")


def _harmless(parameters: str, *, utf_8: bool) -> bool:
    """Read parameters to their end, and tell whether none says that the body is not UTF-8."""
    position = 0
    while position < len(parameters):
        parameter = _PARAMETER.match(parameters, position)
        if parameter is None:
            return False
        if utf_8 and parameter[1] == "charset" and parameter[2].strip('"') not in _UTF_8:
            return False
        position = parameter.end()
    return True
