"""Errors of passwords."""

from chalicelib.baton.errors import InvalidRequest, Refusal


class PasswordTooLarge(InvalidRequest):
    """The password has more than 1,024 bytes. The length is checked before the password is normalised."""

    status = 422
    code = "too_large"
    detail = "The password has more than 1,024 bytes. Choose a shorter one."


class WeakPassword(Refusal):
    """The password is too weak (NIST SP 800-63B 3.1.1)."""

    status = 422
    error = "weak_password"


class TooShort(WeakPassword):
    """The password has fewer characters than the policy requires."""

    code = "too_short"
    detail = "The password has fewer than 15 characters. Choose a longer one."


class TooCommon(WeakPassword):
    """The password has fewer than 8 units to guess.

    One unit is a listed common word, a sequence of the alphabet or of a keyboard row, a repetition of an earlier part,
    or any other single character. Upper case and look-alikes (`0` for `o`) do not add units.
    """

    code = "too_common"
    detail = (
        "The password is too easy to guess: it has fewer than 8 units. One unit is a common word, a sequence, a "
        "repetition, or any other character. Add less common words."
    )


class ContainsContext(WeakPassword):
    """The password is built from the service's name or the person's address."""

    code = "contains_context"
    detail = "The password contains the name of this service or the e-mail address. Choose another password."


class InvalidCredentials(Refusal):
    """A wrong password, an unknown account and a disabled account give the same answer."""

    status = 401
    error = code = "invalid_credentials"
    detail = "The e-mail address or the password is wrong. Correct them and send the request again."
