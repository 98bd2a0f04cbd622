"""The tokens of a lineage's current generation: derivable from the state, so issuing them again costs nothing."""

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.lineages.model import Lineage, SecretBinding
from chalicelib.baton.lineages.rules import expiry
from chalicelib.baton.tokens.forms import mint_token
from chalicelib.baton.tokens.token import Kind, Names, Token


class Issued(Struct, frozen=True):
    """A token response (RFC 6749 section 5.1). Durations are in seconds.

    ``refresh_token`` and ``refresh_token_timeout`` are absent when nothing renews the login.
    """

    access_token: str
    refresh_token: str | None
    expires_in: int
    scope: str
    device_id: LineageId
    authorization_expires_in: int
    refresh_token_timeout: int | None = None
    key_id: str | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        """Mask what opens doors."""
        return f"Issued(device_id={self.device_id!r}, '**********')"


class Issue(Struct, frozen=True):
    """Mint the tokens of a lineage."""

    names: Names

    def __call__(  # noqa: PLR0913 - every argument goes into a token
        self,
        lineage: Lineage,
        *,
        account: AccountId,
        client: Client,
        key: PublicKey | None,
        ring: Ring,
        now: int,
        issued_at: int | None = None,
    ) -> Issued:
        """Mint the tokens of the current generation, those for calls as of ``issued_at``.

        ``issued_at`` is given by a repeatable renewal; left out, the tokens are those of the state, to the byte.
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
        access_token = self._mint(token, lineage, client=client, ring=ring, now=now)
        refresh_token: str | None = None
        if mechanism.one_token:
            refresh_token = access_token
        elif mechanism.renewable:
            renew = replace(
                token,
                kind=Kind.REFRESH,
                issued_at=lineage.issued_at if mechanism.single_use else lineage.auth_time,
                expires_at=lineage.expires_at,
            )
            refresh_token = self._mint(renew, lineage, client=client, ring=ring, now=now)
        return Issued(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in=max(0, token.expires_at - now),
            scope=" ".join(sorted(client.scope)),
            device_id=lineage.id,
            authorization_expires_in=max(0, lineage.expires_at - now),
            refresh_token_timeout=mechanism.idle_s if mechanism.renewable else None,
        )

    def _mint(self, token: Token, lineage: Lineage, *, client: Client, ring: Ring, now: int) -> str:
        return mint_token(
            token,
            form="opaque" if token.kind is Kind.REFRESH else client.form,
            ring=ring,
            now=now,
            names=self.names,
            client=client,
            auth_time=lineage.auth_time,
            assurance=lineage.assurance,
        )


def with_secret(issued: Issued, lineage: Lineage, ring: Ring) -> Issued:
    """Add the HMAC secret to the answer of a register or login: the only answers that carry it."""
    if not isinstance(lineage.binding, SecretBinding):
        return issued
    secret = ring.lineage_secret(lineage.id)
    if secret is None:
        raise errors.Unavailable("the root of a new lineage is not in the ring")
    return replace(issued, key_id=lineage.id, secret=encode_base64url(secret.reveal()))
