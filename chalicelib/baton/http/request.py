"""Read an API Gateway event strictly, and return a ``Message`` (docs/baton/wire.md, "Routes")."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from chalicelib.baton import errors
from chalicelib.baton.http.source import viewer_of
from chalicelib.baton.ids import Secret
from chalicelib.baton.policy import BODY_BYTES_MAX, FIELD_BYTES_MAX, TOKEN_BYTES_MAX
from chalicelib.baton.routing import Message

ONCE_FIELDS = (
    "authorization",
    "baton-grant",
    "baton-handover",
    "content-digest",
    "content-type",
    "dpop",
    "host",
    "idempotency-key",
)
"""Fields that may have only one line."""
SEVERAL_LINES = ("signature", "signature-input")
"""Fields that may have several lines: a signing proxy may add a line to a dictionary (RFC 9651 section 4.2).

The length limit is for all lines together.
"""
_PATH = re.compile(r"/[!-~]*\Z")
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_NUL_OR_SURROGATE = re.compile("[\0\ud800-\udfff]")


def read_request(
    event: Mapping[str, Any], *, development: bool = False, origin_secret: Secret | None = None
) -> Message:
    """Read an API Gateway proxy event (v1), or an event of ``chalice local``, which has fewer members.

    - ``development``: the request may come over plain http.
    - ``origin_secret``: the secret of a CDN. If a request has this secret and a valid header field with the client's
      address, ``Message.source`` is this address. Otherwise, ``Message.source`` is the address that API Gateway saw.

    Raises ``BodyTooLarge``, ``FieldTooLarge``, ``DuplicateField`` or ``Malformed``.
    """
    context = event.get("requestContext") or {}
    fields = _fields(event)
    body = _body(event)
    if len(body) > BODY_BYTES_MAX:
        raise errors.BodyTooLarge(limit=BODY_BYTES_MAX)
    for name in ONCE_FIELDS:
        values = fields.get(name)
        if values is None or (name == "content-type" and not body):  # RFC 9110 section 8.3: there is no body
            continue
        if len(values) > 1:
            raise errors.DuplicateField(field=name)
        limit = TOKEN_BYTES_MAX if name == "authorization" else FIELD_BYTES_MAX
        if len(values[0]) > limit:
            raise errors.FieldTooLarge(field=name, limit=limit)
    for name in SEVERAL_LINES:
        if name in fields and sum(map(len, fields[name])) > FIELD_BYTES_MAX:
            raise errors.FieldTooLarge(field=name, limit=FIELD_BYTES_MAX)
    path = str(context.get("path") or "/")
    if not _PATH.match(path):
        raise errors.Malformed("path", detail="The path has characters that a request line cannot carry.")
    viewer = viewer_of(fields, origin_secret) if origin_secret is not None else ""
    return Message(
        method=str(context.get("httpMethod") or ""),
        authority=_authority(fields, development=development),
        path=path,
        query=_query(event),
        fields=fields,
        body=body,
        source=viewer or str((context.get("identity") or {}).get("sourceIp") or ""),
    )


def _authority(fields: Mapping[str, Sequence[str]], *, development: bool) -> str:
    """Read the host that the client called, without the default port (RFC 9421 section 2.2.3).

    On AWS, the default port is 443, because API Gateway accepts only https. In development, the default port is 80 or
    443, because the development server accepts http, and may be behind an https proxy.
    """
    authority = fields.get("host", ("",))[0].strip().lower().removesuffix(":443")
    return authority.removesuffix(":80") if development else authority


def _fields(event: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Collect header fields by their names in lower case."""
    given = event.get("multiValueHeaders") or {name: (value,) for name, value in (event.get("headers") or {}).items()}
    fields: dict[str, Sequence[str]] = {name.lower(): values for name, values in given.items()}
    if len(fields) < len(given):
        fields = {}
        for name, values in given.items():
            fields[name.lower()] = (*fields.get(name.lower(), ()), *values)
    return fields


def _query(event: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    query = event.get("multiValueQueryStringParameters")
    if not query:
        return ()
    pairs = tuple((name, value) for name, values in query.items() for value in values)
    for pair in pairs:
        for text in pair:
            check_text(text)
    return pairs


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body")
    if not body:
        return b""
    if event.get("isBase64Encoded"):
        import base64  # noqa: PLC0415 - Baton has no binary bodies: rarely needed

        return base64.b64decode(body)
    if isinstance(body, bytes):
        return body
    try:
        return str(body).encode()
    except UnicodeEncodeError:
        raise errors.Malformed("surrogates", detail="The body is not UTF-8.") from None


def check_text(text: str) -> None:
    """Refuse a NUL, which some databases cannot store, and half of a surrogate pair, which UTF-8 cannot encode."""
    if _NUL_OR_SURROGATE.search(text):
        raise errors.Malformed("text", detail="The request has a NUL character or half of a surrogate pair.")


def decoded_path(parameters: Mapping[str, str]) -> dict[str, str]:
    """Percent-decode path parameters once (RFC 3986 section 2.1).

    Raises ``Malformed`` if a value has an invalid escape, is not UTF-8, or has a NUL.
    """
    return {name: _decoded(name, value) if "%" in value else value for name, value in parameters.items()}


def _decoded(name: str, value: str) -> str:
    try:
        if _NO_ESCAPE.search(value):
            raise ValueError
        text = unquote_to_bytes(value).decode()
    except ValueError:
        raise errors.Malformed(
            "path encoding", detail=f"`{name}` in the path is not percent-encoded UTF-8. Correct the path."
        ) from None
    check_text(text)
    return text
