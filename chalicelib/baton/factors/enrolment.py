"""The enrolment of an authenticator app: a ticket for the client until the first code is typed. No I/O.

Nothing is stored before the first code is right. The ticket has the secret, and is bound to one lineage: the lineage
that requested the ticket or, in an unfinished login, the lineage that this login will begin. The enrolment stores the
mark of the ticket (`mark_of_ticket`) in the user's `Totp`. So a repeated request finds its own enrolment and gets the
same recovery codes.
"""

import hashlib
from collections.abc import Collection
from typing import ClassVar

from msgspec import Struct

from chalicelib.baton.effects import Entropy
from chalicelib.baton.factors.model import EnrolTotp, RecoveryCodes, Totp, User
from chalicelib.baton.factors.recovery_codes import digests_of, make_codes, same_codes
from chalicelib.baton.factors.refusals import FactorExists, InvalidFactor, InvalidSession
from chalicelib.baton.factors.totp import matching_step, otpauth_uri, shown_secret
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import Ticket, TicketInvalid, open_ticket, seal_ticket
from chalicelib.baton.policy import TICKET_ID_BYTES, TOTP_SECRET_BYTES
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES, TicketPurpose

_BEFORE_EVERY_STEP = -1


class Enrolment(Ticket, frozen=True):
    """The contents of the ticket ``enrolment``. ``secret`` has 20 bytes."""

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["enrolment"]

    account: AccountId
    lineage: LineageId
    secret: bytes
    credentials_version: int

    @property
    def mark(self) -> bytes:
        """Return the mark of this ticket (16 bytes). A completed enrolment stores it in the user's `Totp`."""
        return mark_of_ticket(self.id)


class TotpEnrolment(Struct, frozen=True):
    """An authenticator app to enrol. Show ``otpauth_uri`` as a QR code, or ``secret`` as text.

    Send ``enrolment`` with the first code of the app, within ``expires_in`` seconds.
    """

    secret: str
    otpauth_uri: str
    enrolment: str
    expires_in: int

    def __repr__(self) -> str:
        """Mask the secret."""
        return "TotpEnrolment('**********')"


def begin_enrolment(
    user: User, lineage: LineageId, *, product: str, ring: Ring, entropy: Entropy, now: int
) -> TotpEnrolment:
    """Make a secret and its ticket. Raises ``FactorExists`` if an authenticator app is enrolled."""
    if user.factors.totp is not None:
        raise FactorExists
    secret = entropy(TOTP_SECRET_BYTES)
    ticket = Enrolment(entropy(TICKET_ID_BYTES), now, user.account, lineage, secret, user.credentials_version)
    return TotpEnrolment(
        secret=shown_secret(secret),
        otpauth_uri=otpauth_uri(secret, email=user.email, product=product),
        enrolment=seal_ticket(ticket, ring, now=now),
        expires_in=ticket.purpose.life_s,
    )


def read_enrolment(
    text: str, *, account: AccountId, lineages: Collection[LineageId], ring: Ring, now: int
) -> Enrolment:
    """Open the ticket of an enrolment.

    Raises ``InvalidSession`` if the ticket is invalid or expired, or belongs to another account or to a lineage that is
    not in ``lineages``.
    """
    try:
        ticket = open_ticket(Enrolment, text, ring, now=now, bound_to={"account": account})
    except TicketInvalid as invalid:
        raise InvalidSession(f"enrolment: {invalid}") from None
    if ticket.lineage not in lineages:
        raise InvalidSession("enrolment: bound to another lineage")
    return ticket


def is_made(ticket: Enrolment, user: User) -> bool:
    """Check whether an earlier request completed this enrolment, and the credentials have not changed since then."""
    totp = user.factors.totp
    return totp is not None and totp.mark == ticket.mark and user.credentials_version == ticket.credentials_version + 1


def complete_enrolment(  # noqa: PLR0913 - the parts of a change
    ticket: Enrolment, code: str, user: User, *, by_new_key: bool, ring: Ring, entropy: Entropy, now: int
) -> tuple[EnrolTotp, tuple[str, ...]]:
    """Check the first code. Return the change and the new recovery codes.

    If the account has unused recovery codes, the tuple of new codes is empty.

    Raises:
        FactorExists: an authenticator app is enrolled.
        InvalidSession: the credentials of the account changed since the enrolment began.
        InvalidFactor: the code is wrong.

    """
    if user.factors.totp is not None:
        raise FactorExists
    if user.credentials_version != ticket.credentials_version:
        raise InvalidSession("enrolment: the credentials have changed")
    step = matching_step(ticket.secret, code, after=_BEFORE_EVERY_STEP, now=now)
    if step is None:
        raise InvalidFactor("the first code of an enrolment is wrong")
    sealed = ring.encrypt_for(ticket.secret, account=user.account, nonce=entropy(12), kind="totp")
    totp = Totp(sealed, step=step, mark=ticket.mark, enrolled_at=now, by_new_key=by_new_key)
    if user.factors.codes_left:
        return EnrolTotp(totp, None), ()
    codes = make_codes(ring, user.account, ticket.id, now=now)
    recovery = new_recovery(user.account, codes, mark=ticket.mark, by_new_key=by_new_key, now=now)
    return EnrolTotp(totp, recovery), codes


def codes_again(ticket: Enrolment, user: User, ring: Ring) -> tuple[str, ...]:
    """Return the recovery codes that this enrolment made.

    The tuple is empty if the enrolment made no codes, or if a code was used or replaced since then.
    """
    recovery = user.factors.recovery
    if recovery is None or recovery.mark != ticket.mark:
        return ()
    return same_codes(ring, user.account, ticket.id, recovery) or ()


def mark_of_ticket(ticket_id: bytes) -> bytes:
    """Return the mark, 16 bytes, that an enrolment with this ticket stores."""
    return hashlib.sha256(b"baton enrolment\0" + ticket_id).digest()[:16]


def new_recovery(
    account: AccountId, codes: tuple[str, ...], *, mark: bytes, by_new_key: bool, now: int
) -> RecoveryCodes:
    """Return the stored form of new recovery codes: the digests of ``codes``."""
    return RecoveryCodes(digests=digests_of(account, codes), made_at=now, mark=mark, by_new_key=by_new_key)
