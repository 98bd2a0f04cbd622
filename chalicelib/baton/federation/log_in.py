"""Log in, or sign up, with an identity at a provider. The request can be repeated with the same attempt.

Provider, issuer and subject identify an identity. An identity is never found, merged or moved by an e-mail address.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import AskForFactor
from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.login_request import Device, Judge, LoginRequest, ReadLoginRequest, attested
from chalicelib.baton.accounts.ports import AddressTaken, Users
from chalicelib.baton.accounts.refusals import AccountExists
from chalicelib.baton.attestation.judge import Judged, JudgeEvidence
from chalicelib.baton.attestation.model import Evidence
from chalicelib.baton.effects import Clock, Done, Entropy, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.factors.rules import Admitted, EnrolmentAsked
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.apple_tokens import TradeCode
from chalicelib.baton.federation.id_token import Proved, login_nonce
from chalicelib.baton.federation.model import Identity
from chalicelib.baton.federation.ports import Identities, IdentityTaken
from chalicelib.baton.federation.prove import ProveIdentity
from chalicelib.baton.federation.refusals import AccountDisabled, IdentityUnknown
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import NONCE_BYTES, Ring
from chalicelib.baton.lineages.assurance import PASSWORD
from chalicelib.baton.lineages.model import AccountState, KeyBinding, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.policy import REGISTRATION_WINDOW_S, REGISTRATIONS_PER_SOURCE_MAX, START_OVER_MAX
from chalicelib.baton.routing import Message, source_network
from chalicelib.baton.tokens.issue import TokenResponse

Trade = Callable[[AccountId], None]
"""A function that trades the authorization code of this login for a refresh token, and stores this token.

The function never raises.
"""


class Entered(Struct, frozen=True):
    """The first tokens of a login. ``created``: this request created the account."""

    tokens: TokenResponse
    created: bool = False


class LogInFederated(Struct, frozen=True, kw_only=True):
    """Verify an id_token, and begin a lineage on this device."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    introduce: ReadLoginRequest
    judge_evidence: JudgeEvidence
    prove: ProveIdentity
    identities: Identities
    users: Users
    lineage_store: LineageStore
    ephemeral: RateLimits
    judge: Judge
    trade: TradeCode
    ask: AskForFactor
    admit: Admit
    log: Log
    record: Record
    limits: bool = True

    def __call__(  # noqa: PLR0913 - members of a body
        self,
        message: Message,
        *,
        provider: str,
        id_token: str,
        client_id: str,
        device: Device,
        create: bool = False,
        authorization_code: str = "",
        evidence: Evidence | None = None,
    ) -> Entered:
        """Return the first tokens. A retry with the same attempt gets the same tokens.

        Baton writes nothing about the account before the id_token is verified. The last step is one try to trade
        Apple's authorization code. A failure of this trade does not change the answer.

        Raises:
            IdentityTokenInvalid, IdentityNotAllowed: see `ProveIdentity`.
            FactorRequired, EnrolmentRequired, SecondFactorUnsupported: the login needs a second factor.
            TooManyRequests: the network sent too many refused tokens or sign-ups, or the account has no room for
                another login.
            Superseded: see `FirstTokens.find_by_attempt`.
            IdentityUnknown: no account has the identity, and ``create`` is false. Or the account has just lost the
                identity.
            AccountExists: another account has the verified address of the id_token.
            AccountDisabled: the account is disabled. The answer may reveal this, because the identity is proved.

        """
        now = self.clock()
        row = self.prove.provider(provider)
        login_request = self.introduce(message, email=None, client_id=client_id, device=device, now=now)
        keyid = _checked_key(login_request)
        judged = self.judge_evidence(login_request.client, login_request.binding, evidence, now=now)
        nonce = login_nonce(provider=row.name, client_id=client_id, keyid=keyid, attempt=login_request.attempt)
        proved = self.prove(row, id_token, client_id=client_id, nonce=nonce, source=login_request.source, now=now)
        login_request = replace(login_request, provider=row.code)
        ring = self.key_ring.current(now=now)
        index = ring.identity_index(row.code, proved.issuer, proved.sub)

        def trade(account: AccountId) -> None:
            self.trade(authorization_code, row, proved, index=index, account=account, now=now)

        for _ in range(START_OVER_MAX):
            identity = self.identities.get(index)
            if identity is None:
                if not create:
                    raise IdentityUnknown
                made = self._sign_up(login_request, index, proved, judged, trade, ring=ring, now=now)
                if made is not None:
                    return Entered(made, created=True)
                continue
            account_state = self.lineage_store.get(identity.account)
            user = self.users.get(identity.account)
            if account_state is None or account_state.status is Status.DELETED:
                self._finish_deletion(identity, user, now=now)
                continue
            tokens = self._log_in(login_request, identity, account_state, user, judged, trade, ring=ring, now=now)
            return Entered(tokens)
        raise errors.Unavailable("the identity kept changing during a login", by_caller=True)

    def _log_in(  # noqa: PLR0913 - what was read
        self,
        login_request: LoginRequest,
        identity: Identity,
        account_state: AccountState,
        user: User | None,
        judged: Judged,
        trade: Trade,
        *,
        ring: Ring,
        now: int,
    ) -> TokenResponse:
        if account_state.status is not Status.ACTIVE:
            raise AccountDisabled
        if user is None or user.credentials_version != account_state.credentials_version:
            raise errors.Unavailable("the credentials were changed during a login", by_caller=True)
        linked = user.identities.get(login_request.provider)
        if linked is None or linked.index != identity.index:
            raise IdentityUnknown("the account does not have this identity any more")
        login_request = attested(login_request, self.judge_evidence, judged, account=user.account, now=now)
        verdict = self.judge(login_request, account_state, user, ring=ring, now=now)
        if not isinstance(verdict, Admitted):
            # Without an address there is no mailbox to prove before the first factor is enrolled.
            asked = self.ask(verdict, login_request, account_state, ring=ring, now=now, email_proved=not user.email)
            trade(user.account)
            raise asked
        tokens = self.admit(login_request, account_state, assurance=verdict.assurance, ring=ring, now=now)
        self.log.record("federated_logged_in", lineage=tokens.device_id, client=login_request.client.id)
        trade(user.account)
        return tokens

    def _sign_up(  # noqa: PLR0913 - what was proved
        self,
        login_request: LoginRequest,
        index: str,
        proved: Proved,
        judged: Judged,
        trade: Trade,
        *,
        ring: Ring,
        now: int,
    ) -> TokenResponse | None:
        """Make the account, and return its first tokens.

        Return ``None`` if another request made the account, or if a deleted account still had the identity or the
        address. The caller then starts over.
        """
        self._take_slot(login_request.source, now=now)
        attempt = login_request.attempt
        account = ring.federated_ids(index, attempt, now=now)[0]
        login_request = attested(login_request, self.judge_evidence, judged, account=account, now=now)
        lineage_id = ring.lineage_ids(account, attempt, now=now)[0]
        lineage = login_request.lineage(lineage_id, epoch=1, assurance=PASSWORD, now=now)
        # A client that requires a second factor admits no login without it: the app enrols a factor first.
        admitted = login_request.client.second_factor != "required"
        user = self._user(account, index, login_request.provider, proved, ring=ring, now=now)
        account_state = AccountState(
            account=account,
            status=Status.ACTIVE,
            epoch=1,
            credentials_version=1,
            lineages={lineage.id: lineage} if admitted else {},
        )
        sealed_sub = ring.encrypt_for(
            proved.sub.encode(), account=account, nonce=self.entropy(NONCE_BYTES), kind="identity"
        )
        outcome = self.identities.sign_up(user, account_state, Identity(index, account, now, sealed_sub))
        if isinstance(outcome, IdentityTaken):
            if outcome.account == account and self.identities.get(index) is None:
                raise errors.Superseded("the account of this attempt was deleted, or has lost the identity")
            return None
        if isinstance(outcome, AddressTaken):
            self._check_deleted(outcome.account, user.email_index, now=now)
            return None
        assert isinstance(outcome, Done)
        client = login_request.client.id
        self.record("federated_signed_up", account=account, lineage=lineage.id if admitted else None, client=client)
        if not admitted:
            verdict = EnrolmentAsked(self.judge.enrollable(login_request.client, verified=True))
            asked = self.ask(verdict, login_request, account_state, ring=ring, now=now, email_proved=not user.email)
            trade(account)
            raise asked
        tokens = self.admit.first_tokens.tokens_for(
            lineage, login_request, account_state=account_state, ring=ring, now=now
        )
        trade(account)
        return tokens

    def _user(self, account: AccountId, index: str, provider: int, proved: Proved, *, ring: Ring, now: int) -> User:
        email = proved.email
        return User(
            account=account,
            email=email,
            email_index=ring.email_index(email) if email else EmailIndex(""),
            password_hash=None,
            credentials_version=1,
            created_at=now,
            verified_at=now if email else None,
            identities={provider: LinkedIdentity(index, now, email)},
        )

    def _check_deleted(self, account: AccountId, email_index: EmailIndex, *, now: int) -> None:
        """Finish an interrupted deletion, so that the address becomes free.

        Raises ``AccountExists`` if the account is not deleted.
        """
        account_state = self.lineage_store.get(account)
        if account_state is None or account_state.status is not Status.DELETED:
            raise AccountExists
        self.users.forget(account, email_index, now=now)

    def _finish_deletion(self, identity: Identity, user: User | None, *, now: int) -> None:
        """Delete the rest of a deleted account, so that the identity becomes free."""
        if user is not None:
            self.users.forget(identity.account, user.email_index, now=now)
        self.identities.forget(identity.index, identity.account, now=now)

    def _take_slot(self, source: str, *, now: int) -> None:
        """Count this sign-up in the limit of registrations of its network. Raises ``TooManyRequests``."""
        if not self.limits:
            return
        name = f"register:{source_network(source)}"
        slot = self.ephemeral.count(name, limit=REGISTRATIONS_PER_SOURCE_MAX, window_s=REGISTRATION_WINDOW_S, now=now)
        if isinstance(slot, Refused):
            self.log.record("throttled", limit="register")
            raise errors.TooManyRequests(
                "register limit is reached", retry_after=REGISTRATION_WINDOW_S - now % REGISTRATION_WINDOW_S
            )


def _checked_key(login_request: LoginRequest) -> str:
    """Return the thumbprint of the device key.

    Raises ``Malformed`` if the login has no key, or if the request has no header ``Idempotency-Key``.
    """
    if not isinstance(login_request.binding, KeyBinding):
        raise errors.Malformed(
            "no device key",
            pointer="/device/public_key",
            detail="A login with an identity provider is bound to a key. Send `device.public_key` and sign with it.",
        )
    if not login_request.attempt_sent:
        raise errors.Malformed(
            "no attempt",
            detail="Send `Idempotency-Key`: the attempt that the nonce of the id_token was made for.",
        )
    return encode_base64url(login_request.binding.thumbprint)
