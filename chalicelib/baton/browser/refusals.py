"""Errors of pages with a cookie."""

from chalicelib.baton.errors import InvalidRequest, InvalidToken, Refusal


class CrossSite(Refusal):
    """A page of another site sent the request, or nothing shows which page sent the request.

    The CSRF token counts only if a logged-in browser sends neither ``Origin`` nor ``Sec-Fetch-Site``. It never counts
    for a registration or a login.
    """

    status = 403
    error = code = "cross_site"
    detail = (
        "A page of another site sent this request, or nothing proves that a page of this site did. Send it from an "
        "origin of the client. If the browser sends neither `Origin` nor `Sec-Fetch-Site` on a call, send the CSRF "
        "token in the header `Baton-CSRF`. Nothing was changed."
    )


class SessionSuperseded(InvalidToken):
    """A newer cookie of the same login has replaced the cookie of this request.

    The login stays active with the newer cookie. A browser that has only the old cookie must log in again.
    """

    code = "session_superseded"
    action = "log_in"
    detail = "This cookie is old: a newer cookie of the same login replaced it. Log in again."


class DeviceProofRequired(Refusal):
    """The cookies are bound to the key of a browser (DBSC), and this request has no fresh proof of that key."""

    status = 401
    error = code = "device_proof_required"
    action = "retry"
    detail = (
        "These cookies are bound to the key of a browser, and the proof of that key is missing or too old. The browser "
        "renews the proof before the next request: reload once. If the next request is refused too, log in."
    )


class ProofInvalid(Refusal):
    """The proof of the key of a browser (DBSC) is not valid. This request ended no login."""

    error = code = "proof_invalid"
    action = "log_in"
    detail = (
        "The proof of the key of this browser is not valid. This request ended no login. To bind the cookies to a new "
        "key, log in again."
    )


class HandoverInvalid(Refusal):
    """A handover code has expired or was used, the login of the app has ended, or the credentials have changed."""

    error = code = "handover_invalid"
    action = "log_in"
    detail = "This code is no longer valid. Request a new code in the app."


class NextInvalid(Refusal):
    """``next``, the page that the browser opens after a handover, is not a path of this site."""

    error = code = "next_invalid"
    detail = "`next` must begin with one `/`, followed by neither `/` nor `\\`. It has at most 512 bytes."


class CookiesTooLarge(InvalidRequest):
    """The header ``Cookie`` is longer than 4,096 bytes."""

    status = 431
    code = "too_large"
    detail = "The header `Cookie` is too long. Send at most 4,096 bytes: delete cookies of this site."
