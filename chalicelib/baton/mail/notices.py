"""Tell the owner of an account about an event, by mail. Recording the event queues the notice."""

from msgspec import Struct

from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.events.ports import Log, Told
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.mail.outbox import QueueMail
from chalicelib.baton.mail.tickets import MailOrder


class QueueNotice(Struct, frozen=True, kw_only=True):
    """Queue the notices of events as mails. Implements ``events.ports.Notices``."""

    queue: QueueMail
    log: Log

    def __call__(self, event: str, *, account: AccountId, at: int, told: Told) -> None:
        """Queue the notice of an event. A failure is only logged: the event has already happened."""
        kind = EVENTS[event]

        def order(order_id: bytes, now: int) -> MailOrder:
            return MailOrder(
                id=order_id,
                issued_at=now,
                template=told.text or kind.notice,
                account=account,
                address=told.address,
                index=EmailIndex(""),
                language=told.language,
                device=told.device,
                at=at,
                # A notice with an undo link is always sent. If it counted in the limit of the day, a thief could use up
                # this limit, and the owner would get no undo link.
                always=kind.always_told or told.undo_since is not None,
                undo_since=told.undo_since,
            )

        try:
            self.queue(order)
        except Exception as error:  # noqa: BLE001 - a failure must not fail the reported operation
            self.log.record("notice_lost", event=event, account=account, reason=type(error).__name__)
