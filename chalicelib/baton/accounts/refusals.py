"""Errors of e-mail addresses and accounts."""

from chalicelib.baton.errors import InvalidRequest, Refusal


class InvalidEmail(InvalidRequest):
    """Baton does not accept this e-mail address."""

    status = 422
    code = "invalid_email"
    detail = "The e-mail address is not valid. Correct it."


class AccountExists(Refusal):
    """The e-mail address belongs to an account."""

    status = 409
    error = code = "account_exists"
    action = "log_in"
    detail = "An account with this e-mail address exists. Log in, or use another address."
