"""The password asked and checked: throttled before hashing, the same work for every account there is or is not."""

import contextlib

from msgspec import Struct

from chalicelib.core import errors, passwords
from chalicelib.core.key_ring import Ring, Unsealable
from chalicelib.core.model import (
    AccountId,
    Binding,
    Caller,
    Gate,
    KeyBinding,
    LineageId,
    SecretBinding,
    Status,
    User,
)
from chalicelib.core.policy import (
    FAILURES_PER_ACCOUNT_MAX,
    FAILURES_PER_KNOWN_DEVICE_MAX,
    FAILURES_PER_SOURCE_MAX,
    THROTTLE_WINDOW_S,
)
from chalicelib.core.ports import Entropy, Ephemeral, Refused, Signals, Users
from chalicelib.flows.record import Record


class Bucket(Struct, frozen=True):
    """One throttle: so many failures in a window, under a name."""

    name: str
    limit: int


def login_buckets(
    account: AccountId, gate: Gate | None, binding: Binding, *, proved: LineageId | None = None, source: str
) -> tuple[Bucket, ...]:
    """Choose the throttles of a login; ``account`` is a decoy for an address nobody claims, and counted alike.

    A known device has a bucket of its own, which neither strangers nor its neighbours behind one address can fill. It
    is known by a key that is bound to any lineage of the account, or by the HMAC secret of the lineage ``proved``.
    """
    lineages = gate.lineages.values() if gate else ()
    if isinstance(binding, KeyBinding) and any(lineage.binding == binding for lineage in lineages):
        return (_of_device(account, binding.thumbprint.hex()),)
    if any(lineage.id == proved and isinstance(lineage.binding, SecretBinding) for lineage in lineages):
        return (_of_device(account, str(proved)),)
    return (
        Bucket(f"source:{source_network(source)}", FAILURES_PER_SOURCE_MAX),
        Bucket(f"account:{account}", FAILURES_PER_ACCOUNT_MAX),
    )


def device_bucket(caller: Caller) -> tuple[Bucket, ...]:
    """Choose the throttle of a step-up: the calling device's own, the same as at its login where it has a key."""
    lineage = caller.gate.lineages.get(caller.device_id) if caller.gate else None
    binding = lineage.binding if lineage else None
    device = binding.thumbprint.hex() if isinstance(binding, KeyBinding) else caller.device_id
    return (_of_device(caller.account, device),)


def _of_device(account: AccountId, device: str) -> Bucket:
    return Bucket(f"device:{account}:{device}", FAILURES_PER_KNOWN_DEVICE_MAX)


def source_network(source: str) -> str:
    """Name where a request came from: an IPv4 address, or the /64 of an IPv6 one, for a single line has all of it.

    What is no address stands for itself: a gateway that says it in a way of its own is a source all the same.
    """
    if ":" not in source:
        return source
    import ipaddress  # noqa: PLC0415 - cold start

    try:
        address = ipaddress.IPv6Address(source)
    except ValueError:
        return source
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


class Credentials(Struct, frozen=True):
    """Check a password for an account that may not exist."""

    entropy: Entropy
    users: Users
    ephemeral: Ephemeral
    signals: Signals
    record: Record
    limits: bool = True

    def check(
        self,
        password: bytes,
        *,
        account: AccountId,
        gate: Gate | None,
        ring: Ring,
        buckets: tuple[Bucket, ...],
        now: int,
    ) -> User:
        """Return the user whose password this is.

        Slots are taken before hashing, and given back on success and, as far as can be, after trouble of our own.
        Raises ``TooManyRequests`` before any hashing, and ``InvalidCredentials`` for a wrong password, an unknown and
        a disabled account alike. The gate must have been read before: a password changed in between shows as a
        verifier version, and is ``Unavailable``.
        """
        self._take(buckets, account=account, now=now)
        try:
            user, verified = self._verify(password, account=account, gate=gate, ring=ring)
        except errors.Unavailable:
            self._forgive(buckets, now=now)
            raise
        self._give_back(buckets, now=now)
        if verified.rehash:
            self._rehash(password, user, ring)
        return user

    def _verify(
        self, password: bytes, *, account: AccountId, gate: Gate | None, ring: Ring
    ) -> tuple[User, passwords.Verified]:
        user = self.users.get(account)
        verifier = _unsealed(user, ring) if user else None
        active = gate is not None and gate.status is Status.ACTIVE
        try:
            verified = passwords.verify_password(password, verifier=verifier)
            if user is None or gate is None or not active:
                raise errors.InvalidCredentials("the account is not active")
        except errors.InvalidCredentials:
            if (active and verifier is None) or (user is not None and gate is None):
                raise errors.Unavailable(
                    "an account is torn: its gate, its user or its verifier is not there"
                ) from None
            self.signals.emit("password_refused", account=account)
            raise
        if user.verifier_version != gate.verifier_version:
            raise errors.Unavailable("the password was changed while it was being checked", by_caller=True)
        return user, verified

    def _take(self, buckets: tuple[Bucket, ...], *, account: AccountId, now: int) -> None:
        """Take a slot of every bucket, or of none: an attempt that is stopped never reached the password."""
        if not self.limits:
            return
        for taken, bucket in enumerate(buckets):
            try:
                slot = self.ephemeral.take_slot(bucket.name, limit=bucket.limit, window_s=THROTTLE_WINDOW_S, now=now)
            except errors.Unavailable:
                self._forgive(buckets[:taken], now=now)
                raise
            if isinstance(slot, Refused):
                self._give_back(buckets[:taken], now=now)
                kind = bucket.name.partition(":")[0]
                if kind == "source":  # one stranger fills it, and goes on: no account is concerned
                    self.signals.emit("throttled", bucket=kind)
                else:
                    self.record("throttled", account=account, bucket=kind)
                raise errors.TooManyRequests(
                    f"{kind} bucket is full",
                    retry_after=THROTTLE_WINDOW_S - now % THROTTLE_WINDOW_S,
                )

    def _give_back(self, buckets: tuple[Bucket, ...], *, now: int) -> None:
        if not self.limits:
            return
        for bucket in buckets:
            self.ephemeral.give_back_slot(bucket.name, window_s=THROTTLE_WINDOW_S, now=now)

    def _forgive(self, buckets: tuple[Bucket, ...], *, now: int) -> None:
        """Give back after trouble of our own, which nobody is to pay for, as far as that can be done."""
        for bucket in buckets:
            with contextlib.suppress(errors.Unavailable):
                self._give_back((bucket,), now=now)

    def _rehash(self, password: bytes, user: User, ring: Ring) -> None:
        sealed = ring.seal(
            passwords.hash_password(password, salt=self.entropy(16)).encode(),
            account=user.account,
            nonce=self.entropy(12),
        )
        self.users.rehash(user.account, sealed, expected_version=user.verifier_version, expected_verifier=user.verifier)


def _unsealed(user: User, ring: Ring) -> str | None:
    """Open a verifier; one that was copied from another account's row does not open."""
    try:
        return ring.unseal(user.verifier, account=user.account).decode()
    except Unsealable:
        return None
