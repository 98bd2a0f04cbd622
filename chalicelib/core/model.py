"""The nouns: account, gate, lineage, binding, and what is presented to them.

Values only. Times are integer seconds since the epoch, durations are integer seconds.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import NewType

from msgspec import Struct

AccountId = NewType("AccountId", str)
"""12 bytes in base64url: 16 characters. The first byte is the version of the root it was derived under."""

LineageId = NewType("LineageId", str)
"""12 bytes in base64url: 16 characters. The first byte is the version of the root it was derived under."""

EmailIndex = NewType("EmailIndex", str)
"""HMAC of a canonical e-mail address, base64url: finds an account without storing the address as a key."""


class Secret:
    """Bytes that hide themselves: masked in ``repr`` and ``str``, revealed only by ``reveal()``."""

    __slots__ = ("_bytes",)

    def __init__(self, value: bytes) -> None:
        """Hold ``value``."""
        self._bytes = value

    def reveal(self) -> bytes:
        """Give the bytes themselves."""
        return self._bytes

    def __repr__(self) -> str:
        """Mask."""
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        """Compare by value, for tests and caches; never on a path an attacker can time."""
        return isinstance(other, Secret) and self._bytes == other._bytes

    def __hash__(self) -> int:
        """Hash by value."""
        return hash(self._bytes)


class Kind(StrEnum):
    """What a token may do: ``use`` on calls, ``renew`` at ``/oauth/token``, or ``both``."""

    USE = "use"
    RENEW = "renew"
    BOTH = "both"


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
    """One login on one device, as the gate remembers it.

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


class Gate(Struct, frozen=True):
    """The one item per account through which every decision about its lineages passes.

    ``verifier_version`` moves with the password. ``raised`` is when and why the epoch was last raised: the
    lineages of older epochs were ended by it. ``deleted_by`` is the login that deleted the account.
    """

    account: AccountId
    status: Status
    epoch: int
    verifier_version: int
    lineages: Mapping[LineageId, Lineage]
    raised: Ended | None = None
    deleted_by: LineageId | None = None


class User(Struct, frozen=True):
    """A person who registered. ``verifier`` is sealed with the ring's data key, account id as associated data."""

    account: AccountId
    email: str
    email_index: EmailIndex
    verifier: bytes
    verifier_version: int
    created_at: int


class Presented(Struct, frozen=True):
    """What a genuine token and its sender claim, to be held against the gate.

    ``attempt`` is the digest (8 bytes) of the exchange's attempt.
    """

    account: AccountId
    lineage: LineageId
    generation: int
    issued_at: int
    client: int
    binding: Binding
    attempt: bytes = NO_ATTEMPT


class Operation(Struct, frozen=True):
    """One named, exact operation for which a person proves the password again.

    ``path`` is the path as the client sees it, prefix included; ``digest`` is the ``Content-Digest`` field value
    (sha-256) of the exact body.
    """

    method: str
    path: str
    digest: str


class Actor(Struct, frozen=True):
    """The login on whose behalf a write is made: the write happens only while this login is live.

    ``fence`` is the deployment's not-before time (seconds), ``verifier_version`` the one the caller was admitted
    with: where the person proved a password for this operation, it is the version of that password.
    """

    account: AccountId
    lineage: LineageId
    fence: int
    verifier_version: int


class StepUp(Struct, frozen=True):
    """A grant that was spent on this very call: when and how the person was asked."""

    at: int
    assurance: Assurance


class Caller(Struct, frozen=True):
    """Who is calling, proved: handed to every signed route."""

    account: AccountId
    device_id: LineageId
    client_id: str
    scope: frozenset[str]
    bound: bool
    auth_time: int
    assurance: Assurance
    step_up: StepUp | None = None
    gate: Gate | None = None
    fence: int = 0

    @property
    def actor(self) -> Actor:
        """Name this login, for the condition of every write on its behalf."""
        version = self.gate.verifier_version if self.gate else 0
        return Actor(self.account, self.device_id, fence=self.fence, verifier_version=version)

    def __repr__(self) -> str:
        """Show who is calling; the whole gate would hide it."""
        return f"Caller(account={self.account!r}, device_id={self.device_id!r}, client_id={self.client_id!r})"


class AuditEvent(Struct, frozen=True):
    """Something that happened, for the owner and the operator. Never holds a secret."""

    at: int
    event: str
    account: AccountId
    lineage: LineageId | None = None
    details: Mapping[str, str] = {}
