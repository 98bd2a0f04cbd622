"""Errors of mail codes."""

from chalicelib.baton.errors import Refusal


class InvalidCode(Refusal):
    """The code is wrong, or the session is used up, expired, of another key, or of no account. All are alike."""

    status = 401
    error = code = "invalid_code"
    detail = "The code is wrong, or it is no longer valid. Ask the person to type it again, or request a new code."
