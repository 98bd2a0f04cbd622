"""Decide whether a login whose password is right needs a second factor, and which factors it may enrol."""

from msgspec import Struct

from chalicelib.baton.accounts.login_request import LoginRequest
from chalicelib.baton.factors.add_passkey import Enrollable
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.rules import Verdict, judge_login
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import AccountState


class Judge(Struct, frozen=True, kw_only=True):
    """The rule `judge_login` for a request."""

    clients: Clients
    enrollable: Enrollable

    def __call__(
        self,
        login_request: LoginRequest,
        account_state: AccountState,
        user: User,
        *,
        ring: Ring,
        now: int,
        verified: bool = False,
    ) -> Verdict:
        """Return the verdict. ``verified``: the address is proved now, whether or not the user says so."""
        client = login_request.client
        return judge_login(
            self.clients,
            client,
            account_state,
            user.factors,
            binding=login_request.binding,
            enrol=lambda: self.enrollable(client, verified=verified or user.verified_at is not None),
            now=now,
            not_before=ring.not_before,
        )
