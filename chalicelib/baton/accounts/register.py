"""Registration: an account, its e-mail index entry and its first lineage, in one transaction."""

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import AskForFactor
from chalicelib.baton.accounts.first_tokens import FirstTokens
from chalicelib.baton.accounts.login_request import Device, Judge, LoginRequest, ReadLoginRequest, attested
from chalicelib.baton.accounts.ports import AddressProof, AddressTaken, Users
from chalicelib.baton.accounts.refusals import AccountExists, InvalidCode, VerificationRequired
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.attestation.model import Evidence
from chalicelib.baton.effects import Clock, Done, Entropy, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.new_password import NewPassword
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.factors.rate_limits import RateLimit, login_limits
from chalicelib.baton.factors.refusals import Breached, InvalidCredentials
from chalicelib.baton.factors.rules import Admitted, EnrolmentAsked
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.assurance import PASSWORD
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
    new_password: NewPassword
    credentials: Credentials
    users: Users
    lineage_store: LineageStore
    ephemeral: RateLimits
    first_tokens: FirstTokens
    judge: Judge
    judge_evidence: JudgeEvidence
    ask: AskForFactor
    log: Log
    record: Record
    limits: bool = True
    address_proof: AddressProof
    verify_first: bool = False

    def __call__(  # noqa: PLR0913 - the members of a registration
        self,
        message: Message,
        *,
        email: str,
        password: str,
        client_id: str,
        device: Device,
        remember: bool = False,
        evidence: Evidence | None = None,
        mail_session: str = "",
        code: str = "",
    ) -> TokenResponse:
        """Return the first tokens. A retry with the same attempt gets the same tokens.

        A code from the mailbox proves the address. With ``verify_first``, the request must have a code.

        If the client requires a second factor, Baton makes the account without a login, and raises
        ``EnrolmentRequired``.
        """
        now = self.clock()
        secret = normalise(password)
        login_request = self.introduce(
            message, email=email, client_id=client_id, device=device, now=now, remember=remember
        )
        judged = self.judge_evidence(login_request.client, login_request.binding, evidence, now=now)
        ring = self.key_ring.current(now=now)
        self.new_password.check_strength(password, email=login_request.email)
        if self.verify_first and not (mail_session and code):
            raise VerificationRequired
        self._take_slot(login_request.source, now=now)
        self._check_breach(secret, login_request, ring=ring, now=now)
        proved = None
        if mail_session or code:
            proved = self.address_proof(mail_session, code, email=login_request.email, key=device.public_key, now=now)
        account = ring.account_ids(login_request.email, login_request.attempt, now=now)[0]
        login_request = attested(login_request, self.judge_evidence, judged, account=account, now=now)
        password_hash = hash_password(secret, salt=self.entropy(16)).encode()
        for _ in range(START_OVER_MAX):
            user, account_state = self._begin(login_request, password_hash, ring=ring, now=now)
            if proved is not None:
                user = replace(user, verified_at=now, language=proved or None)
            outcome = self.users.register(user, account_state)
            if isinstance(outcome, Done):
                lineage, client = next(iter(account_state.lineages.values()), None), login_request.client.id
                lineage_id = lineage.id if lineage else None
                self.record("registered", account=user.account, lineage=lineage_id, client=client)
                if lineage is None:
                    verdict = EnrolmentAsked(self.judge.enrollable(login_request.client, verified=proved is not None))
                    raise self.ask(
                        verdict, login_request, account_state, ring=ring, now=now, email_proved=proved is not None
                    )
                return self.first_tokens.tokens_for(
                    lineage, login_request, account_state=account_state, ring=ring, now=now
                )
            try:
                issued = self._taken(
                    outcome, login_request, password, email_proved=proved is not None, ring=ring, now=now
                )
            except AccountExists:
                if self.verify_first:  # an answer must not reveal that the address has an account
                    raise InvalidCode("the address has an account") from None
                raise
            if issued is not None:
                return issued
        raise errors.Unavailable("the e-mail index entry kept changing during a registration", by_caller=True)

    def _take_slot(self, source: str, *, now: int) -> None:
        """Count this registration for the network of ``source``, even if it is refused later.

        Raises ``TooManyRequests`` if the network has reached its limit.

        An answer can reveal whether an address is in use. Without this limit, a caller could test many addresses.
        """
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

    def _check_breach(self, secret: bytes, login_request: LoginRequest, *, ring: Ring, now: int) -> None:
        """Refuse a breached password, except in a retry whose first request made the account.

        In the first request, the breach check may have been unavailable, so Baton accepted the password. Then the retry
        must succeed too.
        """
        try:
            self.new_password.check_breach(secret)
        except Breached:
            ours = ring.account_ids(login_request.email, login_request.attempt, now=now)
            if all(self.lineage_store.get(account) is None for account in ours):
                raise

    def _begin(
        self, login_request: LoginRequest, password_hash: bytes, *, ring: Ring, now: int
    ) -> tuple[User, AccountState]:
        email, attempt = login_request.email, login_request.attempt
        account = ring.account_ids(email, attempt, now=now)[0]
        lineage_id = ring.lineage_ids(account, attempt, now=now)[0]
        lineage = login_request.lineage(lineage_id, epoch=1, assurance=PASSWORD, now=now)
        # A client that requires a second factor admits no login with only a password: the app enrols a factor first.
        admitted = login_request.client.second_factor != "required"
        user = User(
            account=account,
            email=email,
            email_index=ring.email_index(email),
            password_hash=ring.encrypt_for(password_hash, account=account, nonce=self.entropy(12)),
            credentials_version=1,
            created_at=now,
        )
        account_state = AccountState(
            account=account,
            status=Status.ACTIVE,
            epoch=1,
            credentials_version=1,
            lineages={lineage.id: lineage} if admitted else {},
        )
        return user, account_state

    def _taken(
        self,
        taken: AddressTaken,
        login_request: LoginRequest,
        password: str,
        *,
        email_proved: bool,
        ring: Ring,
        now: int,
    ) -> TokenResponse | None:
        """Return the tokens if this request is a retry. Refuse any other registration of the address.

        ``None``: this call finished an interrupted deletion, so the address is free.
        """
        ours = taken.account in ring.account_ids(login_request.email, login_request.attempt, now=now)
        account_state = self.lineage_store.get(taken.account)
        if account_state is not None and account_state.status is Status.DELETED:
            self.users.forget(taken.account, ring.email_index(login_request.email), now=now)
            if ours:
                raise errors.Superseded("the account of this attempt was deleted")
            return None
        if not ours:
            raise AccountExists
        if account_state is None:
            raise errors.Unavailable("inconsistent account: the account state is missing")
        rate_limits = login_limits(taken.account, account_state, login_request.binding, source=login_request.source)
        return self._again(
            login_request,
            password,
            account_state=account_state,
            rate_limits=rate_limits,
            email_proved=email_proved,
            ring=ring,
            now=now,
        )

    def _again(  # noqa: PLR0913 - what the first request had
        self,
        login_request: LoginRequest,
        password: str,
        *,
        account_state: AccountState,
        rate_limits: tuple[RateLimit, ...],
        email_proved: bool,
        ring: Ring,
        now: int,
    ) -> TokenResponse:
        try:
            user = self.credentials.check(
                password,
                account=account_state.account,
                account_state=account_state,
                ring=ring,
                rate_limits=rate_limits,
                now=now,
            )
        except InvalidCredentials:
            raise AccountExists from None
        verdict = self.judge(login_request, account_state, user, ring=ring, now=now)
        if not isinstance(verdict, Admitted):
            raise self.ask(verdict, login_request, account_state, ring=ring, now=now, email_proved=email_proved)
        ids = ring.lineage_ids(account_state.account, login_request.attempt, now=now)
        lineage = self.first_tokens.find_by_attempt(account_state, login_request, ids, ring=ring, now=now)
        if lineage is None:
            raise errors.Superseded("the account has no lineage of this attempt any more")
        self.log.record("registration_retried", lineage=lineage.id)
        return self.first_tokens.tokens_for(lineage, login_request, account_state=account_state, ring=ring, now=now)
