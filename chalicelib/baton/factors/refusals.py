"""Errors of passwords and second factors."""

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
    """The password has fewer characters than the policy requires, as typed or in its normal form (NFKC).

    The member ``characters_min`` of the answer is the required number.
    """

    code = "too_short"
    detail = "The password has fewer than `characters_min` characters. Choose a longer one."


class TooCommon(WeakPassword):
    """The whole password is one of the passwords that attackers try first.

    The exact rules are in ``chalicelib/baton/factors/block_list.py``. A longer password may contain a common word.
    """

    code = "too_common"
    detail = (
        "The password is too easy to guess: it is a common password, a repetition or a sequence, or it has fewer than "
        "5 different characters. Choose another one, such as four random words."
    )


class ContainsContext(WeakPassword):
    """The whole password is made from the service's name or the person's address, with or without digits around it."""

    code = "contains_context"
    detail = "The password is made from the name of this service or the e-mail address. Choose another one."


class Breached(WeakPassword):
    """The password is in Pwned Passwords, a public list of passwords that leaked from other services."""

    code = "breached"
    detail = (
        "The password leaked from another service, so attackers try it. Choose another password. Replace the leaked "
        "password wherever it is used."
    )


class InvalidCredentials(Refusal):
    """The password is wrong, or the account is unknown or disabled. The answer is the same in each case."""

    status = 401
    error = code = "invalid_credentials"
    detail = "The e-mail address or the password is wrong. Correct them and send the request again."


class FactorRequired(Refusal):
    """The password or the id_token of the login is right, but the login must also prove a second factor.

    ``factors`` are the kinds that the account has.
    """

    status = 403
    error = "insufficient_authorization"
    code = "factor_required"
    action = "prove_factor"
    detail = (
        "This login requires a second factor. Ask the person for one of `factors`, and send it with `auth_session` to "
        "`POST /login/factor`."
    )


class EnrolmentRequired(Refusal):
    """The password or the id_token is right. The login must prove a second factor, but the account has none.

    ``enrol`` are the kinds that the login can enrol. If the login must first prove the address, ``factors`` is
    ``["email_code"]``. Otherwise, ``factors`` is missing.
    """

    status = 403
    error = "insufficient_authorization"
    code = "enrolment_required"
    action = "enrol_factor"
    detail = (
        "This login requires a second factor, and the account has none. If `factors` has `email_code`, prove the "
        "address first: send `POST /login/email-code`, and then the code in the mail to `POST /login/factor`. Then "
        "enrol a factor: send the newest `auth_session` and a kind of `enrol` to `POST /login/enrol`."
    )


class InvalidSession(Refusal):
    """The ``auth_session`` or the ``enrolment`` is not valid, or the account has changed since Baton issued it."""

    error = code = "invalid_session"
    action = "log_in"
    detail = (
        "The `auth_session` or the `enrolment` is not valid for this request: altered, expired, or of another device, "
        "attempt or login. For an `auth_session`, begin the login again. For an `enrolment`, enrol again."
    )


class InvalidFactor(Refusal):
    """The code is wrong or was used, its factor was removed, or the account has no such factor."""

    status = 401
    error = code = "invalid_factor"
    detail = (
        "The code is wrong or was used before, such as by a login or an enrolment. Ask the person for the next code: "
        "an authenticator app shows a new code every 30 s."
    )


class SecondFactorUnsupported(Refusal):
    """The login needs a second factor, and this client cannot ask for one (``second_factor = "off"``)."""

    status = 403
    error = code = "second_factor_unsupported"
    detail = "This account requires a second factor, and this client does not support one. Log in with another client."


class SecondFactorRequired(Refusal):
    """The second factor cannot be switched off: the client, an operator or a role of the account requires it."""

    status = 403
    error = code = "second_factor_required"
    detail = (
        "The client, a role of this account or an operator requires a second factor. The owner cannot switch it off."
    )


class InvalidPasskey(Refusal):
    """The signed data of the authenticator is not valid for this server and client.

    ``hint`` names the failed check and, for some checks, the expected and the received value. Source: WebAuthn Level 3,
    sections 7.1 and 7.2.
    """

    error = code = "invalid_passkey"
    detail = (
        "The passkey's answer is not valid for this server and client: `hint` names the failed check. Correct the app, "
        "and fetch new options."
    )


class UnknownPasskey(Refusal):
    """The account does not have this passkey.

    At a restore: no account has this restore key, or the login of the old phone has ended. ``credential_id`` and
    ``rp_id`` are for ``signalUnknownCredential``.
    """

    status = 401
    error = code = "unknown_passkey"
    action = "log_in"
    detail = (
        "This passkey is not registered. Tell the platform with `signalUnknownCredential`, and log in in another way."
    )


class ChallengeInvalid(Refusal):
    """The challenge has expired, was used, or is of another route, client, device or account.

    Or the credentials of the account have changed since Baton issued the challenge.
    """

    status = 409
    error = code = "challenge_invalid"
    detail = "The challenge is expired, used or for another request. Fetch new options, and ask for the passkey again."


class PasskeyExists(Refusal):
    """The passkey is registered already, with this or another account."""

    status = 409
    error = code = "passkey_exists"
    detail = (
        "This passkey is registered already. Pass `excludeCredentials` of the options to the platform: it then makes "
        "no second passkey on this device."
    )


class TooManyPasskeys(Refusal):
    """The account has the maximum number of passkeys."""

    status = 409
    error = code = "too_many_passkeys"
    detail = "The account has ten passkeys. Remove one before you add another one."


class LastCredential(Refusal):
    """Without this linked identity or passkey, the person could not log in any more."""

    status = 409
    error = code = "last_credential"
    detail = "The account has no other way to log in. Set a password, or add a passkey or another identity, first."


class RestoreRefused(Refusal):
    """The login cannot be restored on a new phone: one of the four reasons in the text of the error applies.

    A client offers restores if ``restore`` is true in the client registry.
    """

    status = 403
    error = code = "restore_refused"
    action = "log_in"
    detail = (
        "This login cannot be restored on a new phone. Possible reasons: the client does not offer restores, or the "
        "account requires a second factor. Another reason: the login of the old phone is of another client, or is not "
        "bound to a key. Log in."
    )


class EmailUnverified(Refusal):
    """No second factor can be added before the e-mail address of the account is proved.

    The rule holds if the deployment sends mail and the account has an address.
    """

    status = 403
    error = "insufficient_authorization"
    code = "email_unverified"
    action = "verify_email"
    detail = "The e-mail address is not verified. Verify it first: `POST /me/email/code`, then `POST /me/email/verify`."


class FactorExists(Refusal):
    """The account has an authenticator app already, and can have only one."""

    status = 409
    error = code = "factor_exists"
    detail = "The account has an authenticator app already. Remove this app before you enrol another app."


class FactorMissing(Refusal):
    """The account has no authenticator app and no passkey.

    One of them is required to renew the recovery codes, and to turn on the second factor.
    """

    status = 409
    error = code = "factor_missing"
    detail = "The account has no second factor. Enrol an authenticator app or a passkey first."
