"""Errors of tokens, grants and OAuth requests."""

from chalicelib.baton.errors import InvalidToken, Refusal


class TokenExpired(InvalidToken):
    """Genuine, of a lineage that may live, but past its time or overtaken by an exchange."""

    code = "token_expired"
    action = "exchange"
    sentence = "The token has expired. Exchange it at `/oauth/token`, or use the newer stored one."


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
