"""Begin a session for a mail code, and check a code that a person typed.

1. A code is valid only with its session, which the client holds. If the session has a key, that key must sign the
request. If the session has a login, that login must send the request.
2. Each try is counted before the code is compared. The count never decreases, and it applies even if rate limits are
off. So a session allows five guesses.
3. For an unknown device, the beginning of a session makes the same reads and writes, and returns the same answer, for
every address. The address may belong to an active account, to a disabled account or to no account, or may be
suppressed. Only the job that sends the mail reads more.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.refusals import InvalidCode
from chalicelib.baton.effects import Entropy, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.factors.rate_limits import device_of_login
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring, Root
from chalicelib.baton.keys.tickets import Ticket, TicketInvalid, UnknownRoot, open_ticket, seal_ticket
from chalicelib.baton.lineages.model import AccountState, KeyBinding
from chalicelib.baton.mail.codes import code_of, is_code
from chalicelib.baton.mail.outbox import QueueMail
from chalicelib.baton.mail.tickets import MailOrder, MailSession, Use, language_of, version_bytes
from chalicelib.baton.policy import (
    HOUR_S,
    MAIL_CODE_TRIES_MAX,
    MAIL_SESSIONS_MAX,
    MAIL_SESSIONS_PER_ADDRESS_MAX,
    MAIL_SESSIONS_PER_SOURCE_MAX,
    MAIL_SESSIONS_PER_SOURCE_WINDOW_S,
    MAIL_SESSIONS_WINDOW_S,
    MINUTE_S,
)
from chalicelib.baton.proof.refusals import WrongKey
from chalicelib.baton.proof.signature import check_digest
from chalicelib.baton.routing import Message, source_network
from chalicelib.baton.tokens.presented import RequestVerifier


class Started(Struct, frozen=True):
    """A code was requested. Send ``mail_session`` with the code. Both are valid for ``expires_in`` seconds."""

    mail_session: str
    expires_in: int

    def __repr__(self) -> str:
        """Mask the session."""
        return "Started('**********')"


class Wanted(Struct, frozen=True, kw_only=True):
    """A request for a code: its use, its address and its account.

    - ``account``: for a registration, and for a reset if no account has the address, this is an unused id. In these
      cases, ``account_state`` is ``None``.
    - ``key``: the key of the device, if any.
    - ``lineage``: the login that requests the code, if any.
    - ``settled``: no link in a mail to the old address can undo the change of the address. See
      ``tickets.MailSession``.
    """

    use: Use
    address: str
    account: AccountId
    account_state: AccountState | None
    key: PublicKey | None = None
    lineage: LineageId | None = None
    language: str = ""
    settled: bool = False


class StartMailSession(Struct, frozen=True, kw_only=True):
    """Begin a session and queue the mail with its code."""

    entropy: Entropy
    ephemeral: RateLimits
    queue: QueueMail
    log: Log
    limits: bool = True

    def __call__(self, wanted: Wanted, *, source: str, ring: Ring, now: int) -> Started:
        """Return the session. Raises ``TooManyRequests``, or ``Unavailable`` if the mail could not be queued."""
        state, root = wanted.account_state, ring.root_for_new(now)
        session = MailSession(
            id=self.entropy(16),
            issued_at=now,
            use=wanted.use,
            address=wanted.address,
            account=wanted.account,
            key=wanted.key.raw if wanted.key else b"",
            lineage=wanted.lineage or LineageId(""),
            version=version_bytes(state.credentials_version if state else 1),
            root=root.version,
            language=language_of(wanted.language),
            settled=wanted.settled,
        )
        lives_s = session.expires_at - now
        minutes = lives_s // MINUTE_S
        self.send(wanted, session_id=session.id, root=root, minutes=minutes, source=source, ring=ring, now=now)
        return Started(seal_ticket(session, ring, now=now), lives_s)

    def send(  # noqa: PLR0913 - the parts of a mail
        self, wanted: Wanted, *, session_id: bytes, root: Root, minutes: int, source: str, ring: Ring, now: int
    ) -> None:
        """Count a mail against the rate limits, and queue it.

        The code in the mail is valid for ``minutes``, and only together with the session ``session_id``.
        Raises ``TooManyRequests``, or ``Unavailable`` if the mail could not be queued.
        """
        self._limit(wanted, source=source, ring=ring, now=now)
        state = wanted.account_state

        def order(order_id: bytes, at: int) -> MailOrder:
            return MailOrder(
                id=order_id,
                issued_at=at,
                template=wanted.use,
                account=wanted.account,
                address=wanted.address,
                index=ring.email_index(wanted.address),
                language=language_of(wanted.language),
                version=version_bytes(state.credentials_version if state else 1),
                code=code_of(root.secret, use=wanted.use, session_id=session_id, address=wanted.address),
                minutes=minutes,
                at=now,
            )

        self.queue(order, ring=ring)

    def _limit(self, wanted: Wanted, *, source: str, ring: Ring, now: int) -> None:
        """Count the session against its rate limits. Raises ``TooManyRequests`` if a limit is reached.

        - Each source has a limit.
        - Each known device has a limit. All unknown devices together have a limit for each address and use. This limit
          also counts if no account has the address, so a stranger cannot detect an account by this limit.
        - All known devices together have a limit, because a person with the password can add any number of them. This
          limit is per address. With a limit per account, a stranger could register the address of a person, guess,
          delete the account, and begin again.

        For ``new_address``, the limit of all known devices is per account, because an account can request a code
        for any address. The new address has a limit too.
        """
        if not self.limits:
            return
        self._count(
            f"mail:source:{source_network(source)}",
            limit=MAIL_SESSIONS_PER_SOURCE_MAX,
            window_s=MAIL_SESSIONS_PER_SOURCE_WINDOW_S,
            now=now,
        )
        device = known_device(wanted)
        index = ring.email_index(wanted.address)
        # Each use has its own count: registrations by strangers must not use up the resets of the owner.
        name = f"device:{wanted.account}:{device}" if device else f"{wanted.use}:{index}"
        self._count_session(name, limit=MAIL_SESSIONS_MAX, now=now)
        if wanted.use == "new_address":
            # Any account can request a code for this address, so the address needs a limit too.
            self._count_session(f"new_address:{index}", limit=MAIL_SESSIONS_MAX, now=now)
        if device:
            of = wanted.account if wanted.use == "new_address" else index
            self._count_session(f"devices:{of}", limit=MAIL_SESSIONS_PER_ADDRESS_MAX, now=now)

    def _count_session(self, name: str, *, limit: int, now: int) -> None:
        self._count(f"mail:{name}", limit=limit, window_s=MAIL_SESSIONS_WINDOW_S, now=now)

    def _count(self, name: str, *, limit: int, window_s: int, now: int) -> None:
        if isinstance(self.ephemeral.count(name, limit=limit, window_s=window_s, now=now), Refused):
            self.log.record("throttled", limit="mail")
            raise errors.TooManyRequests("mail limit is reached", retry_after=window_s - now % window_s)


def known_device(wanted: Wanted) -> str:
    """Return the name of the known device that requests a code, or an empty text.

    This device has its own rate limit, which strangers cannot use up. The name is the same as from `device_of_login`.
    Without a login, only a device with a key can be known here: a device with an HMAC secret counts as unknown.
    """
    account_state = wanted.account_state
    if account_state is None or wanted.use == "verify":
        return ""  # For `verify`, a stranger may have registered the account: its devices count as unknown.
    if wanted.lineage:
        return device_of_login(account_state, account_state.lineages[wanted.lineage])
    if wanted.key is None:
        return ""
    binding = KeyBinding(wanted.key.thumbprint)
    # After a reset, only the devices of later logins are known. A stranger who had the password has no known device.
    known = any(
        lineage.binding == binding and lineage.epoch == account_state.epoch
        for lineage in account_state.lineages.values()
    )
    return binding.thumbprint.hex() if known else ""


def count_try(ephemeral: RateLimits, proof: Ticket) -> None:
    """Count a try of a session or a link. Raises ``InvalidCode`` if no try is left."""
    # The window is the hour in which the proof expires, and not the hour of `now`. So all tries count in one window.
    slot = ephemeral.count(
        f"mail:code:{encode_base64url(proof.id)}", limit=MAIL_CODE_TRIES_MAX, window_s=HOUR_S, now=proof.expires_at
    )
    if isinstance(slot, Refused):
        raise InvalidCode("no try is left")


class CheckMailCode(Struct, frozen=True, kw_only=True):
    """Decrypt the session that a request sends, and check the key and the code of the request against this session."""

    key_ring: KeyRing
    proof: RequestVerifier
    ephemeral: RateLimits
    log: Log

    def open(self, text: str, *, use: Use, now: int) -> MailSession:
        """Decrypt a session. Raises ``InvalidCode`` unless it is valid for this ``use``."""
        try:
            try:
                return open_ticket(MailSession, text, self.key_ring.current(now=now), now=now, bound_to={"use": use})
            except UnknownRoot:
                return open_ticket(MailSession, text, self.key_ring.refreshed(now=now), now=now, bound_to={"use": use})
        except TicketInvalid as invalid:
            raise InvalidCode(f"mail session: {invalid}") from None

    def check_key(self, message: Message, session: MailSession, *, now: int) -> None:
        """Check that the key of the session signed the request. Raises ``InvalidCode`` if another key signed it.

        If the session has no key, only ``Content-Digest`` is checked, and the only error is ``InvalidDigest``. If the
        session has a key, also raises ``SignatureRequired`` and the errors of `verify_signature`.
        """
        if not session.key:
            check_digest(message)
            return
        try:
            self.proof.introduced(message, PublicKey.from_raw(session.key), now=now)
        except WrongKey:
            raise InvalidCode("the session of another key") from None

    def check_code(self, session: MailSession, typed: str, *, now: int) -> None:
        """Count a try, then compare the code. Raises ``InvalidCode`` if the code is wrong or no try is left."""
        count_try(self.ephemeral, session)
        root = self.key_ring.current(now=now).root(session.root)
        if root is None:
            raise InvalidCode("the root of the code is no longer in the ring")
        code = code_of(root.secret, use=session.use, session_id=session.id, address=session.address)
        if not is_code(typed, code):
            self.log.record("mail_codes_guessed")
            raise InvalidCode("wrong code")
