"""The errors that Baton returns: one exception class for each error code.

    Refusal
    ├── InvalidRequest ─ Malformed, BodyTooLarge, FieldTooLarge, PasswordTooLarge, DuplicateField,
    │                    UnknownField, UnknownParameter, WrongType, UnsupportedMediaType,
    │                    InvalidEmail, InvalidKey, Superseded
    ├── NotFound, MethodNotAllowed, AccountExists
    ├── WeakPassword ─── TooShort, TooCommon, ContainsContext
    ├── InvalidCredentials
    ├── InvalidToken ─── TokenExpired, LoginRequired, TokenInvalid, TokenReused
    ├── InvalidSignature ─ SignatureRequired, SignatureDefective, InsufficientCoverage,
    │                      SignatureEncoding, WrongKey
    ├── InvalidDigest, ClockSkew, ReplayedNonce
    ├── InsufficientUserAuthentication ─ StepUpRequired, GrantInvalid
    ├── InvalidClient, UnknownClient, UnauthorizedClient, UnsupportedGrantType, InvalidScope   (RFC 6749 5.2)
    ├── UnsupportedResponseType                                                                (RFC 6749 4.1.2.1)
    ├── TooManyRequests
    └── Unavailable ─ TryAgain; ServerError, OutcomeUnclear                                           (our own trouble)

A class says what the caller may know: ``code`` (the switch for clients), ``error`` (the family word of
RFC 6749, RFC 6750 and RFC 9470), ``action`` (what to do next), ``sentence`` (for a reader). An instance adds
``reason``, which is private and goes to the log alone, and ``members``, which are public.
``http/problem.py`` turns them into HTTP, and is the only place that does.
"""

from typing import ClassVar, Literal

Action = Literal["retry", "sync_clock", "exchange", "step_up", "log_in", "fix_request", "check_outcome"]


class Refusal(Exception):
    """Say no. Nothing was changed, or what was changed is safe to repeat."""

    status: ClassVar[int] = 400
    error: ClassVar[str]
    code: ClassVar[str]
    action: ClassVar[Action] = "fix_request"
    sentence: ClassVar[str]
    by_caller: bool = False
    """Of our own trouble: one caller can cause it at will, so it is counted apart and rings no alarm."""

    def __init__(self, reason: str = "", /, *, retry_after: int | None = None, **members: object) -> None:
        """Keep the private ``reason`` for the log and the public ``members`` for the answer.

        ``retry_after`` is in seconds; ``members`` whose value is ``None`` are left out.
        """
        super().__init__(reason or self.sentence)
        self.reason = reason
        self.retry_after = retry_after
        self.members = {name: value for name, value in members.items() if value is not None}

    @property
    def retryable(self) -> bool:
        """Tell whether the same intent may succeed when sent again without asking a person."""
        return self.action in {"retry", "sync_clock", "exchange"}


class InvalidRequest(Refusal):
    """The request cannot be understood as sent."""

    error = "invalid_request"


class Malformed(InvalidRequest):
    """Not the shape this route takes."""

    code = "malformed"
    sentence = "The request is malformed: `pointer` names the member. Correct it and send it again."


class BodyTooLarge(InvalidRequest):
    """More than a body may weigh."""

    status = 413
    code = "too_large"
    sentence = "The body is too large: see `limit`. Send a smaller one."


class FieldTooLarge(InvalidRequest):
    """A token or header field over its limit."""

    code = "too_large"
    sentence = "A token or a header field is too long: see `field` and `limit`."


class DuplicateField(InvalidRequest):
    """Something that may stand once stands twice."""

    code = "duplicate_field"
    sentence = "A field is given more than once: see `field`. Send it once."


class UnknownField(InvalidRequest):
    """A member this route does not know."""

    status = 422
    code = "unknown_field"
    sentence = "The body has a member that this route does not know: see `pointer`. Remove it."


class UnknownParameter(InvalidRequest):
    """A query parameter this route does not know."""

    code = "unknown_field"
    sentence = "The query has a parameter that this route does not know: see `parameter`. Remove it."


class WrongType(InvalidRequest):
    """A member of the wrong type or outside its bounds."""

    status = 422
    code = "wrong_type"
    sentence = "A member of the body has the wrong type or is out of range: see `pointer`."


class UnsupportedMediaType(InvalidRequest):
    """Not the media type this route takes."""

    status = 415
    code = "unsupported_media_type"
    sentence = "This route requires another `Content-Type`: see `expected`."


class Superseded(InvalidRequest):
    """A late repetition of something that has since gone further (E7): nothing ended."""

    status = 409
    code = "superseded"
    action = "retry"
    sentence = (
        "This token was exchanged before, and so was its successor. Load the stored token and use it. The login is "
        "still active."
    )


class NotFound(Refusal):
    """No such thing, or not yours: alike."""

    status = 404
    error = code = "not_found"
    sentence = "The resource does not exist, or it belongs to another account."


class MethodNotAllowed(Refusal):
    """The route exists, the method on it does not.

    API Gateway never asks us: it answers unknown methods, as unknown routes, by itself, with 403 or 404.
    """

    status = 405
    error = code = "method_not_allowed"
    sentence = "This route does not support this method."


class InvalidToken(Refusal):
    """The token does not open this door. At ``/oauth/token`` the same refusals are ``invalid_grant``."""

    status = 401
    error = "invalid_token"


class LoginRequired(InvalidToken):
    """The lineage is over (E4, E9). ``reason`` among the members says why, when there is a why."""

    code = "login_required"
    action = "log_in"
    sentence = "This login has ended. Log in again."


class TooManyRequests(Refusal):
    """A throttle's limit is reached. Says nothing about the password."""

    status = 429
    error = code = "too_many_requests"
    action = "retry"
    sentence = "Too many attempts. Wait for `Retry-After` seconds."


class Unavailable(Refusal):
    """Our own trouble (E10): nothing is known to have changed, repeat with the same attempt."""

    status = 503
    error = "temporarily_unavailable"
    code = "unavailable"
    action = "retry"
    sentence = (
        "The service is temporarily unavailable. The login is still valid. Repeat the request after `Retry-After` "
        "seconds."
    )

    def __init__(
        self, reason: str = "", /, *, retry_after: int = 1, by_caller: bool = False, **members: object
    ) -> None:
        """Ask for a retry after ``retry_after`` seconds.

        ``by_caller`` says that one caller can cause this at will, such as by requests that change one account at once.
        """
        super().__init__(reason, retry_after=retry_after, **members)
        self.by_caller = by_caller


class TryAgain(Unavailable):
    """Raised by a view that changed nothing: the same request may be sent again, with the same `Idempotency-Key`.

    On a route with ``once=True`` this releases the key. Raise it only before any effect.
    """

    code = "unavailable"
    sentence = (
        "The service is temporarily unavailable. The request changed nothing. Repeat it after `Retry-After` seconds."
    )


class ServerError(Refusal):
    """A server error, on a request that changes nothing or takes an attempt: it may be sent again."""

    status = 500
    error = code = "server_error"
    action = "retry"
    sentence = "The server made a mistake. Send the same request again. Quote `request_id` when you report it."


class OutcomeUnclear(Refusal):
    """A server error, on a request that may have changed something: find out before it is repeated."""

    status = 500
    error = code = "server_error"
    action = "check_outcome"
    sentence = (
        "The server made a mistake, and the request may have taken effect. Read the current state before you repeat "
        "it. Quote `request_id` when you report it."
    )
