"""Make the parts that run outside of requests: the queue of orders, and the flows for orders and for mail feedback."""

from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton.accounts.forget import Forget, ForgetDeleted, OnDelete
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.log import Log
from chalicelib.baton.mail.deliver import DeliverMail
from chalicelib.baton.mail.links import MailLinks
from chalicelib.baton.mail.outbox import OF_THIS_PROCESS, Mailbox, PendingOrders, QueueForget, QueueMail
from chalicelib.baton.mail.ports import Outbox, Sender
from chalicelib.baton.mail.suppression import TakeFeedback
from chalicelib.baton.settings import Settings
from chalicelib.baton.storage.aws.deployment.audit import AuditConfiguration
from chalicelib.baton.storage.aws.deployment.look import Deployment
from chalicelib.baton.storage.aws.mail import SEND_READ_TIMEOUT_S, SesSender, SqsOutbox
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import EXPIRY, Tables
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.ticket_purposes import FORGET_ORDER


class Background(Struct, frozen=True, kw_only=True):
    """The queue of orders, and the objects that the Lambda functions ``jobs`` and ``mail_feedback`` use.

    - ``pending``: the orders in the queue of a development server.
    - ``forget_later``: queues the order to finish an account's deletion. ``None``: the deployment has no queue.
    """

    pending: PendingOrders
    queue_mail: QueueMail
    forget_later: QueueForget | None
    deliver_mail: DeliverMail
    sends_mail: bool
    forget: ForgetDeleted
    take_feedback: TakeFeedback

    def carry_out(self, order: str) -> None:
        """Carry out an order of the queue. After an exception, SQS keeps the order, but ``pending`` drops the order."""
        if order.startswith(FORGET_ORDER.prefix):
            self.forget(order)
            return
        if not self.sends_mail:
            raise RuntimeError("a mail is in the queue, and BATON_MAIL is off")
        self.deliver_mail(order)


class MakeBackground(Struct, frozen=True, kw_only=True):
    """Make a ``Background``. ``service`` returns the client of an AWS service, by its name and its endpoint."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    storage: Storage
    log: Log
    product: str
    mailbox: Mailbox | None
    service: Callable[[str, str], AwsClient]
    on_delete: Callable[[], OnDelete | None]

    def __call__(self) -> Background:
        """Make the queue of orders, and the objects that process orders and mail feedback. Open no connection."""
        pending = PendingOrders()
        outbox: Outbox = pending
        sender: Sender = self.mailbox or OF_THIS_PROCESS
        configuration_set = f"{self.settings.deployment}-mail"
        if self.settings.mail_queue and self.settings.mail != "mailbox":
            outbox = SqsOutbox(self.settings.mail_queue, self.service("sqs", self.settings.sqs_endpoint))
        if self.settings.mail == "ses":
            ses = AwsClient("sesv2", read_timeout_s=SEND_READ_TIMEOUT_S)
            sender = SesSender(self.settings.mail_from, configuration_set=configuration_set, ses=ses)
        return Background(
            pending=pending,
            queue_mail=QueueMail(clock=self.clock, entropy=self.entropy, key_ring=self.storage.key_ring, outbox=outbox),
            forget_later=(
                QueueForget(entropy=self.entropy, key_ring=self.storage.key_ring, outbox=outbox)
                if self.settings.has_queue
                else None
            ),
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
                links=MailLinks(issuer=self.settings.issuer, link_host=self.settings.registry.mail.link_host),
                claims_from=self.settings.mail_claims_from,
            ),
            sends_mail=self.settings.mail != "off",
            forget=ForgetDeleted(
                clock=self.clock,
                key_ring=self.storage.key_ring,
                forget=Forget(lineage_store=self.storage.lineages, audit=self.storage.audit),
                log=self.log,
                on_delete=self.on_delete,
            ),
            take_feedback=TakeFeedback(
                clock=self.clock,
                key_ring=self.storage.key_ring,
                suppressions=self.storage.suppressions,
                log=self.log,
                configuration_set=configuration_set,
            ),
        )


def audit_of(settings: Settings, tables: Tables, log: Log) -> AuditConfiguration:
    """Return an object that audits the configuration of this deployment each time it is called."""
    key_id = settings.kms_key_id or ""
    return AuditConfiguration(
        Deployment(settings.deployment, tables, key_id=key_id, issuer=settings.issuer), log, EXPIRY
    )
