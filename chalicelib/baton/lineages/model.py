"""The nouns: account, account state, lineage, binding, and what is presented to them.

Values only. Times are integer seconds since the epoch, durations are integer seconds.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from msgspec import Struct

from chalicelib.baton.ids import AccountId, LineageId


class Status(IntEnum):
    """Whether an account may log in. Stored as its number."""

    ACTIVE = 1
    DISABLED = 2
    DELETED = 3


class EndReason(StrEnum):
    """Why a lineage is over. The wire's words."""

    LOGOUT = "logout"
    ENDED_BY_OWNER = "ended_by_owner"
    REUSE = "reuse"
    ENDED_EVERYWHERE = "ended_everywhere"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason, not a password
    REPLACED = "replaced"
    IDLE = "idle"
    EXPIRED = "expired"
    ACCOUNT_DISABLED = "account_disabled"


class KeyBinding(Struct, frozen=True):
    """Tied to a device's public key, known by its RFC 7638 thumbprint (32 raw bytes)."""

    thumbprint: bytes


class SecretBinding(Struct, frozen=True):
    """Tied to a server-issued HMAC secret, derived from the root and the lineage id, stored nowhere."""


class NoBinding(Struct, frozen=True):
    """A bearer lineage: whoever holds the token is taken for its owner."""


Binding = KeyBinding | SecretBinding | NoBinding


class Assurance(Struct, frozen=True):
    """How a login was proved: ``acr`` (RFC 9470) and ``amr`` (RFC 8176)."""

    acr: str
    amr: tuple[str, ...]


class Ended(Struct, frozen=True):
    """When and why a lineage was ended."""

    at: int
    reason: EndReason


NO_ATTEMPT = bytes(8)
"""What an attempt slot holds before its generation was exchanged."""


class Lineage(Struct, frozen=True):
    """One login on one device, as the account state remembers it.

    ``attempts`` holds the digests of the attempts that used up the last four generations: generation n in slot
    n mod 4. ``issued_at`` is the iat of the current generation; idle means it is older than the idle limit.
    ``in_use_since`` is kept by mechanism ``session`` alone: a session id older than it lives by its own expiry only.
    ``last_used_day`` (days since the epoch) is kept by the mechanisms whose iat never moves: ``refresh`` and
    ``long_lived``. ``label`` is the name of the device, at most 32 bytes.
    """

    id: LineageId
    epoch: int
    generation: int
    attempts: tuple[bytes, bytes, bytes, bytes]
    issued_at: int
    expires_at: int
    binding: Binding
    client: int
    auth_time: int
    assurance: Assurance
    label: str
    in_use_since: int | None = None
    last_used_day: int | None = None
    ended: Ended | None = None


class AccountState(Struct, frozen=True):
    """The one item per account through which every decision about its lineages passes.

    ``credentials_version`` moves with the password. ``raised`` is when and why the epoch was last raised: the
    lineages of older epochs were ended by it. ``deleted_by`` is the login that deleted the account. ``roles`` are the
    codes of the account's roles: `Clients.role_names` has their names.
    """

    account: AccountId
    status: Status
    epoch: int
    credentials_version: int
    lineages: Mapping[LineageId, Lineage]
    raised: Ended | None = None
    deleted_by: LineageId | None = None
    roles: frozenset[int] = frozenset()


class PresentedToken(Struct, frozen=True):
    """What a genuine token and its sender claim, to be held against the account state.

    ``attempt`` is the digest (8 bytes) of the exchange's attempt.
    """

    account: AccountId
    lineage: LineageId
    generation: int
    issued_at: int
    client: int
    binding: Binding
    attempt: bytes = NO_ATTEMPT


class Actor(Struct, frozen=True):
    """The login on whose behalf a write is made: the write happens only while this login is live.

    ``not-before`` is the deployment's not-before (seconds), ``credentials_version`` the one the caller was admitted
    with: where the person proved a password for this operation, it is the version of that password.
    """

    account: AccountId
    lineage: LineageId
    not_before: int
    credentials_version: int
