"""The ports of factors: password hashes, second factors, rate limits, and requests to other services."""

from collections.abc import Collection, Mapping
from typing import Protocol

from msgspec import Struct

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.events.ports import Counters
from chalicelib.baton.factors.model import FactorChange, PasskeyUse, Remember, Totp, User
from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import Actor, UnfinishedLogin
from chalicelib.baton.tokens.caller import Caller, Operation


class Passwords(Protocol):
    """Registered people and their password hashes."""

    def get(self, account: AccountId) -> User | None:
        """Read a user. Return ``None`` if there is none."""

    def rehash(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, expected_password_hash: bytes
    ) -> None:
        """Store a new hash of the same password, if the stored hash and credentials version are as expected."""


class RateLimits(Counters, Protocol):
    """Counters for rate limits: failed logins, registrations, notices and others."""

    def uncount(self, name: str, *, window_s: int, now: int) -> None:
        """Subtract one from the count: the counted request was not a failure. The count never becomes negative."""


class NotFetched(Struct, frozen=True):
    """There was no usable answer. ``reason`` is for the log: the kind of the error, and no part of the answer."""

    reason: str


class Fetch(Protocol):
    """The function that sends ``GET`` requests to other services over HTTPS."""

    def __call__(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> bytes | NotFetched:
        """Return the body of an answer with status 200, or ``NotFetched`` without such an answer. Never raise.

        ``within_s`` is the time limit in seconds for the whole request: name resolution, connection, TLS and the
        answer. ``bytes_max`` is the maximum size of the body. The certificate of the server is verified. Redirects are
        not followed.
        """


class PresentedIdentity(Struct, frozen=True):
    """The id_token of a provider, sent for a step-up."""

    provider: str
    id_token: str

    def __repr__(self) -> str:
        """Mask the token."""
        return "PresentedIdentity('**********')"


class ProveLinkedIdentity(Protocol):
    """The check of an id_token that an app sends for a step-up. `federation.step_up` implements the check."""

    def __call__(
        self, caller: Caller, user: User, operation: Operation, presented: PresentedIdentity, *, ring: Ring, now: int
    ) -> int:
        """Check that ``presented`` proves an identity that is linked to the caller's account, for this operation.

        Return the time at which the person proved the identity, in seconds. Raises a `Refusal` if ``presented`` does
        not prove such an identity.
        """


class Posted(Struct, frozen=True):
    """The answer to a form that was sent. ``body`` can be the body of an error."""

    status: int
    body: bytes


class Post(Protocol):
    """The function that sends forms to other services over HTTPS."""

    def __call__(self, url: str, *, form: Mapping[str, str], within_s: float, bytes_max: int) -> Posted | NotFetched:
        """Send a form. Return an answer of any status, or ``NotFetched``. Never raise. The limits are as in `Fetch`."""


class FactorStore(Protocol):
    """The second factors of registered people. `Passwords.get` returns a user together with the second factors."""

    def consume_totp_step(
        self,
        account: AccountId,
        totp: Totp,
        *,
        step: int,
        mark: bytes,
        credentials_version: int,
        remember: Remember | None = None,
    ) -> Done | Refused:
        """Use the code of a time step once. The same write remembers the device if ``remember`` is given.

        ``mark`` (16 bytes) identifies the request. Returns ``Done`` in two cases, otherwise ``Refused``:

        - ``totp`` is the enrolled app, the credentials version is as given, and no code of this or a later step was
          used.
        - A repetition: the last used step is this step, with this ``mark``.
        """

    def consume_recovery_code(
        self, account: AccountId, digest: bytes, *, mark: bytes, credentials_version: int
    ) -> Done | Refused:
        """Use a recovery code once. ``digest`` is its digest (`recovery_codes.digest_of`).

        ``mark`` (16 bytes) identifies the request. Returns ``Done`` in two cases, otherwise ``Refused``:

        - The code is unused, and the credentials version is as given.
        - A repetition: the last used code is this code, with this ``mark``.
        """

    def use_passkey(
        self, account: AccountId, use: PasskeyUse, *, credentials_version: int, remember: Remember | None = None
    ) -> Done | Refused:
        """Store counter, flags and day of use after an assertion, and remember the device if ``remember`` is given.

        The write has these conditions, which a repetition meets too. If one fails, the result is ``Refused``:

        - The account has this passkey with this public key.
        - The stored counter is not larger than the new counter.
        - The credentials version is as given.
        """

    def rename_passkey(self, actor: Actor, passkey: str, name: str, *, now: int) -> Done | Moved:
        """Change the name of the passkey with the id ``passkey``. The credentials version does not change.

        The change is one transaction, with these conditions:

        - The account has the passkey.
        - The login of ``actor`` is live, and the credentials version is as in ``actor``.
        """

    def keep_restore_key(
        self, actor: Actor, device: str, key: RestoreKey | None, *, forgotten: Collection[str] = (), now: int
    ) -> Done | Moved:
        """Store the restore key of the device with key id ``device``. ``key=None``: delete the restore key.

        The same transaction deletes the restore keys of the devices ``forgotten`` (key ids). The conditions of the
        transaction: the credentials version is as in ``actor``, and the actor's login is live. The credentials version
        does not change.
        """

    def change_factors(
        self, by: Actor | UnfinishedLogin, change: FactorChange, *, remember: Remember | None, now: int
    ) -> Done | Moved | Refused:
        """Change the factors on behalf of a login, and raise the credentials version in user and account state.

        The same transaction forgets all remembered devices, except the device of ``remember``. If the change adds or
        removes passkeys, it also stores or deletes the items that map their credential ids to the account.

        The transaction has these conditions:

        - The user has the credentials version of ``by``.
        - The change fits the stored factors (`model`).
        - ``RemovePasskey``: the person can log in without the passkey (`rules.leaves_a_credential`).
        - ``Actor``: the login may act (`lineages.rules.may_act`).
        - ``UnfinishedLogin``: the login may go on (`lineages.rules.may_go_on`).

        Returns ``Done`` if the transaction succeeds, or for a repetition: the user already has the next credentials
        version and the changed factors. Returns ``Refused`` if the passkey to add belongs to another account, and
        ``Moved`` in any other case.
        """
