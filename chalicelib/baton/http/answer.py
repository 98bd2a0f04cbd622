"""Make the response of an ``Answer`` or a ``Refusal``. Errors follow RFC 6749 under ``/oauth``, RFC 9457 elsewhere.

``readable_by`` decides which web pages may read the response (CORS, the Fetch standard).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from chalice.app import Response

from chalicelib.baton import errors
from chalicelib.baton.http.once import RenderedAnswer
from chalicelib.baton.proof.refusals import ClockSkew, InvalidDigest, InvalidSignature
from chalicelib.baton.routing import Answer, Cookie, Dialect
from chalicelib.baton.tokens.refusals import InvalidClient, StepUpRequired
from chalicelib.baton.urls import is_listed

Fields = dict[str, str | list[str]]

_RESERVED = frozenset(
    {
        "cache-control",
        "content-type",
        "set-cookie",
        "x-content-type-options",
        # The gateway sets these fields. They describe the connection, the length of the body and the transfer encoding.
        "connection",
        "content-length",
        "transfer-encoding",
    }
)
_RESERVED_PREFIXES = ("baton-", "access-control-")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
"""The characters of a cookie's value (RFC 6265 section 4.1.1)."""
_COOKIE_PATH = re.compile(r"/[!-:<-~]*")

# RFC 6749 section 5.2 has no error code for these errors. So a bad token gets `invalid_grant`, and a bad signature gets
# `invalid_request`.
_OAUTH_ERRORS: Mapping[type[errors.Refusal], str] = {
    errors.InvalidToken: "invalid_grant",
    InvalidSignature: "invalid_request",
    InvalidDigest: "invalid_request",
    ClockSkew: "invalid_request",
}


class _Text(Response):
    """A response whose body is text.

    It skips Chalice's comparison of the media type with every binary media type.
    """

    def to_dict(self, binary_types: list[str] | None = None) -> dict[str, Any]:
        """Return the response in the form that a Lambda function returns to API Gateway."""
        del binary_types
        return super().to_dict()


def answered(answer: object, *, shared: bool = False) -> Response:
    """Make the response from the return value of a view.

    ``shared``: the answer is for every client. If it sets no cookie, a shared cache may keep it.

    Raises ``TypeError`` or ``ValueError`` if the view has a defect: it returned no ``Answer`` or an invalid ``Answer``.
    """
    if not isinstance(answer, Answer):
        raise TypeError(f"the view must return an Answer, not a {type(answer).__name__}")
    if answer.status not in _STATUSES:
        raise ValueError("the status of an Answer must be a number from 200 to 599")
    if answer.body is not None and answer.status in _BODILESS:
        raise ValueError(f"an Answer with status {answer.status} has no body (RFC 9110): leave it out")
    headers: Fields = {"Cache-Control": _cache_control(answer, shared=shared)}
    if answer.headers:
        headers |= _checked(answer.headers)
    if answer.cookies:
        headers["Set-Cookie"] = [_cookie(cookie) for cookie in answer.cookies]
    body = answer.body
    if body is None:
        return _Text(body="", status_code=answer.status, headers=headers)
    if isinstance(body, str | bytes):
        if not answer.media_type:
            raise TypeError("an Answer whose body is str or bytes needs a media_type")
    else:
        body = msgspec.json.encode(body).decode()
    headers |= _checked_media_type(answer.media_type) if answer.media_type else _JSON
    made = _Text if isinstance(body, str) else Response
    return made(body=body, status_code=answer.status, headers=headers)


_STATUSES = range(200, 600)
_BODILESS = frozenset({204, 205, 304})


def _cache_control(answer: Answer, *, shared: bool) -> str:
    """Return the value of ``Cache-Control`` (RFC 9111).

    Without ``cache_s``, the value is ``no-store``. With ``cache_s``, it has ``private`` if the answer is for one caller
    or sets a cookie, otherwise ``public``.
    """
    if not answer.cache_s:
        return "no-store"
    if answer.cache_s < 0:
        raise ValueError("cache_s of an Answer must be 0 or more seconds")
    return f"{'public' if shared and not answer.cookies else 'private'}, max-age={answer.cache_s:d}"


_JSON: Mapping[str, str] = {"Content-Type": "application/json"}


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} has a character that no header can carry, such as a line end")
        if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
            raise ValueError(f"Baton sets the header {name!r}: use media_type, cookies or cache_s of Answer")
    return headers


def _checked_media_type(media_type: str) -> Mapping[str, str]:
    if not _FIELD_VALUE.fullmatch(media_type):
        raise ValueError("media_type has a character that no header can carry")
    return {"Content-Type": media_type}


def _cookie(cookie: Cookie) -> str:
    """Write the value of ``Set-Cookie`` (RFC 6265 section 4.1)."""
    if not (
        _FIELD_NAME.fullmatch(cookie.name)
        and _COOKIE_VALUE.fullmatch(cookie.value)
        and _COOKIE_PATH.fullmatch(cookie.path)
    ):
        raise ValueError(f"the cookie {cookie.name!r} has a character that no cookie can carry: encode the value")
    if cookie.same_site not in {"Strict", "Lax"}:
        raise ValueError(f"same_site of the cookie {cookie.name!r} must be Strict or Lax")
    age = "" if cookie.max_age is None else f"; Max-Age={cookie.max_age:d}"
    return f"{cookie.name}={cookie.value}; Path={cookie.path}{age}; Secure; HttpOnly; SameSite={cookie.same_site}"


def with_cookies(response: Response, cookies: Iterable[Cookie]) -> Response:
    """Add ``cookies`` to a response, and ``Cookie`` to its ``Vary``.

    If ``cookies`` is not empty, no cache may store the response.
    """
    given = next((name for name in response.headers if name.lower() == "vary"), None)
    response.headers["Vary"] = BY_COOKIE if given is None else f"{response.headers.pop(given)}, {BY_COOKIE}"
    lines = [_cookie(cookie) for cookie in cookies]
    if lines:
        response.headers["Set-Cookie"] = [*response.headers.get("Set-Cookie", ()), *lines]
        response.headers["Cache-Control"] = "no-store"
    return response


BY_COOKIE = "Cookie"
"""``Vary`` of an answer that depends on cookies."""


def rendered(response: Response) -> RenderedAnswer:
    """Split a response into its parts, to store them."""
    headers = {name: value for name, value in response.headers.items() if isinstance(value, str)}
    body = response.body.encode() if isinstance(response.body, str) else response.body
    return RenderedAnswer(response.status_code, headers, tuple(response.headers.get("Set-Cookie", ())), body)


def response_of(answer: RenderedAnswer) -> Response:
    """Make the response of a rendered answer. Its body is always bytes."""
    headers: Fields = {**answer.headers, **({"Set-Cookie": list(answer.cookies)} if answer.cookies else {})}
    return Response(body=answer.body, status_code=answer.status, headers=headers)


def status_and_error(refusal: errors.Refusal, dialect: Dialect) -> tuple[int, str]:
    """Return the status and the ``error`` member of a refusal in a dialect."""
    if dialect is Dialect.OAUTH:
        for family, error in _OAUTH_ERRORS.items():
            if isinstance(refusal, family):
                return 400, error
    return refusal.status, refusal.error


def refused(
    refusal: errors.Refusal, dialect: Dialect, *, request_id: str, now: int, resource_metadata: str = ""
) -> Response:
    """Make the response of a refusal. The body describes what happened and what to do, and never has a secret.

    ``resource_metadata`` is the URL that each 401 with a ``Bearer`` challenge names (RFC 9728 section 5.1).
    """
    status, error = status_and_error(refusal, dialect)
    detail = refusal.members.get("detail", refusal.detail)
    head: dict[str, object]
    if dialect is Dialect.OAUTH:
        head = {"error": error, "error_description": detail}
    else:
        title = refusal.code.replace("_", " ").capitalize()
        head = {
            "type": f"urn:baton:error:{refusal.code}",
            "title": title,
            "status": status,
            "detail": detail,
            "error": error,
        }
    body = {
        **head,
        "code": refusal.code,
        "action": refusal.action,
        "retryable": refusal.retryable,
        "request_id": request_id,
        "server_time": now,
    }
    # A member of the refusal never replaces one of these members, because clients act on them.
    body |= {name: value for name, value in refusal.members.items() if name not in body and name != "detail"}
    headers: Fields = {"Content-Type": dialect.value, "Cache-Control": "no-store"}
    if refusal.cookies:
        headers |= {"Set-Cookie": [_cookie(cookie) for cookie in refusal.cookies], "Vary": BY_COOKIE}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    challenge = _challenge(refusal, status, error)
    if challenge:
        if resource_metadata and challenge.startswith("Bearer"):
            challenge += f', resource_metadata="{resource_metadata}"'
            body["resource_metadata"] = resource_metadata
        headers["WWW-Authenticate"] = challenge
    return _Text(body=msgspec.json.encode(body).decode(), status_code=status, headers=headers)


def as_page(response: Response, refusal: errors.Refusal, *, request_id: str) -> Response:
    """Make an HTML page of a refusal, for a browser. The page shows no part of the request."""
    import html  # noqa: PLC0415 - cold start: only here

    detail, code, request_id = (
        html.escape(text) for text in (str(refusal.members.get("detail", refusal.detail)), refusal.code, request_id)
    )
    page = answered(
        Answer.html(
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>No login page</title><h1>No login page</h1><p>{detail}</p>"
            f"<p><small>{code}, request {request_id}</small></p></html>",
            response.status_code,
        )
    )
    page.headers = {**response.headers, **page.headers}
    return page


def _challenge(refusal: errors.Refusal, status: int, error: str) -> str | None:
    """Build ``WWW-Authenticate`` (RFC 6750 3, RFC 9470 3). Return ``None`` if the status is not 401.

    API Gateway renames this header, so the body has the same facts.
    """
    if status != errors.InvalidToken.status:
        return None
    if isinstance(refusal, InvalidClient):
        return 'Basic realm="baton"'
    parts = [f'error="{error}"']
    if isinstance(refusal, StepUpRequired):
        parts += [f"max_age={refusal.members['max_age']}", f'acr_values="{refusal.members["acr_values"]}"']
    return "Bearer " + ", ".join(parts)


ALLOWED_FIELDS = (
    "Authorization, Baton-CSRF, Baton-Grant, Content-Digest, Content-Type, Idempotency-Key, Signature, Signature-Input"
)
"""Request header fields that a page may send."""
EXPOSED_FIELDS = "Age, Baton-Replayed, Baton-Request-Id, Baton-Time, Retry-After"
"""Response header fields that a page may read."""
PREFLIGHT_KEPT_S = 7200
"""How long a browser may store a preflight, in seconds. Chromium never stores a preflight for longer."""


def readable_by(origin: str | None, origins: Collection[str], cookie_origins: Collection[str] = ()) -> dict[str, str]:
    """Return the header fields that allow a page of ``origin`` to read an answer.

    - ``origins``: the origins in ``BATON_ORIGINS``.
    - ``cookie_origins``: the origins of the cookie clients. Only pages of these origins may send cookies cross-origin.

    If neither list has ``origin`` (`is_listed`), return only ``Vary``. If both lists are empty, return no fields.
    """
    if not (origins or cookie_origins):
        return {}
    headers = {"Vary": "Origin"}
    by_cookie = bool(origin) and is_listed(origin or "", cookie_origins)
    if origin and (by_cookie or is_listed(origin, origins)):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = EXPOSED_FIELDS
        if by_cookie:
            headers["Access-Control-Allow-Credentials"] = "true"
    return headers
