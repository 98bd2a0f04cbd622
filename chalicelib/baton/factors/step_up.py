"""Step-up: prove the password again for one exact request, and get a grant for it (RFC 9470)."""

from msgspec import Struct

from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.credentials import PASSWORD_ALONE, Credentials
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.rate_limits import device_limits
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
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
    """Check the password of a caller and issue a grant for one operation."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    credentials: Credentials
    ephemeral: Grants
    log: Log

    def __call__(self, caller: Caller, operation: Operation, password: str) -> Grant:
        """Return a grant. A wrong password counts as a failed login on this device."""
        now = self.clock()
        user = self.credentials.check(
            normalise(password),
            account=caller.account,
            account_state=caller.account_state,
            ring=self.key_ring.current(now=now),
            rate_limits=device_limits(caller),
            now=now,
        )
        grant = encode_base64url(self.entropy(32))
        self.ephemeral.store_grant(
            grant,
            lineage=caller.device_id,
            operation=operation,
            step_up=GrantUsed(at=now, assurance=PASSWORD_ALONE),
            credentials_version=user.credentials_version,
            expires_at=now + GRANT_S,
        )
        self.log.record("stepped_up", lineage=caller.device_id)
        return Grant(grant=grant, expires_in=GRANT_S)
