"""The ticket of an unfinished login, ``auth_session``: the first factor is proved, and a second factor is required.

The device keeps the ticket, and the server stores nothing. The ticket is bound to the device key, the attempt, and the
epoch and credentials version of the account. Every invalid ticket gets the same answer: ``invalid_session``.
"""

from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton.accounts.login_request import Device, LoginRequest, lineage_over
from chalicelib.baton.browser.cookies import LOGIN, login_cookie, read_cookies
from chalicelib.baton.browser.sites import SiteRule
from chalicelib.baton.effects import Entropy
from chalicelib.baton.errors import Refusal
from chalicelib.baton.factors.refusals import (
    EnrolmentRequired,
    FactorRequired,
    InvalidSession,
    SecondFactorUnsupported,
)
from chalicelib.baton.factors.rules import Admitted, CannotAsk, EnrolmentAsked, FactorAsked, Verdict
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import Ticket, TicketInvalid, UnknownRoot, open_ticket, seal_ticket
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import (
    AccountState,
    Attestation,
    KeyBinding,
    NoBinding,
    SecretBinding,
    UnfinishedLogin,
)
from chalicelib.baton.policy import TICKET_ID_BYTES
from chalicelib.baton.proof.refusals import WrongKey
from chalicelib.baton.proof.signature import VerifiedSignature, check_digest
from chalicelib.baton.routing import Message
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES, TicketPurpose
from chalicelib.baton.tokens.presented import RequestVerifier, attempt_header
from chalicelib.baton.tokens.source import source_of


class AuthSession(Ticket, frozen=True):
    """The contents of an ``auth_session``.

    - ``key``: the device's public key, raw.
    - ``hmac``: the device requests an HMAC secret.
    - ``proved``: the earlier login of this device whose HMAC secret signed the first step.
    - ``attempt_sent``: the attempt came in ``Idempotency-Key``, so every step must send it again.
    - ``email_proved``: the person has sent back a mailed code in this login, or the account has no address.
    - ``attestation``: what the device attested at the first step.
    - ``provider``: the code of the identity provider that vouched for the person in place of a password, or 0.
    """

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["auth_session"]

    account: AccountId
    client: int
    key: bytes | None
    hmac: bool
    proved: LineageId | None
    attempt: str
    attempt_sent: bool
    label: str
    epoch: int
    credentials_version: int
    email_proved: bool = False
    remember: bool = False
    attestation: Attestation = Attestation.NONE
    provider: int = 0

    @property
    def login(self) -> UnfinishedLogin:
        """Return the account, and the epoch and credentials version that it must still have at each write."""
        return UnfinishedLogin(self.account, epoch=self.epoch, credentials_version=self.credentials_version)


class OpenSession(Struct, frozen=True):
    """An opened ``auth_session``, the login request that began it, and the key ring that decrypted it."""

    ticket: AuthSession
    login_request: LoginRequest
    ring: Ring


class AskForFactor(Struct, frozen=True, kw_only=True):
    """Make the refusal that starts the second step of a login. It contains the ``auth_session``.

    ``email_first``: mail is on. So if the account has an address and no second factor, the login must prove the
    address before it enrols a second factor.
    """

    entropy: Entropy
    email_first: bool = False

    def __call__(  # noqa: PLR0913 - what the session holds
        self,
        verdict: Verdict,
        login_request: LoginRequest,
        account_state: AccountState,
        *,
        ring: Ring,
        now: int,
        began_at: int | None = None,
        email_proved: bool = False,
    ) -> Refusal:
        """Return the refusal for any verdict other than ``Admitted``.

        ``began_at``: the start time of the ``auth_session`` that the new ``auth_session`` replaces. Both expire at the
        same time, so a further step does not extend the lifetime. ``None``: the first factor was just checked, so a new
        lifetime begins.

        ``email_proved``: see ``AuthSession``.
        """
        if isinstance(verdict, CannotAsk):
            return SecondFactorUnsupported()
        key = login_request.device.public_key
        ticket = AuthSession(
            self.entropy(TICKET_ID_BYTES),
            now if began_at is None else began_at,
            account=account_state.account,
            client=login_request.client.code,
            key=key.raw if key else None,
            hmac=login_request.device.hmac,
            proved=login_request.proved,
            attempt=login_request.attempt,
            attempt_sent=login_request.attempt_sent,
            label=login_request.label,
            epoch=account_state.epoch,
            credentials_version=account_state.credentials_version,
            email_proved=email_proved,
            remember=login_request.remember,
            attestation=login_request.attestation,
            provider=login_request.provider,
        )
        sealed, expires_in = seal_ticket(ticket, ring, now=now), ticket.expires_at - now
        by_cookie = login_request.client.delivery == "cookie"
        in_body = None if by_cookie else sealed
        refusal: Refusal
        match verdict:
            case FactorAsked(factors):
                refusal = FactorRequired(auth_session=in_body, expires_in=expires_in, factors=factors)
            case EnrolmentAsked(enrol):
                first = ("email_code",) if self.email_first and not email_proved else None
                refusal = EnrolmentRequired(auth_session=in_body, expires_in=expires_in, enrol=enrol, factors=first)
            case Admitted():
                raise AssertionError("an admitted login is not asked")
        if by_cookie:
            refusal.cookies = (login_cookie(sealed),)
        return refusal


class ReadSession(Struct, frozen=True, kw_only=True):
    """Open an ``auth_session``. Check the signature and attempt of the request against the first step of the login."""

    key_ring: KeyRing
    clients: Clients
    proof: RequestVerifier
    site: SiteRule

    def __call__(self, message: Message, text: str, *, now: int) -> OpenSession:
        """Return the opened session. Storage is read only if the cached key ring must be read again.

        A cookie client has the session in a cookie, and sends no ``text``. A page of another site must not finish a
        login. So the request of a cookie client must come from a page of the client.

        An invalid signature raises the error of the signature check. Exceptions: see ``InvalidSession``.

        Raises:
            InvalidSession: the session is not valid, or another key signed the request. Also if an HMAC secret signed
                the first step, and the request has no signature.
            CrossSite: the request of a cookie client does not come from a page of the client.

        """
        if not text:
            text = read_cookies(message).get(LOGIN, "")
        ring = self.key_ring.current(now=now)
        try:
            try:
                ticket = open_ticket(AuthSession, text, ring, now=now, bound_to={})
            except UnknownRoot:
                ring = self.key_ring.refreshed(now=now)
                ticket = open_ticket(AuthSession, text, ring, now=now, bound_to={})
        except TicketInvalid as invalid:
            raise InvalidSession(f"auth_session: {invalid}") from None
        client = self.clients.of(ticket.client)
        if client is None or client.retired:
            raise InvalidSession("auth_session: its client is out of service")
        if client.delivery == "cookie":
            self.site.check(message, client.origins, changes=True)
        key = PublicKey.from_raw(ticket.key) if ticket.key is not None else None
        self._check_signer(message, ticket, key, now=now)
        sent = attempt_header(message)
        if (sent is not None or ticket.attempt_sent) and sent != ticket.attempt:
            raise InvalidSession("auth_session: of another attempt")
        over = lineage_over(self.proof, message, client, now=now)
        return OpenSession(
            ticket, replace(_login_request(ticket, client, key), over=over, source=source_of(message, client)), ring
        )

    def _check_signer(self, message: Message, ticket: AuthSession, key: PublicKey | None, *, now: int) -> None:
        signature: VerifiedSignature | None
        try:
            if key is not None:
                self.proof.introduced(message, key, now=now)
                return
            check_digest(message)
            signature = self.proof.last_login(message, now=now) if ticket.proved else None
        except WrongKey:
            raise InvalidSession("auth_session: of another device key") from None
        if ticket.proved and (signature is None or signature.keyid != ticket.proved):
            raise InvalidSession("auth_session: of another HMAC secret")


def _login_request(ticket: AuthSession, client: Client, key: PublicKey | None) -> LoginRequest:
    """Return the request that began the login. The address is omitted, because no later step needs it."""
    return LoginRequest(
        email="",
        client=client,
        device=Device(name=ticket.label, public_key=key, hmac=ticket.hmac),
        binding=KeyBinding(key.thumbprint) if key else SecretBinding() if ticket.hmac else NoBinding(),
        attempt=ticket.attempt,
        attempt_sent=ticket.attempt_sent,
        proved=ticket.proved,
        remember=ticket.remember,
        attestation=ticket.attestation,
        provider=ticket.provider,
    )
