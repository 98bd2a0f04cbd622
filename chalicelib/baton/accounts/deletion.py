"""Deletion of an account by its owner."""

from msgspec import Struct

from chalicelib.baton.accounts.ports import AtProviders, ForgetLater, Users
from chalicelib.baton.effects import Clock
from chalicelib.baton.events.ports import Told
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
    at_providers: AtProviders
    forget_later: ForgetLater | None = None
    """``None``: the deployment has no queue. The events of the account stay until they expire, or until an operator
    deletes them."""

    def __call__(self, caller: Caller) -> None:
        """Delete the account, in four steps.

        1. If the deployment has a queue, queue the order to erase the events and the app's data about the account.
        2. Delete the account state.
        3. Delete the user and the e-mail index entry.
        4. Revoke the tokens at identity providers. This can take two seconds. A job repeats a failed revocation.

        After a crash between step 2 and the end of step 3, the account is already deleted. The operator, or the next
        registration of the address, deletes the rest.
        """
        now = self.clock()
        user = self.users.get(caller.account)
        revoke = self.at_providers(user) if user is not None else None
        if self.forget_later is not None:
            self.forget_later(caller.account, now=now)
        refuse_inactive(self.lineage_store.delete(caller.actor, now=now))
        told = Told(address=user.email, language=user.language or "en") if user else None
        self.record("account_deleted", account=caller.account, lineage=caller.device_id, told=told)
        if user is not None:
            self.users.forget(caller.account, user.email_index, now=now)
        if revoke is not None:
            revoke()
