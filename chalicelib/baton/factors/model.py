"""The record of a registered person, with the second factors. No I/O.

A change of factors is a value: ``EnrolTotp``, ``RemoveTotp``, ``ReplaceRecoveryCodes``, ``SwitchSecondFactor``,
``AddPasskey``, ``RemovePasskey`` or ``RemoveAll``. Each change has three methods: ``fits`` checks the stored factors
before the change, ``apply`` returns the factors after it, and ``is_in`` checks whether it has already happened. A store
carries out a change in one transaction.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.factors.user_parts import KeptAddress, LinkedIdentity
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.lineages.model import Binding, KeyBinding

KEY_ID_BYTES: Final = 12
PASSKEY_ID_BYTES: Final = 12
PASSKEYS_MAX: Final = 10


class Totp(Struct, frozen=True):
    """An authenticator app.

    ``sealed``: its secret, encrypted for the account (`Ring.encrypt_for`).
    ``step``: the last time step whose code was used. ``mark``: identifies the request that used the code (16 bytes).
    ``enrolled_at``: in seconds. ``by_new_key``: a new device (`rules.is_new_key`) enrolled the app.
    """

    sealed: bytes
    step: int
    mark: bytes
    enrolled_at: int
    by_new_key: bool = False


class RecoveryCodes(Struct, frozen=True):
    """The unused recovery codes of an account.

    ``digests``: the digests of the unused codes, 16 bytes each. ``used``: the digest of the latest used code.
    ``mark``: identifies the latest request that made the codes or used one (16 bytes).
    ``made_at``: in seconds. ``by_new_key``: a new device (`rules.is_new_key`) made the codes.
    """

    digests: frozenset[bytes]
    made_at: int
    mark: bytes
    used: bytes | None = None
    by_new_key: bool = False


class Passkey(Struct, frozen=True):
    """A passkey: a credential of WebAuthn.

    ``public_key``: a COSE key, not secret. ``counter``: the largest signature counter that was seen.
    ``backup_eligible``: the passkey can be synced. ``backed_up``: the passkey is synced.
    ``added_at``: in seconds. ``used_day``: the day of the last use, in days since 1970-01-01.
    ``aaguid``: the model of the authenticator, 16 bytes, or zeros.
    ``by_new_key``: a new device (`rules.is_new_key`) added the passkey.
    """

    credential_id: bytes
    public_key: bytes
    counter: int
    backup_eligible: bool
    backed_up: bool
    transports: tuple[str, ...]
    name: str
    added_at: int
    used_day: int
    aaguid: bytes
    by_new_key: bool = False

    @property
    def id(self) -> str:
        """Return the id of this passkey in its account: a digest of ``credential_id``."""
        return passkey_id(self.credential_id)


class SecondFactors(Struct, frozen=True):
    """The second factors of an account.

    ``on``: each login needs a second factor, except on a remembered device.
    ``remembered``: key id (`key_id`) of a device -> the time ``at`` of its latest `Remember`, in seconds.
    ``passkeys``: id (`passkey_id`) -> passkey.
    """

    on: bool = False
    totp: Totp | None = None
    recovery: RecoveryCodes | None = None
    remembered: Mapping[str, int] = {}
    passkeys: Mapping[str, Passkey] = {}

    @property
    def is_provable(self) -> bool:
        """Check whether the account has an authenticator app or a passkey. Recovery codes alone do not count."""
        return self.totp is not None or bool(self.passkeys)

    @property
    def codes_left(self) -> int:
        """Return the number of unused recovery codes."""
        return len(self.recovery.digests) if self.recovery else 0


class User(Struct, frozen=True):
    """A registered person.

    ``email``, ``email_index``: empty if there is no address. ``verified_at``: when the address was proved, or ``None``.
    ``password_hash``: encrypted (`Ring.encrypt_for`). ``None``: Baton has no password for the account.
    ``migrate``: if true, the hook of ``Baton.migrate_with`` checks the password at a login, until Baton has a password.
    ``reset_mark``: identifies the latest password reset, undo of changes, or import.
    ``language``: the language of mails. ``kept``: old addresses.
    ``restore``: key id of a device -> its restore key. ``identities``: code of a provider -> identity at the provider.
    """

    account: AccountId
    email: str
    email_index: EmailIndex
    password_hash: bytes | None
    credentials_version: int
    created_at: int
    verified_at: int | None = None
    language: str | None = None
    reset_mark: bytes | None = None
    factors: SecondFactors = SecondFactors()
    kept: tuple[KeptAddress, ...] = ()
    restore: Mapping[str, RestoreKey] = {}
    migrate: bool = False
    identities: Mapping[int, LinkedIdentity] = {}

    @property
    def has_no_unproved_address(self) -> bool:
        """Whether the address is proved or missing. An unproved address can belong to another person."""
        return self.verified_at is not None or not self.email


class Remember(Struct, frozen=True):
    """Remember a device that has just proved a second factor.

    ``key``: the key id of the device. ``at``: the time of the proof, in seconds. ``forgotten``: the key ids of
    remembered devices without a lineage in the account state. The write that stores ``at`` deletes these key ids.
    """

    key: str
    at: int
    forgotten: tuple[str, ...] = ()


class EnrolTotp(Struct, frozen=True):
    """Enrol an authenticator app, and use its first code. ``SecondFactors.on`` becomes true.

    ``recovery`` are new recovery codes, or ``None`` if the account has unused codes.
    """

    totp: Totp
    recovery: RecoveryCodes | None

    def fits(self, factors: SecondFactors) -> bool:
        """Check that no authenticator app is enrolled."""
        return factors.totp is None

    def apply(self, factors: SecondFactors) -> SecondFactors:
        """Return the factors with the app, with ``on`` true, and with the new recovery codes if there are any."""
        return replace(factors, on=True, totp=self.totp, recovery=self.recovery or factors.recovery)

    def is_in(self, factors: SecondFactors) -> bool:
        """Check whether this app is enrolled. No two enrolments have the same ``sealed``."""
        return factors.totp is not None and factors.totp.sealed == self.totp.sealed


class RemoveTotp(Struct, frozen=True):
    """Remove an authenticator app. ``last``: the account has no passkey, so ``SecondFactors.on`` becomes false."""

    totp: Totp
    last: bool = True

    def fits(self, factors: SecondFactors) -> bool:
        """Check that this app is enrolled. ``step`` and ``mark`` may differ: each use of a code changes them."""
        return factors.totp is not None and factors.totp.sealed == self.totp.sealed

    def apply(self, factors: SecondFactors) -> SecondFactors:
        """Return the factors without the app, and with ``on`` false if ``last``."""
        return replace(factors, on=factors.on and not self.last, totp=None)

    def is_in(self, factors: SecondFactors) -> bool:
        """Check whether no app is enrolled."""
        return factors.totp is None


class ReplaceRecoveryCodes(Struct, frozen=True):
    """Replace all recovery codes."""

    recovery: RecoveryCodes

    def fits(self, factors: SecondFactors) -> bool:
        """Return ``True``: this change has no condition."""
        del factors
        return True

    def apply(self, factors: SecondFactors) -> SecondFactors:
        """Return the factors with the new codes."""
        return replace(factors, recovery=self.recovery)

    def is_in(self, factors: SecondFactors) -> bool:
        """Check whether these codes are stored, and all of the codes are still unused."""
        return factors.recovery == self.recovery


class SwitchSecondFactor(Struct, frozen=True):
    """Turn the second factor on or off for the logins of the account.

    ``recovery`` are new recovery codes, or ``None`` if ``on`` is false or the account has unused codes.
    """

    on: bool
    recovery: RecoveryCodes | None = None

    def fits(self, factors: SecondFactors) -> bool:
        """Check that the stored ``on`` differs from the new value."""
        return factors.on is not self.on

    def apply(self, factors: SecondFactors) -> SecondFactors:
        """Return the factors with the new value of ``on``, and the new recovery codes if there are any."""
        return replace(factors, on=self.on, recovery=self.recovery or factors.recovery)

    def is_in(self, factors: SecondFactors) -> bool:
        """Check whether the new value of ``on`` is stored, and the new recovery codes if there are any."""
        return factors.on is self.on and (self.recovery is None or factors.recovery == self.recovery)


class AddPasskey(Struct, frozen=True):
    """Add a passkey. This never turns on the second factor: an app may add a passkey without asking the person.

    ``recovery``: new recovery codes, if a login enrols the passkey as its second factor and no unused code is left.
    """

    passkey: Passkey
    recovery: RecoveryCodes | None = None

    def fits(self, factors: SecondFactors) -> bool:
        """Check that the account does not have the passkey, and has fewer than ``PASSKEYS_MAX`` passkeys."""
        return len(factors.passkeys) < PASSKEYS_MAX and self.passkey.id not in factors.passkeys

    def apply(self, factors: SecondFactors) -> SecondFactors:
        """Return the factors with the passkey, and the new recovery codes if there are any."""
        passkeys = {**factors.passkeys, self.passkey.id: self.passkey}
        return replace(factors, passkeys=passkeys, recovery=self.recovery or factors.recovery)

    def is_in(self, factors: SecondFactors) -> bool:
        """Check whether the stored factors have the passkey, and the new recovery codes if there are any."""
        stored = factors.passkeys.get(self.passkey.id)
        ours = stored is not None and stored.public_key == self.passkey.public_key
        return ours and (self.recovery is None or factors.recovery == self.recovery)


class RemovePasskey(Struct, frozen=True):
    """Remove a passkey. ``last``: no authenticator app or passkey is left, so ``SecondFactors.on`` becomes false."""

    passkey: Passkey
    last: bool

    def fits(self, factors: SecondFactors) -> bool:
        """Check that the account has the passkey."""
        return self.passkey.id in factors.passkeys

    def apply(self, factors: SecondFactors) -> SecondFactors:
        """Return the factors without the passkey, and with ``on`` false if ``last``."""
        passkeys = {one: passkey for one, passkey in factors.passkeys.items() if one != self.passkey.id}
        return replace(factors, on=factors.on and not self.last, passkeys=passkeys)

    def is_in(self, factors: SecondFactors) -> bool:
        """Check whether the passkey is removed."""
        return self.passkey.id not in factors.passkeys


class PasskeyUse(Struct, frozen=True):
    """The changes that an assertion makes in the stored passkey: counter, backup flags and day of the last use."""

    passkey: Passkey
    counter: int
    backup_eligible: bool
    backed_up: bool
    day: int

    @property
    def changes(self) -> bool:
        """Check whether the use changes the stored passkey."""
        return self.after != self.passkey

    @property
    def after(self) -> Passkey:
        """Return the passkey as it is stored after the use, with the larger of the old and the new counter."""
        return replace(
            self.passkey,
            counter=max(self.counter, self.passkey.counter),
            backup_eligible=self.backup_eligible,
            backed_up=self.backed_up,
            used_day=self.day,
        )

    @property
    def counter_went_back(self) -> bool:
        """Check whether the counter did not grow.

        If the stored and the sent counter are zero, the result is ``False``: the authenticator has no counter.
        """
        return bool(self.counter or self.passkey.counter) and self.counter <= self.passkey.counter

    @property
    def backup_changed(self) -> bool:
        """Check whether the flag ``backup_eligible`` changed. By the WebAuthn standard, the flag never changes."""
        return self.backup_eligible is not self.passkey.backup_eligible


class RemoveAll(Struct, frozen=True):
    """Remove every second factor. ``passkeys`` are the passkeys that the account had when the user was read."""

    passkeys: tuple[Passkey, ...]

    def fits(self, factors: SecondFactors) -> bool:
        """Check that the account has exactly these passkeys."""
        return {passkey.id for passkey in self.passkeys} == factors.passkeys.keys()

    def apply(self, factors: SecondFactors) -> SecondFactors:
        """Return the factors without the app, the recovery codes and the passkeys, and with ``on`` false."""
        return replace(factors, on=False, totp=None, recovery=None, passkeys={})

    def is_in(self, factors: SecondFactors) -> bool:
        """Check whether no app, recovery codes or passkeys are left, and ``on`` is false."""
        return not (factors.on or factors.totp or factors.recovery or factors.passkeys)


FactorChange = (
    EnrolTotp | RemoveTotp | ReplaceRecoveryCodes | SwitchSecondFactor | AddPasskey | RemovePasskey | RemoveAll
)


def passkey_id(credential_id: bytes) -> str:
    """Return the id of a passkey: the first 12 bytes of SHA-256 over its credential id, in base64url."""
    return encode_base64url(hashlib.sha256(credential_id).digest()[:PASSKEY_ID_BYTES])


def key_id(binding: Binding) -> str | None:
    """Return the id of a device key: the first 12 bytes of its thumbprint, in base64url. ``None``: there is no key."""
    return encode_base64url(binding.thumbprint[:KEY_ID_BYTES]) if isinstance(binding, KeyBinding) else None
