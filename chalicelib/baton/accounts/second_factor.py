"""The second factor that an operator requires from an account."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.accounts.roles import account_of
from chalicelib.baton.effects import Clock, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.ports import LineageStore


class RequireSecondFactor(Struct, frozen=True, kw_only=True):
    """Require a second factor from an account, or release it. Only the operator can do this: no route calls it."""

    clock: Clock
    key_ring: KeyRing
    users: Users
    lineage_store: LineageStore
    record: Record

    def __call__(self, email: str, *, required: bool) -> AccountId:
        """Change the requirement for the account with this e-mail address. It is safe to repeat this. No login ends.

        Raises ``NotFound`` if no account has the address, or if the account is not active.
        """
        account = account_of(email, users=self.users, key_ring=self.key_ring, now=self.clock())
        if isinstance(self.lineage_store.set_second_factor(account, required=required), Refused):
            raise errors.NotFound("its account is disabled or deleted: only an active account can be changed")
        if required:
            self.record("second_factor_required", account=account)
        else:
            self.record("second_factor_released", account=account)
        return account
