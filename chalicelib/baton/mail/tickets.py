"""The tickets of mail: the session of a code (the client holds it), a link, and an order in the queue. No I/O."""

import hashlib
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.keys.tickets import Ticket
from chalicelib.baton.policy import (
    ADDRESS_KEPT_S,
    HOUR_S,
    MAIL_RESET_LINK_S,
    MAIL_RESET_S,
    MAIL_UNDO_S,
    TICKET_ID_BYTES,
)
from chalicelib.baton.ticket_purposes import MAIL_ORDER, TICKET_PURPOSES, TicketPurpose

Use = Literal["reset", "verify", "register", "new_address", "login"]
"""The use of a code. The template of its mail has the same name."""

LinkUse = Literal["reset", "verify", "undo", "undo_address", "not_me"]
"""The use of a link.

``undo_address`` is in the notice of a changed address, and lives as long as the old address is kept. ``not_me`` is in
the mail of a code for an address that was never proved, and deletes the account.
"""

LINK_LIVES_S: Final[Mapping[LinkUse, int]] = {
    "reset": MAIL_RESET_LINK_S,
    "verify": HOUR_S,
    "undo": MAIL_UNDO_S,
    "undo_address": ADDRESS_KEPT_S,
    "not_me": MAIL_UNDO_S,
}

_VERSION_BYTES: Final = 8


class MailSession(Ticket, frozen=True):
    """A session for which one code is valid.

    - ``account``: an account or an unused id. It is never empty: otherwise, the length of the ticket would show whether
      an account has the address.
    - ``key``: the raw public key that must sign the request with the code, or empty.
    - ``lineage``: the login that requested the code, or empty.
    - ``version``: the credentials version, in 8 bytes.
    - ``root``: the version of the root secret that the code derives from.
    - ``settled``: a long-used device (`is_new_key`) requested a new address, after a step-up with a second factor. So
      no link in a mail to the old address can undo the change.
    """

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["mail_session"]

    use: Use
    address: str
    account: AccountId
    key: bytes
    lineage: LineageId
    version: bytes
    root: int
    language: str
    settled: bool = False

    @property
    def expires_at(self) -> int:
        """Return the time at which the code expires, in seconds since the epoch."""
        return self.issued_at + (MAIL_RESET_S if self.use == "reset" else self.purpose.life_s)


class MailLink(Ticket, frozen=True):
    """The contents of a link. ``address`` is the mailbox that the link was sent to.

    - ``version``: the credentials version when the code in the same mail was requested, in 8 bytes. In the link of a
      notice, ``version`` is empty, because a notice has no code.
    - ``since``: an undo reverts changes since this time (seconds). In a link without an undo, ``since`` is 0.
    """

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["mail_link"]

    use: LinkUse
    account: AccountId
    address: str
    version: bytes
    since: int

    @property
    def expires_at(self) -> int:
        """Return the time at which the link expires, in seconds since the epoch."""
        return self.issued_at + LINK_LIVES_S[self.use]


class MailOrder(Ticket, frozen=True):
    """A mail in the queue. The job that sends it reads the account first, and may drop the mail.

    A notice has an empty ``index``, ``version`` and ``code``.

    - ``template``: the name of the mail text.
    - ``address``: if it is empty, the mail goes to the address of the account.
    - ``index``: the e-mail index of ``address``.
    - ``version``: the credentials version when the code was requested, in 8 bytes.
    - ``device``: the name of a device, which its holder chose.
    """

    purpose: ClassVar[TicketPurpose] = MAIL_ORDER

    template: str
    account: AccountId
    address: str
    index: EmailIndex
    language: str
    version: bytes = b""
    code: str = ""
    minutes: int = 0
    device: str = ""
    at: int = 0
    always: bool = False
    """Whether this notice is sent even above the daily limit of notices."""
    undo_since: int | None = None
    """The mail has a link that undoes changes since this time (seconds). ``None``: it has no such link."""

    def link_id(self, use: LinkUse) -> bytes:
        """Return the id of a link in this mail, 16 bytes. An order that is delivered twice has the same links."""
        return hashlib.sha256(b"baton mail link\0" + use.encode() + b"\0" + self.id).digest()[:TICKET_ID_BYTES]


def version_bytes(version: int) -> bytes:
    """Return a credentials version in a fixed length: the length of a ticket must not show the version."""
    return version.to_bytes(_VERSION_BYTES, "big")


def language_of(wanted: str) -> str:
    """Return the language of the texts for a language tag (RFC 5646): ``zh`` or ``en``. An empty tag stays empty."""
    return wanted and ("zh" if wanted.lower().split("-")[0] == "zh" else "en")
