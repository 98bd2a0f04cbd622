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
    """When and why a lineage ended."""

    at: int
    reason: EndReason


NO_ATTEMPT = bytes(8)
"""The value of an attempt slot before its generation is exchanged."""


class BrowserKey(Struct, frozen=True):
    """The key of a browser, a compressed P-256 point. The cookies were bound to this key at the time ``at``."""

    at: int
    point: bytes


class Lineage(Struct, frozen=True):
    """The state of one login on one device.

    ``attempts`` has the digests of the attempts that exchanged the last four generations: generation n is in slot n mod
    4. ``issued_at`` is the iat of the current generation. With mechanism ``session``, it is the last recorded use.
    A lineage is idle if ``issued_at`` is older than the idle limit. ``in_use_since`` (only with mechanism
    ``session``) is the beginning of the present period of use, without a pause of ``access_s`` or more. A token that
    was issued in this period stays valid until the next such pause. A renewal begins a new period. For a cookie
    client, ``in_use_since`` is the floor instead (``browser/rules.py``). ``last_used_day`` (days since 1970)
    belongs to the mechanisms whose ``issued_at`` never changes: ``refresh`` and ``long_lived``. ``label`` is the
    name of the device, at most 32 bytes. ``parent`` is the login of the old phone, if this login was restored from
    it, or the login of the app, if an app handed this login over to a browser. ``browser_key`` is the key to which
    the cookies of the browser are bound, if any. ``attestation`` is what the device proved about itself.
    ``provider`` is the code of the identity provider that the person logged in with, or 0 if there was none.
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

        This login is live only while the login of the app is live. A restored login has a parent too, but does not
        depend on the parent. A restored login is bound to a key, but a login that an app handed over is unbound.
        """
        return self.parent if isinstance(self.binding, NoBinding) else None


class Rights(Struct, frozen=True):
    """The rights of an account. Its logins have them in addition to the scope of their client.

    ``roles`` are the codes of the account's roles. ``attributes`` are what the team stored for the account, encoded as
    MessagePack; empty bytes if there are none. Only a function of the team reads them, so an exchange does not decode
    them.
    """

    roles: frozenset[int] = frozenset()
    attributes: bytes = b""


NO_RIGHTS = Rights()


class AccountState(Struct, frozen=True):
    """The status of an account and all its lineages. There is one such item for each account.

    ``credentials_version`` rises with each change of the password, a factor, a passkey, a linked identity (such as
    Apple) or the address. ``raised`` is when and why the epoch was last raised. ``deleted_by`` is the id of the login,
    or of the mailed link, that deleted the account. ``roles`` are the codes of the account's roles.
    `Clients.role_names` returns their names. ``attributes`` are those of `Rights`. ``second_factor_required``: an
    operator requires a second factor at each login of this account.
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

    ``not_before`` is the not-before time of the deployment. ``credentials_version`` is the version when the caller was
    authenticated. If an app handed this login over to a browser, ``app`` is the login of that app, and must be active
    too. ``in_cookies``: the tokens of this login are in cookies. In this case, a write that ends all other logins
    raises the generation of this login.
    """

    account: AccountId
    lineage: LineageId
    not_before: int
    credentials_version: int
    app: LineageId | None = None
    in_cookies: bool = False


class UnfinishedLogin(Struct, frozen=True):
    """A login that has proved a first factor (a password, or an identity at a provider) and has no lineage yet.

    A write on its behalf happens only if the account is active. The epoch and the credentials version must not have
    changed since the first factor was proved.
    """

    account: AccountId
    epoch: int
    credentials_version: int
