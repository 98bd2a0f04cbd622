"""The first tokens of a login, also for a repeated registration or login."""

from collections.abc import Iterable

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.login_request import LoginRequest
from chalicelib.baton.ids import LineageId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import AccountState, Lineage
from chalicelib.baton.lineages.rules import ended_of, rights_of
from chalicelib.baton.tokens.issue import Issue, TokenResponse, with_secret


class FirstTokens(Struct, frozen=True, kw_only=True):
    """Issue the first tokens of a lineage that this attempt began, now or in an earlier request."""

    issue: Issue

    def tokens_for(
        self, lineage: Lineage, login_request: LoginRequest, *, account_state: AccountState, ring: Ring, now: int
    ) -> TokenResponse:
        """Return the tokens and, for a binding to an HMAC secret, that secret. ``account_state`` has the rights."""
        issued = self.issue(
            lineage,
            account=account_state.account,
            client=login_request.client,
            key=login_request.device.public_key,
            ring=ring,
            now=now,
            rights=rights_of(account_state),
        )
        return with_secret(issued, lineage, ring)

    def find_by_attempt(
        self,
        account_state: AccountState,
        login_request: LoginRequest,
        ids: Iterable[LineageId],
        *,
        ring: Ring,
        now: int,
    ) -> Lineage | None:
        """Return the lineage that this attempt began in an earlier request, or ``None``. ``ids`` are of the attempt.

        Raises ``Superseded`` if that lineage was exchanged, has ended, or has another binding or client.
        """
        for candidate in ids:
            lineage = account_state.lineages.get(candidate)
            if lineage is None:
                continue
            idle_s = login_request.client.mechanism.idle_s
            if (
                lineage.generation != 0
                or lineage.binding != login_request.binding
                or lineage.client != login_request.client.code
                or ended_of(account_state, lineage, now=now, not_before=ring.not_before, idle_s=idle_s) is not None
            ):
                raise errors.Superseded("the lineage of this attempt has gone on")
            return lineage
        return None
