"""Errors of e-mail addresses and accounts."""

from chalicelib.baton.errors import InvalidRequest, Refusal


class InvalidEmail(InvalidRequest):
    """The address is not valid, the account already has this address, or the account has no e-mail address."""

    status = 422
    code = "invalid_email"
    detail = "The e-mail address is not valid. Correct it."


class InvalidCode(Refusal):
    """The code is wrong, or the code or the link is not valid any more.

    The reason can be the age of the code or link, an earlier use, too many tries, or a change of the account, such as a
    new password. A code for another device key, login or account is also refused. The answer is the same for each
    reason, and does not show whether an account has the address.
    """

    status = 401
    error = code = "invalid_code"
    detail = "The code is wrong, or it is no longer valid. Ask the person to type it again, or request a new code."


class VerificationRequired(Refusal):
    """``BATON_REGISTRATION`` is ``verify_first``, and the registration lacks ``mail_session`` or a mailed ``code``."""

    status = 403
    error = "insufficient_authorization"
    code = "verification_required"
    action = "verify_email"
    detail = (
        "This address must be proved first. Send `POST /register/start`, ask the person for the code in the mail, and "
        "send `mail_session` and `code` with the registration."
    )


class AccountExists(Refusal):
    """An account has this e-mail address, or keeps it for 7 days after a change to another address."""

    status = 409
    error = code = "account_exists"
    action = "log_in"
    detail = "An account with this e-mail address exists. Log in to that account, or use another address."
