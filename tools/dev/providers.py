"""The identity providers of ``make dev``: they sign id_tokens, and their keys are fetched without a network.

With a ``providers.toml`` of the team, the providers are the rows of that file. Without the file, they are ``apple``,
``google`` and ``acme``. The keys are new in each process, so no real token of a provider is accepted here.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.testing.identity_provider import IdentityProvider

if TYPE_CHECKING:
    from chalicelib.baton.federation.providers import Provider, Providers
    from chalicelib.baton.lineages.clients import Clients
    from chalicelib.baton.service import Baton

PATH: Final = "/_dev/providers"
AUDIENCE: Final = "baton-dev"
CODE_S: Final = 300
"""The life of an authorization code in seconds, as at Apple."""
ACCESS_S: Final = 3600
_APPLE: Final = "appleid.apple.com"
_TRADE, _REVOKE = "/auth/token", "/auth/revoke"
_PARTS: Final = 3

Clock = Callable[[], int]


class _Code(Struct, frozen=True):
    """An authorization code: its audience, its person, and the time of its issue."""

    audience: str
    sub: str
    issued_at: int


class DevelopmentProvider:
    """One provider: its keys, its authorization codes and its refresh tokens."""

    def __init__(self, row: "Provider", clock: Clock) -> None:
        """Make the first key."""
        self.signs = IdentityProvider(row, clock)
        self._clock = clock
        self._codes: dict[str, _Code] = {}
        self.refresh_tokens: dict[str, str] = {}
        """The subject of each refresh token that is not revoked."""

    @property
    def row(self) -> "Provider":
        """The row of the provider in the current ``providers.toml``, or its default row without this file."""
        return self.signs.provider

    @property
    def audiences(self) -> list[str]:
        """Every audience of the row, without duplicates."""
        return list(dict.fromkeys(one for listed in self.row.audiences.values() for one in listed))

    def token(self, claims: Mapping[str, Any], *, audience: str) -> dict[str, str]:
        """Sign in a person: return an id_token and an authorization code. A claim that is ``None`` is left out."""
        now = self._clock()
        client = next(iter(self.row.audiences))
        changed = {name: value for name, value in claims.items() if name not in {"sub", "nonce"}}
        # Apple and many other providers state when the person signed in.
        named = {"aud": audience, "auth_time": now, **changed}
        id_token = self.signs.token(claims["sub"], claims["nonce"], client, **named)
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(audience, claims["sub"], now)
        return {"id_token": id_token, "authorization_code": code}

    def answer(self, path: str, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        """Answer as Apple's ``/auth/token`` and ``/auth/revoke`` do. Return the status and the members of the answer.

        The member ``error`` is a code of RFC 6749 section 5.2.
        """
        if self.signs.outage:
            return 503, {}
        if not self._is_client(form):
            return 400, {"error": "invalid_client"}
        return self._revoke(form) if path == _REVOKE else self._trade(form)

    def _trade(self, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        if form.get("grant_type") != "authorization_code":
            return 400, {"error": "unsupported_grant_type"}
        code = self._codes.pop(form.get("code", ""), None)
        now = self._clock()
        if code is None or code.audience != form.get("client_id") or now - code.issued_at > CODE_S:
            return 400, {"error": "invalid_grant"}
        refresh_token = secrets.token_urlsafe(24)
        self.refresh_tokens[refresh_token] = code.sub
        return 200, {
            "access_token": secrets.token_urlsafe(24),
            "token_type": "Bearer",
            "expires_in": ACCESS_S,
            "refresh_token": refresh_token,
            "id_token": self.signs.token(code.sub, "", next(iter(self.row.audiences)), nonce=None, aud=code.audience),
        }

    def _revoke(self, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        if self.refresh_tokens.pop(form.get("token", ""), None) is None:
            return 400, {"error": "invalid_grant"}
        return 200, {}

    def _is_client(self, form: Mapping[str, str]) -> bool:
        """Check the claims of a client secret, but not its signature: this server has no copy of the team's key."""
        parts = form.get("client_secret", "").split(".")
        try:
            head, claims = (json.loads(decode_base64url(part)) for part in parts[:2])
            now = self._clock()
            return (
                len(parts) == _PARTS
                and (head["alg"], head["kid"]) == ("ES256", self.row.key_id)
                and (claims["iss"], claims["aud"]) == (self.row.team_id, self.row.issuers[0])
                and claims["sub"] == form.get("client_id")
                and claims["sub"] in self.audiences
                and claims["iat"] <= now < claims["exp"]
            )
        except (ValueError, KeyError, TypeError):
            return False


class DevelopmentProviders:
    """The providers by name. A provider is made at its first use.

    When the app is reloaded, a provider keeps its keys, unless the algorithms of its row changed.
    """

    def __init__(self, origin: str, clock: Clock) -> None:
        """Serve the providers below the origin of the server."""
        self._origin, self._clock = origin, clock
        self._rows: Providers | None = None
        self._baton: Baton | None = None
        self._begun: dict[str, DevelopmentProvider] = {}
        self._lock = threading.Lock()

    def serve(self, rows: "Providers | None", baton: "Baton | None" = None) -> None:
        """Serve these rows from now on. Each load of the app calls this.

        ``baton``: the loaded ``Baton``. `set_apple_key` uses its key ring and its storage.
        """
        self._rows, self._baton = rows, baton

    def set_apple_key(self, provider: DevelopmentProvider) -> None:
        """Store a new private key for Apple, unless the stored key has the key id of ``provider.row``.

        Baton needs this key to trade an authorization code. For a provider of another kind than ``apple``, do nothing.
        Also do nothing while this server has no ``Baton`` (see `serve`).
        """
        from chalicelib.baton.federation.apple_key import NoKey, keep_key, stored_key  # noqa: PLC0415 - as in fetch
        from chalicelib.baton.ids import Secret  # noqa: PLC0415

        if self._baton is None or provider.row.kind != "apple":
            return
        ring, tokens = self._baton.key_ring.current(now=self._clock()), self._baton.storage.provider_tokens
        try:
            if stored_key(tokens, ring=ring).kid == provider.row.key_id:
                return
        except NoKey:
            pass
        scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")
        keep_key(tokens, provider.row.key_id, Secret(scalar), ring=ring, nonce=secrets.token_bytes(12))

    def get(self, name: str) -> DevelopmentProvider | None:
        """Return the provider with this name. ``None``: no row has this name."""
        row = self._rows.get(name) if self._rows else None
        if row is None:
            return None
        with self._lock:
            found = self._begun.get(name)
            if found is None or found.row.algorithms != row.algorithms:
                found = self._begun[name] = DevelopmentProvider(row, self._clock)
            found.signs.provider = row  # a row of the current file
            return found

    def listed(self) -> list[DevelopmentProvider]:
        """Return every provider, in the order of the file."""
        found = [self.get(name) for name in (self._rows.by_name if self._rows else ())]
        return [one for one in found if one is not None]

    def fetch(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> object:
        """Fetch a document (`factors.ports.Fetch`): from a provider of this server, or from the network."""
        # Import the current modules here: `make dev` imports the modules of chalicelib again when a file changes.
        from chalicelib.baton.factors.ports import NotFetched  # noqa: PLC0415
        from chalicelib.baton.storage.fetch import HttpsFetch  # noqa: PLC0415

        for provider in self.listed():
            if provider.row.jwks_uri == url:
                return provider.signs.fetch() or NotFetched("the provider has an outage")
        return HttpsFetch()(url, headers=headers, within_s=within_s, bytes_max=bytes_max)

    def post(self, url: str, *, form: Mapping[str, str], within_s: float, bytes_max: int) -> object:
        """Answer a form that Baton sends to Apple (`factors.ports.Post`). Other forms go to the network."""
        from chalicelib.baton.factors.ports import Posted  # noqa: PLC0415 - as in fetch
        from chalicelib.baton.storage.fetch import HttpsFetch  # noqa: PLC0415

        answered = self.answer(url, form)
        if answered is None:
            return HttpsFetch().post(url, form=form, within_s=within_s, bytes_max=bytes_max)
        status, members = answered
        return Posted(status, json.dumps(members).encode())

    def answer(self, url: str, form: Mapping[str, str]) -> tuple[int, dict[str, object]] | None:
        """Answer a form that Baton sends to Apple. ``None``: the URL is not Apple's, or no row is of kind ``apple``."""
        parts = urlsplit(url)
        apple = next((one for one in self.listed() if one.row.kind == "apple"), None)
        if apple is None or parts.hostname != _APPLE or parts.path not in {_TRADE, _REVOKE}:
            return None
        return apple.answer(parts.path, form)

    def rows(self, clients: "Clients") -> "Providers":
        """Return the rows for a team without ``providers.toml``: every client has the audience ``baton-dev``."""
        from chalicelib.baton.federation.providers import Provider, Providers  # noqa: PLC0415 - as above

        audiences = {client.id: (AUDIENCE,) for client in clients}

        def row(name: str, **members: Any) -> Provider:  # noqa: ANN401 - members of a row
            return Provider(name=name, jwks_uri=f"{self._origin}{PATH}/{name}/jwks", audiences=audiences, **members)

        return Providers(
            {
                "apple": row(
                    "apple",
                    code=1,
                    kind="apple",
                    issuers=("https://appleid.apple.com",),
                    team_id="TEAM123456",
                    key_id="KEY1234567",
                ),
                "google": row(
                    "google",
                    code=2,
                    kind="google",
                    issuers=("https://accounts.google.com", "accounts.google.com"),
                ),
                "acme": row("acme", code=3, kind="oidc", issuers=("https://id.acme.example",), step_up=True),
            }
        )
