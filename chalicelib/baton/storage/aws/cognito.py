"""The hook for ``Baton.migrate_with``: people of an Amazon Cognito user pool move to Baton at their first login."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from chalicelib.baton.accounts.migration import Migrated
from chalicelib.baton.storage.aws.service import AwsClient

FACTORS: Final = frozenset({"SMS_MFA", "SOFTWARE_TOKEN_MFA", "EMAIL_OTP", "SELECT_MFA_TYPE", "MFA_SETUP"})
"""The challenges that Cognito returns if the password is right and a second factor is required."""
WRONG: Final = frozenset({
    "NotAuthorizedException",
    "PasswordResetRequiredException",
    "UserNotConfirmedException",
    "UserNotFoundException",
})  # fmt: skip
"""The errors that Cognito returns if the person cannot log in with this address and password."""
_SPENT_S: Final = 2


def cognito_hook(
    pool: str, client: str, *, client_secret: str = "", cognito: AwsClient | None = None
) -> Callable[[str, str], Migrated | None]:
    """Return the function for ``migrate_with``.

    ``pool`` and ``client`` are the ids of the user pool and of an app client. Requirements:

    - The app client allows ``ALLOW_ADMIN_USER_PASSWORD_AUTH``.
    - People sign in to the pool with their address.
    - The role of the Lambda function ``api`` allows ``cognito-idp:AdminInitiateAuth`` for the pool.

    If a person must choose a new password in the pool, the login is refused. Import such accounts into Baton: these
    people can then set a password by mail.
    """
    service = cognito or AwsClient("cognito-idp", read_timeout_s=_SPENT_S)

    def ask(email: str, password: str) -> Migrated | None:
        parameters = {"USERNAME": email, "PASSWORD": password}
        if client_secret:
            digest = hmac.digest(client_secret.encode(), f"{email}{client}".encode(), hashlib.sha256)
            parameters["SECRET_HASH"] = base64.b64encode(digest).decode()
        answer = _answer(service, UserPoolId=pool, ClientId=client, AuthParameters=parameters)
        if answer is None:
            return None
        if answer.get("ChallengeName") in FACTORS:
            return Migrated(
                source_id=answer.get("ChallengeParameters", {}).get("USER_ID_FOR_SRP", ""), second_factor=True
            )
        token = answer.get("AuthenticationResult", {}).get("IdToken")
        if token is None:  # another challenge, such as NEW_PASSWORD_REQUIRED
            return None
        claims = _claims(token)
        # A pool may let people sign in with a name that looks like the address of another person. So only an address
        # in the token counts as proved.
        verified = claims.get("email_verified") is True and str(claims.get("email", "")).lower() == email
        return Migrated(email_verified=verified, source_id=str(claims.get("sub", "")))

    return ask


def _answer(service: AwsClient, **request: object) -> Mapping[str, Any] | None:
    """Send address and password to Cognito, and return its answer. ``None``: an error of ``WRONG``."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - cold start

    try:
        answer: Mapping[str, Any] = service.client.admin_initiate_auth(AuthFlow="ADMIN_USER_PASSWORD_AUTH", **request)
    except ClientError as error:
        if error.response["Error"]["Code"] in WRONG:
            return None
        raise
    return answer


def _claims(token: str) -> Mapping[str, Any]:
    """Read the claims of an id token. Cognito sent the token over TLS, so Baton need not verify its signature."""
    payload = token.split(".")[1]
    claims: Mapping[str, Any] = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
