"""The account itself: show it, delete it, and (the operator) disable or enable it."""

from msgspec import Struct

from chalicelib.core import errors
from chalicelib.core.email import canonical_email
from chalicelib.core.model import AccountId, Caller, LineageId, Status
from chalicelib.core.ports import Clock, Gates, KeyRing, Refused, Users
from chalicelib.flows.call import refuse_inactive
from chalicelib.flows.record import Record


class Profile(Struct, frozen=True):
    """An account as its owner sees it. Times are seconds since the epoch."""

    account_id: AccountId
    email: str
    created_at: int
    device_id: LineageId


class ShowAccount(Struct, frozen=True):
    """Show a caller their account."""

    users: Users

    def __call__(self, caller: Caller) -> Profile:
        """Read the user."""
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("an account whose gate let its owner in has no user")
        return Profile(user.account, user.email, user.created_at, caller.device_id)


class DeleteAccount(Struct, frozen=True):
    """Delete the account of a caller who stepped up."""

    clock: Clock
    users: Users
    gates: Gates
    record: Record

    def __call__(self, caller: Caller) -> None:
        """Close the gate first, then forget the user, and free the e-mail address last.

        A crash in between leaves a closed gate: the operator, or whoever registers the address next, does the rest.
        """
        now = self.clock()
        user = self.users.get(caller.account)
        refuse_inactive(self.gates.delete(caller.actor, now=now))
        self.record("account_deleted", account=caller.account, lineage=caller.device_id)
        if user is not None:
            self.users.forget(caller.account, user.email_index)


class SetStatus(Struct, frozen=True):
    """Disable, enable or delete an account: the operator's verb, on no route."""

    clock: Clock
    key_ring: KeyRing
    users: Users
    gates: Gates
    record: Record

    def __call__(self, email: str, status: Status) -> AccountId:
        """Set the status of the account with this e-mail address; every lineage of it ends.

        Deleting finishes a deletion that died half-way. Raises ``NotFound`` when nobody claims the address, or its
        account is deleted.
        """
        now = self.clock()
        index = self.key_ring.current(now=now).email_index(canonical_email(email))
        account = self.users.find(index)
        if account is None:
            raise errors.NotFound("nobody claims this address")
        if isinstance(self.gates.set_status(account, status, now=now), Refused):
            raise errors.NotFound("its account is deleted: delete it again to finish that, and the address is free")
        self.record(f"account_{status.name.lower()}", account=account)
        if status is Status.DELETED:
            self.users.forget(account, index)
        return account
