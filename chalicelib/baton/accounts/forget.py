"""What is left to do after an account was deleted: its audit. A job or the operator does it, never a request."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.events.ports import Audit, AuditEvent
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore

_EVENT_ID = "deleted"
"""Fixed, so that a repetition writes the same event."""


class Forget(Struct, frozen=True, kw_only=True):
    """Erase the audit of a deleted account. It is safe to repeat this."""

    lineage_store: LineageStore
    audit: Audit

    def __call__(self, account: AccountId, *, deleted_at: int) -> None:
        """Delete every event of the account, and write one event ``account_deleted`` with the id and the time.

        Raises ``NotFound`` if the account is not deleted: nothing is erased.
        """
        account_state = self.lineage_store.get(account)
        if account_state is not None and account_state.status is not Status.DELETED:
            raise errors.NotFound("the account is not deleted")
        self.audit.erase(account)
        self.audit.append(AuditEvent(deleted_at, "account_deleted", account), event_id=_EVENT_ID)
