"""Token introspection (RFC 7662)."""

import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock
from chalicelib.baton.lineages.assurance import amr_of, attested_as
from chalicelib.baton.lineages.model import KeyBinding, Lineage, NoBinding, SecretBinding
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.resources import Resources
from chalicelib.baton.lineages.rules import Active, judge_access, rights_of
from chalicelib.baton.tokens.claims import AddClaims, claims_of_team
from chalicelib.baton.tokens.presented import RequestVerifier, VerifiedToken
from chalicelib.baton.tokens.refusals import InvalidClient, TokenInvalid
from chalicelib.baton.tokens.shapes import Confirmation, Introspection
from chalicelib.baton.tokens.token import Kind, Names, Token


class Introspect(Struct, frozen=True, kw_only=True):
    """Return the facts of an active token to a resource server (RFC 7662)."""

    clock: Clock
    proof: RequestVerifier
    lineage_store: LineageStore
    resource_servers: Mapping[str, bytes]
    resources: Resources = Resources()
    names: Names
    add_claims: AddClaims | None = None

    def __call__(self, *, token: str, resource_server: str, secret: str) -> Introspection | dict[str, object]:
        """Return the facts of an active token. For any other token, return only that it is not active.

        ``resource_servers`` maps the id of a server to the SHA-256 of its secret. The secret is random and long, so a
        plain digest protects it. The roles and the claims of the team are the current values, not the values at the
        issue of the token.

        Raises ``InvalidClient`` for wrong credentials, and ``Unavailable`` for a server error. A resource server must
        not treat ``Unavailable`` as an ended login.
        """
        digest = hashlib.sha256(secret.encode()).digest()
        if not hmac.compare_digest(self.resource_servers.get(resource_server, b""), digest):
            raise InvalidClient("unknown resource server or wrong secret")
        now = self.clock()
        try:
            proved = self.proof.token(token, now=now)
        except TokenInvalid:
            return self._narrowed(token, resource_server, now=now)
        except errors.FieldTooLarge:
            return Introspection(active=False)
        mechanism = proved.client.mechanism
        if (
            proved.client.retired
            or proved.token.kind is Kind.REFRESH
            or (proved.token.expires_at <= now and not mechanism.slides)
        ):
            return Introspection(active=False)
        use = judge_access(
            self.lineage_store.get(proved.token.account),
            proved.presented(),
            expires_at=proved.token.expires_at,
            now=now,
            not_before=proved.ring.not_before,
            mechanism=mechanism,
        )
        if not isinstance(use, Active):
            return Introspection(active=False)
        expires_at = proved.token.expires_at
        if mechanism.slides:
            expires_at = max(expires_at, use.lineage.issued_at + mechanism.access_s)
        expires_at = min(expires_at, use.lineage.expires_at)
        rights = rights_of(use.account_state)
        roles = self.proof.clients.roles_of_login(rights.roles, acr=use.lineage.assurance.acr)
        facts = self._facts(proved, use.lineage, roles, expires_at=expires_at)
        if self.add_claims is None:
            return facts
        added = claims_of_team(self.add_claims, proved.token.account, proved.client, roles, rights.attributes)
        return {**msgspec.to_builtins(facts), **msgspec.json.decode(added)}

    def _narrowed(self, text: str, resource_server: str, *, now: int) -> Introspection:
        """Return the facts of a narrowed token, but only to the server that is its audience."""
        resource = self.resources.by_name.get(resource_server)
        if resource is None:
            return Introspection(active=False)
        from chalicelib.baton.tokens.narrow import NARROWED, read_narrowed  # noqa: PLC0415 - cold start

        claims = read_narrowed(
            text,
            resource,
            ring=self.proof.key_ring.current(now=now),
            lineage_store=self.lineage_store,
            names=self.names,
            now=now,
        )
        client = self.proof.clients.get(claims.client_id) if claims else None
        if claims is None or client is None or client.retired:
            return Introspection(active=False)
        cnf = claims.cnf
        return Introspection(
            active=True,
            token_type="Bearer",  # noqa: S106 - a type, not a token
            scope=claims.scope,
            client_id=claims.client_id,
            sub=claims.sub,
            iss=claims.iss,
            aud=claims.aud,
            iat=claims.iat,
            exp=claims.exp,
            sid=claims.sid,
            token_use=NARROWED,
            auth_time=claims.auth_time,
            acr=claims.acr,
            amr=claims.amr,
            cnf=UNSET if isinstance(cnf, UnsetType) else Confirmation(jkt=cnf.jkt, kid=cnf.kid),
        )

    def _facts(
        self, proved: VerifiedToken, lineage: Lineage, roles: frozenset[str], *, expires_at: int
    ) -> Introspection:
        token = proved.token
        return Introspection(
            active=True,
            token_type="Bearer",  # noqa: S106 - a type, not a token
            scope=" ".join(sorted(proved.client.scope)),
            client_id=proved.client.id,
            sub=token.account,
            iss=self.names.issuer,
            aud=self.names.audience,
            iat=token.issued_at,
            exp=expires_at,
            sid=token.lineage,
            gen=token.generation,
            token_use=token.kind.value,
            auth_time=lineage.auth_time,
            acr=lineage.assurance.acr,
            amr=amr_of(lineage.assurance, lineage.attestation),
            roles=tuple(sorted(roles)) if roles else UNSET,
            attested=attested_as(lineage.attestation) or UNSET,
            idp=self.names.providers.get(lineage.provider, UNSET),
            cnf=_confirmation(token),
        )


def _confirmation(token: Token) -> Confirmation | UnsetType:
    match token.binding:
        case KeyBinding():
            return Confirmation(jkt=token.key.keyid) if token.key else Confirmation()
        case SecretBinding():
            return Confirmation(kid=token.lineage)
        case NoBinding():
            return UNSET
