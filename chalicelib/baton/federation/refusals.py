"""Errors of federation."""

from chalicelib.baton.errors import Refusal


class IdentityTokenInvalid(Refusal):
    """The id_token does not prove the person's identity for this device and request.

    The member ``reason`` names the check that failed.
    """

    status = 401
    error = code = "identity_token_invalid"
    detail = (
        "The id_token is refused: `reason` names the check. Make a new attempt, compute the nonce from it and from the "
        "device key, and sign in at the provider again."
    )


class IdentityNotAllowed(Refusal):
    """The Google account of the person is not in a Google Workspace domain that the deployment accepts."""

    status = 403
    error = code = "identity_not_allowed"
    detail = "This service does not accept people of this domain."


class IdentityUnknown(Refusal):
    """No account has this identity, and the request does not ask for a new account."""

    status = 404
    error = code = "identity_unknown"
    detail = (
        "No account has this identity. Ask the person whether to create an account. If yes, send `create`: true with a "
        "new id_token. If no, let the person log in in another way."
    )


class ReauthenticationUnsupported(Refusal):
    """An id_token of this provider cannot step up: it does not prove that the person is present now."""

    status = 403
    error = code = "reauthentication_unsupported"
    detail = "This provider cannot be used for a step-up. Use a passkey, a password or another provider."


class AccountDisabled(Refusal):
    """The identity is proved, but an operator has disabled its account."""

    status = 403
    error = code = "account_disabled"
    detail = "The account of this identity is disabled. Only the operator of the service can enable it."


class IdentityOfOthers(Refusal):
    """The identity is proved, but it belongs to another account."""

    status = 409
    error = code = "identity_taken"
    detail = (
        "Another account has this identity. Log in with this identity and unlink it from that account, or link another "
        "identity."
    )


class TooManyIdentities(Refusal):
    """The account has another identity of this provider, or eight identities in all."""

    status = 409
    error = code = "too_many_identities"
    detail = "The account has another identity of this provider, or eight identities in all. Unlink one identity first."
