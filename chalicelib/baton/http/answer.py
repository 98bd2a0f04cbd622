"""Answer or Refusal -> Response. Refusals have two dialects: RFC 6749 under ``/oauth``, RFC 9457 elsewhere."""

import msgspec
from chalice.app import Response

from chalicelib.baton import errors
from chalicelib.baton.proof.refusals import ClockSkew, InvalidDigest, InvalidSignature
from chalicelib.baton.routing import Answer, Dialect
from chalicelib.baton.tokens.refusals import InvalidClient, StepUpRequired

PAGE = "text/html; charset=utf-8"
"""The media type of a refusal that a person reads."""


# What RFC 6749 section 5.2 has no word for: there, a bad token is a bad grant, and a bad proof a bad request.
_OAUTH_ERRORS: dict[type[errors.Refusal], str] = {
    errors.InvalidToken: "invalid_grant",
    InvalidSignature: "invalid_request",
    InvalidDigest: "invalid_request",
    ClockSkew: "invalid_request",
}


def status_and_error(refusal: errors.Refusal, dialect: Dialect) -> tuple[int, str]:
    """Give the status and the ``error`` member of a refusal in a dialect."""
    if dialect is Dialect.OAUTH:
        for family, error in _OAUTH_ERRORS.items():
            if isinstance(refusal, family):
                return 400, error
    return refusal.status, refusal.error


def answered(answer: object) -> Response:
    """Write what a view returned. Anything but an ``Answer`` is a defect."""
    if not isinstance(answer, Answer):
        raise TypeError(f"the view must return an Answer, not a {type(answer).__name__}")
    headers: dict[str, str | list[str]] = {
        "Cache-Control": f"public, max-age={answer.cache_s}" if answer.cache_s else "no-store"
    }
    if answer.body is None:
        return Response(body="", status_code=answer.status, headers=headers)
    headers["Content-Type"] = "application/json"
    return Response(body=msgspec.json.encode(answer.body).decode(), status_code=answer.status, headers=headers)


def refused(
    refusal: errors.Refusal, dialect: Dialect, *, request_id: str, now: int, resource_metadata: str = ""
) -> Response:
    """Answer with a refusal: what happened, what to do, never a secret.

    ``resource_metadata`` is the URL that a 401 about a token names (RFC 9728 section 5.1).
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
        **{name: value for name, value in refusal.members.items() if name != "detail"},
    }
    headers: dict[str, str | list[str]] = {"Content-Type": dialect.value, "Cache-Control": "no-store"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    challenge = _challenge(refusal, status, error)
    if challenge:
        if resource_metadata and challenge.startswith("Bearer"):
            challenge += f', resource_metadata="{resource_metadata}"'
            body["resource_metadata"] = resource_metadata
        headers["WWW-Authenticate"] = challenge
    return Response(body=msgspec.json.encode(body).decode(), status_code=status, headers=headers)


def as_page(response: Response, refusal: errors.Refusal, *, request_id: str) -> Response:
    """Write a refusal for the person who opened the route in a browser. Nothing of the request is shown."""
    import html  # noqa: PLC0415 - cold start: only here

    detail, code, request_id = (
        html.escape(text) for text in (str(refusal.members.get("detail", refusal.detail)), refusal.code, request_id)
    )
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>No login page</title><h1>No login page</h1><p>{detail}</p>"
        f"<p><small>{code}, request {request_id}</small></p></html>"
    )
    headers = dict(response.headers) | {
        "Content-Type": PAGE,
        "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
    }
    return Response(body=body, status_code=response.status_code, headers=headers)


def _challenge(refusal: errors.Refusal, status: int, error: str) -> str | None:
    """Build ``WWW-Authenticate`` (RFC 6750 3, RFC 9470 3). API Gateway renames it: the body says all."""
    if status != errors.InvalidToken.status:
        return None
    if isinstance(refusal, InvalidClient):
        return 'Basic realm="baton"'
    parts = [f'error="{error}"']
    if isinstance(refusal, StepUpRequired):
        parts += [f"max_age={refusal.members['max_age']}", f'acr_values="{refusal.members["acr_values"]}"']
    return "Bearer " + ", ".join(parts)
