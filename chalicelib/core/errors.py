"""Every way Baton says no: one family, one code each.

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
    sentence = "The request is not well-formed. Mend it as `detail` says and send it again."


class BodyTooLarge(InvalidRequest):
    """More than a body may weigh."""

    status = 413
    code = "too_large"
    sentence = "The body is too large."


class FieldTooLarge(InvalidRequest):
    """A token or header field over its limit."""

    code = "too_large"
    sentence = "A token or header field is over its limit."


class PasswordTooLarge(InvalidRequest):
    """A password over 1,024 bytes, refused before it is normalised."""

    status = 422
    code = "too_large"
    sentence = "The password is over 1,024 bytes."


class DuplicateField(InvalidRequest):
    """Something that may stand once stands twice."""

    code = "duplicate_field"
    sentence = "A field that may be given once is given more than once."


class UnknownField(InvalidRequest):
    """A member this route does not know."""

    status = 422
    code = "unknown_field"
    sentence = "The body has a member that this route does not take."


class UnknownParameter(InvalidRequest):
    """A query parameter this route does not know."""

    code = "unknown_field"
    sentence = "The query has a parameter that this route does not take."


class WrongType(InvalidRequest):
    """A member of the wrong type or outside its bounds."""

    status = 422
    code = "wrong_type"
    sentence = "A member of the body has the wrong type, or is outside its bounds."


class UnsupportedMediaType(InvalidRequest):
    """Not the media type this route takes."""

    status = 415
    code = "unsupported_media_type"
    sentence = "This route takes another Content-Type."


class InvalidEmail(InvalidRequest):
    """Not an e-mail address we accept."""

    status = 422
    code = "invalid_email"
    sentence = "That is not a usable e-mail address."


class InvalidKey(InvalidRequest):
    """Not a public key we accept."""

    status = 422
    code = "invalid_key"
    sentence = "That is not a usable public key: give a JWK of kty EC, crv P-256, or kty OKP, crv Ed25519."


class Superseded(InvalidRequest):
    """A late repetition of something that has since gone further (E7): nothing ended."""

    status = 409
    code = "superseded"
    action = "retry"
    sentence = "This was answered before and has been overtaken. Read your storage again; nothing was ended."


class NotFound(Refusal):
    """No such thing, or not yours: alike."""

    status = 404
    error = code = "not_found"
    sentence = "There is no such thing here."


class MethodNotAllowed(Refusal):
    """The route exists, the method on it does not.

    API Gateway never asks us: it answers unknown methods, as unknown routes, by itself, with 403 or 404.
    """

    status = 405
    error = code = "method_not_allowed"
    sentence = "This route does not take that method."


class AccountExists(Refusal):
    """The e-mail address is taken."""

    status = 409
    error = code = "account_exists"
    action = "log_in"
    sentence = "There is an account with this e-mail address. Log in instead."


class WeakPassword(Refusal):
    """The password would not protect the account (NIST SP 800-63B 3.1.1)."""

    status = 422
    error = "weak_password"


class TooShort(WeakPassword):
    """Fewer characters than the policy asks for."""

    code = "too_short"
    sentence = "The password is too short: 15 characters at least."


class TooCommon(WeakPassword):
    """Fewer than 8 units to guess.

    A listed common word is one unit, and so is a run along the alphabet or a keyboard's row, a repetition of what stood
    before, and any other character by itself; case and look-alikes (`0` for `o`) make no difference.
    """

    code = "too_common"
    sentence = (
        "The password is too easy to guess: fewer than 8 units, where a common word, a sequence or a repetition is one "
        "unit, as any other character is. Add less common words."
    )


class ContainsContext(WeakPassword):
    """Built around the service's name or the person's own address."""

    code = "contains_context"
    sentence = "The password contains the name of this service or your e-mail address. Choose another."


class InvalidCredentials(Refusal):
    """Wrong password, unknown account, disabled account: alike."""

    status = 401
    error = code = "invalid_credentials"
    sentence = "E-mail address or password is wrong."


class InvalidToken(Refusal):
    """The token does not open this door. At ``/oauth/token`` the same refusals are ``invalid_grant``."""

    status = 401
    error = "invalid_token"


class TokenExpired(InvalidToken):
    """Genuine, of a lineage that may live, but past its time or overtaken by an exchange."""

    code = "token_expired"
    action = "exchange"
    sentence = "The token has expired. Exchange it at /oauth/token, or use the newer one you hold."


class LoginRequired(InvalidToken):
    """The lineage is over (E4, E9). ``reason`` among the members says why, when there is a why."""

    code = "login_required"
    action = "log_in"
    sentence = "This login has ended. Log in again."


class TokenInvalid(InvalidToken):
    """Not a token of ours, or not one for this purpose (E1)."""

    code = "token_invalid"
    action = "log_in"
    sentence = "That is not a token this server issued for this purpose."


class TokenReused(InvalidToken):
    """A used token shown with another attempt (E8): its lineage has been ended."""

    code = "token_reused"
    action = "log_in"
    sentence = "This token was used before by somebody else, so its login was ended for safety. Log in again."


class InvalidSignature(Refusal):
    """The request is not signed as this route needs (RFC 9421)."""

    status = 401
    error = "invalid_signature"


class SignatureRequired(InvalidSignature):
    """No signature with our tag."""

    code = "signature_required"
    sentence = "This request must be signed: RFC 9421, tag `baton`."


class SignatureDefective(InvalidSignature):
    """A signature that does not verify, or cannot."""

    code = "invalid_signature"
    sentence = "The signature does not verify. Compare `signature_base` with the one your app built."


class InsufficientCoverage(InvalidSignature):
    """A genuine signature over too little."""

    code = "insufficient_coverage"
    sentence = "The signature leaves out something it must cover: see `missing`."


class SignatureEncoding(InvalidSignature):
    """A DER signature where RFC 9421 wants raw r and s."""

    code = "signature_encoding"
    sentence = "The signature is DER. RFC 9421 section 3.3.4 wants r and s raw: 64 bytes, 32 each."


class WrongKey(InvalidSignature):
    """Signed by a key this lineage is not bound to."""

    code = "wrong_key"
    sentence = "The signature is not by the key this login is bound to. Nothing was ended."


class InvalidDigest(Refusal):
    """``Content-Digest`` does not match the body (RFC 9530)."""

    error = code = "invalid_digest"
    sentence = "Content-Digest does not match the body: give sha-256 or sha-512 of the exact bytes sent."


class ClockSkew(Refusal):
    """``created`` outside the window: the phone's clock is off, or the request is old."""

    status = 401
    error = "stale_signature"
    code = "clock_skew"
    action = "sync_clock"
    sentence = "The signature is from outside the time window. Set your offset from `server_time` and sign again."


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
    sentence = "This operation asks for the password again: POST /step-up, then send its grant as Baton-Grant."


class GrantInvalid(InsufficientUserAuthentication):
    """A grant that is unknown, spent, expired, or for another operation."""

    code = "grant_invalid"
    sentence = "The grant is spent, expired, or for another operation. POST /step-up for exactly this request."


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
    sentence = "Too many attempts. Wait as `Retry-After` says."


class Unavailable(Refusal):
    """Our own trouble (E10): nothing is known to have changed, repeat with the same attempt."""

    status = 503
    error = "temporarily_unavailable"
    code = "unavailable"
    action = "retry"
    sentence = "Baton cannot answer just now. Nobody was logged out. Repeat the same request after `Retry-After`."

    def __init__(self, reason: str = "", /, *, retry_after: int = 1, **members: object) -> None:
        """Ask for a retry after ``retry_after`` seconds."""
        super().__init__(reason, retry_after=retry_after, **members)


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
