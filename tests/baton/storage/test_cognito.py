"""`cognito_hook` with a user pool of the emulator, and the challenges that the emulator does not send."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from msgspec.json import encode

from chalicelib.baton import Migrated, cognito_hook
from chalicelib.baton.keys.base64url import encode_base64url

EMAIL = "ada@example.com"
PASSWORD = "Old-passw0rd!"


class Pool:
    """A client of Cognito that gives the answer of a test, as botocore does."""

    def __init__(self, answer: dict[str, Any] | str) -> None:
        """Store the answer, or the code of an error."""
        self.answer, self.sent = answer, dict[str, Any]()

    @property
    def client(self) -> "Pool":
        """Return this object as the client."""
        return self

    def admin_initiate_auth(self, **request: Any) -> dict[str, Any]:
        """Return the answer, or raise the error."""
        self.sent = request
        if isinstance(self.answer, str):
            raise ClientError({"Error": {"Code": self.answer, "Message": ""}}, "AdminInitiateAuth")
        return self.answer


def ask(answer: dict[str, Any] | str, **options: str) -> Migrated | None:
    """Call the hook with a pool that gives this answer."""
    pool: Any = Pool(answer)
    return cognito_hook("pool", "client", cognito=pool, **options)(EMAIL, PASSWORD)


def token(**claims: object) -> dict[str, Any]:
    """Return the answer to a right password."""
    return {"AuthenticationResult": {"IdToken": f"e30.{encode_base64url(encode(claims))}.c2ln"}}


@pytest.fixture
def pool(embedded_engine: None) -> Callable[[str, str], Migrated | None]:
    """Make a user pool with one person, and the function for it."""
    del embedded_engine
    cognito = boto3.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="old", UsernameAttributes=["email"])["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName="baton",
        ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool, Username=EMAIL, UserAttributes=[{"Name": "email", "Value": EMAIL}])
    cognito.admin_set_user_password(UserPoolId=pool, Username=EMAIL, Password=PASSWORD, Permanent=True)
    return cognito_hook(pool, client)


def test_a_person_of_the_pool(pool: Callable[[str, str], Migrated | None]) -> None:
    """The test has the right password, a wrong password, and an address that is not in the pool."""
    migrated = pool(EMAIL, PASSWORD)
    assert migrated is not None
    assert len(migrated.source_id) == 36
    assert not migrated.second_factor
    assert pool(EMAIL, "another password") is None
    assert pool("nobody@example.com", PASSWORD) is None


@pytest.mark.parametrize(
    ("claims", "verified"),
    [
        ({"sub": "s", "email": "Ada@Example.com", "email_verified": True}, True),
        ({"sub": "s", "email": EMAIL, "email_verified": False}, False),
        ({"sub": "s", "email": EMAIL}, False),
        ({"sub": "s", "email": "other@example.com", "email_verified": True}, False),
        ({"sub": "s", "email_verified": True}, False),
    ],
)
def test_an_address_is_verified_only_if_the_pool_says_so_of_this_address(
    claims: dict[str, Any], *, verified: bool
) -> None:
    """A user name of the pool may look like an address of another person."""
    assert ask(token(**claims)) == Migrated(email_verified=verified, source_id="s")


@pytest.mark.parametrize("challenge", ["SMS_MFA", "SOFTWARE_TOKEN_MFA", "EMAIL_OTP", "SELECT_MFA_TYPE", "MFA_SETUP"])
def test_a_challenge_for_a_second_factor_means_that_the_password_was_right(challenge: str) -> None:
    """The person must enrol a factor here."""
    answer = {"ChallengeName": challenge, "ChallengeParameters": {"USER_ID_FOR_SRP": "s"}, "Session": "x"}
    assert ask(answer) == Migrated(source_id="s", second_factor=True)


@pytest.mark.parametrize("challenge", ["NEW_PASSWORD_REQUIRED", "CUSTOM_CHALLENGE", "DEVICE_SRP_AUTH"])
def test_any_other_challenge_moves_nobody(challenge: str) -> None:
    """Such a challenge may come before the right password, or the password may no longer be valid."""
    assert ask({"ChallengeName": challenge, "ChallengeParameters": {}}) is None


@pytest.mark.parametrize(
    "code",
    ["NotAuthorizedException", "UserNotFoundException", "PasswordResetRequiredException", "UserNotConfirmedException"],
)
def test_these_errors_are_a_wrong_password(code: str) -> None:
    """With these errors, the pool refuses the password."""
    assert ask(code) is None


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("code", ["TooManyRequestsException", "InternalErrorException", "AccessDeniedException"])
def test_any_other_error_is_none(code: str) -> None:
    """The hook raises the error, so the login is answered with 503."""
    with pytest.raises(ClientError):
        ask(code)


def test_a_client_with_a_secret_sends_its_hash() -> None:
    """The hash is the HMAC-SHA-256 of user name and client id."""
    pool: Any = Pool("UserNotFoundException")
    cognito_hook("pool", "client", client_secret="secret", cognito=pool)(EMAIL, PASSWORD)
    assert pool.sent == {
        "UserPoolId": "pool",
        "ClientId": "client",
        "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
        "AuthParameters": {
            "USERNAME": EMAIL,
            "PASSWORD": PASSWORD,
            "SECRET_HASH": "pCfmF0r7Gu0NuqTNTEkVYGLmqkeLB+7ZDlvCeFKuOH0=",
        },
    }
