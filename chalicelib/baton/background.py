"""Make what works without a request: the queue of jobs, the flow that sends mails, and the one that takes feedback."""

from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.log import Log
from chalicelib.baton.mail.deliver import DeliverMail
from chalicelib.baton.mail.outbox import Mailbox, PendingOrders, QueueMail
from chalicelib.baton.mail.ports import Outbox, Sender
from chalicelib.baton.mail.suppression import TakeFeedback
from chalicelib.baton.settings import Settings
from chalicelib.baton.storage.aws.mail import SEND_READ_TIMEOUT_S, SesSender, SqsOutbox
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.ports import Storage


class Background(Struct, frozen=True, kw_only=True):
    """The queue, and the flows of the functions beside the API. ``pending``: the queue of a development server."""

    pending: PendingOrders
    queue_mail: QueueMail
    deliver_mail: DeliverMail
    take_feedback: TakeFeedback


class MakeBackground(Struct, frozen=True, kw_only=True):
    """Make the queue and the flows. ``service`` returns the client of an AWS service, by its name and its endpoint."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    storage: Storage
    log: Log
    product: str
    mailbox: Mailbox
    service: Callable[[str, str], AwsClient]

    def __call__(self) -> Background:
        """Make them. No connection is opened."""
        pending = PendingOrders()
        outbox: Outbox = pending
        sender: Sender = self.mailbox
        configuration_set = f"{self.settings.deployment}-mail"
        if self.settings.mail == "ses":
            outbox = SqsOutbox(self.settings.mail_queue, self.service("sqs", self.settings.sqs_endpoint))
            ses = AwsClient("sesv2", read_timeout_s=SEND_READ_TIMEOUT_S)
            sender = SesSender(self.settings.mail_from, configuration_set=configuration_set, ses=ses)
        return Background(
            pending=pending,
            queue_mail=QueueMail(clock=self.clock, entropy=self.entropy, key_ring=self.storage.key_ring, outbox=outbox),
            deliver_mail=DeliverMail(
                clock=self.clock,
                key_ring=self.storage.key_ring,
                users=self.storage.accounts,
                lineage_store=self.storage.lineages,
                ephemeral=self.storage.one_time,
                suppressions=self.storage.suppressions,
                sender=sender,
                log=self.log,
                product=self.product,
            ),
            take_feedback=TakeFeedback(
                clock=self.clock,
                key_ring=self.storage.key_ring,
                suppressions=self.storage.suppressions,
                log=self.log,
                configuration_set=configuration_set,
            ),
        )
