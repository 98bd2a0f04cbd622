"""The errors that Baton returns: one exception class for each error.

    Refusal
    ├── InvalidRequest ─ Malformed, BodyTooLarge, FieldTooLarge, DuplicateField, UnknownField,
    │                    UnknownParameter, WrongType, UnsupportedMediaType, Superseded
    ├── NotFound, Forbidden, Conflict, MethodNotAllowed, TooManyRequests
    ├── InvalidToken ─ LoginRequired
    ├── Unavailable ─ TryAgain
    └── ServerError, OutcomeUnclear

The ``refusals.py`` of each package has further classes. docs/baton/errors.md lists all errors. E0 to E10 are the rules
of docs/baton/exchange.md.

A class has the public facts of an error: ``code`` (clients switch on it), ``error`` (the family of RFC 6749, RFC 6750
and RFC 9470), ``action`` (what to do next) and ``detail`` (for the app's developer). An instance adds ``reason``,
which is private and goes only to the log, and ``members``, which are public. Only ``http/answer.py`` turns an error
into HTTP.

A view raises the error that fits: ``raise errors.NotFound("private reason", detail="Public sentence.")``. The member
``detail`` replaces the sentence of the class. docs/baton/routes.md lists the errors that a view may raise.
"""

from typing import Any, ClassVar, Literal

Action = Literal[
    "retry", "sync_clock", "exchange", "step_up", "log_in", "fix_request", "check_outcome",
    "prove_factor", "enrol_factor", "verify_email", "attest",
]  # fmt: skip


class Refusal(Exception):
    """An error that Baton returns.

    The refused request changed nothing, or it is safe to repeat. Only two classes are different: after
    ``OutcomeUnclear`` and ``CallOutcomeUnknown``, the request may have taken effect, and is not safe to repeat.
    """

    status: ClassVar[int] = 400
    error: ClassVar[str]
    code: ClassVar[str]
    action: ClassVar[Action] = "fix_request"
    detail: ClassVar[str]
    by_caller: bool = False
    """Whether one caller can cause this server error deliberately. Such an error is counted separately and triggers no
    alarm."""
    cookies: tuple[Any, ...] = ()
    """The cookies (`routing.Cookie`) that the answer sets or deletes."""

    def __init__(self, reason: str = "", /, *, retry_after: int | None = None, **members: object) -> None:
        """Keep the private ``reason`` for the log and the public ``members`` for the answer.

        ``retry_after`` is in seconds. ``members`` whose value is ``None`` are left out.
        """
        super().__init__(reason or self.detail)
        self.reason = reason
        self.retry_after = retry_after
        self.members = {name: value for name, value in members.items() if value is not None}

    @property
    def retryable(self) -> bool:
        """Whether ``action`` is ``retry``, ``sync_clock`` or ``exchange``.

        The app can do each of these without the person, and then send the request again.
        """
        return self.action in {"retry", "sync_clock", "exchange"}


class InvalidRequest(Refusal):
    """The base of the family ``invalid_request``. Raise a subclass: this class has no ``code``."""

    error = "invalid_request"


class Malformed(InvalidRequest):
    """The request does not have the shape that this route requires."""

    code = "malformed"
    detail = "The request is malformed: `pointer` names the member. Correct it and send it again."


class BodyTooLarge(InvalidRequest):
    """The body is larger than 64 KB (65,536 bytes)."""

    status = 413
    code = "too_large"
    detail = "The body is too large. Send at most `limit` bytes."


class FieldTooLarge(InvalidRequest):
    """A token or a header field is longer than 8,192 characters."""

    code = "too_large"
    detail = "A token or a header field is too long. Send at most 8,192 characters."


class DuplicateField(InvalidRequest):
    """A header field, form field, parameter or member is given more than once, but may be given only once."""

    code = "duplicate_field"
    detail = "`field` is given more than once. Send it once."


class UnknownField(InvalidRequest):
    """The body has a member that this route does not have."""

    status = 422
    code = "unknown_field"
    detail = "The body has an unknown member: `pointer`. Remove it."


class UnknownParameter(InvalidRequest):
    """The query has a parameter that this route does not have."""

    code = "unknown_field"
    detail = "The query has an unknown parameter: `parameter`. Remove it."


class WrongType(InvalidRequest):
    """A member has the wrong type or is out of range."""

    status = 422
    code = "wrong_type"
    detail = "A member of the body has the wrong type or is out of range: `pointer`. Correct it."


class UnsupportedMediaType(InvalidRequest):
    """The body does not have the media type that this route requires."""

    status = 415
    code = "unsupported_media_type"
    detail = "The `Content-Type` is wrong. Send the type in `expected`."


class Superseded(InvalidRequest):
    """The answer to an earlier request with this attempt is out of date.

    An exchange gets this error if the child of its token was exchanged too (E7). A retry of a registration or login
    gets this error if the login has ended, or if its first token was exchanged. The retry also gets this error if the
    identity of the login (such as Apple) was unlinked, or if the retry has another key or client than the first try.
    """

    status = 409
    code = "superseded"
    action = "retry"
    detail = (
        "The answer to an earlier request with this attempt is out of date. Load the stored token and use it. If no "
        "token is stored, log in with a new attempt. This request ended no login."
    )


class NotFound(Refusal):
    """The resource does not exist, or it belongs to another account.

    Baton also returns this error if the deployment, the client or the account does not have the feature of the route.
    """

    status = 404
    error = code = "not_found"
    detail = "The resource does not exist, or it belongs to another account. Check the path."


class Forbidden(Refusal):
    """The account may not do this.

    If a scope or a role is missing, Baton returns another error: ``insufficient_scope`` or ``insufficient_role``.
    """

    status = 403
    error = code = "forbidden"
    detail = "This account may not do this. The same request will be refused again."


class Conflict(Refusal):
    """The request does not fit the current state of the resource. Nothing was changed."""

    status = 409
    error = code = "conflict"
    detail = "The request does not fit the current state. Read the current state, and decide again."


class MethodNotAllowed(Refusal):
    """The route exists, but not with this method.

    Only a local server sends this error. On AWS, API Gateway refuses an unknown method itself, and does not call Baton.
    """

    status = 405
    error = code = "method_not_allowed"
    detail = "This route does not support this method. `GET /openapi.json` lists the methods."


class InvalidToken(Refusal):
    """The token is not accepted. Under ``/oauth/*``, the status is 400 and ``error`` is ``invalid_grant``."""

    status = 401
    error = "invalid_token"


class LoginRequired(InvalidToken):
    """The login of this token has ended, or the token does not match the stored login (E4, E9).

    The member ``reason`` is the recorded end reason, if any.
    """

    code = "login_required"
    action = "log_in"
    detail = "This login has ended. Log in again."


class TooManyRequests(Refusal):
    """A rate limit is reached, or the account has no room for another login.

    Baton checks a rate limit before the password or code that the limit protects.
    """

    status = 429
    error = code = "too_many_requests"
    action = "retry"
    detail = "There were too many attempts. Wait for `Retry-After` seconds."


class Unavailable(Refusal):
    """The server cannot answer the request now (E10). It is unknown whether the request took effect.

    Repeat the request with the same attempt.
    """

    status = 503
    error = "temporarily_unavailable"
    code = "unavailable"
    action = "retry"
    detail = (
        "The service is temporarily unavailable. The login is still valid. Repeat the request after `Retry-After` "
        "seconds."
    )

    def __init__(
        self, reason: str = "", /, *, retry_after: int = 1, by_caller: bool = False, **members: object
    ) -> None:
        """Request a retry after ``retry_after`` seconds.

        ``by_caller``: one caller can cause this error deliberately, for example with parallel changes of one account.
        """
        super().__init__(reason, retry_after=retry_after, **members)
        self.by_caller = by_caller


class TryAgain(Unavailable):
    """The request changed nothing, and may be sent again with the same `Idempotency-Key`.

    For authors of routes: a view may raise `TryAgain` only before the view has any effect. If the app repeats the
    request, the view runs again, even if its route has ``once=True``.
    """

    code = "unavailable"
    detail = (
        "The service is temporarily unavailable. The request changed nothing. Repeat it after `Retry-After` seconds."
    )


class ServerError(Refusal):
    """The server failed. The request is safe to repeat unchanged, even if it took effect."""

    status = 500
    error = code = "server_error"
    action = "retry"
    detail = "The server failed. Send the same request again. Quote `request_id` when you report the error."


class OutcomeUnclear(Refusal):
    """The server failed, and the request may have taken effect. Before you repeat it, read the current state."""

    status = 500
    error = code = "server_error"
    action = "check_outcome"
    detail = (
        "The server failed, and the request may have taken effect. Read the current state before you repeat it. Quote "
        "`request_id` when you report the error."
    )
