"""The account itself: show it, delete it, and (the operator) disable or enable it."""

from msgspec import Struct

from chalicelib.core import errors
from chalicelib.core.email import canonical_email
from chalicelib.core.model import AccountId, AuditEvent, Caller, LineageId, Status
from chalicelib.core.ports import Audit, Clock, Entropy, Gates, KeyRing, Refused, Signals, Users
from chalicelib.flows.call import refuse_inactive


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
    entropy: Entropy
    users: Users
    gates: Gates
    audit: Audit
    signals: Signals

    def __call__(self, caller: Caller) -> None:
        """Close the gate first, then forget the user, and free the e-mail address last.

        A crash in between leaves a closed gate: the operator, or whoever registers the address next, does the rest.
        """
        now = self.clock()
        user = self.users.get(caller.account)
        refuse_inactive(self.gates.delete(caller.actor, now=now))
        self.signals.emit("account_deleted", account=caller.account)
        event = AuditEvent(now, "account_deleted", caller.account, caller.device_id)
        self.audit.append(event, event_id=self.entropy(8).hex())
        if user is not None:
            self.users.forget(caller.account, user.email_index)


class SetStatus(Struct, frozen=True):
    """Disable, enable or delete an account: the operator's verb, on no route."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    users: Users
    gates: Gates
    audit: Audit
    signals: Signals

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
        event_name = f"account_{status.name.lower()}"
        self.signals.emit(event_name, account=account)
        self.audit.append(AuditEvent(now, event_name, account), event_id=self.entropy(8).hex())
        if status is Status.DELETED:
            self.users.forget(account, index)
        return account
