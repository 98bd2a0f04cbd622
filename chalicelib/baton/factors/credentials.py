"""Check a password: rate limits first, then the same work for existing and unknown accounts."""

import contextlib
from collections.abc import Callable, Mapping

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Entropy, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.decoys import Decoys
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import Verified, hash_password, verify_password
from chalicelib.baton.factors.ports import Passwords, RateLimits
from chalicelib.baton.factors.rate_limits import RateLimit
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ring import CannotDecrypt, Ring
from chalicelib.baton.lineages.model import AccountState, Status
from chalicelib.baton.policy import THROTTLE_WINDOW_S
from chalicelib.baton.tokens.caller import OwnFactors

Elsewhere = Callable[[User | None, AccountState | None], User | None]
"""A function that checks a password in another system. If the password is right, the user moves to Baton.

The function returns the user that moved, or ``None`` if no user moved. The arguments are the user and the account state
that Baton has stored. The password is no argument: the function is made for one password.
"""


class Credentials(Struct, frozen=True, kw_only=True):
    """Check the password of an account, even if the account does not exist."""

    entropy: Entropy
    users: Passwords
    ephemeral: RateLimits
    log: Log
    record: Record
    limits: bool = True
    decoys: Decoys = Decoys()

    def check(  # noqa: PLR0913 - what a check compares
        self,
        password: str,
        *,
        account: AccountId,
        account_state: AccountState | None,
        ring: Ring,
        rate_limits: tuple[RateLimit, ...],
        now: int,
        elsewhere: Elsewhere | None = None,
    ) -> User:
        """Check the password and return the user.

        Baton counts the check in each rate limit before it hashes the password. After a success or a server error,
        Baton subtracts the check from each count.

        ``elsewhere``: checks a password that Baton refuses. If the password is right, ``elsewhere`` moves the account
        to Baton. The caller must then read the account state again.

        Raises:
            TooManyRequests: a rate limit is reached.
            InvalidCredentials: the password is wrong, or the account is unknown or disabled.
            PasswordTooLarge, Malformed: see `normalise`.
            Unavailable: a store failed, the account is inconsistent, or its credentials have just changed.

        """
        secret = normalise(password)
        self._count(rate_limits, account=account, now=now)
        try:
            user = self.users.get(account)
            try:
                verified = self._verify(
                    secret, password.encode(), user, account=account, account_state=account_state, ring=ring
                )
            except InvalidCredentials:
                user = elsewhere(user, account_state) if elsewhere else None
                if user is None:
                    self.log.record("password_refused", account=account)
                    raise
                verified = Verified(rehash=False)
        except errors.Unavailable:
            self._try_to_uncount(rate_limits, now=now)
            raise
        self._uncount(rate_limits, now=now)
        assert user is not None  # the password of this user is right
        if verified.rehash:
            self._rehash(secret, user, ring)
        return user

    def own_factors(self, account: AccountId, providers: Mapping[int, str]) -> OwnFactors:
        """Return which factors an account has. ``providers`` has the providers that a step-up accepts: code -> name."""
        user = self.users.get(account)
        if user is None:
            return OwnFactors()
        factors = user.factors
        return OwnFactors(
            on=factors.on,
            totp=factors.totp is not None,
            passkey=bool(factors.passkeys),
            password=user.password_hash is not None,
            providers=tuple(providers[code] for code in sorted(user.identities) if code in providers),
        )

    def _verify(
        self,
        password: bytes,
        as_sent: bytes,
        user: User | None,
        *,
        account: AccountId,
        account_state: AccountState | None,
        ring: Ring,
    ) -> Verified:
        password_hash = _opened(user, ring) if user else None
        active = account_state is not None and account_state.status is Status.ACTIVE
        try:
            verified = verify_password(
                password, password_hash=password_hash, as_sent=as_sent, decoy=self.decoys.of(account)
            )
            if user is None or account_state is None or not active:
                raise InvalidCredentials("the account is not active")
        except InvalidCredentials:
            unreadable = user is not None and user.password_hash is not None and password_hash is None
            if (active and (user is None or unreadable)) or (user is not None and account_state is None):
                raise errors.Unavailable(
                    "inconsistent account: the account state, the user or the password hash is missing"
                ) from None
            raise
        if user.credentials_version != account_state.credentials_version:
            raise errors.Unavailable("the password was changed while it was being checked", by_caller=True)
        return verified

    def _count(self, rate_limits: tuple[RateLimit, ...], *, account: AccountId, now: int) -> None:
        """Count this check in every rate limit.

        If any limit is reached, no limit counts this check, and the password is not checked.
        """
        if not self.limits:
            return
        for counted, (name, limit) in enumerate((each.name, each.limit) for each in rate_limits):
            try:
                slot = self.ephemeral.count(name, limit=limit, window_s=THROTTLE_WINDOW_S, now=now)
            except errors.Unavailable:
                self._try_to_uncount(rate_limits[:counted], now=now)
                raise
            if isinstance(slot, Refused):
                self._uncount(rate_limits[:counted], now=now)
                kind = name.partition(":")[0]
                if kind == "source":  # the limit of a network concerns no account
                    self.log.record("throttled", limit=kind)
                else:
                    self.record("throttled", account=account, limit=kind)
                raise errors.TooManyRequests(
                    f"{kind} limit is reached",
                    retry_after=THROTTLE_WINDOW_S - now % THROTTLE_WINDOW_S,
                )

    def _uncount(self, rate_limits: tuple[RateLimit, ...], *, now: int) -> None:
        if not self.limits:
            return
        for rate_limit in rate_limits:
            self.ephemeral.uncount(rate_limit.name, window_s=THROTTLE_WINDOW_S, now=now)

    def _try_to_uncount(self, rate_limits: tuple[RateLimit, ...], *, now: int) -> None:
        """Subtract this check from the counts after a server error: a wrong password did not cause the error.

        A server error during the subtraction is ignored.
        """
        for rate_limit in rate_limits:
            with contextlib.suppress(errors.Unavailable):
                self._uncount((rate_limit,), now=now)

    def _rehash(self, password: bytes, user: User, ring: Ring) -> None:
        assert user.password_hash is not None  # the password matched this hash
        sealed = ring.encrypt_for(
            hash_password(password, salt=self.entropy(16)).encode(),
            account=user.account,
            nonce=self.entropy(12),
        )
        self.users.rehash(
            user.account, sealed, expected_version=user.credentials_version, expected_password_hash=user.password_hash
        )


def _opened(user: User, ring: Ring) -> str | None:
    """Decrypt the password hash of a user. ``None``: the user has no hash, or the decryption fails."""
    if user.password_hash is None:
        return None
    try:
        return ring.decrypt_for(user.password_hash, account=user.account).decode()
    except CannotDecrypt:
        return None
