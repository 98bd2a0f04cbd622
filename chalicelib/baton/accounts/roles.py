"""Roles of accounts, which the operator sets."""

from collections.abc import Callable, Collection

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Clock, Done, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.policy import START_OVER_MAX


class SetRoles(Struct, frozen=True, kw_only=True):
    """Change the roles of an account. Only the operator can do this: no route calls it."""

    clock: Clock
    key_ring: KeyRing
    clients: Clients
    users: Users
    lineage_store: LineageStore
    record: Record

    def __call__(self, email: str, roles: Collection[str]) -> AccountId:
        """Replace the roles of the account with this e-mail address or id. A repetition is safe.

        A role takes effect on the next call of a signed route. No login ends.

        Raises:
            UnknownRole: the registry does not have one of the names. Nothing was read or written.
            NotFound: no account has the address or id, or the account is not active.

        """
        codes = self.clients.role_codes(roles)
        return self.change(email, lambda _: codes)

    def grant(self, email: str, role: str) -> AccountId:
        """Add one role, and keep the other roles. Raises the errors of `__call__`."""
        codes = self.clients.role_codes([role])
        return self.change(email, lambda stored: stored | codes)

    def revoke(self, email: str, role: str) -> AccountId:
        """Remove one role, and keep the other roles. Raises the errors of `__call__`."""
        codes = self.clients.role_codes([role])
        return self.change(email, lambda stored: stored - codes)

    def change(self, email: str, to: Callable[[frozenset[int]], frozenset[int]]) -> AccountId:
        """Change the roles of the account with this e-mail address or id.

        ``to`` gets the stored role codes and returns the new role codes (`Clients.role_codes`).

        Raises ``NotFound`` if no active account has the address or id.
        """
        account = account_of(email, users=self.users, key_ring=self.key_ring, now=self.clock())
        for _ in range(START_OVER_MAX):
            account_state = self.lineage_store.get(account)
            stored = account_state.roles if account_state else frozenset()
            changed = to(stored)
            outcome = self.lineage_store.set_roles(account, changed, expected=stored)
            if isinstance(outcome, Refused):
                raise errors.NotFound("the account is disabled or deleted: only an active account can be changed")
            if isinstance(outcome, Done):
                # Record this even if nothing changed: an earlier call may have changed the roles, and then failed.
                names = " ".join(sorted(self.clients.role_names(changed)))
                self.record("roles_changed", account=account, details={"roles": names})
                return account
        raise errors.Unavailable("the roles kept changing during a change of roles")


class AccountRights(Struct, frozen=True):
    """The rights of an account, for the operator.

    ``roles`` are names. ``unknown`` are the codes of stored roles that are not in the registry.
    """

    account: AccountId
    roles: frozenset[str]
    unknown: frozenset[int]
    second_factor_required: bool


class ShowRoles(Struct, frozen=True, kw_only=True):
    """Read the rights of an account, for the operator."""

    clock: Clock
    key_ring: KeyRing
    clients: Clients
    users: Users
    lineage_store: LineageStore

    def __call__(self, email: str) -> AccountRights:
        """Read the rights of the account with this e-mail address or id. Raises ``NotFound`` if there is no account."""
        account = account_of(email, users=self.users, key_ring=self.key_ring, now=self.clock())
        account_state = self.lineage_store.get(account)
        if account_state is None or account_state.status is Status.DELETED:
            raise errors.NotFound("the account is deleted")
        names = self.clients.role_names(account_state.roles)
        return AccountRights(
            account,
            names,
            account_state.roles - self.clients.role_codes(names),
            account_state.second_factor_required,
        )


def account_of(email: str, *, users: Users, key_ring: KeyRing, now: int) -> AccountId:
    """Find an account by any spelling of its e-mail address, or by its id. Raises ``NotFound``.

    ``email`` without ``@`` is an account id.
    """
    if "@" not in email:
        if users.get(AccountId(email)) is None:
            raise errors.NotFound("no account has this id")
        return AccountId(email)
    account = users.find(key_ring.current(now=now).email_index(canonical_email(email)))
    if account is None:
        raise errors.NotFound("no account has this address")
    return account
