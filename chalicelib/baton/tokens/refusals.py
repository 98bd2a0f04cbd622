"""Errors of tokens, grants and OAuth requests. E1, E2 and E8 are rules of the exchange (docs/baton/exchange.md)."""

from chalicelib.baton.errors import InvalidRequest, InvalidToken, Refusal


class TokenExpired(InvalidToken):
    """The token is genuine, but it has expired or was exchanged. The login may still be active."""

    code = "token_expired"
    action = "exchange"
    detail = (
        "The token has expired, or it was exchanged before. If your storage has a newer token, use that token. "
        "Otherwise, exchange this token at `/oauth/token`."
    )


class TokenInvalid(InvalidToken):
    """A call has no token, or Baton did not issue the token, or the token is for another purpose (E1).

    A call of an app has no token if ``Authorization`` is missing, or if its scheme is neither ``Bearer`` nor
    ``HTTPSig``. A call of a browser has no token if the session cookie is missing. A token is for another purpose, for
    example, if it is a refresh token and is sent on a call.
    """

    code = "token_invalid"
    action = "log_in"
    detail = "The token is not valid for this request. Log in again."


class TokenReused(InvalidToken):
    """Baton ended the login, because its token was possibly copied.

    An exchanged token was sent again, with another attempt or at least five generations later (E8). With
    ``BATON_REVOKE_ON_WRONG_KEY``, Baton also returns this error if another key signed the exchange (E2).
    """

    code = "token_reused"
    action = "log_in"
    detail = "This token was already exchanged with another attempt, so Baton ended the login. Log in again."


class ReplayedNonce(Refusal):
    """The nonce of the signature was used before, for example because this signed request was sent twice."""

    status = 401
    error = code = "replayed_nonce"
    action = "retry"
    detail = "This signed request was received before. Sign again with a fresh nonce."


class InsufficientUserAuthentication(Refusal):
    """The operation requires the person to prove a factor again (RFC 9470)."""

    status = 401
    error = "insufficient_user_authentication"
    action = "step_up"


class StepUpRequired(InsufficientUserAuthentication):
    """The request has no grant, or its grant is too old or too weak for this route.

    All of ``factors`` together prove the level of ``acr_values``. If the answer has ``instead``, one factor of
    ``instead`` is enough in place of all of ``factors``. ``providers`` are the linked identity providers for the factor
    ``identity``.
    """

    code = "step_up_required"
    detail = (
        "This operation requires a new proof by the person. Prove all of `factors` at `POST /step-up`, or one of "
        "`instead` if present. Then repeat this request with the grant from `POST /step-up` in `Baton-Grant`."
    )


class GrantInvalid(InsufficientUserAuthentication):
    """The grant is unknown, used, expired, for another operation, or older than the last change of the credentials."""

    code = "grant_invalid"
    detail = "The grant is used, expired, or for another operation. `POST /step-up` for exactly this request."


class InsufficientAcr(Refusal):
    """The login has a lower level (``acr``) than this route requires. The login stays active."""

    status = 401
    error = code = "insufficient_acr"
    action = "log_in"
    detail = "This route requires a login at a higher level. Log in again with a stronger factor."


class InsufficientScope(Refusal):
    """The scope of the client does not have a word that this route requires (RFC 6750 3.1)."""

    status = 403
    error = code = "insufficient_scope"
    detail = "The login does not have the scope of this route. Use a client that has the scope."


class InsufficientRole(Refusal):
    """The login has none of the roles that this route requires.

    A role with ``second_factor = "required"`` counts only in a login with a second factor.
    """

    status = 403
    error = code = "insufficient_role"
    detail = (
        "The login does not have the role of this route. An operator must grant the role. If the role requires a "
        "second factor, log in with a second factor."
    )


class AttestationRequired(Refusal):
    """The client or the route requires evidence of the app and the device.

    There is no evidence, or the stored evidence no longer suffices. If evidence is required, a login without a device
    key always gets this error.
    """

    status = 403
    error = code = "attestation_required"
    action = "attest"
    detail = (
        "This request requires evidence of the app. Get a challenge at `POST /attestation-challenge`, and make "
        "evidence. Send it in the member `attestation`. If the person is logged in already, send it to `POST /attest`."
    )


class InvalidClient(Refusal):
    """The resource server did not authenticate at introspection (RFC 6749 5.2)."""

    status = 401
    error = code = "invalid_client"
    detail = "Client authentication failed. Check the id and the secret of the resource server."


class UnknownClient(Refusal):
    """No client is registered under this ``client_id`` (RFC 6749 5.2).

    ``POST /session/handover`` also gives this error if the client is no cookie client, or is out of service.
    """

    error = code = "invalid_client"
    detail = "This client_id is not registered with this server. Correct it."


class UnauthorizedClient(Refusal):
    """The client may not use this grant type, or sent the token of another client (RFC 6749 5.2).

    If the client is out of service, a request for a registration, a login, a password reset or an attestation challenge
    also gets this error. An exchange with such a client gets ``login_required``.
    """

    error = code = "unauthorized_client"
    detail = "This client may not use this grant type or this token. Use the client_id of the login."


class UnsupportedResponseType(Refusal):
    """A request was sent to ``/oauth/authorize``. Baton has no login page and issues no authorization codes.

    The answer is this error (RFC 6749 4.1.2.1), and never a redirect.
    """

    error = code = "unsupported_response_type"
    detail = "This server has no login page. Show a password form in the app and send POST /login."


class UnsupportedGrantType(Refusal):
    """The server does not offer the ``grant_type`` of the request (RFC 6749 5.2)."""

    error = code = "unsupported_grant_type"
    detail = "This grant type is not supported. Send grant_type=refresh_token."


class InvalidScope(Refusal):
    """The requested scope is larger than the scope of the login.

    A request for a narrowed token also gets this error if ``scope`` is empty, or is larger than the scope of the other
    server. Without ``scope``, the request gets this error if the login and the other server have no scope in common.
    """

    error = code = "invalid_scope"
    detail = "The requested scope is larger than the scope of the login. Omit `scope`, or request less."


class InvalidTarget(Refusal):
    """The server for which a token is requested is unknown, or is not for this client (RFC 8707 section 2)."""

    error = code = "invalid_target"
    detail = (
        "This client has no such server. Send the `audience` or the `resource` of a server that the client may use."
    )


class SubjectTokenInvalid(InvalidRequest):
    """A request for a narrowed token has a ``subject_token`` that Baton refuses on calls (RFC 8693 section 2.2.2).

    For example, it is a refresh token, it has expired, or its login has ended.
    """

    code = "subject_token_invalid"
    action = "exchange"
    detail = (
        "The token in `subject_token` is not valid on calls. Exchange the token of the login. Then repeat this "
        "request, with the new token for calls in `subject_token`."
    )
