"""The login that the cookies of a request hold: check it, store its use, and deliver it as cookies.

A cookie is easier to misuse than a signed call. So each request passes these checks, in this order:

1. the page may send the request (`sites`);
2. the session id is genuine;
3. the login is live (one read);
4. the browser proved its key, if the login is bound to a key;
5. the id is not superseded.

Baton accepts only session ids that it made, and each login begins a new lineage. This prevents session fixation.
"""

import hashlib

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.browser.bound import BoundBrowsers
from chalicelib.baton.browser.cookies import CLEARED, REMEMBER, SESSION, read_cookies, remember_cookie, session_cookie
from chalicelib.baton.browser.csrf import csrf_token, is_csrf_token, sent_token
from chalicelib.baton.browser.delivery import WebLogin, genuine_cookie, web_login
from chalicelib.baton.browser.refusals import SessionSuperseded
from chalicelib.baton.browser.rules import SessionVerdict, is_remembered, judge_session, renewed, used
from chalicelib.baton.browser.sites import SiteRule
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import AccountState, EndReason, Lineage, NoBinding
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import Active, Inactive, active_lineage, expiry
from chalicelib.baton.policy import DAY_S, START_OVER_MAX, TICKET_ID_BYTES
from chalicelib.baton.proof.refusals import SignatureRequired
from chalicelib.baton.proof.signature import check_digest
from chalicelib.baton.routing import Cookie, Message
from chalicelib.baton.tokens.call import SAFE_METHODS, VerifiedCall
from chalicelib.baton.tokens.opaque import mint_opaque
from chalicelib.baton.tokens.ports import Tickets
from chalicelib.baton.tokens.presented import RequestVerifier, VerifiedToken
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.token import Kind, Token

NO_SESSION = "No session cookie of this site was sent, or it is not valid. Log in again."


class CookieCall(VerifiedCall, frozen=True):
    """A call with genuine cookies.

    ``proved``: the genuine session id. If the request has none: the genuine remember token.
    ``remember``: the generation of the remember token in the request, if this token is genuine and belongs to the
    login of ``proved``. Otherwise ``None``.
    """

    remember: int | None = None

    @property
    def issued_at(self) -> int | None:
        """The issue time of the session id, or ``None`` without an id."""
        return self.proved.token.issued_at if self.proved.token.kind is Kind.ACCESS else None


class LiveSession(Struct, frozen=True):
    """A live login by cookie, and the cookies that the answer to the request sets."""

    active: Active
    cookies: tuple[Cookie, ...] = ()


class WebSessions(Struct, frozen=True, kw_only=True):
    """Check the logins of browsers, store their use, and make their cookies."""

    clock: Clock
    entropy: Entropy
    proof: RequestVerifier
    clients: Clients
    lineage_store: LineageStore
    tickets: Tickets
    site: SiteRule
    bound: BoundBrowsers
    log: Log
    record: Record

    def authenticate(self, message: Message, *, bound: bool = False) -> CookieCall:
        """Check which site sent the request, and that a cookie is genuine. This reads only the key ring (cached).

        ``bound``: the route requires a bound login. It refuses all cookies, even cookies bound to a browser key.

        Raises ``CrossSite``, ``TokenInvalid``, ``SignatureRequired``, and the errors of `read_cookies` and
        `check_digest`.
        """
        call = self._presented(message)
        if call is None:
            raise TokenInvalid("no genuine session cookie", detail=NO_SESSION)
        if bound:
            raise SignatureRequired(
                "this route takes bound logins only",
                path=message.path,
                detail="This route requires a login that is bound to a key. A cookie login is not. Log in with a key.",
            )
        return call

    def go_on(self, call: CookieCall) -> LiveSession:
        """Check that the login is live. If `judge_session` returns ``DUE``, store this use of the login.

        If the session id is missing, idle or superseded, a remember token of the current generation renews the session.
        A use or a renewal is stored in one conditional write.

        Raises:
            LoginRequired: the login has ended. This error deletes the cookies.
            DeviceProofRequired: the browser must prove its key. The cookies stay.
            SessionSuperseded: a newer cookie replaced the cookie of this request. The cookies stay.

        """
        proved, now = call.proved, call.now
        if proved.client.retired:
            raise _ended(None)
        for _ in range(START_OVER_MAX):
            account_state, lineage = self._active(proved, now=now)
            self.bound.check(call.message, account_state.account, lineage, now=now)
            active = Active(account_state, lineage)
            verdict = SessionVerdict.IDLE
            if call.issued_at is not None or proved.token.generation != lineage.generation:
                verdict = judge_session(lineage, proved.token, now=now, mechanism=proved.client.mechanism)
            if verdict is SessionVerdict.USABLE:
                return LiveSession(active)
            if verdict is SessionVerdict.DUE:
                assert call.issued_at is not None
                after = used(lineage, call.issued_at, now=now)
            elif call.remember == lineage.generation:
                after = renewed(lineage, now=now)
            else:
                raise self._over(verdict, proved)
            if after == lineage or self._stored(after, lineage, proved, now=now):
                anew = verdict is not SessionVerdict.DUE
                if anew:
                    self.log.record("renewed", lineage=lineage.id)
                return LiveSession(Active(account_state, after), self.cookies(after, call, remember=anew))
            if verdict is SessionVerdict.DUE:
                return LiveSession(active)  # another request stored a use of the login, and sets the new id
        raise errors.Unavailable("the account state kept changing during a call by cookie", by_caller=True)

    def replaced(self, session: LiveSession, call: CookieCall) -> tuple[Cookie, ...]:
        """Return cookies of the next generation, after the view of this request raised the stored generation by one.

        ``session`` still has the generation from before the view.
        """
        before = session.active.lineage
        after = replace(before, generation=before.generation + 1)
        return self.cookies(after, call, remember=call.remember == before.generation)

    def cookies(self, lineage: Lineage, call: CookieCall, *, remember: bool) -> tuple[Cookie, ...]:
        """Return the cookie of a new session id and, if ``remember`` is true, of a new remember token.

        Set ``remember`` only if the remember token renewed the session, or if this request replaces that token.
        Otherwise the cookie could overwrite a newer cookie that a parallel password change sets.
        """
        proved, now = call.proved, call.now
        made = session_cookie(self._session_id(lineage, proved, now=now))
        if not remember:
            return (made,)
        token = Token(
            kind=Kind.REFRESH,
            account=proved.token.account,
            lineage=lineage.id,
            generation=lineage.generation,
            issued_at=lineage.auth_time,
            expires_at=lineage.expires_at,
            client=proved.client.code,
            binding=NoBinding(),
        )
        # The server enforces the idle limit, so the cookie has the absolute limit. With the idle limit, a browser that
        # is in use all the time would lose the cookie, because most answers do not set it again.
        return made, remember_cookie(mint_opaque(token, proved.ring), max_age=max(0, lineage.expires_at - now))

    def show(self, message: Message) -> tuple[WebLogin | None, bool, tuple[Cookie, ...]]:
        """Return the login of a browser (or ``None``), whether the login is bound to a key, and the cookies to set.

        Raises ``CrossSite`` and ``DeviceProofRequired``.
        """
        call = self._presented(message)
        if call is None:
            return None, False, ()
        try:
            session = self.go_on(call)
        except (errors.LoginRequired, SessionSuperseded) as over:
            return None, False, over.cookies
        lineage, proved = session.active.lineage, call.proved
        shown = web_login(
            proved.token,
            proved.ring,
            self.entropy,
            expires_in=expiry(lineage.issued_at, lineage, proved.client.mechanism) - call.now,
            remembered=is_remembered(lineage.auth_time, lineage.expires_at),
            now=call.now,
        )
        return shown, lineage.browser_key is not None, session.cookies

    def offer(self, session: LiveSession, client: Client) -> dict[str, str]:
        """Return the header field that offers to bind the cookies to a key of the browser, or no field.

        Send it only if the person proved a password or a factor in this request.
        """
        account_state, lineage = session.active.account_state, session.active.lineage
        version = account_state.credentials_version
        return self.bound.offer(account_state.account, lineage, client, credentials_version=version)

    def csrf_token(self, call: CookieCall) -> str:
        """Return a new CSRF token of this session, or an empty text if the ring lacks the session's root secret."""
        token = call.proved.token
        return csrf_token(token.account, token.lineage, call.proved.ring, self.entropy)

    def _presented(self, message: Message) -> CookieCall | None:
        """Check the site and read the cookies. ``None``: no cookie is genuine."""
        cookies, now = read_cookies(message), self.clock()
        changes = message.method not in SAFE_METHODS
        # First check the origins of all clients, before the key ring is read. The origins of the cookie's client
        # are checked below.
        self.site.check(message, self.clients.cookie_origins, changes=changes, has_token=lambda: True)
        session = self._genuine(cookies.get(SESSION), Kind.ACCESS, now=now)
        remember = self._genuine(cookies.get(REMEMBER), Kind.REFRESH, now=now)
        proved = session or remember
        if proved is None:
            self.site.check(message, self.clients.cookie_origins, changes=changes)
            return None
        token = proved.token

        def has_token() -> bool:
            return is_csrf_token(sent_token(message), token.account, token.lineage, proved.ring)

        self.site.check(message, proved.client.origins, changes=changes, has_token=has_token)
        self.log.set_lineage(lineage=token.lineage)
        check_digest(message)
        if remember is None or (remember.token.account, remember.token.lineage) != (token.account, token.lineage):
            return CookieCall(message, proved, None, now)
        return CookieCall(message, proved, None, now, remember.token.generation)

    def _genuine(self, text: str | None, kind: Kind, *, now: int) -> VerifiedToken | None:
        """Verify a cookie. ``None``: it is missing, or is not a cookie token of this ``kind`` from this deployment."""
        if text is None:
            return None
        return genuine_cookie(self.proof, text, kind, now=now)

    def _active(self, proved: VerifiedToken, *, now: int) -> tuple[AccountState, Lineage]:
        account_state = self.lineage_store.get(proved.token.account)
        idle_s, not_before = proved.client.mechanism.idle_s, proved.ring.not_before
        lineage = active_lineage(account_state, proved.presented(), now=now, not_before=not_before, idle_s=idle_s)
        if isinstance(lineage, Inactive):
            raise _ended(lineage.reason)
        assert account_state is not None
        if lineage.app is not None:
            app = self.clients.of(account_state.lineages[lineage.app].client)
            if app is None or app.retired:
                raise _ended(None)
        return account_state, lineage

    def _stored(self, after: Lineage, before: Lineage, proved: VerifiedToken, *, now: int) -> bool:
        stored = self.lineage_store.record_use(
            after, account=proved.token.account, expected=before, now=now, not_before=proved.ring.not_before
        )
        return isinstance(stored, Done)

    def _over(self, verdict: SessionVerdict, proved: VerifiedToken) -> errors.Refusal:
        if verdict is not SessionVerdict.SUPERSEDED:
            return _ended(EndReason.IDLE)
        account, lineage = proved.token.account, proved.token.lineage
        if self._is_first_today(lineage):
            self.record("session_superseded", account=account, lineage=lineage, client=proved.client.id)
        return SessionSuperseded("older than the floor")

    def _is_first_today(self, lineage: LineageId) -> bool:
        """Check whether the event ``session_superseded`` was not yet recorded today for this login.

        A browser may send an old cookie for weeks, so the event is recorded only once a day. This method consumes a
        ticket id that derives from the login and the day: only the first call of a day can consume it. If the database
        does not answer, the result is true.
        """
        now = self.clock()
        day = now // DAY_S
        ticket = hashlib.sha256(f"session superseded {lineage} {day}".encode()).digest()[:TICKET_ID_BYTES]
        try:
            used_up = self.tickets.consume_ticket(
                ticket, expires_at=(day + 1) * DAY_S, now=now, mark=self.entropy(TICKET_ID_BYTES)
            )
        except errors.Unavailable:
            return True
        return isinstance(used_up, Done)

    def _session_id(self, lineage: Lineage, proved: VerifiedToken, *, now: int) -> str:
        issued_at = max(now, lineage.auth_time)
        token = Token(
            kind=Kind.ACCESS,
            account=proved.token.account,
            lineage=lineage.id,
            generation=lineage.generation,
            issued_at=issued_at,
            expires_at=expiry(issued_at, lineage, proved.client.mechanism),
            client=proved.client.code,
            binding=NoBinding(),
        )
        return mint_opaque(token, proved.ring)


def presents_session(message: Message) -> bool:
    """Check whether a request has a session id or a remember token."""
    cookies = read_cookies(message)
    return SESSION in cookies or REMEMBER in cookies


def _ended(reason: EndReason | None) -> errors.Refusal:
    refusal = errors.LoginRequired(reason=reason.value if reason else None)
    refusal.cookies = CLEARED
    return refusal
