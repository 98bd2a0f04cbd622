"""Set the roles of an account, for the operator."""

from collections.abc import Collection

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Clock, Done, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.policy import START_OVER_MAX


class SetRoles(Struct, frozen=True, kw_only=True):
    """Replace the roles of an account: the operator's verb, on no route."""

    clock: Clock
    key_ring: KeyRing
    clients: Clients
    users: Users
    lineage_store: LineageStore
    record: Record

    def __call__(self, email: str, roles: Collection[str]) -> AccountId:
        """Give the account with this e-mail address these roles and no others. Repeating is harmless.

        A role takes effect on the next call of a signed route. No login ends.

        Raises:
            UnknownRole: the registry has no role of such a name. Nothing was read or written.
            NotFound: no account has the address, or the account is not active.

        """
        codes = self.clients.role_codes(roles)
        now = self.clock()
        account = self.users.find(self.key_ring.current(now=now).email_index(canonical_email(email)))
        if account is None:
            raise errors.NotFound("no account has this address")
        for _ in range(START_OVER_MAX):
            account_state = self.lineage_store.get(account)
            outcome = self.lineage_store.set_roles(
                account, codes, expected=account_state.roles if account_state else frozenset()
            )
            if isinstance(outcome, Refused):
                raise errors.NotFound("its account is disabled or deleted: only an active account has its roles set")
            if isinstance(outcome, Done):
                # Also where the account had these roles: an earlier call may have ended before its record.
                self.record("roles_changed", account=account, details={"roles": " ".join(sorted(set(roles)))})
                return account
        raise errors.Unavailable("the roles kept changing under a change of roles")
