"""Roles of accounts, which the operator sets."""

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
    """Replace the roles of an account. Only the operator can do this: no route calls it."""

    clock: Clock
    key_ring: KeyRing
    clients: Clients
    users: Users
    lineage_store: LineageStore
    record: Record

    def __call__(self, email: str, roles: Collection[str]) -> AccountId:
        """Replace the roles of the account with this e-mail address. It is safe to repeat this.

        A role takes effect on the next call of a signed route. No login ends.

        Raises:
            UnknownRole: the registry does not have one of the names. Nothing was read or written.
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
                # Also if the account had these roles before: an earlier call may have failed before its record.
                self.record("roles_changed", account=account, details={"roles": " ".join(sorted(set(roles)))})
                return account
        raise errors.Unavailable("the roles kept changing during a change of roles")
