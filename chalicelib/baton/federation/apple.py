"""Two calls to Apple: trade an authorization code for a refresh token, and revoke a refresh token.

Sources: developer.apple.com, "Generate and validate tokens" and "Revoke tokens" of the Sign in with Apple REST API, and
TN3194. Each call authenticates with a client secret: a JWT that expires after five minutes. Baton signs this JWT with
the private key that Apple issued to the developer team (ES256).
"""

import json
from typing import Final

import msgspec
from msgspec import Struct

from chalicelib.baton.factors.ports import NotFetched, Post, Posted
from chalicelib.baton.federation.model import (
    APPLE_BYTES_MAX,
    APPLE_WITHIN_S,
    CLIENT_SECRET_S,
    REFRESH_TOKEN_CHARACTERS_MAX,
)
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import SigningKey
from chalicelib.baton.keys.strict_json import read_object

APPLE_URL: Final = "https://appleid.apple.com"
INVALID_GRANT: Final = "invalid_grant"
_ERRORS: Final = frozenset(
    {
        INVALID_GRANT,
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)
"""The errors of RFC 6749 section 5.2. Any other error text in an answer is not logged."""
_OK: Final = 200
_PARTS: Final = 3


class NotDone(Exception):
    """A call to Apple failed, or its answer was unusable. The message is for the log and has no part of a token."""


class _Traded(Struct, frozen=True):
    refresh_token: str
    id_token: str


class _Refused(Struct, frozen=True):
    error: str


class AppleClient(Struct, frozen=True, kw_only=True):
    """Baton's OAuth client at Apple, for one app of the developer team.

    ``audience`` is the client id, and also the ``aud`` of the app's id_tokens.
    """

    key: SigningKey
    team_id: str
    audience: str

    def secret(self, *, now: int) -> str:
        """Return a new client secret: a JWT for Apple that expires five minutes after ``now``."""
        head = {"alg": "ES256", "kid": self.key.kid}
        claims = {
            "iss": self.team_id,
            "iat": now,
            "exp": now + CLIENT_SECRET_S,
            "aud": APPLE_URL,
            "sub": self.audience,
        }
        signed = ".".join(encode_base64url(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{encode_base64url(self.key.sign(signed.encode()))}"


class Apple(Struct, frozen=True, kw_only=True):
    """Apple's server. ``url`` is ``APPLE_URL``, except in tests."""

    post: Post
    url: str = APPLE_URL

    def trade(self, code: str, client: AppleClient, *, sub: str, now: int) -> str:
        """Return the refresh token for an authorization code. A code works once. Raises ``NotDone``.

        A code of another person than ``sub``, or of another app, also raises ``NotDone``. Otherwise, Baton would store
        the other person's token for the account of ``sub``. The deletion of this account would then revoke the consent
        of the other person.
        """
        answer = self._ask("/auth/token", {"grant_type": "authorization_code", "code": code}, client, now=now)
        try:
            traded = msgspec.json.decode(answer.body, type=_Traded)
            parts = traded.id_token.split(".")
            # TLS authenticates the answer (OpenID Connect Core 3.1.3.7 point 6), so no signature is checked.
            claims = read_object(decode_base64url(parts[1])) if len(parts) == _PARTS else {}
        except ValueError:
            raise NotDone("an unexpected answer") from None
        if claims.get("sub") != sub or claims.get("aud") != client.audience:
            raise NotDone("the code is of another person or app")
        if not 1 <= len(traded.refresh_token) <= REFRESH_TOKEN_CHARACTERS_MAX:
            raise NotDone("an unexpected refresh token")
        return traded.refresh_token

    def revoke(self, refresh_token: str, client: AppleClient, *, now: int) -> None:
        """Revoke a refresh token, and the consent that the person gave to the app. Raises ``NotDone``.

        The call also succeeds if Apple has revoked the token already (``invalid_grant``).
        """
        form = {"token": refresh_token, "token_type_hint": "refresh_token"}
        try:
            self._ask("/auth/revoke", form, client, now=now)
        except NotDone as refused:
            if str(refused) != INVALID_GRANT:
                raise

    def _ask(self, path: str, form: dict[str, str], client: AppleClient, *, now: int) -> Posted:
        named = {"client_id": client.audience, "client_secret": client.secret(now=now), **form}
        answer = self.post(self.url + path, form=named, within_s=APPLE_WITHIN_S, bytes_max=APPLE_BYTES_MAX)
        if isinstance(answer, NotFetched):
            raise NotDone(answer.reason)
        if answer.status != _OK:
            raise NotDone(_error(answer))
        return answer


def _error(answer: Posted) -> str:
    try:
        error = msgspec.json.decode(answer.body, type=_Refused).error
    except ValueError:
        error = ""
    return error if error in _ERRORS else f"status {answer.status}"
