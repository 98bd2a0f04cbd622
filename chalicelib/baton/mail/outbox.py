"""Queue mails. In development, a list and a mailbox take the places of the queue and of the mail service."""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton.accounts.forget import ForgetOrder
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import seal_ticket
from chalicelib.baton.mail.ports import Mail, Outbox
from chalicelib.baton.mail.tickets import MailOrder
from chalicelib.baton.policy import FORGET_AFTER_S, MAILBOX_MAX


class QueueMail(Struct, frozen=True, kw_only=True):
    """Encrypt an order and put it into the queue. No account is read for this."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    outbox: Outbox

    def __call__(self, make: Callable[[bytes, int], MailOrder], *, ring: Ring | None = None) -> None:
        """Queue the order that ``make`` returns for a new id and the present time. Raises ``Unavailable``."""
        now = self.clock()
        ring = ring or self.key_ring.current(now=now)
        self.outbox.put(seal_ticket(make(self.entropy(16), now), ring, now=now))


class QueueForget(Struct, frozen=True, kw_only=True):
    """Encrypt the order to finish a deletion, and put it into the queue. Implements `accounts.ports.ForgetLater`."""

    entropy: Entropy
    key_ring: KeyRing
    outbox: Outbox

    def __call__(self, account: AccountId, *, now: int) -> None:
        """Queue the order. It is delivered after the request has ended."""
        order = ForgetOrder(id=self.entropy(16), issued_at=now, account=account)
        sealed = seal_ticket(order, self.key_ring.current(now=now), now=now)
        self.outbox.put(sealed, delay_s=FORGET_AFTER_S)


class PendingOrders:
    """The queue in development and tests. Baton carries out the orders of a request after the answer to the request."""

    def __init__(self) -> None:
        """Begin without an order."""
        self._orders: deque[str] = deque()

    def put(self, order: str, *, delay_s: int = 0) -> None:
        """Add an order. ``delay_s`` has no effect."""
        del delay_s
        self._orders.append(order)

    def work_off(self, deliver: Callable[[str], None]) -> None:
        """Remove and deliver each order, the oldest first. After an exception, the later orders stay in the queue."""
        while self._orders:
            deliver(self._orders.popleft())


class Mailbox:
    """The last 100 mails of the development server, to all addresses together. A mailbox sends nothing."""

    def __init__(self) -> None:
        """Begin empty."""
        self._mails: deque[Mail] = deque(maxlen=MAILBOX_MAX)

    def __call__(self, mail: Mail) -> None:
        """Keep a mail."""
        self._mails.append(mail)

    @property
    def mails(self) -> list[Mail]:
        """List the mails, the oldest first."""
        return list(self._mails)


OF_THIS_PROCESS = Mailbox()
"""The mailbox of this process. `background.MakeBackground` uses it if no other mailbox is given."""
