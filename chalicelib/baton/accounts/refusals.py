"""Errors of e-mail addresses and accounts."""

from chalicelib.baton.errors import InvalidRequest, Refusal


class InvalidEmail(InvalidRequest):
    """Not an e-mail address we accept."""

    status = 422
    code = "invalid_email"
    sentence = "The e-mail address is not valid. Correct it."


class AccountExists(Refusal):
    """The e-mail address is taken."""

    status = 409
    error = code = "account_exists"
    action = "log_in"
    sentence = "An account with this e-mail address exists. Log in instead."
