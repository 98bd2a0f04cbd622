"""Errors of pages with a cookie."""

from chalicelib.baton.errors import InvalidRequest, InvalidToken, Refusal


class CrossSite(Refusal):
    """A page of another site sent the request, or the browser does not say which page did."""

    status = 403
    error = code = "cross_site"
    detail = (
        "A page of another site sent this request, or nothing proves that a page of this site did. Send it from an "
        "origin of the client, or send the header `Baton-CSRF`. Nothing was changed."
    )


class SessionSuperseded(InvalidToken):
    """A newer session id of this login is in use. No login ended."""

    code = "session_superseded"
    action = "log_in"
    detail = "This session cookie is an old one: a newer one of the same login is in use. Log in again."


class CookiesTooLarge(InvalidRequest):
    """The cookies of a request are longer than 4,096 bytes."""

    status = 431
    code = "too_large"
    detail = "The header `Cookie` is too long. Send at most 4,096 bytes: delete cookies of this site."
