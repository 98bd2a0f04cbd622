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
    """The password has fewer characters than the policy requires, as typed or in its normal form (NFKC)."""

    code = "too_short"
    detail = "The password has fewer than `characters_min` characters. Choose a longer one."


class TooCommon(WeakPassword):
    """The whole password is one that attackers try first.

    It is on the list of common passwords, repeats a listed or short part, has fewer than 5 different characters, or is
    a sequence of the alphabet or of a keyboard. A common word inside a longer password is no reason.
    """

    code = "too_common"
    detail = (
        "The password is too easy to guess: it is a common password, a repetition, a sequence, or of fewer than 5 "
        "different characters. Choose another one, such as four random words."
    )


class ContainsContext(WeakPassword):
    """The whole password is made from the service's name or the person's address, with digits around it or not."""

    code = "contains_context"
    detail = "The password is made from the name of this service or the e-mail address. Choose another one."


class Breached(WeakPassword):
    """The password is in a public list of passwords that leaked from other services.

    Baton checks it with Pwned Passwords. The first 20 bits of its SHA-1 leave the server, and nothing else of it.
    """

    code = "breached"
    detail = (
        "The password leaked from another service, so attackers try it. Choose another one, and change it wherever it "
        "is used."
    )


class InvalidCredentials(Refusal):
    """A wrong password, an unknown account and a disabled account give the same answer."""

    status = 401
    error = code = "invalid_credentials"
    detail = "The e-mail address or the password is wrong. Correct them and send the request again."
