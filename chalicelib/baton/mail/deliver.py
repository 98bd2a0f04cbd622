"""Send a queued mail, if its account may still get it. The function ``jobs`` runs this, never a route."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import TicketInvalid, UnknownRoot, open_ticket
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.mail.codes import spaced
from chalicelib.baton.mail.links import MailLinks
from chalicelib.baton.mail.not_me import is_unproved
from chalicelib.baton.mail.ports import MailUsers, Sender, Suppressions
from chalicelib.baton.mail.suppression import is_suppressed
from chalicelib.baton.mail.templates import device_name, render, utc
from chalicelib.baton.mail.tickets import MailOrder, version_bytes
from chalicelib.baton.policy import DAY_S, MINUTE_S, NOTICES_PER_DAY_MAX


class Dropped(Exception):
    """The mail must not be sent. The text of the exception is the ``reason`` in the log, and has no e-mail address."""


class DeliverMail(Struct, frozen=True, kw_only=True):
    """Open an order of the mail queue, and read its account. Then send the mail, or drop it."""

    clock: Clock
    key_ring: KeyRing
    users: MailUsers
    lineage_store: LineageStore
    ephemeral: RateLimits
    suppressions: Suppressions
    sender: Sender
    log: Log
    product: str
    links: MailLinks
    claims_from: int = 0

    def __call__(self, sealed: str) -> None:
        """Send the mail of an encrypted order. A repetition is safe: a second mail has the same code.

        Raises ``Unavailable``. The queue then delivers the order again.
        """
        now = self.clock()
        try:
            ring, order = self._open(sealed, now=now)
            if order.code and now >= order.at + order.minutes * MINUTE_S:
                raise Dropped("the code expired in the queue")
            template, to, user = self._recipient(order, now=now)
            index = self.key_ring.current(now=now).email_index(to)
            if is_suppressed(self.suppressions.get(index), now=now):
                raise Dropped("the address gets no mails: a mail bounced or was reported as spam")
            if not to.isascii():
                raise Dropped("the mail service takes no address with letters outside ASCII")
        except Dropped as dropped:
            self.log.record("mail_dropped", reason=str(dropped))
            return
        values = {
            "product": self.product,
            "code": spaced(order.code) if order.code else "",
            "minutes": str(order.minutes),
            "device": device_name(order.device),
            "time": utc(order.at),
        }
        unproved = user is not None and is_unproved(user, claims_from=self.claims_from)
        urls = self.links(order, to=to, ring=ring, unproved=unproved)
        language = order.language or (user.language or "" if user else "")
        self.sender(render(template, language=language, to=to, values=values, urls=urls))
        self.log.record("mail_sent", mail=template)

    def _open(self, sealed: str, *, now: int) -> tuple[Ring, MailOrder]:
        ring = self.key_ring.current(now=now)
        try:
            try:
                return ring, open_ticket(MailOrder, sealed, ring, now=now, bound_to={})
            except UnknownRoot:
                ring = self.key_ring.refreshed(now=now)
                return ring, open_ticket(MailOrder, sealed, ring, now=now, bound_to={})
        except TicketInvalid as invalid:
            raise Dropped(str(invalid)) from None

    def _recipient(self, order: MailOrder, *, now: int) -> tuple[str, str, User | None]:
        """Return the name of the mail text, the address, and the user if there is one. Raises ``Dropped``."""
        if order.template == "register":
            account = self.users.find(order.index)
            owner = self.users.get(account) if account else None
            return "account_exists" if owner else "register", order.address, owner
        user = self.users.get(order.account)
        return order.template, self._of_account(order, user, now=now), user

    def _of_account(self, order: MailOrder, user: User | None, *, now: int) -> str:
        if order.code:
            return self._of_code(order, user)
        if not order.always:
            self._count_notice(order, now=now)
        if order.address:
            return order.address
        if user is None or not user.email:
            raise Dropped("the account has no address")
        return user.email

    def _of_code(self, order: MailOrder, user: User | None) -> str:
        """Return the address for a mail with a code. Raises ``Dropped`` if the code can no longer be used.

        The account must be active, and its credentials must not have changed since the request. It must still have the
        address to which the code goes, except if the code proves a new address.
        """
        account_state = self.lineage_store.get(order.account)
        # The code goes to a new address even if another account has it: only a reader of the mailbox learns this.
        if user is None or (user.email != order.address and order.template != "new_address"):
            raise Dropped("no account has the address")
        if account_state is None or account_state.status is not Status.ACTIVE:
            raise Dropped("the account is not active")
        if version_bytes(account_state.credentials_version) != order.version:
            raise Dropped("the credentials changed after the code was requested")
        return order.address

    def _count_notice(self, order: MailOrder, *, now: int) -> None:
        try:
            slot = self.ephemeral.count(f"notices:{order.account}", limit=NOTICES_PER_DAY_MAX, window_s=DAY_S, now=now)
        except errors.Unavailable:  # one notice too many is better than a missing notice
            return
        if isinstance(slot, Refused):
            raise Dropped("the account has reached the limit of notices of a day")
