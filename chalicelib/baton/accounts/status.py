"""The status of accounts, which the operator sets."""

from collections.abc import Mapping

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.ports import ForgetLater, Users
from chalicelib.baton.effects import Clock, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore

STATUS_EVENTS = {
    Status.ACTIVE: "account_enabled",
    Status.DISABLED: "account_disabled",
    Status.DELETED: "account_deleted",
}
"""The event of each status that an operator sets."""


class SetStatus(Struct, frozen=True, kw_only=True):
    """Disable, enable or delete an account, for the operator. No route calls this: owners use `DeleteAccount`."""

    clock: Clock
    key_ring: KeyRing
    users: Users
    lineage_store: LineageStore
    record: Record
    forget_later: ForgetLater | None = None

    def __call__(self, email: str, status: Status) -> AccountId:
        """Set the status of the account with this e-mail address or id. Disabling and deleting end all its lineages.

        Deleting also finishes an interrupted deletion. Raises ``NotFound`` if no account has the address or the id, or
        if the account is deleted and ``status`` is not ``DELETED``.
        """
        now = self.clock()
        if "@" not in email:
            user = self.users.get(AccountId(email))
            if user is None:
                raise errors.NotFound("no account has this id")
            self.change(user.account, user.email_index, status)
            return user.account
        index = self.key_ring.current(now=now).email_index(canonical_email(email))
        account = self.users.find(index)
        if account is None:
            raise errors.NotFound("no account has this address")
        self.change(account, index, status)
        return account

    def change(
        self, account: AccountId, index: EmailIndex, status: Status, *, details: Mapping[str, str] | None = None
    ) -> None:
        """Set the status of an account whose e-mail index entry is ``index``. The audit row gets ``details``."""
        now = self.clock()
        if status is Status.DELETED and self.forget_later is not None:
            self.forget_later(account, now=now)
        if isinstance(self.lineage_store.set_status(account, status, now=now), Refused):
            raise errors.NotFound("the account is deleted: delete it again to finish the deletion and free the address")
        self.record(STATUS_EVENTS[status], account=account, details=details)
        if status is Status.DELETED:
            self.users.forget(account, index, now=now)
