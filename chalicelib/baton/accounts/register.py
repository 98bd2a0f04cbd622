"""Register: an account, its claim on an e-mail address, and its first lineage, in one transaction."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.first_tokens import FirstTokens
from chalicelib.baton.accounts.login_request import Device, Introduce, Introduction
from chalicelib.baton.accounts.ports import Taken, Users
from chalicelib.baton.accounts.refusals import AccountExists
from chalicelib.baton.effects import Clock, Done, Entropy, Refused
from chalicelib.baton.events.ports import Signals
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors import strength as passwords
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.factors.rate_limits import Bucket, login_buckets
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import Gate, Status
from chalicelib.baton.lineages.ports import Gates
from chalicelib.baton.policy import REGISTRATION_WINDOW_S, REGISTRATIONS_PER_SOURCE_MAX, START_OVER_MAX
from chalicelib.baton.routing import Message, source_network
from chalicelib.baton.tokens.issue import Issued


class Register(Struct, frozen=True):
    """Open an account and log in on this device."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    introduce: Introduce
    credentials: Credentials
    users: Users
    gates: Gates
    ephemeral: RateLimits
    first_tokens: FirstTokens
    signals: Signals
    record: Record
    limits: bool = True

    def __call__(
        self, message: Message, *, source: str, email: str, password: str, client_id: str, device: Device
    ) -> Issued:
        """Answer with the first tokens, the same ones to a retry with the same attempt."""
        now = self.clock()
        ring = self.key_ring.current(now=now)
        secret = passwords.normalise(password)
        introduction = self.introduce(message, email=email, client_id=client_id, device=device, now=now)
        passwords.check_strength(secret.decode(), email=introduction.email)
        self._take_slot(source, now=now)
        verifier = hash_password(secret, salt=self.entropy(16)).encode()
        for _ in range(START_OVER_MAX):
            user, gate = self._begin(introduction, verifier, ring=ring, now=now)
            outcome = self.users.register(user, gate)
            if isinstance(outcome, Done):
                (lineage,) = gate.lineages.values()
                client = introduction.client.id
                self.record("registered", account=user.account, lineage=lineage.id, client=client)
                return self.first_tokens.begun(lineage, introduction, account=user.account, ring=ring, now=now)
            issued = self._taken(outcome, introduction, secret, source=source, ring=ring, now=now)
            if issued is not None:
                return issued
        raise errors.Unavailable("the e-mail claim kept moving under a registration", by_caller=True)

    def _take_slot(self, source: str, *, now: int) -> None:
        """Count registrations per source, successes too: registration tells that an address is taken."""
        if not self.limits:
            return
        slot = self.ephemeral.take_slot(
            f"register:{source_network(source)}",
            limit=REGISTRATIONS_PER_SOURCE_MAX,
            window_s=REGISTRATION_WINDOW_S,
            now=now,
        )
        if isinstance(slot, Refused):
            self.signals.emit("throttled", bucket="register")
            raise errors.TooManyRequests(
                "register limit is reached", retry_after=REGISTRATION_WINDOW_S - now % REGISTRATION_WINDOW_S
            )

    def _begin(self, introduction: Introduction, verifier: bytes, *, ring: Ring, now: int) -> tuple[User, Gate]:
        email, attempt = introduction.email, introduction.attempt
        account = ring.account_ids(email, attempt, now=now)[0]
        lineage = introduction.lineage(ring.lineage_ids(email, attempt, now=now)[0], epoch=1, now=now)
        user = User(
            account=account,
            email=email,
            email_index=ring.email_index(email),
            verifier=ring.seal(verifier, account=account, nonce=self.entropy(12)),
            verifier_version=1,
            created_at=now,
        )
        gate = Gate(account=account, status=Status.ACTIVE, epoch=1, verifier_version=1, lineages={lineage.id: lineage})
        return user, gate

    def _taken(
        self, taken: Taken, introduction: Introduction, secret: bytes, *, source: str, ring: Ring, now: int
    ) -> Issued | None:
        """Answer our own retry as before, finish a deletion that died half-way, and refuse everybody else."""
        ours = taken.account in ring.account_ids(introduction.email, introduction.attempt, now=now)
        gate = self.gates.get(taken.account)
        if gate is not None and gate.status is Status.DELETED:
            self.users.forget(taken.account, ring.email_index(introduction.email))
            if ours:
                raise errors.Superseded("the account of this attempt was deleted")
            return None
        if not ours:
            raise AccountExists
        if gate is None:
            raise errors.Unavailable("an account is torn: its gate is not there")
        buckets = login_buckets(taken.account, gate, introduction.binding, source=source)
        return self._again(introduction, secret, gate=gate, buckets=buckets, ring=ring, now=now)

    def _again(
        self,
        introduction: Introduction,
        secret: bytes,
        *,
        gate: Gate,
        buckets: tuple[Bucket, ...],
        ring: Ring,
        now: int,
    ) -> Issued:
        try:
            self.credentials.check(secret, account=gate.account, gate=gate, ring=ring, buckets=buckets, now=now)
        except InvalidCredentials:
            raise AccountExists from None
        ids = ring.lineage_ids(introduction.email, introduction.attempt, now=now)
        lineage = self.first_tokens.begun_before(gate, introduction, ids, ring=ring, now=now)
        if lineage is None:
            raise errors.Superseded("the lineage of this attempt is gone")
        self.signals.emit("registration_retried", lineage=lineage.id)
        return self.first_tokens.begun(lineage, introduction, account=gate.account, ring=ring, now=now)
