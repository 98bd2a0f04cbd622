"""Account state, lineage, binding and presented token, as values. No I/O.

Times are integer seconds since the epoch. Durations are integer seconds.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from msgspec import Struct

from chalicelib.baton.ids import AccountId, LineageId


class Status(IntEnum):
    """Whether an account may log in. The stored value is the number."""

    ACTIVE = 1
    DISABLED = 2
    DELETED = 3


class EndReason(StrEnum):
    """The reason why a login ended."""

    LOGOUT = "logout"
    ENDED_BY_OWNER = "ended_by_owner"
    REUSE = "reuse"
    ENDED_EVERYWHERE = "ended_everywhere"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason, not a password
    REPLACED = "replaced"
    IDLE = "idle"
    EXPIRED = "expired"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a reason, not a password
    ACCOUNT_DISABLED = "account_disabled"
    CLAIMED = "claimed"
    UNDONE = "undone"
    ENDED_BY_OPERATOR = "ended_by_operator"
    IDENTITY_UNLINKED = "identity_unlinked"


class KeyBinding(Struct, frozen=True):
    """A binding to the public key of a device. ``thumbprint`` is its RFC 7638 thumbprint, 32 raw bytes."""

    thumbprint: bytes


class SecretBinding(Struct, frozen=True):
    """A binding to an HMAC secret that Baton issues.

    The secret is derived from root secret and lineage id, and never stored.
    """


class NoBinding(Struct, frozen=True):
    """No binding: the token is a bearer token (RFC 6750)."""


Binding = KeyBinding | SecretBinding | NoBinding


class Assurance(Struct, frozen=True):
    """How a person was authenticated: ``acr`` (RFC 9470) and ``amr`` (RFC 8176)."""

    acr: str
    amr: tuple[str, ...]


class Attestation(IntEnum):
    """What the platform of a device attested for a login: the app, or the hardware that keeps the device key.

    The stored value is the number.
    """

    NONE = 0
    APP = 1
    APP_IN_DEVELOPMENT = 2
    TEE = 3
    STRONGBOX = 4


class Ended(Struct, frozen=True):
    """The time and the reason of the end of a lineage."""

    at: int
    reason: EndReason


NO_ATTEMPT = bytes(8)
"""The value of an empty slot of ``Lineage.attempts``. A new lineage has only empty slots.

A lineage whose ``ended`` is set has only empty slots too.
"""


class BrowserKey(Struct, frozen=True):
    """The key of a browser, a compressed P-256 point. The cookies were bound to this key at the time ``at``."""

    at: int
    point: bytes


class Lineage(Struct, frozen=True):
    """The state of one login on one device.

    - ``attempts``: the digests of the attempts that exchanged the last four generations. Generation n is in slot n mod
      4.
    - ``issued_at``: the iat of the current generation. With mechanism ``session``, the time of the last recorded use.
      The idle limit counts from this time.
    - ``label``: the name of the device, at most 32 bytes.
    - ``in_use_since``: only with mechanism ``session``. For a cookie client, it is the floor (``browser/rules.py``).
      For any other client, it is the latest of three times: the login, the last renewal, and the end of the last gap of
      ``access_s`` or more between two recorded uses.
    - ``last_used_day``: days since 1970. Only with mechanisms ``refresh`` and ``long_lived``.
    - ``parent``: the login that this login was restored or handed over from.
    - ``browser_key``: the key to which the cookies of the browser are bound.
    - ``provider``: the code of the identity provider that the person logged in with, or 0 if there was none.
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
    parent: LineageId | None = None
    browser_key: BrowserKey | None = None
    attestation: Attestation = Attestation.NONE
    provider: int = 0

    @property
    def app(self) -> LineageId | None:
        """The login of the app that handed this login over to a browser. ``None``: no app handed this login over.

        This login is live only while the login of the app is live. A restored login has a parent too, but is bound to a
        key and does not depend on the parent.
        """
        return self.parent if isinstance(self.binding, NoBinding) else None


class Rights(Struct, frozen=True):
    """The rights of an account.

    - ``roles``: the codes of the account's roles. A login may have fewer roles: if it has no second factor,
      `Clients.roles_of_login` leaves out each role that requires a second factor.
    - ``attributes``: what the team stored for the account, as MessagePack. Empty bytes: nothing is stored.
    """

    roles: frozenset[int] = frozenset()
    attributes: bytes = b""


NO_RIGHTS = Rights()


class AccountState(Struct, frozen=True):
    """The status of an account and all its lineages. There is one such item for each account.

    - ``credentials_version``: rises with each change of the password, a factor, a passkey, a linked identity or the
      address.
    - ``raised``: the time and the reason of the last rise of the epoch.
    - ``deleted_by``: the id of the login, or of the mailed link, that deleted the account.
    - ``roles``, ``attributes``: as in `Rights`.
    - ``second_factor_required``: an operator, or the function of ``Baton.migrate_with``, requires a second factor at
      each login.
    """

    account: AccountId
    status: Status
    epoch: int
    credentials_version: int
    lineages: Mapping[LineageId, Lineage]
    raised: Ended | None = None
    deleted_by: LineageId | None = None
    roles: frozenset[int] = frozenset()
    attributes: bytes = b""
    second_factor_required: bool = False


class PresentedToken(Struct, frozen=True):
    """The facts of a verified token and its request, which the rules compare with the account state.

    ``attempt`` is the 8-byte digest of the attempt of an exchange.
    """

    account: AccountId
    lineage: LineageId
    generation: int
    issued_at: int
    client: int
    binding: Binding
    attempt: bytes = NO_ATTEMPT


class Actor(Struct, frozen=True):
    """The login that requests a write. The write happens only while this login is active.

    - ``not_before``: the not-before time of the deployment.
    - ``credentials_version``: the version when the caller was authenticated.
    - ``app``: the login of the app that handed this login over to a browser. The login of the app must be active too.
    - ``in_cookies``: the tokens of this login are in cookies. If so, a write that ends all other logins also raises
      the generation of this login.
    """

    account: AccountId
    lineage: LineageId
    not_before: int
    credentials_version: int
    app: LineageId | None = None
    in_cookies: bool = False


class UnfinishedLogin(Struct, frozen=True):
    """A login that has proved a first factor (a password, or an identity at a provider) and has no lineage yet.

    A write on its behalf happens only if `rules.may_go_on` permits this.
    """

    account: AccountId
    epoch: int
    credentials_version: int
