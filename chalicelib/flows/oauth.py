"""What stock OAuth parties ask besides the exchange: revocation (RFC 7009) and introspection (RFC 7662)."""

import hashlib
import hmac
from collections.abc import Mapping

from msgspec import Struct

from chalicelib.core import errors
from chalicelib.core.clients import Client
from chalicelib.core.lineage import Dead, Live, judge_use, live
from chalicelib.core.model import EndReason, Kind, Lineage, NoBinding
from chalicelib.core.ports import Clock, Done, Gates, Signals
from chalicelib.core.signatures import Message
from chalicelib.core.tokens import Token
from chalicelib.flows.proof import Proof, ProvedToken
from chalicelib.flows.record import Record
from chalicelib.flows.reuse import EndReused


class Revoke(Struct, frozen=True):
    """End the lineage of a token."""

    clock: Clock
    proof: Proof
    gates: Gates
    end_reused: EndReused
    signals: Signals
    record: Record

    def __call__(self, message: Message, *, token: str, client_id: str | None, source: str = "") -> None:
        """End it. An invalid token is no error and has no effect (RFC 7009 2.2); another client's is refused (2.1).

        A bound lineage ends only by its own key's signature: a token alone cannot end a session. Its holder may report
        a copy of the device so (client rule 8): a token two or more generations old ends it with reason ``reuse``.
        """
        now = self.clock()
        try:
            proved = self.proof.token_of(client_id, token, now=now)
        except errors.TokenInvalid:
            return
        self.signals.about(lineage=proved.token.lineage)
        self.proof.signature(message, proved, now=now)
        gate = self.gates.get(proved.token.account)
        idle_s = proved.client.mechanism.idle_s
        lineage = live(gate, proved.presented(), now=now, fence=proved.ring.fence, idle_s=idle_s)
        if isinstance(lineage, Dead):
            return  # it has ended, or the token is not of this login: a leaked key could sign it
        if self._is_reuse(proved, lineage):
            self.end_reused(proved, message, source=source, attempt="", lineage=lineage, key="own", now=now)
        elif isinstance(self.gates.end(proved.token.account, proved.token.lineage, EndReason.LOGOUT, now=now), Done):
            self.record("revoked", account=proved.token.account, lineage=proved.token.lineage, client=proved.client.id)

    def _is_reuse(self, proved: ProvedToken, lineage: Lineage) -> bool:
        """Tell whether the key's own holder presents a token that was exchanged twice without its knowledge.

        The holder of generation g stored it before using it, and stores each child before the next exchange. So
        another holder of the same record went on. Generations only grow: what is read stays true.
        """
        bound = not isinstance(lineage.binding, NoBinding)
        return bound and proved.client.mechanism.single_use and lineage.generation - proved.token.generation > 1


class Active(Struct, frozen=True):
    """A token that may be used, with what a resource server needs to know about it."""

    token: Token
    client: Client
    lineage: Lineage
    expires_at: int


class Introspect(Struct, frozen=True):
    """Tell a resource server whether a token is good this moment."""

    clock: Clock
    proof: Proof
    gates: Gates
    resource_servers: Mapping[str, bytes]

    def __call__(self, *, token: str, resource_server: str, secret: str) -> Active | None:
        """Answer with the token's facts, or ``None``: it is inactive, and nothing more is told.

        ``resource_servers`` maps an id to the SHA-256 of its secret, which is random and long, so a plain digest
        keeps it. Raises ``InvalidClient`` for wrong credentials, ``Unavailable`` where Baton itself is in the way: a
        resource server must not take that for an ended login.
        """
        digest = hashlib.sha256(secret.encode()).digest()
        if not hmac.compare_digest(self.resource_servers.get(resource_server, b""), digest):
            raise errors.InvalidClient("unknown resource server or wrong secret")
        now = self.clock()
        try:
            proved = self.proof.token(token, now=now)
        except (errors.TokenInvalid, errors.FieldTooLarge):
            return None
        mechanism = proved.client.mechanism
        if (
            proved.client.retired
            or proved.token.kind is Kind.RENEW
            or (proved.token.expires_at <= now and not mechanism.slides)
        ):
            return None
        use = judge_use(
            self.gates.get(proved.token.account),
            proved.presented(),
            expires_at=proved.token.expires_at,
            now=now,
            fence=proved.ring.fence,
            mechanism=mechanism,
        )
        if not isinstance(use, Live):
            return None
        expires_at = proved.token.expires_at
        if mechanism.slides:
            expires_at = max(expires_at, use.lineage.issued_at + mechanism.use_s)
        return Active(proved.token, proved.client, use.lineage, min(expires_at, use.lineage.expires_at))
