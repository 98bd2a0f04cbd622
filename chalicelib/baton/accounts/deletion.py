"""Delete an account."""

from msgspec import Struct

from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Clock
from chalicelib.baton.events.record import Record
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller


class DeleteAccount(Struct, frozen=True, kw_only=True):
    """Delete the account of a caller who stepped up."""

    clock: Clock
    users: Users
    lineage_store: LineageStore
    record: Record

    def __call__(self, caller: Caller) -> None:
        """Close the account state first, then forget the user, and free the e-mail address last.

        A crash in between leaves a closed state: the operator, or whoever registers the address next, does the rest.
        """
        now = self.clock()
        user = self.users.get(caller.account)
        refuse_inactive(self.lineage_store.delete(caller.actor, now=now))
        self.record("account_deleted", account=caller.account, lineage=caller.device_id)
        if user is not None:
            self.users.forget(caller.account, user.email_index)
