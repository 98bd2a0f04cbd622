"""Login with only a passkey: no address, no password. The request can be repeated with the same attempt.

The passkey names the account (``userHandle``), and the account must have the passkey. The authenticator verified the
person, so no second factor is asked for.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.login_request import Device, LoginRequest, ReadLoginRequest, attested
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.attestation.model import Evidence
from chalicelib.baton.effects import Clock
from chalicelib.baton.factors.passkey_ceremonies import PasskeyCeremonies
from chalicelib.baton.factors.passkey_challenge import Ceremony, PasskeyOptions, party_of, request_options
from chalicelib.baton.factors.ports import Passwords
from chalicelib.baton.factors.refusals import InvalidCredentials, InvalidPasskey
from chalicelib.baton.factors.verify_passkey import read_assertion
from chalicelib.baton.ids import ACCOUNT_BYTES, AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.assurance import PASSKEY
from chalicelib.baton.lineages.model import KeyBinding, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import TokenResponse


class LoginWithPasskey(Struct, frozen=True, kw_only=True):
    """Check a passkey and begin a lineage on this device."""

    clock: Clock
    key_ring: KeyRing
    introduce: ReadLoginRequest
    judge_evidence: JudgeEvidence
    passkeys: PasskeyCeremonies
    users: Passwords
    lineage_store: LineageStore
    admit: Admit

    def options(self, message: Message, *, client_id: str, device: Device) -> PasskeyOptions:
        """Return the options to prove any passkey. The request names no account, so no account is read.

        Raises ``NotFound`` if the client cannot use passkeys.
        """
        now = self.clock()
        login_request = self.introduce(message, email=None, client_id=client_id, device=device, now=now)
        party = party_of(self.passkeys.clients, login_request.client)
        challenge = self.passkeys.challenges.make(
            Ceremony.SIGN_IN, login_request.client, now=now, key=_thumbprint(login_request)
        )
        return request_options(challenge, party, allowed=(), user_verification="required")

    def __call__(
        self,
        message: Message,
        *,
        client_id: str,
        device: Device,
        credential: Mapping[str, Any],
        remember: bool = False,
        evidence: Evidence | None = None,
    ) -> TokenResponse:
        """Return the first tokens. A retry with the same attempt gets the same tokens.

        Nothing is written before the signature is verified. So a request with an invalid signature causes only a few
        reads.

        Raises:
            UnknownPasskey: the account of ``userHandle`` does not exist, or does not have this passkey.
            InvalidPasskey, ChallengeInvalid: see `ProvePasskey`.
            InvalidCredentials: the account is disabled. The passkey is valid, and the phone must keep the passkey.

        """
        now = self.clock()
        login_request = self.introduce(
            message, email=None, client_id=client_id, device=device, now=now, remember=remember
        )
        client = login_request.client
        judged = self.judge_evidence(client, login_request.binding, evidence, now=now)
        party_of(self.passkeys.clients, client)
        assertion = read_assertion(credential)
        challenge = self.passkeys.challenges.open(
            assertion.client_data.challenge,
            Ceremony.SIGN_IN,
            client=client,
            now=now,
            key=_thumbprint(login_request),
        )
        if assertion.user_handle is None or len(assertion.user_handle) != ACCOUNT_BYTES:
            raise InvalidPasskey(
                "userHandle", hint="userHandle: it must be the account id, as `user.id` of the options"
            )
        account = AccountId(encode_base64url(assertion.user_handle))
        account_state = self.lineage_store.get(account)
        user = self.users.get(account)
        proved = self.passkeys.prove.verify(assertion, challenge, user, client=client, user_verified=True, now=now)
        if account_state is None or account_state.status is not Status.ACTIVE:
            raise InvalidCredentials("the account is not active")
        if proved.user.credentials_version != account_state.credentials_version:
            raise errors.Unavailable("the credentials were changed while the passkey was being checked", by_caller=True)
        login_request = attested(login_request, self.judge_evidence, judged, account=account, now=now)
        self.passkeys.prove.use(proved, attempt=login_request.attempt, effect="login", remember=None, now=now)
        ring = self.key_ring.current(now=now)
        return self.admit(login_request, account_state, assurance=PASSKEY, ring=ring, now=now)


def _thumbprint(login_request: LoginRequest) -> bytes:
    binding = login_request.binding
    return binding.thumbprint if isinstance(binding, KeyBinding) else b""
