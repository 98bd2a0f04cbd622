"""Revoke a token (RFC 7009)."""

from msgspec import Struct

from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.lineages.model import EndReason, Lineage, NoBinding
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import Inactive, active_lineage
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.presented import RequestVerifier, VerifiedToken
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.reuse import EndReused
from chalicelib.baton.tokens.source import source_of


class Revoke(Struct, frozen=True, kw_only=True):
    """End the lineage of a token."""

    clock: Clock
    proof: RequestVerifier
    lineage_store: LineageStore
    end_reused: EndReused
    log: Log
    record: Record

    def __call__(self, message: Message, *, token: str, client_id: str | None) -> None:
        """End the login. An invalid token is not an error (RFC 7009 2.2). A token of another client is refused (2.1).

        To end a bound login, the request must be signed with the key or HMAC secret of the login. The token alone is
        not enough.

        An app also calls this route when it detects a copy of its device (rule 8 for clients, docs/baton/wire.md). In a
        bound login whose mechanism exchanges tokens, a token that is two or more generations old ends the login with
        reason ``reuse``.
        """
        now = self.clock()
        try:
            proved = self.proof.token_of(client_id, token, now=now)
        except TokenInvalid:
            return
        self.log.set_lineage(lineage=proved.token.lineage)
        self.proof.signature(message, proved, now=now)
        account_state = self.lineage_store.get(proved.token.account)
        idle_s = proved.client.mechanism.idle_s
        lineage = active_lineage(
            account_state, proved.presented(), now=now, not_before=proved.ring.not_before, idle_s=idle_s
        )
        if isinstance(lineage, Inactive):
            return  # the login has ended, or the token does not match the stored login (E4, exchange.md)
        if self._is_reuse(proved, lineage):
            source = source_of(message, proved.client)
            self.end_reused(proved, message, source=source, attempt="", lineage=lineage, key="own", now=now)
        elif isinstance(
            self.lineage_store.end(proved.token.account, proved.token.lineage, EndReason.LOGOUT, now=now), Done
        ):
            self.record("revoked", account=proved.token.account, lineage=proved.token.lineage, client=proved.client.id)

    def _is_reuse(self, proved: VerifiedToken, lineage: Lineage) -> bool:
        """Check whether the token of a bound login is two or more generations old.

        A device stores each new token before it uses the token. If the lineage is two or more generations ahead of the
        token that a device sends, a copy of the device exchanged tokens too. Generations only increase, so ``True``
        stays true after this read.
        """
        bound = not isinstance(lineage.binding, NoBinding)
        return bound and proved.client.mechanism.single_use and lineage.generation - proved.token.generation > 1
