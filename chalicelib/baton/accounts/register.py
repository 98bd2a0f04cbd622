"""Registration: an account, its e-mail index entry and its first lineage, in one transaction."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.first_tokens import FirstTokens
from chalicelib.baton.accounts.login_request import Device, LoginRequest, ReadLoginRequest
from chalicelib.baton.accounts.ports import AddressTaken, Users
from chalicelib.baton.accounts.refusals import AccountExists
from chalicelib.baton.effects import Clock, Done, Entropy, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.factors.rate_limits import RateLimit, login_limits
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.factors.strength import check_strength
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import AccountState, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.policy import REGISTRATION_WINDOW_S, REGISTRATIONS_PER_SOURCE_MAX, START_OVER_MAX
from chalicelib.baton.routing import Message, source_network
from chalicelib.baton.tokens.issue import TokenResponse


class Register(Struct, frozen=True, kw_only=True):
    """Create an account and log in on this device."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    introduce: ReadLoginRequest
    credentials: Credentials
    users: Users
    lineage_store: LineageStore
    ephemeral: RateLimits
    first_tokens: FirstTokens
    log: Log
    record: Record
    limits: bool = True

    def __call__(
        self, message: Message, *, source: str, email: str, password: str, client_id: str, device: Device
    ) -> TokenResponse:
        """Return the first tokens. A retry with the same attempt gets the same ones."""
        now = self.clock()
        ring = self.key_ring.current(now=now)
        secret = normalise(password)
        login_request = self.introduce(message, email=email, client_id=client_id, device=device, now=now)
        check_strength(secret.decode(), email=login_request.email)
        self._take_slot(source, now=now)
        password_hash = hash_password(secret, salt=self.entropy(16)).encode()
        for _ in range(START_OVER_MAX):
            user, account_state = self._begin(login_request, password_hash, ring=ring, now=now)
            outcome = self.users.register(user, account_state)
            if isinstance(outcome, Done):
                (lineage,) = account_state.lineages.values()
                client = login_request.client.id
                self.record("registered", account=user.account, lineage=lineage.id, client=client)
                return self.first_tokens.tokens_for(
                    lineage, login_request, account_state=account_state, ring=ring, now=now
                )
            issued = self._taken(outcome, login_request, secret, source=source, ring=ring, now=now)
            if issued is not None:
                return issued
        raise errors.Unavailable("the e-mail claim kept changing during a registration", by_caller=True)

    def _take_slot(self, source: str, *, now: int) -> None:
        """Count registrations per source, successes too, because a registration reveals a registered address."""
        if not self.limits:
            return
        slot = self.ephemeral.count(
            f"register:{source_network(source)}",
            limit=REGISTRATIONS_PER_SOURCE_MAX,
            window_s=REGISTRATION_WINDOW_S,
            now=now,
        )
        if isinstance(slot, Refused):
            self.log.record("throttled", limit="register")
            raise errors.TooManyRequests(
                "register limit is reached", retry_after=REGISTRATION_WINDOW_S - now % REGISTRATION_WINDOW_S
            )

    def _begin(
        self, login_request: LoginRequest, password_hash: bytes, *, ring: Ring, now: int
    ) -> tuple[User, AccountState]:
        email, attempt = login_request.email, login_request.attempt
        account = ring.account_ids(email, attempt, now=now)[0]
        lineage = login_request.lineage(ring.lineage_ids(email, attempt, now=now)[0], epoch=1, now=now)
        user = User(
            account=account,
            email=email,
            email_index=ring.email_index(email),
            password_hash=ring.encrypt_for(password_hash, account=account, nonce=self.entropy(12)),
            credentials_version=1,
            created_at=now,
        )
        account_state = AccountState(
            account=account, status=Status.ACTIVE, epoch=1, credentials_version=1, lineages={lineage.id: lineage}
        )
        return user, account_state

    def _taken(
        self, taken: AddressTaken, login_request: LoginRequest, secret: bytes, *, source: str, ring: Ring, now: int
    ) -> TokenResponse | None:
        """Answer a retry of this attempt, finish an interrupted deletion, and refuse any other registration."""
        ours = taken.account in ring.account_ids(login_request.email, login_request.attempt, now=now)
        account_state = self.lineage_store.get(taken.account)
        if account_state is not None and account_state.status is Status.DELETED:
            self.users.forget(taken.account, ring.email_index(login_request.email))
            if ours:
                raise errors.Superseded("the account of this attempt was deleted")
            return None
        if not ours:
            raise AccountExists
        if account_state is None:
            raise errors.Unavailable("inconsistent account: the account state is missing")
        rate_limits = login_limits(taken.account, account_state, login_request.binding, source=source)
        return self._again(
            login_request, secret, account_state=account_state, rate_limits=rate_limits, ring=ring, now=now
        )

    def _again(
        self,
        login_request: LoginRequest,
        secret: bytes,
        *,
        account_state: AccountState,
        rate_limits: tuple[RateLimit, ...],
        ring: Ring,
        now: int,
    ) -> TokenResponse:
        try:
            self.credentials.check(
                secret,
                account=account_state.account,
                account_state=account_state,
                ring=ring,
                rate_limits=rate_limits,
                now=now,
            )
        except InvalidCredentials:
            raise AccountExists from None
        ids = ring.lineage_ids(login_request.email, login_request.attempt, now=now)
        lineage = self.first_tokens.find_by_attempt(account_state, login_request, ids, ring=ring, now=now)
        if lineage is None:
            raise errors.Superseded("the lineage of this attempt is gone")
        self.log.record("registration_retried", lineage=lineage.id)
        return self.first_tokens.tokens_for(lineage, login_request, account_state=account_state, ring=ring, now=now)
