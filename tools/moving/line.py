"""One account of an import: its form, and the decision whether Baton accepts it. This module does no I/O.

The form is described in docs/baton/moving.md. A line with an unknown member is refused. Otherwise the member would
be lost silently.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from chalicelib.baton.accounts.arriving import Arrival
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.refusals import InvalidEmail
from chalicelib.baton.factors.hashes.kinds import HashRefused, read_hash
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.policy import TOTP_DIGITS, TOTP_STEP_S
from tools.moving.identities import BadIdentity, IdentityMember, arriving

LINE_BYTES_MAX = 16 * 1024
SOURCE_ID_CHARACTERS_MAX = 256
TOTP_BYTES_MIN, TOTP_BYTES_MAX = 10, 64
"""The limits of a TOTP secret, in bytes. RFC 4226 section 4 requires 16 bytes, but many systems use 10."""


class Refused(Struct, frozen=True):
    """A line that is not imported. ``reason`` is a code, and ``text`` explains it without a secret."""

    reason: str
    text: str = ""


class PasswordMember(Struct, forbid_unknown_fields=True):
    """The password of an account: its hash, in a form of docs/baton/moving.md."""

    hash: str


class TotpMember(Struct, forbid_unknown_fields=True):
    """An authenticator app: its secret in base32, the digits of a code, and the period of a code in seconds."""

    secret: str
    digits: int = TOTP_DIGITS
    period: int = TOTP_STEP_S


class Line(Struct, forbid_unknown_fields=True, kw_only=True):
    """One line of an import or export file: an account."""

    v: Literal[1]
    source_id: str = ""
    email: str | None = None
    email_verified: bool = False
    password: PasswordMember | None = None
    created_at: int | None = None
    disabled: bool = False
    identities: list[IdentityMember] = []
    totp: TotpMember | None = None
    migrate: bool = False


_LINES = msgspec.json.Decoder(Line)


def read_line(body: bytes | Mapping[str, object]) -> Line | Refused:
    """Read a line from JSON, or from a mapping of its members. Return ``Refused`` if the line is invalid."""
    if isinstance(body, bytes) and len(body) > LINE_BYTES_MAX:
        return Refused("line_too_long", f"more than {LINE_BYTES_MAX} bytes")
    try:
        return _LINES.decode(body) if isinstance(body, bytes) else msgspec.convert(body, Line)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as wrong:
        # A validation error names a member and its type, not its value. An error of the parser may quote a character.
        known = isinstance(wrong, msgspec.ValidationError)
        return Refused("malformed", str(wrong) if known else "not one JSON object in UTF-8")


def judge(line: Line, *, providers: Providers, now: int) -> Arrival | Refused:
    """Return the account of a line as an ``Arrival``, or why Baton refuses it. This reads no table."""
    refused = _refused(line, now=now)
    if refused is not None:
        return refused
    try:
        email = "" if line.email is None else canonical_email(line.email)
        identities = arriving(line.identities, providers)
        if line.password is not None:
            read_hash(line.password.hash)
    except InvalidEmail as wrong:
        return Refused("email_invalid", wrong.reason)
    except HashRefused as costly:
        return Refused(costly.why, str(costly))
    except BadIdentity as bad:
        return Refused(bad.reason, str(bad))
    # An account without an address cannot be claimed by mail, so its factor needs no verified address.
    secret = None if line.totp is None else _secret(line.totp, verified=line.email_verified or not email)
    if isinstance(secret, Refused):
        return secret
    return Arrival(
        email=email,
        source_id=line.source_id,
        email_verified=line.email_verified and bool(email),
        password_hash=line.password.hash if line.password else None,
        created_at=line.created_at,
        disabled=line.disabled,
        totp=secret,
        migrate=line.migrate,
        identities=identities,
    )


def _refused(line: Line, *, now: int) -> Refused | None:
    """Check the members that need no parser. Return ``None`` if Baton does not refuse them."""
    if line.email is None and not line.identities:
        return Refused("email_missing", "neither an address nor an identity")
    if len(line.source_id) > SOURCE_ID_CHARACTERS_MAX:
        return Refused("source_id_too_long", f"more than {SOURCE_ID_CHARACTERS_MAX} characters")
    if line.created_at is not None and not 0 <= line.created_at <= now:
        return Refused("created_at_invalid", "seconds since the epoch, not in the future")
    if line.password is not None and line.migrate:
        return Refused("password_and_migrate", "`migrate` is for a password that is not in the file")
    return None


def _secret(totp: TotpMember, *, verified: bool) -> bytes | Refused:
    """Read the secret of an authenticator app. Return ``Refused`` if Baton cannot accept the factor.

    ``verified``: the address of the line is verified, or the line has no address. Otherwise a stranger may have
    registered the address and enrolled the factor. A reset by mail claims an account with an unproved address only if
    the account has no second factor. So the owner of the mailbox could never claim this account.
    """
    if not verified:
        return Refused("totp_unverified", "a second factor needs a verified address")
    if (totp.digits, totp.period) != (TOTP_DIGITS, TOTP_STEP_S):
        return Refused("totp_unsupported", f"only {TOTP_DIGITS} digits every {TOTP_STEP_S} seconds, with SHA-1")
    text = totp.secret.replace(" ", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return Refused("totp_invalid", "the secret is not base32")
    if not TOTP_BYTES_MIN <= len(secret) <= TOTP_BYTES_MAX:
        return Refused("totp_invalid", f"the secret has {len(secret)} bytes, not {TOTP_BYTES_MIN} to {TOTP_BYTES_MAX}")
    return secret
