"""What stock OAuth parties ask besides the exchange: revocation (RFC 7009) and introspection (RFC 7662)."""

import hashlib
import hmac
from collections.abc import Mapping

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.lineages.model import Lineage
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import Active, judge_access
from chalicelib.baton.tokens.presented import RequestVerifier
from chalicelib.baton.tokens.refusals import InvalidClient, TokenInvalid
from chalicelib.baton.tokens.token import Kind, Token


class ActiveToken(Struct, frozen=True):
    """A token that may be used, with what a resource server needs to know about it."""

    token: Token
    client: Client
    lineage: Lineage
    expires_at: int


class Introspect(Struct, frozen=True):
    """Tell a resource server whether a token is good this moment."""

    clock: Clock
    proof: RequestVerifier
    lineage_store: LineageStore
    resource_servers: Mapping[str, bytes]

    def __call__(self, *, token: str, resource_server: str, secret: str) -> ActiveToken | None:
        """Answer with the token's facts, or ``None``: it is inactive, and nothing more is told.

        ``resource_servers`` maps an id to the SHA-256 of its secret, which is random and long, so a plain digest
        keeps it. Raises ``InvalidClient`` for wrong credentials, ``Unavailable`` where Baton itself is in the way: a
        resource server must not take that for an ended login.
        """
        digest = hashlib.sha256(secret.encode()).digest()
        if not hmac.compare_digest(self.resource_servers.get(resource_server, b""), digest):
            raise InvalidClient("unknown resource server or wrong secret")
        now = self.clock()
        try:
            proved = self.proof.token(token, now=now)
        except (TokenInvalid, errors.FieldTooLarge):
            return None
        mechanism = proved.client.mechanism
        if (
            proved.client.retired
            or proved.token.kind is Kind.REFRESH
            or (proved.token.expires_at <= now and not mechanism.slides)
        ):
            return None
        use = judge_access(
            self.lineage_store.get(proved.token.account),
            proved.presented(),
            expires_at=proved.token.expires_at,
            now=now,
            not_before=proved.ring.not_before,
            mechanism=mechanism,
        )
        if not isinstance(use, Active):
            return None
        expires_at = proved.token.expires_at
        if mechanism.slides:
            expires_at = max(expires_at, use.lineage.issued_at + mechanism.access_s)
        return ActiveToken(proved.token, proved.client, use.lineage, min(expires_at, use.lineage.expires_at))
