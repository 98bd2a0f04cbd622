"""Issue the tokens of a lineage's current generation.

The tokens depend only on the lineage and the rights (roles and attributes) of the account. So a retry gets the same
tokens.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Client, Clients, Form
from chalicelib.baton.lineages.model import Assurance, Attestation, Lineage, Rights, SecretBinding
from chalicelib.baton.lineages.rules import expiry
from chalicelib.baton.tokens.claims import AddClaims, claims_of_team
from chalicelib.baton.tokens.jwt import mint_jwt
from chalicelib.baton.tokens.opaque import mint_opaque
from chalicelib.baton.tokens.token import Kind, KnownTokens, Names, Token

Seconds = Annotated[int, msgspec.Meta(ge=0, description="Seconds since the epoch.")]


class TokenResponse(Struct, frozen=True, kw_only=True):
    """The tokens and time limits of a login (RFC 6749 5.1, draft-ietf-oauth-refresh-token-expiration-03).

    - ``refresh_token``, ``refresh_token_timeout``: present only if the login can be renewed.
    - ``key_id``, ``secret`` (32 bytes, base64url): only in the answer of a registration or login
      with ``"binding": "hmac"``.
    """

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, not a token
    expires_in: Annotated[int, msgspec.Meta(ge=0, description="Seconds.")]
    scope: str
    device_id: LineageId
    server_time: Seconds
    authorization_expires_in: Annotated[int, msgspec.Meta(ge=0, description="Seconds until the login always ends.")]
    refresh_token_timeout: (
        Annotated[int, msgspec.Meta(ge=0, description="The login ends if it is not renewed for so many seconds.")]
        | UnsetType
    ) = UNSET
    refresh_token: str | UnsetType = UNSET
    key_id: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET

    def __repr__(self) -> str:
        """Mask the tokens and the secret."""
        return f"TokenResponse(device_id={self.device_id!r}, '**********')"


class Issue(Struct, frozen=True):
    """Issue the tokens of a lineage. ``add_claims`` is the team's function, which adds claims to JWTs."""

    names: Names
    clients: Clients
    known: KnownTokens
    add_claims: AddClaims | None = None

    def __call__(  # noqa: PLR0913 - every argument goes into a token
        self,
        lineage: Lineage,
        *,
        account: AccountId,
        client: Client,
        key: PublicKey | None,
        ring: Ring,
        now: int,
        rights: Rights,
        issued_at: int | None = None,
    ) -> TokenResponse:
        """Return the tokens of the current generation.

        A JWT contains only the roles of ``rights`` for which the level (``acr``) of this login is high enough.

        ``issued_at`` is the issue time of the token for calls. Only a renewal without an exchange passes it. In
        all other cases, equal lineages with equal rights get equal tokens, byte for byte.

        Raises ``Unavailable`` if ``add_claims`` raises, or returns claims that `claims_of_team` refuses.
        """
        mechanism = client.mechanism
        called_at = lineage.issued_at if issued_at is None else issued_at
        token = Token(
            kind=Kind.BOTH if mechanism.one_token else Kind.ACCESS,
            account=account,
            lineage=lineage.id,
            generation=lineage.generation,
            issued_at=called_at,
            expires_at=expiry(called_at, lineage, mechanism),
            client=client.code,
            binding=lineage.binding,
            key=key,
        )
        access_token = self._mint(token, lineage, client=client, ring=ring, now=now, rights=rights)
        refresh_token: str | UnsetType = UNSET
        if mechanism.one_token:
            refresh_token = access_token
        elif mechanism.renewable:
            renew = replace(
                token,
                kind=Kind.REFRESH,
                issued_at=lineage.issued_at if mechanism.single_use else lineage.auth_time,
                expires_at=lineage.expires_at,
            )
            refresh_token = mint_opaque(renew, ring)
        return TokenResponse(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in=max(0, token.expires_at - now),
            scope=" ".join(sorted(client.scope)),
            device_id=lineage.id,
            authorization_expires_in=max(0, lineage.expires_at - now),
            refresh_token_timeout=mechanism.idle_s if mechanism.renewable else UNSET,
            server_time=now,
        )

    def _mint(self, token: Token, lineage: Lineage, *, client: Client, ring: Ring, now: int, rights: Rights) -> str:
        roles, added = frozenset[str](), b""
        if client.form == "jwt":
            roles = self.clients.roles_of_login(rights.roles, acr=lineage.assurance.acr)
            if self.add_claims is not None:
                added = claims_of_team(self.add_claims, token.account, client, roles, rights.attributes)
        text = mint_token(
            token,
            form=client.form,
            ring=ring,
            now=now,
            names=self.names,
            client=client,
            auth_time=lineage.auth_time,
            assurance=lineage.assurance,
            attestation=lineage.attestation,
            provider=lineage.provider,
            roles=roles,
            added=added,
        )
        if client.form == "jwt":
            self.known.add(text, token, ring)
        return text


def with_secret(issued: TokenResponse, lineage: Lineage, ring: Ring) -> TokenResponse:
    """Add the HMAC secret of the lineage, if any, to the answer of a registration or login. No other answer has it."""
    if not isinstance(lineage.binding, SecretBinding):
        return issued
    secret = ring.lineage_secret(lineage.id)
    if secret is None:
        raise errors.Unavailable("the root of a new lineage is not in the ring")
    return replace(issued, key_id=lineage.id, secret=encode_base64url(secret.reveal()))


def mint_token(  # noqa: PLR0913 - all of these go into a token
    token: Token,
    *,
    form: Form,
    ring: Ring,
    now: int,
    names: Names,
    client: Client,
    auth_time: int,
    assurance: Assurance,
    attestation: Attestation = Attestation.NONE,
    provider: int = 0,
    roles: frozenset[str] = frozenset(),
    added: bytes = b"",
) -> str:
    """Return the text of a token. ``added`` are the claims of the team, an object in JSON.

    An opaque token contains only the facts of ``token``: no claims of the team, no roles, no ``auth_time``.
    """
    if form == "opaque":
        return mint_opaque(token, ring)
    return mint_jwt(
        token,
        ring,
        now=now,
        names=names,
        client=client,
        auth_time=auth_time,
        assurance=assurance,
        attestation=attestation,
        provider=provider,
        roles=roles,
        added=added,
    )
