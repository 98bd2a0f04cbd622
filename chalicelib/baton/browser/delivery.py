"""Deliver a login to a browser: its tokens go into cookies, and the body has none."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.browser.cookies import (
    CLEARED,
    LOGIN,
    LOGIN_CLEARED,
    REMEMBER,
    SESSION,
    read_cookies,
    remember_cookie,
    session_cookie,
)
from chalicelib.baton.browser.csrf import csrf_token
from chalicelib.baton.browser.refusals import DeviceProofRequired
from chalicelib.baton.browser.rules import can_continue, is_remembered
from chalicelib.baton.effects import Done, Entropy
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import EndReason, Lineage
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.routing import Answer, Message
from chalicelib.baton.tokens.issue import Seconds, TokenResponse
from chalicelib.baton.tokens.opaque import read_opaque
from chalicelib.baton.tokens.presented import RequestVerifier, VerifiedToken
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.token import Kind, Token


class WebLogin(Struct, frozen=True, kw_only=True):
    """A login whose tokens are in cookies.

    - ``expires_in``: seconds until the session ends if it is not used.
    - ``csrf_token``: if a browser sends neither ``Origin`` nor ``Sec-Fetch-Site``, the page must send this token in the
      header ``Baton-CSRF``.
    - ``recovery_codes``, ``recovery_codes_left``: only in an answer to ``POST /login/factor``.
    """

    account_id: AccountId
    device_id: LineageId
    expires_in: int
    remembered: bool
    csrf_token: str
    server_time: Seconds
    recovery_codes: tuple[str, ...] | UnsetType = UNSET
    recovery_codes_left: int | UnsetType = UNSET

    def __repr__(self) -> str:
        """Mask the codes."""
        return f"WebLogin(device_id={self.device_id!r}, '**********')"


class Offer(Protocol):
    """Make the offer to bind the cookies of a new login to the key of the browser."""

    def __call__(self, account: AccountId, lineage: LineageId, client: Client) -> Mapping[str, str]:
        """Return the header field of the offer, or an empty mapping."""


class Check(Protocol):
    """Require a recent proof of the key to which a login is bound."""

    def __call__(self, message: Message, account: AccountId, lineage: Lineage, *, now: int) -> None:
        """Raise ``DeviceProofRequired`` if the login needs a proof of its browser key, and the cookies have none."""


class Deliver(Struct, frozen=True, kw_only=True):
    """Put the tokens of a cookie client into cookies."""

    entropy: Entropy
    proof: RequestVerifier
    clients: Clients
    lineage_store: LineageStore
    record: Record
    offer: Offer
    check: Check

    def __call__(self, message: Message, answer: Answer, *, proved: bool = True) -> Answer:
        """Put the tokens of a cookie client into cookies. Any other answer is returned as it is.

        ``proved``: the person has just proved a factor, so the answer offers to bind the cookies to a browser key.

        Every answer with tokens passes here, so the tokens of a cookie client are in no body.
        """
        issued = answer.body
        assert isinstance(issued, TokenResponse)
        ring = self.proof.key_ring.current(now=issued.server_time)
        token = read_opaque(issued.access_token, ring)
        client = self.clients.of(token.client)
        if client is None or client.delivery != "cookie":
            return answer
        assert isinstance(issued.refresh_token, str)
        renewal = read_opaque(issued.refresh_token, ring)
        remembered = is_remembered(renewal.issued_at, renewal.expires_at)
        self._end_other(message, token, now=issued.server_time)
        cookies = [session_cookie(issued.access_token)]
        if remembered:
            cookies.append(remember_cookie(issued.refresh_token, max_age=issued.authorization_expires_in))
        else:
            cookies.append(CLEARED[1])  # delete the remember token of an earlier login
        if LOGIN in read_cookies(message):
            cookies.append(LOGIN_CLEARED)
        shown = web_login(
            token,
            ring,
            self.entropy,
            expires_in=issued.expires_in,
            remembered=remembered,
            now=issued.server_time,
        )
        codes, left = (getattr(issued, name, UNSET) for name in ("recovery_codes", "recovery_codes_left"))
        shown = replace(shown, recovery_codes=codes, recovery_codes_left=left)
        headers = self.offer(token.account, token.lineage, client) if proved else {}
        return Answer(answer.status, shown, headers=headers, cookies=tuple(cookies))

    def _end_other(self, message: Message, token: Token, *, now: int) -> None:
        """End each login of another account that could continue with the cookies of the request.

        The new login replaces these cookies.

        A thief of bound cookies could send them with a login of his own, to end the login of the owner. So if the other
        login is bound to a browser key, the cookies must have the proof of this key.
        """
        for other in login_tokens(self.proof, message, now=now):
            if other.account == token.account:
                continue
            account_state, client = self.lineage_store.get(other.account), self.clients.of(other.client)
            lineage = account_state.lineages.get(other.lineage) if account_state else None
            if lineage is None or client is None:
                continue
            if not can_continue(lineage, other, now=now, mechanism=client.mechanism):
                continue
            try:
                self.check(message, other.account, lineage, now=now)
            except DeviceProofRequired:
                continue
            if isinstance(self.lineage_store.end(other.account, other.lineage, EndReason.REPLACED, now=now), Done):
                self.record("login_replaced", account=other.account, lineage=other.lineage)


def web_login(token: Token, ring: Ring, entropy: Entropy, *, expires_in: int, remembered: bool, now: int) -> WebLogin:
    """Return the description of the login of ``token``, with a new CSRF token. A negative ``expires_in`` becomes 0."""
    return WebLogin(
        account_id=token.account,
        device_id=token.lineage,
        expires_in=max(0, expires_in),
        remembered=remembered,
        csrf_token=csrf_token(token.account, token.lineage, ring, entropy),
        server_time=now,
    )


def genuine_cookie(proof: RequestVerifier, text: str, kind: Kind, *, now: int) -> VerifiedToken | None:
    """Verify the token in a cookie. ``None``: Baton did not issue it as a cookie token of this ``kind``."""
    try:
        proved = proof.token(text, now=now, cookie=True)
    except (TokenInvalid, errors.FieldTooLarge):
        return None
    return proved if proved.token.kind is kind else None


def replaced_login(proof: RequestVerifier, message: Message, *, now: int) -> Token | None:
    """Return the genuine session id in the cookies of a request. If there is none, return the genuine remember token.

    ``None``: the request has neither of the two.
    """
    return next(login_tokens(proof, message, now=now), None)


def login_tokens(proof: RequestVerifier, message: Message, *, now: int) -> Iterator[Token]:
    """Yield the genuine session id and the genuine remember token in the cookies of a request."""
    cookies: Mapping[str, str] = read_cookies(message)
    for name, kind in ((SESSION, Kind.ACCESS), (REMEMBER, Kind.REFRESH)):
        proved = genuine_cookie(proof, cookies[name], kind, now=now) if name in cookies else None
        if proved is not None:
            yield proved.token
