"""Errors of passwords."""

from chalicelib.baton.errors import InvalidRequest, Refusal


class PasswordTooLarge(InvalidRequest):
    """A password over 1,024 bytes, refused before it is normalised."""

    status = 422
    code = "too_large"
    sentence = "The password has more than 1,024 bytes. Choose a shorter one."


class WeakPassword(Refusal):
    """The password would not protect the account (NIST SP 800-63B 3.1.1)."""

    status = 422
    error = "weak_password"


class TooShort(WeakPassword):
    """Fewer characters than the policy asks for."""

    code = "too_short"
    sentence = "The password has fewer than 15 characters. Choose a longer one."


class TooCommon(WeakPassword):
    """Fewer than 8 units to guess.

    A listed common word is one unit, and so is a run along the alphabet or a keyboard's row, a repetition of what stood
    before, and any other character by itself; case and look-alikes (`0` for `o`) make no difference.
    """

    code = "too_common"
    sentence = (
        "The password is too easy to guess: it has fewer than 8 units. One unit is a common word, a sequence, a "
        "repetition, or any other character. Add less common words."
    )


class ContainsContext(WeakPassword):
    """Built around the service's name or the person's own address."""

    code = "contains_context"
    sentence = "The password contains the name of this service or your e-mail address. Choose another."


class InvalidCredentials(Refusal):
    """Wrong password, unknown account, disabled account: alike."""

    status = 401
    error = code = "invalid_credentials"
    sentence = "The e-mail address or the password is wrong."
