"""Step-up: prove factors again for one exact request, and get a grant for it (RFC 9470)."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.passkey_ceremonies import PasskeyCeremonies
from chalicelib.baton.factors.passkey_challenge import (
    Ceremony,
    PasskeyOptions,
    digest_of,
    party_of,
    request_options,
)
from chalicelib.baton.factors.ports import PresentedIdentity, ProveLinkedIdentity
from chalicelib.baton.factors.prove_totp import ProveTotp
from chalicelib.baton.factors.rate_limits import device_limits, proved_device
from chalicelib.baton.factors.verify_passkey import read_assertion
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.assurance import (
    PASSKEY,
    PASSWORD,
    PASSWORD_AND_PASSKEY,
    PASSWORD_AND_TOTP,
    TOTP_ALONE,
    by_provider,
)
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.lineages.model import Assurance
from chalicelib.baton.lineages.rules import proved_login
from chalicelib.baton.policy import GRANT_S
from chalicelib.baton.tokens.caller import Caller, GrantUsed, Operation
from chalicelib.baton.tokens.ports import Grants

_FACTORS_MAX: Final = 2


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
    passkeys: PasskeyCeremonies
    prove_identity: ProveLinkedIdentity
    ephemeral: Grants
    log: Log

    def options(self, caller: Caller, operation: Operation) -> PasskeyOptions:
        """Return the options to prove a passkey for this operation.

        Raises ``NotFound`` if the account has no passkey, or if the client cannot use passkeys.
        """
        now, client = self.clock(), self._client(caller)
        party = party_of(self.passkeys.clients, client)
        user = self._user(caller, None, now=now)
        if not user.factors.passkeys:
            raise errors.NotFound("the account has no passkey", detail="The account has no passkey.")
        challenge = self.passkeys.challenges.make(
            Ceremony.STEP_UP, client, now=now, **_bound_to(caller, operation, user.credentials_version)
        )
        allowed = user.factors.passkeys.values()
        return request_options(challenge, party, allowed=allowed, user_verification="required")

    def __call__(
        self,
        caller: Caller,
        operation: Operation,
        password: str | None,
        totp: str | None = None,
        passkey: Mapping[str, Any] | None = None,
        identity: PresentedIdentity | None = None,
    ) -> Grant:
        """Return a grant of the assurance level that the given factors prove together.

        A wrong password counts as a failed login on this device. A wrong code counts in the limits of `ProveTotp`.
        Raises ``Malformed`` for no factor, for more than two, or for an identity with a password or a passkey. Also
        raises ``InvalidCredentials``, ``InvalidFactor``, ``TooManyRequests``, ``InvalidPasskey``, ``UnknownPasskey``,
        ``ChallengeInvalid``, and the errors of `ProveLinkedIdentity`.
        """
        if not 1 <= sum(one is not None for one in (password, totp, passkey, identity)) <= _FACTORS_MAX:
            detail = "Send one or two of `password`, `totp`, `passkey` and `identity`."
            raise errors.Malformed("no factor", detail=detail)
        if identity is not None and (password, passkey) != (None, None):
            raise errors.Malformed("identity and another", detail="Send `identity` alone or with `totp`.")
        now = self.clock()
        user = self._user(caller, password, now=now)
        proved_at = now
        if identity is not None:
            ring = self.key_ring.current(now=now)
            proved_at = self.prove_identity(caller, user, operation, identity, ring=ring, now=now)
        effect = f"step-up {caller.device_id} {operation.method} {operation.path} {operation.digest}"
        if passkey is not None:
            proved_at = self._prove_passkey(caller, operation, user, passkey, effect=effect, now=now)
        if totp is not None:
            typed_at = self.prove_totp(  # a repetition returns an earlier time, so an old proof never becomes new
                user,
                totp,
                device=_proved_device(caller, user),
                attempt=caller.attempt,
                effect=effect,
                remember=None,
                ring=self.key_ring.current(now=now),
                now=now,
            )
            proved_at = min(proved_at, typed_at)
        assurance = _assurance(
            password=password is not None or identity is not None, totp=totp is not None, passkey=passkey is not None
        )
        if identity is not None:
            assurance = by_provider(assurance)
        grant = encode_base64url(self.entropy(32))
        self.ephemeral.store_grant(
            grant,
            lineage=caller.device_id,
            operation=operation,
            step_up=GrantUsed(at=proved_at, assurance=assurance, second_factor=user.factors.on),
            credentials_version=user.credentials_version,
            expires_at=now + GRANT_S,
        )
        self.log.record("stepped_up", lineage=caller.device_id)
        return Grant(grant=grant, expires_in=GRANT_S)

    def _prove_passkey(
        self,
        caller: Caller,
        operation: Operation,
        user: User,
        credential: Mapping[str, Any],
        *,
        effect: str,
        now: int,
    ) -> int:
        assertion, client = read_assertion(credential), self._client(caller)
        challenge = self.passkeys.challenges.open(
            assertion.client_data.challenge,
            Ceremony.STEP_UP,
            client=client,
            now=now,
            **_bound_to(caller, operation, user.credentials_version),
        )
        proved = self.passkeys.prove.verify(assertion, challenge, user, client=client, user_verified=True, now=now)
        return self.passkeys.prove.use(proved, attempt=caller.attempt, effect=effect, remember=None, now=now)

    def _client(self, caller: Caller) -> Client:
        client = self.passkeys.clients.get(caller.client_id)
        assert client is not None  # the registry has the client of every caller
        return client

    def _user(self, caller: Caller, password: str | None, *, now: int) -> User:
        """Read the user, and check the password if it is in the request."""
        if password is not None:
            return self.credentials.check(
                password,
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


def _bound_to(caller: Caller, operation: Operation, credentials_version: int) -> dict[str, Any]:
    """Return the members of `Challenge` that bind a step-up to this login, operation and credentials version."""
    return {
        "account": caller.account,
        "lineage": caller.device_id,
        "operation": digest_of(operation),
        "credentials_version": credentials_version,
    }


def _assurance(*, password: bool, totp: bool, passkey: bool) -> Assurance:
    if passkey:
        return PASSWORD_AND_PASSKEY if password else PASSKEY
    if password:
        return PASSWORD_AND_TOTP if totp else PASSWORD
    return TOTP_ALONE


def _proved_device(caller: Caller, user: User) -> str | None:
    account_state = caller.account_state
    assert account_state is not None  # every caller of a route has an account state
    proved = proved_login(account_state, account_state.lineages[caller.device_id])
    return proved_device(account_state, user.factors, proved.binding, proved.id)
