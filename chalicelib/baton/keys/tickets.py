"""Tickets: encrypted values that a client holds between two steps of one flow. The server stores nothing. No I/O.

A half-finished login, a WebAuthn challenge, a TOTP enrolment and the session of a mail code are tickets. A ticket is a
text: the prefix of its purpose, then base64url. The base64url has one byte with the version of a root secret, and the
encrypted contents.

1. The contents are encrypted with AES-SIV (RFC 5297). The key is HKDF(root, purpose), and the purpose is associated
   data, so a ticket cannot be decrypted for another purpose.
2. The first two members of the contents are an id (16 bytes) and the time of issue. If a ticket has a one-time effect,
   one conditional write consumes the id (``Ephemeral.consume_ticket``).
3. A ticket is refused if it was altered, has another purpose, or has expired. A ticket is also refused if it was issued
   before the not-before time or after the period of its root secret. The same applies if a value to which the ticket is
   bound differs from the value in the request. Each case raises ``TicketInvalid``, and a route gives the same answer in
   each case. The private reason is for the log.
4. A ticket can be bound to values, such as an account, a device key, a client or the credentials version. Each value is
   a member of the contents. The code that opens the ticket passes ``bound_to``: the names of these members, with the
   values in the request.

If you change the members of a ticket, change the name of its purpose. A ticket of the earlier layout is then refused.

Example: ``class AuthSession(Ticket, frozen=True)`` has ``purpose = TICKET_PURPOSES["auth_session"]`` and the members
``account`` and ``key``. One step sends ``seal_ticket(AuthSession(id, now, account, key), ring, now=now)``, the next
step calls ``open_ticket(AuthSession, text, ring, now=now, bound_to={"key": signed_by})``.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import Secret
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import Ring, derive
from chalicelib.baton.policy import ISSUED_AHEAD_MAX_S, TICKET_BYTES_MAX, TICKET_ID_BYTES
from chalicelib.baton.ticket_purposes import TicketPurpose

_DOMAIN = b"baton ticket 1"
_SIV_KEY_BYTES = 64
_CHARACTERS_MAX = (TICKET_BYTES_MAX * 4 + 2) // 3


class TicketInvalid(Exception):
    """The ticket cannot be used here. The message is a private reason, without any part of the ticket."""


class UnknownRoot(TicketInvalid):
    """The ring does not have the root version of the ticket. Read the ring again before you refuse the ticket."""


class Ticket(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The members of every ticket. A subclass sets ``purpose`` and adds members of its own.

    ``id`` is 16 random bytes, or for a ``MailLink`` 16 bytes that are derived from the random id of its order.
    ``issued_at`` is in seconds since the epoch.
    """

    purpose: ClassVar[TicketPurpose]

    id: bytes
    issued_at: int

    @property
    def expires_at(self) -> int:
        """Return the time of expiry, in seconds since the epoch. A subclass may return an earlier time."""
        return self.issued_at + self.purpose.life_s

    def __repr__(self) -> str:
        """Mask the contents: a ticket may contain the secret of an authenticator app."""
        return f"{type(self).__name__}('**********')"


T = TypeVar("T", bound=Ticket)


def seal_ticket(ticket: Ticket, ring: Ring, *, now: int) -> str:
    """Encrypt a ticket with the newest root that may be used.

    Raises:
        ValueError: the id does not have 16 bytes, or the ticket is longer than ``TICKET_BYTES_MAX``. Both are defects.

    """
    if len(ticket.id) != TICKET_ID_BYTES:
        raise ValueError("the id of a ticket has 16 bytes")
    root = ring.root_for_new(now)
    version = bytes([root.version])
    sealed = version + _siv(root.secret, ticket.purpose.name).encrypt(
        msgspec.msgpack.encode(ticket), _associated(ticket.purpose, version)
    )
    if len(sealed) > TICKET_BYTES_MAX:
        raise ValueError("a ticket is longer than the limit: limit its members before it is made")
    return ticket.purpose.prefix + encode_base64url(sealed)


def open_ticket(kind: type[T], text: str, ring: Ring, *, now: int, bound_to: Mapping[str, object]) -> T:
    """Decrypt a ticket and return its contents.

    ``bound_to`` maps names of ticket members to the values that these members must have.

    Raises:
        UnknownRoot: the ring lacks the root of the ticket.
        TicketInvalid: the text is not a genuine ticket of this kind, or ``bound_to`` does not match. Or the ticket has
            expired, or was issued before the not-before time or after the period of its root.
        Unavailable: the ticket is from the future. The clocks of this deployment disagree.

    """
    purpose = kind.purpose
    value = _value(text, purpose)
    version, sealed = value[:1], value[1:]
    root = ring.root(version[0])
    if root is None:
        raise UnknownRoot("no root of that version is in the ring")
    try:
        contents = _siv(root.secret, purpose.name).decrypt(sealed, _associated(purpose, version))
        ticket = msgspec.msgpack.decode(contents, type=kind)
    except InvalidTag:
        raise TicketInvalid("not encrypted by this deployment for this purpose") from None
    except msgspec.MsgspecError:  # its message may quote the contents
        raise TicketInvalid("encrypted by a release whose tickets have other members") from None
    if ticket.issued_at > now + ISSUED_AHEAD_MAX_S:
        raise Unavailable("a genuine ticket from the future: the clocks of this deployment disagree")
    if now >= min(ticket.expires_at, ticket.issued_at + purpose.life_s):
        raise TicketInvalid("expired")
    if ticket.issued_at < ring.not_before:
        raise TicketInvalid("issued before the not-before time")
    if not ring.was_in_use(root, ticket.issued_at):  # a thief with an earlier root must not make new tickets
        raise TicketInvalid("issued after the period of its root")
    for name, value_here in bound_to.items():
        if getattr(ticket, name) != value_here:
            raise TicketInvalid(f"bound to another {name}")
    return ticket


def _value(text: str, purpose: TicketPurpose) -> bytes:
    """Decode the text of a ticket, after a check of its length. Raises ``TicketInvalid``."""
    encoded = text.removeprefix(purpose.prefix)
    if len(encoded) > _CHARACTERS_MAX or not text.startswith(purpose.prefix):
        raise TicketInvalid("too long, or without the prefix of its purpose")
    try:
        value = decode_base64url(encoded)
    except ValueError:
        value = b""
    if not value:
        raise TicketInvalid("not base64url")
    return value


def _associated(purpose: TicketPurpose, version: bytes) -> list[bytes]:
    return [_DOMAIN, purpose.name.encode(), version]


@lru_cache(maxsize=64)
def _siv(root: Secret, purpose: str) -> AESSIV:
    return AESSIV(derive(root, b"ticket " + purpose.encode(), _SIV_KEY_BYTES))
