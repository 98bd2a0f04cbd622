"""Erase the rest of a deleted account: its audit, and the data that the app stores. No route runs this code.

The order is queued before the deletion. Otherwise, a crash could leave a deletion without an order. A job carries out
the order a minute later, when the deletion has succeeded or failed. The job drops an order for an account that is not
deleted.
"""

from collections.abc import Callable
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock
from chalicelib.baton.events.ports import Audit, AuditEvent, Log
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.tickets import Ticket, UnknownRoot, open_ticket
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.ticket_purposes import FORGET_ORDER, TicketPurpose

OnDelete = Callable[[AccountId], object]
"""The app's function that deletes the app's data about an account."""

_EVENT_ID = "deleted"
"""The id of the event ``account_deleted``. The id is fixed, so that a repetition writes the same event."""


class ForgetOrder(Ticket, frozen=True):
    """An order to erase the audit and the app's data of an account after its deletion."""

    purpose: ClassVar[TicketPurpose] = FORGET_ORDER

    account: AccountId


class Forget(Struct, frozen=True, kw_only=True):
    """Erase the audit of a deleted account. A repetition is safe."""

    lineage_store: LineageStore
    audit: Audit

    def __call__(self, account: AccountId, *, deleted_at: int) -> None:
        """Delete every event of the account, and write one event ``account_deleted`` with the account id and the time.

        Raises ``NotFound`` if the account is not deleted: nothing is erased.
        """
        account_state = self.lineage_store.get(account)
        if account_state is not None and account_state.status is not Status.DELETED:
            raise errors.NotFound("the account is not deleted")
        self.audit.erase(account)
        self.audit.append(AuditEvent(deleted_at, "account_deleted", account), event_id=_EVENT_ID)


class ForgetDeleted(Struct, frozen=True, kw_only=True):
    """Carry out a ``ForgetOrder`` from the queue. The Lambda function ``jobs`` runs this."""

    clock: Clock
    key_ring: KeyRing
    forget: Forget
    log: Log
    on_delete: Callable[[], OnDelete | None]
    """Returns the app's function, or ``None``. ``Baton.on_delete`` may set the function after this object is made."""

    def __call__(self, sealed: str) -> None:
        """Erase the audit of the account, then call the app's function. The queue may deliver an order twice.

        Every exception leaves the order in the queue: ``Unavailable``, ``TicketInvalid``, and the exceptions of the
        app's function. After three failures the order is a dead letter. With the hardened template, a dead letter
        causes an alarm.
        """
        order = self._open(sealed, now=self.clock())
        try:
            self.forget(order.account, deleted_at=order.issued_at)
        except errors.NotFound:
            self.log.record("forget_dropped", account=order.account, reason="the account is not deleted")
            return
        on_delete = self.on_delete()
        if on_delete is not None:
            on_delete(order.account)
        self.log.record("account_forgotten", account=order.account)

    def _open(self, sealed: str, *, now: int) -> ForgetOrder:
        """Decrypt an order. The not-before time is ignored: an order from before this time must be carried out too."""
        ring = self.key_ring.current(now=now)
        try:
            return open_ticket(ForgetOrder, sealed, replace(ring, not_before=0), now=now, bound_to={})
        except UnknownRoot:
            ring = self.key_ring.refreshed(now=now)
            return open_ticket(ForgetOrder, sealed, replace(ring, not_before=0), now=now, bound_to={})
