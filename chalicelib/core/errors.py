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
    └── Unavailable, ServerError, OutcomeUnclear                                               (our own trouble)

A class says what the caller may know: ``code`` (the switch for clients), ``error`` (the family word of
RFC 6749, RFC 6750 and RFC 9470), ``action`` (what to do next), ``sentence`` (for a reader). An instance adds
``reason``, which is private and goes to the log alone, and ``members``, which are public.
``web/problem.py`` turns them into HTTP, and is the only place that does.
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


class PasswordTooLarge(InvalidRequest):
    """A password over 1,024 bytes, refused before it is normalised."""

    status = 422
    code = "too_large"
    sentence = "The password has more than 1,024 bytes. Choose a shorter one."


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


class InvalidEmail(InvalidRequest):
    """Not an e-mail address we accept."""

    status = 422
    code = "invalid_email"
    sentence = "The e-mail address is not valid. Correct it."


class InvalidKey(InvalidRequest):
    """Not a public key we accept."""

    status = 422
    code = "invalid_key"
    sentence = "The public key is not valid. Send a JWK of `kty` EC, `crv` P-256, or of `kty` OKP, `crv` Ed25519."


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


class AccountExists(Refusal):
    """The e-mail address is taken."""

    status = 409
    error = code = "account_exists"
    action = "log_in"
    sentence = "An account with this e-mail address exists. Log in instead."


class WeakPassword(Refusal):
    """The password would not protect the account (NIST SP 800-63B 3.1.1)."""

    status = 422
    error = "weak_password"


class TooShort(WeakPassword):
    """Fewer characters than the policy asks for."""

    code = "too_short"
    sentence = "The password has fewer than 15 characters. Choose a longer one."


class TooCommon(WeakPassword):
    """Fewer than 8 units to guess.

    A listed common word is one unit, and so is a run along the alphabet or a keyboard's row, a repetition of what stood
    before, and any other character by itself; case and look-alikes (`0` for `o`) make no difference.
    """

    code = "too_common"
    sentence = (
        "The password is too easy to guess: it has fewer than 8 units. One unit is a common word, a sequence, a "
        "repetition, or any other character. Add less common words."
    )


class ContainsContext(WeakPassword):
    """Built around the service's name or the person's own address."""

    code = "contains_context"
    sentence = "The password contains the name of this service or your e-mail address. Choose another."


class InvalidCredentials(Refusal):
    """Wrong password, unknown account, disabled account: alike."""

    status = 401
    error = code = "invalid_credentials"
    sentence = "The e-mail address or the password is wrong."


class InvalidToken(Refusal):
    """The token does not open this door. At ``/oauth/token`` the same refusals are ``invalid_grant``."""

    status = 401
    error = "invalid_token"


class TokenExpired(InvalidToken):
    """Genuine, of a lineage that may live, but past its time or overtaken by an exchange."""

    code = "token_expired"
    action = "exchange"
    sentence = "The token has expired. Exchange it at `/oauth/token`, or use the newer stored one."


class LoginRequired(InvalidToken):
    """The lineage is over (E4, E9). ``reason`` among the members says why, when there is a why."""

    code = "login_required"
    action = "log_in"
    sentence = "This login has ended. Log in again."


class TokenInvalid(InvalidToken):
    """Not a token of ours, or not one for this purpose (E1)."""

    code = "token_invalid"
    action = "log_in"
    sentence = "The token is not valid for this request. Log in again."


class TokenReused(InvalidToken):
    """A used token shown with another attempt (E8): its lineage has been ended."""

    code = "token_reused"
    action = "log_in"
    sentence = "This token was already exchanged with another attempt, so Baton ended the login. Log in again."


class InvalidSignature(Refusal):
    """The request is not signed as this route needs (RFC 9421)."""

    status = 401
    error = "invalid_signature"


class SignatureRequired(InvalidSignature):
    """No signature with our tag."""

    code = "signature_required"
    sentence = "This request must be signed (RFC 9421) with the tag `baton`."


class SignatureDefective(InvalidSignature):
    """A signature that does not verify, or cannot."""

    code = "invalid_signature"
    sentence = "The signature does not verify. Compare `signature_base` with the one that your app built."


class InsufficientCoverage(InvalidSignature):
    """A genuine signature over too little."""

    code = "insufficient_coverage"
    sentence = "The signature does not cover all that it must cover: see `missing`."


class SignatureEncoding(InvalidSignature):
    """A DER signature where RFC 9421 wants raw r and s."""

    code = "signature_encoding"
    sentence = "The signature is in DER. RFC 9421 section 3.3.4 requires r and s as 64 raw bytes, 32 each."


class WrongKey(InvalidSignature):
    """Signed by a key this lineage is not bound to."""

    code = "wrong_key"
    sentence = "The signature is not by the key of this login. The login is still active."


class InvalidDigest(Refusal):
    """``Content-Digest`` does not match the body (RFC 9530)."""

    error = code = "invalid_digest"
    sentence = "`Content-Digest` does not match the body. Send the sha-256 or sha-512 of the exact bytes."


class ClockSkew(Refusal):
    """``created`` outside the window: the phone's clock is off, or the request is old."""

    status = 401
    error = "stale_signature"
    code = "clock_skew"
    action = "sync_clock"
    sentence = "`created` is outside the time window. Set your clock offset from `server_time` and sign again."


class ReplayedNonce(Refusal):
    """A nonce that has been spent."""

    status = 401
    error = code = "replayed_nonce"
    action = "retry"
    sentence = "This signed request was received before. Sign again with a fresh nonce."


class InsufficientUserAuthentication(Refusal):
    """The operation asks for the person again (RFC 9470)."""

    status = 401
    error = "insufficient_user_authentication"
    action = "step_up"


class StepUpRequired(InsufficientUserAuthentication):
    """No grant came with the request, or one that was proved too long ago, or too weakly, for this route."""

    code = "step_up_required"
    sentence = "This operation requires the password again. `POST /step-up`, then send its grant as `Baton-Grant`."


class GrantInvalid(InsufficientUserAuthentication):
    """A grant that is unknown, spent, expired, or for another operation."""

    code = "grant_invalid"
    sentence = "The grant is used, expired, or for another operation. `POST /step-up` for exactly this request."


class InvalidClient(Refusal):
    """A resource server did not authenticate at introspection (RFC 6749 5.2)."""

    status = 401
    error = code = "invalid_client"
    sentence = "Client authentication failed."


class UnknownClient(Refusal):
    """No client is registered under this ``client_id`` (RFC 6749 5.2)."""

    error = code = "invalid_client"
    sentence = "This client_id is not registered with this server. Check its spelling."


class UnauthorizedClient(Refusal):
    """The client may not use this grant type, or the token was issued to another client (RFC 6749 5.2)."""

    error = code = "unauthorized_client"
    sentence = "This client is not allowed to do that."


class UnsupportedResponseType(Refusal):
    """There is no authorization code and no login page (RFC 6749 4.1.2.1). Never a redirect."""

    error = code = "unsupported_response_type"
    sentence = "This server has no login page. The app asks for the password itself and sends POST /login."


class UnsupportedGrantType(Refusal):
    """A grant type this server does not offer."""

    error = code = "unsupported_grant_type"
    sentence = "Only grant_type=refresh_token is served here."


class InvalidScope(Refusal):
    """More scope than the login was given."""

    error = code = "invalid_scope"
    sentence = "The scope asked for exceeds what this login was given."


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
