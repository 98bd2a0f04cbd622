"""Apple's server, as far as Baton calls it: it checks the client secret, trades codes and revokes tokens."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.baton.factors.ports import NotFetched, Posted
from chalicelib.baton.federation.apple import APPLE_URL
from chalicelib.baton.federation.apple_key import keep_key
from chalicelib.baton.ids import Secret
from chalicelib.baton.testing.identity_provider import IdentityProvider

Hook = Callable[[str, Mapping[str, str]], Posted | NotFetched | None]
CODE_S: Final = 300


@dataclass
class AppleServer:
    """Codes, refresh tokens, and every form that was received. ``hook`` answers in place of the server."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    forms: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    live: dict[str, str] = field(default_factory=dict)
    """Each refresh token that is not revoked, and its audience."""
    revoked: list[str] = field(default_factory=list)
    hook: Hook | None = None

    def begin(self, keys: IdentityProvider, clock: Callable[[], int]) -> None:
        """Sign with the keys of the provider from now on."""
        self._keys, self._clock = keys, clock
        self._codes: dict[str, tuple[str, str, int]] = {}

    def set_key(self, baton: Any, *, now: int, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        """Set the private key of a deployment, as the operator does."""
        scalar = (private or self.private).private_numbers().private_value.to_bytes(32, "big")
        ring, key_id = baton.key_ring.current(now=now), self._keys.provider.key_id
        tokens = baton.storage.provider_tokens
        keep_key(tokens, key_id, Secret(scalar), ring=ring, nonce=secrets.token_bytes(12))

    def code(self, sub: str = "ada", audience: str = "com.example.app") -> str:
        """Issue an authorization code."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = (sub, audience, self._clock())
        return code

    def post(self, url: str, *, form: Mapping[str, str], within_s: float, bytes_max: int) -> Posted | NotFetched:
        """Answer a form."""
        assert url.startswith(APPLE_URL)
        assert (within_s, bytes_max) == (2.0, 16384)
        path = url.removeprefix(APPLE_URL)
        self.forms.append((path, dict(form)))
        answer = self.hook(path, form) if self.hook else None
        if answer is not None:
            return answer
        if not self._is_client(form):
            return _refused("invalid_client")
        return self._trade(form) if path == "/auth/token" else self._revoke(form)

    def _is_client(self, form: Mapping[str, str]) -> bool:
        row = self._keys.provider
        try:
            head = jwt.get_unverified_header(form["client_secret"])
            claims = jwt.decode(
                form["client_secret"],
                self.private.public_key(),
                algorithms=["ES256"],
                audience=APPLE_URL,
                issuer=row.team_id,
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return False
        # A second may begin between the two readings of a clock that runs.
        own = 0 <= self._clock() - claims["iat"] <= 2 and claims["exp"] == claims["iat"] + 300
        named = (head["kid"], claims["sub"]) == (row.key_id, form["client_id"])
        return bool(own and named)

    def _trade(self, form: Mapping[str, str]) -> Posted:
        sub, audience, at = self._codes.pop(form["code"], ("", "", 0))
        if form["grant_type"] != "authorization_code" or audience != form["client_id"] or self._clock() - at > CODE_S:
            return _refused("invalid_grant")
        refresh_token = secrets.token_urlsafe(32)
        self.live[refresh_token] = audience
        now = self._clock()
        claims = {"iss": APPLE_URL, "aud": audience, "sub": sub, "iat": now, "exp": now + 600}
        return _answer(
            200,
            {
                "access_token": "a",
                "token_type": "Bearer",
                "expires_in": 3600,
                "refresh_token": refresh_token,
                "id_token": self._keys.sign(claims),
            },
        )

    def _revoke(self, form: Mapping[str, str]) -> Posted:
        assert form["token_type_hint"] == "refresh_token"
        if self.live.get(form["token"]) != form["client_id"]:
            return _refused("invalid_grant")
        del self.live[form["token"]]
        self.revoked.append(form["token"])
        return Posted(200, b"")


def _answer(status: int, members: Mapping[str, Any]) -> Posted:
    return Posted(status, json.dumps(members).encode())


def _refused(error: str) -> Posted:
    return _answer(400, {"error": error})
