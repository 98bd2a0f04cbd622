"""Step-up: prove factors again for one exact request, and get a grant for it (RFC 9470)."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.prove_totp import ProveTotp
from chalicelib.baton.factors.rate_limits import device_limits, proved_device
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.assurance import PASSWORD, PASSWORD_AND_TOTP, TOTP_ALONE
from chalicelib.baton.policy import GRANT_S
from chalicelib.baton.tokens.caller import Caller, GrantUsed, Operation
from chalicelib.baton.tokens.ports import Grants


class Grant(Struct, frozen=True):
    """A step-up grant: a secret that allows one operation once, within ``expires_in`` seconds."""

    grant: str
    expires_in: int

    def __repr__(self) -> str:
        """Mask the secret."""
        return "Grant('**********')"


class IssueStepUpGrant(Struct, frozen=True, kw_only=True):
    """Check the factors of a caller and issue a grant for one operation."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    credentials: Credentials
    prove_totp: ProveTotp
    ephemeral: Grants
    log: Log

    def __call__(self, caller: Caller, operation: Operation, password: str | None, totp: str | None = None) -> Grant:
        """Return a grant of the level that the given factors prove together.

        A wrong password counts as a failed login on this device, a wrong code as one of this device's wrong codes.
        Raises ``Malformed`` without any factor, ``InvalidCredentials``, ``InvalidFactor`` and ``TooManyRequests``.
        """
        if password is None and totp is None:
            raise errors.Malformed("no factor", detail="Send `password`, `totp`, or both.")
        now = self.clock()
        user = self._user(caller, password, now=now)
        if totp is not None:
            self.prove_totp(
                user,
                totp,
                device=_proved_device(caller, user),
                attempt=caller.attempt,
                effect=f"step-up {caller.device_id} {operation.method} {operation.path} {operation.digest}",
                remember=None,
                ring=self.key_ring.current(now=now),
                now=now,
            )
        assurance = TOTP_ALONE if password is None else PASSWORD if totp is None else PASSWORD_AND_TOTP
        grant = encode_base64url(self.entropy(32))
        self.ephemeral.store_grant(
            grant,
            lineage=caller.device_id,
            operation=operation,
            step_up=GrantUsed(at=now, assurance=assurance, second_factor=user.factors.on),
            credentials_version=user.credentials_version,
            expires_at=now + GRANT_S,
        )
        self.log.record("stepped_up", lineage=caller.device_id)
        return Grant(grant=grant, expires_in=GRANT_S)

    def _user(self, caller: Caller, password: str | None, *, now: int) -> User:
        """Read the user, and check the password if there is one."""
        if password is not None:
            return self.credentials.check(
                normalise(password),
                account=caller.account,
                account_state=caller.account_state,
                ring=self.key_ring.current(now=now),
                rate_limits=device_limits(caller),
                now=now,
            )
        user = self.credentials.users.get(caller.account)
        version = caller.account_state.credentials_version if caller.account_state else None
        if user is None or user.credentials_version != version:
            raise errors.Unavailable("the password or a factor was changed during a step-up", by_caller=True)
        return user


def _proved_device(caller: Caller, user: User) -> str | None:
    account_state = caller.account_state
    assert account_state is not None  # of every caller of a route
    binding = account_state.lineages[caller.device_id].binding
    return proved_device(account_state, user.factors, binding, caller.device_id)
