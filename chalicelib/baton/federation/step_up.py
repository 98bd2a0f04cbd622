"""Prove an identity at a provider again, for one exact request of a login (RFC 9470)."""

from typing import Final

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import PresentedIdentity
from chalicelib.baton.federation.id_token import IdTokenRefused, Proved, step_up_nonce
from chalicelib.baton.federation.prove import ProveIdentity
from chalicelib.baton.federation.providers import Provider
from chalicelib.baton.federation.refusals import ReauthenticationUnsupported
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import KeyBinding
from chalicelib.baton.tokens.caller import Caller, Operation

PROVED_WITHIN_S: Final = 300
"""How old the proof of a person may be at a step-up, in seconds. At a login, a token may be 600 seconds old."""


class ProveLinkedIdentity(Struct, frozen=True, kw_only=True):
    """Verify the id_token of a step-up.

    The nonce of the token must be for the caller's login and for the request that the step-up permits. The account must
    have the identity that the token proves.
    """

    prove: ProveIdentity

    def __call__(
        self, caller: Caller, user: User, operation: Operation, presented: PresentedIdentity, *, ring: Ring, now: int
    ) -> int:
        """Check that the person proved the identity again for this operation. Return the time of the proof in seconds.

        Raises:
            Malformed: the service has no such provider, or the login is not bound to a key.
            ReauthenticationUnsupported: a token of this provider does not prove that the person is present now.
            IdentityTokenInvalid, IdentityNotAllowed, TooManyRequests, Unavailable: see `ProveIdentity`.

        """
        row = self.prove.provider(presented.provider, pointer="/identity/provider")
        if not row.counts_for_step_up:
            raise ReauthenticationUnsupported(f"provider {row.name}")
        nonce = step_up_nonce(
            provider=row.name,
            client_id=caller.client_id,
            keyid=_own_key(caller),
            attempt=caller.attempt,
            operation=(operation.method, operation.path, operation.digest),
        )

        times = [now]

        def judge(proved: Proved) -> None:
            times.extend(at for at in (proved.issued_at, proved.auth_time) if at is not None)
            _check_fresh(proved, row, now=now)
            linked = user.identities.get(row.code)
            if linked is None or linked.index != ring.identity_index(row.code, proved.issuer, proved.sub):
                raise IdTokenRefused("sub", "not the identity of this account")

        self.prove(
            row, presented.id_token, client_id=caller.client_id, nonce=nonce, source=caller.source, now=now, judge=judge
        )
        return min(times)


def _check_fresh(proved: Proved, provider: Provider, *, now: int) -> None:
    """Check that the person proved the identity in the last 300 seconds. Raises ``IdTokenRefused``."""
    if abs(now - proved.issued_at) > PROVED_WITHIN_S:
        raise IdTokenRefused("iat", "not issued in the last 300 seconds")
    if provider.kind == "apple":  # Apple's sign-in sheet requires face, finger or code each time
        return
    if proved.auth_time is None or abs(now - proved.auth_time) > PROVED_WITHIN_S:
        raise IdTokenRefused("auth_time", "the person did not log in at the provider in the last 300 seconds")


def _own_key(caller: Caller) -> str:
    """Return the thumbprint of the key of this login. Raises ``Malformed`` if the login is not bound to a key."""
    lineage = caller.account_state.lineages[caller.device_id] if caller.account_state else None
    if lineage is None or not isinstance(lineage.binding, KeyBinding):
        raise errors.Malformed(
            "no device key",
            pointer="/identity",
            detail="A step-up at an identity provider needs a login that is bound to a key. Use another factor.",
        )
    return encode_base64url(lineage.binding.thumbprint)
