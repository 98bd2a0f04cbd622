"""The second factor of an account, for an operator: require it, end this requirement, or remove every factor."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.accounts.roles import account_of
from chalicelib.baton.effects import Clock, Done, Refused
from chalicelib.baton.events.ports import Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import RemoveAll
from chalicelib.baton.factors.ports import FactorStore
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.model import Status, UnfinishedLogin
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.policy import START_OVER_MAX


class RequireSecondFactor(Struct, frozen=True, kw_only=True):
    """Require a second factor from an account, or end this requirement. Only the operator can do this."""

    clock: Clock
    key_ring: KeyRing
    users: Users
    lineage_store: LineageStore
    record: Record

    def __call__(self, email: str, *, required: bool) -> AccountId:
        """Change the requirement for the account with this e-mail address or id. A repetition is safe. No login ends.

        Raises ``NotFound`` if no account has the address or id, or if the account is not active.
        """
        account = account_of(email, users=self.users, key_ring=self.key_ring, now=self.clock())
        if isinstance(self.lineage_store.set_second_factor(account, required=required), Refused):
            raise errors.NotFound("the account is disabled or deleted: only an active account can be changed")
        if required:
            self.record("second_factor_required", account=account)
        else:
            self.record("second_factor_released", account=account)
        return account


class RemoveFactors(Struct, frozen=True, kw_only=True):
    """Remove every second factor of an account, for a person who has lost them. Only the operator can do this."""

    clock: Clock
    key_ring: KeyRing
    users: Users
    lineage_store: LineageStore
    store: FactorStore
    record: Record

    def __call__(self, email: str) -> AccountId:
        """Remove authenticator app, passkeys, recovery codes and remembered devices. No login ends.

        ``email`` is the e-mail address or the id of the account.
        If the client, a role or an operator requires a second factor, the person must enrol a factor at the next login.

        Raises ``NotFound`` if no account has the address or id, or if the account is inactive or has no second factor.
        """
        now = self.clock()
        account = account_of(email, users=self.users, key_ring=self.key_ring, now=now)
        for _ in range(START_OVER_MAX):
            account_state, user = self.lineage_store.get(account), self.users.get(account)
            if account_state is None or user is None or account_state.status is not Status.ACTIVE:
                raise errors.NotFound("the account is disabled or deleted: only an active account can be changed")
            change = RemoveAll(tuple(user.factors.passkeys.values()))
            if change.is_in(user.factors):
                raise errors.NotFound("the account has no second factor")
            as_read = UnfinishedLogin(account, account_state.epoch, account_state.credentials_version)
            if isinstance(self.store.change_factors(as_read, change, remember=None, now=now), Done):
                self.record(
                    "factor_removed", account=account, details={"kind": "all"}, told=Told(text="factors_removed")
                )
                return account
        raise errors.Unavailable("the account kept changing: run the command again")
