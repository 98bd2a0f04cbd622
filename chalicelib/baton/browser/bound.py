"""Cookies that are bound to the key of a browser (W3C Device Bound Session Credentials): offer, bind, refresh, check.

A browser that supports DBSC makes a key in hardware and proves the key every ten minutes. A copy of the cookies does
not work without the next proof. Other browsers ignore the offer. Baton stores the binding, and stores no ticket.

| refresh | answer |
|---|---|
| the login ended, or is unknown | 200 ``"continue": false``, cookies deleted, except cookies of another login |
| the login is not bound | 200 ``"continue": false``, cookies kept |
| no proof, or the key signed an old challenge | 403 with a new challenge. This is a retry, and no sign of theft |
| the key signed a fresh challenge | 200, a new cookie, the next challenge |
| any other proof | 400. The login does not end, because otherwise a thief could end the login of the owner |
"""

import re
from typing import Final, TypeVar

from msgspec import Struct, field

from chalicelib.baton import errors
from chalicelib.baton.browser.cookies import BOUND, CLEARED, bound_cookie, read_cookies
from chalicelib.baton.browser.delivery import replaced_login
from chalicelib.baton.browser.proofs import bare, read_proof
from chalicelib.baton.browser.refusals import DeviceProofRequired, ProofInvalid
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.tickets import Ticket, TicketInvalid, UnknownRoot, open_ticket, seal_ticket
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import Actor, BrowserKey, Lineage, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.policy import BROWSER_PROOF_GRACE_S, TICKET_ID_BYTES
from chalicelib.baton.routing import Answer, Cookie, Message
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES
from chalicelib.baton.tokens.presented import RequestVerifier

OFFER: Final = "Secure-Session-Registration"
_CHALLENGE: Final = "Secure-Session-Challenge"
_PROOF: Final = "secure-session-response"
_SESSION: Final = "sec-secure-session-id"
_SKIPPED: Final = "secure-session-skipped"
SKIPPED_EVENTS: Final = {
    "quota_exceeded": "proof_skipped_quota_exceeded",
    "server_error": "proof_skipped_server_error",
    "unreachable": "proof_skipped_unreachable",
}
SKIPPED_OTHERWISE: Final = "proof_skipped_other"
_SESSION_ID: Final = re.compile("[A-Za-z0-9_-]{32}")
"""A ``session_identifier`` (DBSC): the account id, then the lineage id, 16 characters each."""


class BrowserOffer(Ticket, frozen=True):
    """An offer to bind the cookies of a login to a key of the browser. Its ``id`` is the challenge to sign."""

    purpose = TICKET_PURPOSES["browser_offer"]

    account: AccountId
    lineage: LineageId
    credentials_version: int
    app: LineageId | None


class BrowserBound(Ticket, frozen=True):
    """The ticket in the cookie `BOUND`. It shows that the browser proved its key recently."""

    purpose = TICKET_PURPOSES["browser_bound"]

    account: AccountId
    lineage: LineageId


class BrowserChallenge(Ticket, frozen=True):
    """The challenge of a refresh. It can be used again until it expires: single use would cost a write each time."""

    purpose = TICKET_PURPOSES["browser_challenge"]

    lineage: LineageId


class SessionScope(Struct, frozen=True, kw_only=True):
    """The requests that need the cookie `BOUND`: all requests to this origin, except for public documents."""

    include_site: bool
    scope_specification: tuple[dict[str, str], ...]


class Instructions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The instructions for the browser about a binding. If ``continue`` is false, the browser forgets the binding."""

    session_identifier: str
    refresh_url: str = ""
    scope: SessionScope | None = None
    credentials: tuple[dict[str, str], ...] = ()
    goes_on: bool = field(default=True, name="continue")


T = TypeVar("T", bound=Ticket)


class BoundBrowsers(Struct, frozen=True, kw_only=True):
    """Bind cookies to the keys of browsers. ``base_path`` is the path of the issuer. ``https``: the issuer uses TLS."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    proof: RequestVerifier
    clients: Clients
    lineage_store: LineageStore
    log: Log
    base_path: str
    https: bool

    def offers(self, client: Client) -> bool:
        """Check whether Baton offers a binding to logins of this client. Over plain http, Baton offers none."""
        return client.device_bound == "offer" and self.https

    def offer(
        self, account: AccountId, lineage: Lineage | None, client: Client, *, credentials_version: int
    ) -> dict[str, str]:
        """Return the header field that offers to bind a login, or an empty mapping if Baton makes no offer.

        Send it only when the person has just proved a factor. Otherwise a thief with copied cookies could bind his own
        key.
        """
        if lineage is None or lineage.browser_key is not None or not self.offers(client):
            return {}
        now = self.clock()
        ticket = BrowserOffer(
            self.entropy(TICKET_ID_BYTES),
            now,
            account=account,
            lineage=lineage.id,
            credentials_version=credentials_version,
            app=lineage.app,
        )
        sealed = seal_ticket(ticket, self.key_ring.current(now=now), now=now)
        challenge = encode_base64url(ticket.id)
        path = f"{self.base_path}/session/bind"
        return {OFFER: f'(ES256);path="{path}";challenge="{challenge}";authorization="{sealed}"'}

    def offer_to_new_login(self, account: AccountId, lineage: LineageId, client: Client) -> dict[str, str]:
        """Return the result of `offer` for a new login, or an empty mapping if the account state cannot be read."""
        if not self.offers(client):
            return {}
        try:
            account_state = self.lineage_store.get(account)
        except errors.Unavailable:
            return {}  # the login has begun, and its answer must not be lost
        if account_state is None:
            return {}
        version = account_state.credentials_version
        return self.offer(account, account_state.lineages.get(lineage), client, credentials_version=version)

    def bind(self, message: Message) -> Answer:
        """Bind a login to the key of the browser, in one write.

        Raises ``ProofInvalid``, also if the login is already bound to another key.
        """
        now = self.clock()
        proof = read_proof(_one(message, _PROOF), registers=True)
        ticket = self._opened(BrowserOffer, proof.authorization, now=now)
        if ticket is None or proof.challenge != encode_base64url(ticket.id):
            raise ProofInvalid("bind: the offer is late or not from Baton, or its challenge is another")
        assert proof.key is not None
        if not proof.is_by(proof.key):
            raise ProofInvalid("bind: not signed by its own key")
        actor = Actor(
            ticket.account,
            ticket.lineage,
            not_before=self.key_ring.current(now=now).not_before,
            credentials_version=ticket.credentials_version,
            app=ticket.app,
        )
        key = BrowserKey(now, proof.key.raw)
        if not isinstance(self.lineage_store.bind_browser(actor, key, now=now), Done):
            raise ProofInvalid("bind: the login ended, its credentials changed, or it has another key")
        self.log.record("browser_bound", lineage=ticket.lineage)
        instructions = Instructions(
            session_identifier=_session_id(ticket.account, ticket.lineage),
            refresh_url=f"{self.base_path}/session/proof",
            scope=SessionScope(
                include_site=False,
                scope_specification=({"type": "exclude", "path": f"{self.base_path}/.well-known"},),
            ),
            credentials=({"type": "cookie", "name": BOUND, "attributes": "Path=/; Secure; HttpOnly; SameSite=Lax"},),
        )
        return _answer(200, instructions, cookies=(self._cookie(ticket.account, ticket.lineage, now=now),))

    def refresh(self, message: Message) -> Answer:
        """Answer a browser whose cookie `BOUND` has expired, with one read and no write. Raises ``ProofInvalid``."""
        now, session = self.clock(), bare(_one(message, _SESSION))
        if not _SESSION_ID.fullmatch(session):
            hint = "`Sec-Secure-Session-Id` is not a `session_identifier` of Baton."
            raise ProofInvalid("refresh: not a session id", hint=hint)
        account, lineage_id = AccountId(session[:16]), LineageId(session[16:])
        try:
            proof = read_proof(_one(message, _PROOF), registers=False) if _PROOF in message.fields else None
        except ProofInvalid:
            self.log.record("proof_wrong_key", lineage=lineage_id)
            raise
        lineage = self._live(account, lineage_id, now=now)
        if lineage is None or lineage.browser_key is None:
            over = Instructions(session_identifier=session, goes_on=False)
            clears = lineage is None and self._is_login_of(message, lineage_id, now=now)
            return _answer(200, over, cookies=CLEARED if clears else ())
        if proof is None:
            return _answer(403, headers=self._challenge(session, lineage_id, now=now))
        if not proof.is_by(PublicKey.from_raw(lineage.browser_key.point)):
            self.log.record("proof_wrong_key", lineage=lineage_id)
            raise ProofInvalid("refresh: not signed by the key of the login")
        challenge = self._opened(BrowserChallenge, proof.challenge, now=now)
        headers = self._challenge(session, lineage_id, now=now)
        if challenge is None or challenge.lineage != lineage_id:
            return _answer(403, headers=headers)
        return _answer(200, headers=headers, cookies=(self._cookie(account, lineage_id, now=now),))

    def check(self, message: Message, account: AccountId, lineage: Lineage, *, now: int) -> None:
        """Require a recent proof of the key to which a login is bound. Raises ``DeviceProofRequired``.

        No proof is required if the login has no browser key, or was bound at most a minute ago.
        """
        key = lineage.browser_key
        if key is None:
            return
        skipped = message.fields.get(_SKIPPED)
        if skipped is not None:  # it is only counted: a thief can send this field too
            reason = skipped[0].partition(";")[0].strip(" \t")
            self.log.record(SKIPPED_EVENTS.get(reason, SKIPPED_OTHERWISE))
        if now - key.at <= BROWSER_PROOF_GRACE_S:
            return
        ticket = self._opened(BrowserBound, read_cookies(message).get(BOUND, ""), now=now)
        if ticket is None or (ticket.account, ticket.lineage) != (account, lineage.id):
            raise DeviceProofRequired("no recent proof of the key of the browser")

    def _live(self, account: AccountId, lineage_id: LineageId, *, now: int) -> Lineage | None:
        account_state = self.lineage_store.get(account)
        lineage = account_state.lineages.get(lineage_id) if account_state else None
        client = self.clients.of(lineage.client) if lineage else None
        if account_state is None or lineage is None or client is None or client.retired:
            return None
        idle_s, not_before = client.mechanism.idle_s, self.key_ring.current(now=now).not_before
        ended = ended_of(account_state, lineage, now=now, not_before=not_before, idle_s=idle_s)
        return lineage if ended is None and account_state.status is Status.ACTIVE else None

    def _is_login_of(self, message: Message, lineage: LineageId, *, now: int) -> bool:
        """Check that the browser's cookies are not of another login: a later login must not lose its cookies."""
        token = replaced_login(self.proof, message, now=now)
        return token is None or token.lineage == lineage

    def _challenge(self, session: str, lineage: LineageId, *, now: int) -> dict[str, str]:
        ticket = BrowserChallenge(self.entropy(TICKET_ID_BYTES), now, lineage=lineage)
        sealed = seal_ticket(ticket, self.key_ring.current(now=now), now=now)
        return {_CHALLENGE: f'"{sealed}";id="{session}"'}

    def _cookie(self, account: AccountId, lineage: LineageId, *, now: int) -> Cookie:
        ticket = BrowserBound(self.entropy(TICKET_ID_BYTES), now, account=account, lineage=lineage)
        return bound_cookie(seal_ticket(ticket, self.key_ring.current(now=now), now=now))

    def _opened(self, kind: type[T], text: str, *, now: int) -> T | None:
        """Open a ticket. ``None``: it has expired, or Baton did not make it."""
        try:
            try:
                return open_ticket(kind, text, self.key_ring.current(now=now), now=now, bound_to={})
            except UnknownRoot:
                return open_ticket(kind, text, self.key_ring.refreshed(now=now), now=now, bound_to={})
        except TicketInvalid:
            return None


def _session_id(account: AccountId, lineage: LineageId) -> str:
    """Return the ``session_identifier`` (DBSC) of a login: the account id, then the lineage id, 16 characters each."""
    return f"{account}{lineage}"


def _one(message: Message, name: str) -> str:
    values = message.fields.get(name, ("",))
    if len(values) > 1:
        raise errors.DuplicateField(field=name)
    return values[0]


def _answer(
    status: int, body: object = None, *, headers: dict[str, str] | None = None, cookies: tuple[Cookie, ...] = ()
) -> Answer:
    return Answer(status, body, headers={**(headers or {}), "Vary": "Cookie"}, cookies=cookies)
