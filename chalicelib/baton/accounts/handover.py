"""Hand a login over from an app to a browser: the app gets a code, and the browser redeems it once.

The code is a ticket: Baton stores nothing before the browser redeems the code. The login of the browser is live only
while the login of the app is live. In the folder `storage`, every write that begins or uses the browser's login has
this condition. If the app's login ends, for example after a theft, the login of the browser ends too.
"""

from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton.accounts.first_tokens import Admit, HandingOver
from chalicelib.baton.accounts.login_request import Device, LoginRequest, lineage_over
from chalicelib.baton.browser.delivery import Deliver
from chalicelib.baton.browser.pages import is_next
from chalicelib.baton.browser.refusals import HandoverInvalid, NextInvalid
from chalicelib.baton.browser.sites import SiteRule
from chalicelib.baton.effects import Clock, Entropy, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import Passwords
from chalicelib.baton.factors.prove_totp import mark_of
from chalicelib.baton.factors.rules import Admitted, judge_login
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import Ticket, TicketInvalid, UnknownRoot, open_ticket, seal_ticket
from chalicelib.baton.lineages.clients import Client, Clients, level
from chalicelib.baton.lineages.model import AccountState, Lineage, NoBinding, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.policy import TICKET_ID_BYTES
from chalicelib.baton.proof.signature import check_digest
from chalicelib.baton.routing import Answer, Cookie, Message
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.ports import Tickets
from chalicelib.baton.tokens.presented import RequestVerifier, attempt_of
from chalicelib.baton.tokens.refusals import InsufficientAcr, UnknownClient


class Handover(Ticket, frozen=True):
    """The contents of a handover code: the login of the app, the client of the browser, and the page to open."""

    purpose = TICKET_PURPOSES["handover"]

    account: AccountId
    app: LineageId
    client: int
    next: str
    credentials_version: int
    epoch: int


class HandoverCode(Struct, frozen=True, kw_only=True):
    """A code that a browser can redeem once, within ``expires_in`` seconds."""

    code: str
    expires_in: int

    def __repr__(self) -> str:
        """Mask the code."""
        return "HandoverCode('**********')"


class Offered(Struct, frozen=True):
    """A genuine code, with the live login of the app and the account of that login."""

    ticket: Handover
    client: Client
    account_state: AccountState
    app: Lineage
    user: User
    ring: Ring


class HandOver(Struct, frozen=True, kw_only=True):
    """Make a code for a browser, and redeem a code. ``deliver`` is ``None`` if there is no cookie client."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    clients: Clients
    users: Passwords
    lineage_store: LineageStore
    tickets: Tickets
    proof: RequestVerifier
    site: SiteRule
    admit: Admit
    deliver: Deliver | None

    def make(self, caller: Caller, *, client_id: str, next_page: str) -> HandoverCode:
        """Return a code with which a browser can log in to the client ``client_id``.

        Raises:
            UnknownClient: ``client_id`` is not a cookie client, or the client is out of service.
            NextInvalid: ``next_page`` is not a path of this site.
            InsufficientAcr: a login at this client needs a second factor, and the login of the app has proved none.

        """
        client = self.clients.get(client_id)
        if client is None or client.delivery != "cookie" or client.retired:
            raise UnknownClient
        if not is_next(next_page):
            raise NextInvalid
        account_state, now = caller.account_state, self.clock()
        assert account_state is not None
        self._check_level(client, account_state, caller.acr, lambda: self.users.get(caller.account), now=now)
        ticket = Handover(
            self.entropy(TICKET_ID_BYTES),
            now,
            account=caller.account,
            app=caller.device_id,
            client=client.code,
            next=next_page,
            credentials_version=account_state.credentials_version,
            epoch=account_state.epoch,
        )
        sealed = seal_ticket(ticket, self.key_ring.current(now=now), now=now)
        return HandoverCode(code=sealed, expires_in=ticket.expires_at - now)

    def show(self, message: Message, code: str) -> Offered:
        """Return the opened code, with the account and the app's login. The code stays unused.

        Raises ``CrossSite``, ``HandoverInvalid`` and ``InsufficientAcr``.
        """
        check_digest(message)
        return self._opened(message, code, changes=True)

    def redeem(self, message: Message, code: str, *, by_app: bool = False) -> tuple[Offered, tuple[Cookie, ...]]:
        """Use a code and begin the login of the browser. Return the opened code, and the cookies of the new login.

        A retry with the same code and attempt gets the same login.

        ``by_app``: the code came in the header ``Baton-Handover``, which only an app can send.

        Raises the errors of ``show``, and ``TooManyRequests`` if the account has no room for another login.
        """
        check_digest(message)
        offered = self._opened(message, code, changes=not by_app)
        assert self.deliver is not None  # a client of a genuine code delivers cookies
        ticket, client, now = offered.ticket, offered.client, self.clock()
        # The new attempt contains the id of the code. So if a browser uses one attempt for two codes, or for a code and
        # for a login request, two lineages begin.
        attempt = f"{attempt_of(message, None, self.entropy)} handover {encode_base64url(ticket.id)}"
        used = self.tickets.consume_ticket(
            ticket.id, expires_at=ticket.expires_at, now=now, mark=mark_of(attempt, "handover")
        )
        if isinstance(used, Refused):
            raise HandoverInvalid("handover: used by another request")
        login_request = LoginRequest(
            email="",
            client=client,
            device=Device(),
            binding=NoBinding(),
            attempt=attempt,
            over=lineage_over(self.proof, message, client, now=now),
        )
        tokens = self.admit(
            login_request,
            offered.account_state,
            assurance=offered.app.assurance,
            ring=offered.ring,
            now=now,
            basis=HandingOver(offered.app, HandoverInvalid("handover: the login of the app ended")),
        )
        return offered, self.deliver(message, Answer(200, tokens), proved=False).cookies

    def _opened(self, message: Message, code: str, *, changes: bool) -> Offered:
        """Open a code. Check that the code is genuine, its sender is an allowed page, and the app's login is live."""
        self.site.check(message, self.clients.cookie_origins, changes=changes)
        now = self.clock()
        ring, ticket = self._ticket(code, now=now)
        client = self.clients.of(ticket.client)
        if client is None or client.delivery != "cookie" or client.retired or self.deliver is None:
            raise HandoverInvalid("handover: its client is out of service")
        self.site.check(message, client.origins, changes=changes)
        account_state, user = self.lineage_store.get(ticket.account), self.users.get(ticket.account)
        if account_state is None or user is None or account_state.status is not Status.ACTIVE:
            raise HandoverInvalid("handover: its account is not active")
        if (account_state.epoch, account_state.credentials_version) != (ticket.epoch, ticket.credentials_version):
            raise HandoverInvalid("handover: the credentials or the epoch changed")
        app = account_state.lineages.get(ticket.app)
        app_client = self.clients.of(app.client) if app else None
        if app is None or app_client is None or app_client.retired:
            raise HandoverInvalid("handover: the login of the app is gone")
        idle_s = app_client.mechanism.idle_s
        if ended_of(account_state, app, now=now, not_before=ring.not_before, idle_s=idle_s) is not None:
            raise HandoverInvalid("handover: the login of the app ended")
        self._check_level(client, account_state, app.assurance.acr, lambda: user, now=now)
        return Offered(ticket, client, account_state, app, user, ring)

    def _ticket(self, code: str, *, now: int) -> tuple[Ring, Handover]:
        ring = self.key_ring.current(now=now)
        try:
            try:
                return ring, open_ticket(Handover, code, ring, now=now, bound_to={})
            except UnknownRoot:
                ring = self.key_ring.refreshed(now=now)
                return ring, open_ticket(Handover, code, ring, now=now, bound_to={})
        except TicketInvalid as invalid:
            raise HandoverInvalid(f"handover: {invalid}") from None

    def _check_level(
        self, client: Client, account_state: AccountState, acr: str, user: Callable[[], User | None], *, now: int
    ) -> None:
        """Refuse to hand over a login below ``aal2`` if a login at this client needs a second factor.

        For a login at ``aal2`` or higher, the user is not read.
        """
        if level(acr) >= level("aal2"):
            return
        known = user()
        if known is None:
            raise HandoverInvalid("handover: the account has no user")
        verdict = judge_login(
            self.clients, client, account_state, known.factors, binding=NoBinding(), now=now, not_before=0
        )
        if not isinstance(verdict, Admitted):
            raise InsufficientAcr(
                f"the login has acr {acr}, and client {client.id} requires a second factor",
                detail="A login in the browser requires a second factor, and the login of the app has proved none. Log "
                "in again in the app, with a second factor.",
            )


def masked(email: str) -> str:
    """Mask an e-mail address so that its owner still recognises the address: ``a…a@example.com``.

    If ``email`` is empty, return a fixed text.
    """
    if not email:
        return "a person without an e-mail address"
    local, _, domain = email.rpartition("@")
    shown = f"{local[0]}…{local[-1]}" if len(local) > 2 else f"{local[:1]}…"  # noqa: PLR2004 - of 2 letters, both show
    return f"{shown}@{domain}"
