"""Restore a login on a new phone, with the restore key of the old phone.

The request can be repeated with the same attempt. The restore key works only while the login that made it is
live: the write of the new login has this condition. The person proves no factor, so the new login has the lowest
assurance level (``acr`` 0). If the account requires a second factor, its logins cannot be restored.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.first_tokens import Admit, Restoring
from chalicelib.baton.accounts.login_request import Device, LoginRequest, ReadLoginRequest, attested
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.attestation.model import Evidence
from chalicelib.baton.effects import Clock, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User, key_id
from chalicelib.baton.factors.passkey_challenge import (
    Ceremony,
    Challenges,
    PasskeyOptions,
    origins_of,
    party_of,
    request_options,
)
from chalicelib.baton.factors.ports import Passwords, RateLimits
from chalicelib.baton.factors.prove_totp import mark_of
from chalicelib.baton.factors.refusals import ChallengeInvalid, InvalidPasskey, RestoreRefused, UnknownPasskey
from chalicelib.baton.factors.restore_keys import check_offered
from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.factors.verify_passkey import Assertion, read_assertion, verify_silent_assertion
from chalicelib.baton.ids import ACCOUNT_BYTES, AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.assurance import RESTORED
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import AccountState, KeyBinding, Lineage, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.policy import DAY_S, ISSUED_AHEAD_MAX_S, RESTORES_PER_DAY_MAX
from chalicelib.baton.proof.refusals import SignatureRequired
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import TokenResponse
from chalicelib.baton.tokens.ports import Tickets


class RestoreLogin(Struct, frozen=True, kw_only=True):
    """Check a restore key and begin a lineage on the new phone."""

    clock: Clock
    key_ring: KeyRing
    introduce: ReadLoginRequest
    judge_evidence: JudgeEvidence
    clients: Clients
    challenges: Challenges
    users: Passwords
    lineage_store: LineageStore
    tickets: Tickets
    limits: RateLimits
    admit: Admit
    record: Record

    def options(self, message: Message, *, client_id: str, device: Device) -> PasskeyOptions:
        """Return the options with which the new phone proves a restore key.

        The options allow the restore key of any account, because Baton does not know the account yet.

        Raises:
            SignatureRequired: the request has no device key.
            RestoreRefused: the client does not offer restores.
            NotFound: the client cannot use passkeys.

        """
        now = self.clock()
        login_request, key = self._introduce(message, client_id, device, now=now)
        party = party_of(self.clients, login_request.client)
        challenge = self.challenges.make(Ceremony.RESTORE, login_request.client, now=now, key=key)
        return request_options(challenge, party, allowed=(), user_verification="discouraged")

    def __call__(
        self,
        message: Message,
        *,
        client_id: str,
        device: Device,
        credential: Mapping[str, Any],
        evidence: Evidence | None = None,
    ) -> TokenResponse:
        """Return the first tokens. A retry with the same attempt gets the same tokens.

        Nothing is written before the signature is verified.

        Raises:
            UnknownPasskey: no account has this restore key, or the login that made it has ended.
            InvalidPasskey: the assertion of the restore key is not valid.
            ChallengeInvalid: the challenge has expired, was used, or is of another phone.
            RestoreRefused: the client does not offer restores, the account requires a second factor, or the login of
                the old phone is of another client.
            TooManyRequests: the account has reached the limit of restores per day, or has no room for another login.

        """
        now = self.clock()
        login_request, key = self._introduce(message, client_id, device, now=now)
        client, ring = login_request.client, self.key_ring.current(now=now)
        judged = self.judge_evidence(client, login_request.binding, evidence, now=now)
        assertion = read_assertion(credential)
        challenge = self.challenges.open(
            assertion.client_data.challenge, Ceremony.RESTORE, client=client, now=now, key=key
        )
        account_state, user, parent = self._verified(assertion, client, ring, now=now)
        asked = user.factors.on or self.clients.demand_second_factor(client, account_state)
        check_offered(client, asked=asked)
        if parent.client != client.code:
            raise RestoreRefused("the login is of another client")
        if user.credentials_version != account_state.credentials_version:
            raise errors.Unavailable("the credentials were changed during a restore", by_caller=True)
        login_request = attested(login_request, self.judge_evidence, judged, account=user.account, now=now)
        ids = ring.lineage_ids(user.account, login_request.attempt, now=now)
        mark = mark_of(login_request.attempt, "restore")
        used = self.tickets.consume_ticket(challenge.id, expires_at=challenge.expires_at, now=now, mark=mark)
        if isinstance(used, Refused):
            raise ChallengeInvalid("challenge: used by another request")
        if account_state.lineages.keys().isdisjoint(ids):  # else it is a retry
            self._count(user.account, now=now)
        basis = Restoring(parent, self._unknown(assertion, client), user.email)
        return self.admit(login_request, account_state, assurance=RESTORED, ring=ring, now=now, basis=basis)

    def _verified(
        self, assertion: Assertion, client: Client, ring: Ring, *, now: int
    ) -> tuple[AccountState, User, Lineage]:
        """Verify the assertion, and return the account with the live login that the restore key belongs to."""
        party = party_of(self.clients, client)
        if assertion.user_handle is None or len(assertion.user_handle) != ACCOUNT_BYTES:
            raise InvalidPasskey(
                "userHandle", hint="userHandle: it must be the account id, as `user.id` of the options"
            )
        account = AccountId(encode_base64url(assertion.user_handle))
        account_state, user = self.lineage_store.get(account), self.users.get(account)
        kept = _kept(user, assertion.credential_id) if user else None
        if account_state is None or user is None or kept is None:
            raise self._unknown(assertion, client)
        device, restore_key = kept
        parent = self._live(account_state, device, restore_key, ring, now=now)
        if parent is None:
            raise self._unknown(assertion, client)
        origins = origins_of(party, client)
        verify_silent_assertion(assertion, rp_id=party.rp_id, origins=origins, public_key=restore_key.public_key)
        return account_state, user, parent

    def _live(
        self, account_state: AccountState, device: str, restore_key: RestoreKey, ring: Ring, *, now: int
    ) -> Lineage | None:
        """Return the live login whose device key has the key id ``device``, or ``None``.

        A login that began after the restore key was made did not make this key, and is skipped. The comparison allows
        for the different clocks of two servers.
        """
        for lineage in account_state.lineages.values():
            client = self.clients.of(lineage.client)
            if key_id(lineage.binding) != device or client is None or client.retired:
                continue
            if lineage.auth_time > restore_key.made_at + ISSUED_AHEAD_MAX_S:
                continue
            idle_s, not_before = client.mechanism.idle_s, ring.not_before
            if ended_of(account_state, lineage, now=now, not_before=not_before, idle_s=idle_s) is None:
                return lineage if account_state.status is Status.ACTIVE else None
        return None

    def _introduce(self, message: Message, client_id: str, device: Device, *, now: int) -> tuple[LoginRequest, bytes]:
        """Read the login request of a new phone. Return it with the thumbprint of the key of that phone."""
        login_request = self.introduce(message, email=None, client_id=client_id, device=device, now=now)
        binding = login_request.binding
        if not isinstance(binding, KeyBinding):
            raise SignatureRequired(
                "a restored login is bound to a key",
                path=message.path,
                detail="A restored login is bound to the key of the new phone. Send `device.public_key`, and sign with "
                "that key.",
            )
        party_of(self.clients, login_request.client)
        check_offered(login_request.client)
        return login_request, binding.thumbprint

    def _count(self, account: AccountId, *, now: int) -> None:
        slot = self.limits.count(f"restores:{account}", limit=RESTORES_PER_DAY_MAX, window_s=DAY_S, now=now)
        if isinstance(slot, Refused):
            self.record("throttled", account=account, limit="restores")
            raise errors.TooManyRequests(
                "restores limit is reached",
                retry_after=DAY_S - now % DAY_S,
                detail=f"This account was restored {RESTORES_PER_DAY_MAX} times today. Log in.",
            )

    def _unknown(self, assertion: Assertion, client: Client) -> UnknownPasskey:
        rp_id = party_of(self.clients, client).rp_id
        return UnknownPasskey(credential_id=encode_base64url(assertion.credential_id), rp_id=rp_id)


def _kept(user: User, credential_id: bytes) -> tuple[str, RestoreKey] | None:
    """Find a restore key by its credential id. Return the key id of its device, and the key. ``None``: not found."""
    return next((one for one in user.restore.items() if one[1].credential_id == credential_id), None)
