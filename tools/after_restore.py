"""Apply the events since the backup to restored tables: ``python -m tools.operate after-restore``.

The audit table has an event for each change. The command repeats account deletions and status changes, and removes used
recovery codes. If the deployment has mail, it replaces outdated passwords by random passwords. It lists the accounts
whose roles or required second factor changed: the operator must repeat these changes.
Run the command before any person logs in. You may run it again.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Done
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.mail.ports import Undo
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.factors import Factors
from chalicelib.baton.storage.dynamodb.mail_users import MailUsers
from tools.printed import counted
from tools.restore import PASSWORD_CHANGES, Happened, apply_since

CREDENTIALS: Final = frozenset(
    {
        *PASSWORD_CHANGES,
        "address_changed",
        "factor_added",
        "factor_removed",
        "recovery_codes_renewed",
        "second_factor_switched",
        "identity_unlinked",
    }
)
"""Events that make the restored password, address, factors or identities of an account outdated."""
UNLINKED: Final = frozenset({"identity_unlinked", "account_claimed", "changes_undone"})
"""Events that removed an identity which the backup may have. A thief may have linked that identity. Therefore, this
command removes all identities of the account."""
RIGHTS: Final = frozenset({"roles_changed", "second_factor_required", "second_factor_released"})
"""Changes that the operator must repeat: the backup has the earlier roles and requirements."""


class Applied(Struct, frozen=True, kw_only=True):
    """The number of applied changes, and the accounts that need an action of the operator or the owner."""

    statuses: int
    codes: int
    reset: tuple[AccountId, ...]
    kept: tuple[AccountId, ...]
    """Accounts that still have outdated credentials: they are disabled, have no address, or ``BATON_MAIL`` is off."""
    moved: tuple[AccountId, ...]
    rights: tuple[AccountId, ...]

    def __str__(self) -> str:
        """Describe the result in some lines."""
        said = f"deleted, disabled or enabled again: {counted(self.statuses, 'account')}; used recovery codes removed: "
        lines = [f"ok: {said}{self.codes}; passwords removed: {counted(len(self.reset), 'account')}"]
        if self.reset:
            lines.append("next: their owners reset the password by mail; inform them")
        for accounts, what in (
            (self.kept, "earlier credentials again, because they are disabled, have no address, or BATON_MAIL is off"),
            (self.moved, "an earlier address again, and a reset goes to that mailbox"),
            (self.rights, "the roles or the required second factor changed since the backup: repeat the change"),
        ):
            if accounts:
                lines.append(f"warning: {what}: {', '.join(accounts)}")
        return "\n".join(lines)


def read_time(text: str) -> int:
    """Read a time: seconds since the epoch, or ISO 8601 with an offset. Raises ``NotFound`` for any other text."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime.min  # noqa: DTZ901 - it has no offset, so it is refused
    if time.tzinfo is None:
        raise errors.NotFound(f"{text} is not a time: write it as in 2026-11-29T14:00:00Z")
    return int(time.astimezone(UTC).timestamp())


def apply(events: Sequence[Happened], database: DynamoDB, ring: Ring, *, since: int, mail: bool, now: int) -> Applied:
    """Delete, disable and enable accounts as the events say. Remove used recovery codes and outdated passwords.

    An event of ``CREDENTIALS`` makes the password of the account outdated. If ``mail`` is false, no password is
    removed, because the owner of the account could not set a new password.
    """
    statuses = apply_since(events, database.tables, now=now)
    codes = sum(_use_code(database, one) for one in events if one.digest)
    users = MailUsers(database)
    outdated = [account for account in _accounts(events, CREDENTIALS) if users.get(account) is not None]
    unlinked = frozenset(_accounts(events, UNLINKED))
    reset = [
        one
        for one in outdated
        if mail and _remove_password(users, one, ring, since=since, unlinked=one in unlinked, now=now)
    ]
    return Applied(
        statuses=statuses,
        codes=codes,
        reset=tuple(reset),
        kept=tuple(one for one in outdated if one not in reset),
        moved=tuple(one for one in _accounts(events, {"address_changed"}) if one in outdated),
        rights=_accounts(events, RIGHTS),
    )


def _accounts(events: Iterable[Happened], of: Iterable[str]) -> tuple[AccountId, ...]:
    """Return each account that has an event of the kinds in ``of``. No account is repeated."""
    wanted = frozenset(of)
    return tuple(dict.fromkeys(one.account for one in events if one.event in wanted))


def _use_code(database: DynamoDB, used: Happened) -> bool:
    """Remove a recovery code that a login has used. Return ``False`` if the account or the code does not exist.

    The digest of the code is stored as the mark of this use. A repetition that finds the mark changes nothing, and
    returns ``True``.
    """
    user, digest = MailUsers(database).get(used.account), bytes.fromhex(used.digest)
    if user is None:
        return False
    done = Factors(database).consume_recovery_code(
        used.account, digest, mark=digest, credentials_version=user.credentials_version
    )
    return isinstance(done, Done)


def _remove_password(users: MailUsers, account: AccountId, ring: Ring, *, since: int, unlinked: bool, now: int) -> bool:
    """Replace the password by a random password. Return whether the account has a random password now.

    ``unlinked``: an identity was unlinked since the backup, so all identities are removed too. The result is ``True``
    also if an earlier run has replaced the password. It is ``False`` if the account does not exist, is disabled, or
    has no address for a reset by mail.
    """
    user = users.get(account)
    mark = hashlib.sha256(f"after-restore {since} {account}".encode()).digest()[:16]
    if user is None or user.reset_mark == mark:
        return user is not None
    if not user.email:
        return False
    password = encode_base64url(os.urandom(32)).encode()
    hashed = hash_password(password, salt=os.urandom(16)).encode()
    sealed = ring.encrypt_for(hashed, account=account, nonce=os.urandom(12))
    if not (unlinked and user.identities):
        return isinstance(users.reset_password(user, sealed, mark=mark, claim=False, now=now), Done)
    undo = Undo(
        password_hash=sealed,
        factors=user.factors,
        address=None,
        kept=user.kept,
        freed=(),
        identities={},
        mark=mark,
        used_until=now,
    )
    return isinstance(users.undo_changes(user, undo, now=now), Done)
