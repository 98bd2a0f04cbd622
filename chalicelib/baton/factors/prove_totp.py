"""Prove a code of an authenticator app: rate limits first, then the code, then one write that uses it."""

import contextlib
import hashlib
from typing import Final

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Refused
from chalicelib.baton.events.ports import Log, Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import Remember, Totp, User
from chalicelib.baton.factors.ports import FactorStore, RateLimits
from chalicelib.baton.factors.refusals import InvalidFactor
from chalicelib.baton.factors.totp import is_code_at, matching_step, step_at
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ring import CannotDecrypt, Ring
from chalicelib.baton.policy import (
    DAY_S,
    SECOND_FACTOR_FAILING_AT,
    TOTP_STEP_S,
    WRONG_TOTP_IN_A_ROW_KEPT_S,
    WRONG_TOTP_IN_A_ROW_MAX,
    WRONG_TOTP_PER_DAY_MAX,
)
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES

_MARK_BYTES: Final = 16


class ProveTotp(Struct, frozen=True, kw_only=True):
    """Check a code of the authenticator app of a user, and use it.

    The limits of wrong codes:

    - A device that proved a second factor before: 30 a day for each such device.
    - All other devices together: 30 a day, and 100 in a row. A right code from any device, or a recovery code, resets
      the count of wrong codes in a row.
    """

    store: FactorStore
    ephemeral: RateLimits
    log: Log
    record: Record
    limits: bool = True

    def __call__(  # noqa: PLR0913 - whose code it is, and what for
        self,
        user: User,
        code: str,
        *,
        device: str | None,
        attempt: str,
        effect: str,
        remember: Remember | None,
        ring: Ring,
        now: int,
    ) -> int:
        """Check that the code is right and unused, and use it. For a repetition, the code may be used already.

        A repetition is a request with the ``attempt`` and the ``effect`` of the request that used the code.

        Return the time at which the person typed the code, in seconds. For a first use, this is ``now``. For a
        repetition, this is ``now`` or the end of the code's time step, whichever is earlier.

        - ``device``: the name of a device that has a limit of its own (`rate_limits.proved_device`).
        - ``remember``: if given, the write that uses the code also remembers the device with the id ``remember.key``.
        - ``effect``: what the code is used for, such as ``login``. The client chooses the attempt. Without ``effect``,
          a client could send one attempt with many operations, and use one code for all of them.

        Raises:
            TooManyRequests: too many wrong codes. The code was not checked.
            InvalidFactor: the code is wrong or used, or the account has no authenticator app. Or another request
                changed the app or the credentials version after ``user`` was read.

        """
        totp = user.factors.totp
        if totp is None:
            raise InvalidFactor("no authenticator app is enrolled")
        self._count(user, totp, device=device, now=now)
        step = step_of(user, code, ring=ring, now=now)
        used = step is not None and self.store.consume_totp_step(
            user.account,
            totp,
            step=step,
            mark=_mark(attempt, effect, step),
            credentials_version=user.credentials_version,
            remember=remember,
        )
        if step is None or isinstance(used, Refused):
            self._failed(user.account, now=now)
            raise InvalidFactor("the code is wrong" if step is None else "the code was used")
        if self.limits:
            name = _daily(user.account, device)
            self.ephemeral.uncount(name, window_s=DAY_S, now=now)
        return min(now, (step + 1) * TOTP_STEP_S) if step == totp.step else now

    def _count(self, user: User, totp: Totp, *, device: str | None, now: int) -> None:
        """Count this try as a wrong code, before the code is checked."""
        if not self.limits:
            return
        daily = self.ephemeral.count(
            _daily(user.account, device), limit=WRONG_TOTP_PER_DAY_MAX, window_s=DAY_S, now=now
        )
        if isinstance(daily, Refused):
            self._throttled(user.account, "totp", now=now)
        if device is not None:
            return
        recovery = user.factors.recovery
        since = f"{totp.step}:{recovery.mark.hex() if recovery else ''}"
        row = self.ephemeral.count(
            f"totp_row:{user.account}:{since}",
            limit=WRONG_TOTP_IN_A_ROW_MAX,
            window_s=WRONG_TOTP_IN_A_ROW_KEPT_S,
            now=now,
        )
        if isinstance(row, Refused):
            self._throttled(user.account, "totp_row", now=now)

    def _throttled(self, account: AccountId, limit: str, *, now: int) -> None:
        self.record("throttled", account=account, limit=limit)
        raise errors.TooManyRequests(
            f"{limit} limit is reached",
            retry_after=DAY_S - now % DAY_S,
            detail="There were too many wrong codes. Log in with a recovery code, or on a device that proved a factor.",
        )

    def _failed(self, account: AccountId, *, now: int) -> None:
        """Record a code that was wrong or used.

        After ``SECOND_FACTOR_FAILING_AT`` such codes in a day, also tell the owner, once a day. The codes may come
        from a stranger who has the password, a linked identity or a token of the account.
        """
        self.log.record("factor_refused", account=account)
        with contextlib.suppress(errors.Unavailable):
            few = SECOND_FACTOR_FAILING_AT - 1
            wrong = self.ephemeral.count(f"totp_wrong:{account}", limit=few, window_s=DAY_S, now=now)
            if not isinstance(wrong, Refused):
                return
            if not isinstance(self.ephemeral.count(f"totp_told:{account}", limit=1, window_s=DAY_S, now=now), Refused):
                self.record("second_factor_failing", account=account, told=Told())


def step_of(user: User, code: str, *, ring: Ring, now: int) -> int | None:
    """Return the accepted time step with this code. ``None``: there is no such step, or no authenticator app.

    The accepted steps:

    - The previous, the current or the next step, if it is later than the last used step (`totp.matching_step`).
    - The last used step, until it is older than the lifetime of an ``auth_session`` (the ticket of an unfinished
      login). A client that got no answer sends the same code again. Then the store accepts the code only with the same
      attempt and the same effect. The effect is what the code is used for, such as ``login``.
    """
    totp = user.factors.totp
    if totp is None:
        return None
    secret = opened_secret(totp, user.account, ring)
    step = matching_step(secret, code, after=totp.step, now=now)
    recent = totp.step >= step_at(now - TICKET_PURPOSES["auth_session"].life_s)
    if step is None and recent and is_code_at(secret, totp.step, code):
        return totp.step
    return step


def opened_secret(totp: Totp, account: AccountId, ring: Ring) -> bytes:
    """Decrypt the secret of an account's authenticator app. Raises ``Unavailable`` if the decryption fails."""
    try:
        return ring.decrypt_for(totp.sealed, account=account, kind="totp")
    except CannotDecrypt:
        raise errors.Unavailable("inconsistent account: the authenticator secret cannot be decrypted") from None


def mark_of(attempt: str, effect: str) -> bytes:
    """Return the mark of a request that uses a one-time value: 16 bytes that derive from ``attempt`` and ``effect``.

    ``effect`` names what the value is used for, such as ``login``. A repeated request has the same mark.
    """
    return hashlib.sha256(f"baton mark\0{effect}\0{attempt}".encode()).digest()[:_MARK_BYTES]


def _mark(attempt: str, effect: str, step: int) -> bytes:
    return mark_of(attempt, f"{effect}\0{step}")


def _daily(account: AccountId, device: str | None) -> str:
    return f"totp:{account}" if device is None else f"totp:{account}:{device}"
