"""Logout: end this lineage, or every lineage of the account in one write."""

from msgspec import Struct

from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.record import Record
from chalicelib.baton.lineages.model import EndReason
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller


class Logout(Struct, frozen=True, kw_only=True):
    """End the caller's login, or all logins of the account."""

    clock: Clock
    lineage_store: LineageStore
    record: Record

    def __call__(self, caller: Caller, *, everywhere: bool) -> None:
        """End the caller's login. If ``everywhere`` is true, end all logins of the account.

        This is done before the response is sent. After the response, no call or exchange of an ended login succeeds.
        """
        now = self.clock()
        if not everywhere:
            if isinstance(self.lineage_store.end(caller.account, caller.device_id, EndReason.LOGOUT, now=now), Done):
                self.record("logged_out", account=caller.account, lineage=caller.device_id)
            return
        refuse_inactive(self.lineage_store.end_all(caller.actor, now=now))
        self.record("logged_out_everywhere", account=caller.account, lineage=caller.device_id)
