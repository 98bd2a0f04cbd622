"""Errors of e-mail addresses and accounts."""

from chalicelib.baton.errors import InvalidRequest, Refusal


class InvalidEmail(InvalidRequest):
    """Baton does not accept this e-mail address."""

    status = 422
    code = "invalid_email"
    detail = "The e-mail address is not valid. Correct it."


class InvalidCode(Refusal):
    """The code or link of a mail is wrong, used, expired or out of tries, or is of another key or login, or no account.

    All these cases get the same answer.
    """

    status = 401
    error = code = "invalid_code"
    detail = "The code is wrong, or it is no longer valid. Ask the person to type it again, or request a new code."


class VerificationRequired(Refusal):
    """An account can be registered only with a code from its mailbox (``BATON_REGISTRATION=verify_first``)."""

    status = 403
    error = "insufficient_authorization"
    code = "verification_required"
    action = "verify_email"
    detail = (
        "This address must be proved first. Send `POST /register/start`, ask the person for the code in the mail, and "
        "send `mail_session` and `code` with the registration."
    )


class AccountExists(Refusal):
    """The e-mail address belongs to an account."""

    status = 409
    error = code = "account_exists"
    action = "log_in"
    detail = "An account with this e-mail address exists. Log in, or use another address."
