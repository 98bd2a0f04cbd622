"""The second step of a login: prove a second factor, or enrol one, with the ``auth_session`` of the first step."""

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import AskForFactor, OpenSession, ReadSession
from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.effects import Clock, Entropy, Moved, Refused
from chalicelib.baton.events.ports import Log, Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.enrolment import (
    Enrolment,
    TotpEnrolment,
    begin_enrolment,
    codes_again,
    complete_enrolment,
    is_made,
    read_enrolment,
)
from chalicelib.baton.factors.model import Remember, User
from chalicelib.baton.factors.ports import FactorStore, Passwords
from chalicelib.baton.factors.prove_totp import ProveTotp, mark_of
from chalicelib.baton.factors.rate_limits import proved_device
from chalicelib.baton.factors.recovery_codes import digest_of
from chalicelib.baton.factors.refusals import InvalidFactor, InvalidSession
from chalicelib.baton.factors.rules import EnrolmentAsked, FactorAsked, is_new_key, judge_login, remember
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import PASSWORD_AND_RECOVERY_CODE, PASSWORD_AND_TOTP
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import AccountState, Assurance, UnfinishedLogin
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_go_on
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import TokenResponse


class Proof(Struct, frozen=True):
    """A second factor: a code of the authenticator app, or a recovery code. ``enrolment``: the code completes it."""

    totp: str | None = None
    recovery_code: str | None = None
    enrolment: str | None = None

    def __repr__(self) -> str:
        """Mask the codes."""
        return "Proof('**********')"


class LoginTokens(TokenResponse, frozen=True, kw_only=True):
    """The tokens of a login with a second factor.

    ``recovery_codes`` are the codes that an enrolment made. They are shown once. ``recovery_codes_left`` is how many
    are left after the login used one.
    """

    recovery_codes: tuple[str, ...] | UnsetType = UNSET
    recovery_codes_left: int | UnsetType = UNSET


class FinishLogin(Struct, frozen=True, kw_only=True):
    """Prove or enrol a second factor, and begin a lineage on this device."""

    clock: Clock
    entropy: Entropy
    read_session: ReadSession
    clients: Clients
    users: Passwords
    store: FactorStore
    lineage_store: LineageStore
    prove_totp: ProveTotp
    ask: AskForFactor
    admit: Admit
    log: Log
    record: Record
    product: str

    def enrol(self, message: Message, auth_session: str) -> TotpEnrolment:
        """Make the secret of an authenticator app, for an account without a second factor. Nothing is stored.

        Raises ``InvalidSession``, ``FactorRequired`` and ``FactorExists``.
        """
        now = self.clock()
        session = self.read_session(message, auth_session, now=now)
        account_state, user = self._read(session)
        self._check_may_go_on(session, account_state)
        self._check_may_enrol(session, account_state, user, now=now)
        return begin_enrolment(
            user,
            self._lineages(session, now=now)[0],
            product=self.product,
            ring=session.ring,
            entropy=self.entropy,
            now=now,
        )

    def prove(self, message: Message, auth_session: str, proof: Proof, *, remember_device: bool) -> LoginTokens:
        """Return the first tokens. A retry with the same session and proof gets the same ones.

        Raises ``InvalidSession``, ``InvalidFactor``, ``FactorRequired``, ``FactorExists`` and ``TooManyRequests``.
        """
        if (proof.totp is None) == (proof.recovery_code is None) or (
            proof.enrolment is not None and proof.totp is None
        ):
            raise errors.Malformed(
                "not one proof",
                detail="Send one of `totp`, `recovery_code` and `email_code`. Send an `enrolment` with its `totp`.",
            )
        now = self.clock()
        session = self.read_session(message, auth_session, now=now)
        account_state, user = self._read(session)
        binding, client = session.login_request.binding, session.login_request.client
        device = remember(user.factors, account_state, binding, client, now=now) if remember_device else None
        if proof.enrolment is not None:
            assert proof.totp is not None
            ticket = read_enrolment(
                proof.enrolment,
                account=user.account,
                lineages=self._lineages(session, now=now),
                ring=session.ring,
                now=now,
            )
            return self._enrolled(session, ticket, proof.totp, account_state, user, device=device, now=now)
        self._check_may_go_on(session, account_state)
        if proof.totp is not None:
            self.prove_totp(
                user,
                proof.totp,
                device=proved_device(account_state, user.factors, binding, session.login_request.proved),
                attempt=session.ticket.attempt,
                effect="login",
                remember=device,
                ring=session.ring,
                now=now,
            )
            return LoginTokens(**asdict(self._admit(session, account_state, PASSWORD_AND_TOTP, now=now)))
        assert proof.recovery_code is not None
        left = self._use_recovery_code(session, proof.recovery_code, user)
        tokens = self._admit(session, account_state, PASSWORD_AND_RECOVERY_CODE, now=now)
        return LoginTokens(**asdict(tokens), recovery_codes_left=left)

    def _enrolled(  # noqa: PLR0913 - what was read so far
        self,
        session: OpenSession,
        ticket: Enrolment,
        code: str,
        account_state: AccountState,
        user: User,
        *,
        device: Remember | None,
        now: int,
    ) -> LoginTokens:
        """Enrol the app, and admit the login at the next credentials version."""
        login = session.ticket.login
        next_login = replace(login, credentials_version=login.credentials_version + 1)
        if is_made(ticket, user) and may_go_on(account_state, next_login):
            codes = codes_again(ticket, user, session.ring)
            tokens = self._admit(session, account_state, PASSWORD_AND_TOTP, login=next_login, now=now)
            return LoginTokens(**asdict(tokens), recovery_codes=codes or UNSET)
        self._check_may_go_on(session, account_state)
        self._check_may_enrol(session, account_state, user, now=now)
        by_new_key = is_new_key(account_state, session.login_request.binding, session.login_request.proved, now=now)
        change, codes = complete_enrolment(
            ticket,
            code,
            user,
            by_new_key=by_new_key,
            ring=session.ring,
            entropy=self.entropy,
            now=now,
        )
        if isinstance(self.store.change_factors(login, change, remember=device, now=now), Moved):
            raise InvalidSession("auth_session: the account changed during the enrolment")
        told = Told(device=session.ticket.label, undo_since=now if by_new_key else None)
        self.record("factor_added", account=user.account, details={"kind": "totp"}, told=told)
        moved = replace(account_state, credentials_version=next_login.credentials_version)
        tokens = self._admit(session, moved, PASSWORD_AND_TOTP, login=next_login, now=now)
        return LoginTokens(**asdict(tokens), recovery_codes=codes or UNSET)

    def _use_recovery_code(self, session: OpenSession, code: str, user: User) -> int:
        """Use a recovery code, and return how many are left. 120 bits cannot be guessed, so there is no rate limit."""
        recovery, digest = user.factors.recovery, digest_of(user.account, code)
        mark = mark_of(session.ticket.attempt, "recovery code")
        if recovery is None or digest is None:
            raise self._wrong(user, "no recovery code")
        if (recovery.used, recovery.mark) == (digest, mark):
            return user.factors.codes_left  # a repeated request: its answer was lost
        if digest not in recovery.digests:
            raise self._wrong(user, "an unknown or used recovery code")
        used = self.store.consume_recovery_code(
            user.account, digest, mark=mark, credentials_version=user.credentials_version
        )
        if isinstance(used, Refused):
            raise self._wrong(user, "the recovery code was used")
        left = user.factors.codes_left - 1
        told = Told(device=session.ticket.label)
        self.record("recovery_code_used", account=user.account, details={"left": left}, told=told)
        return left

    def _wrong(self, user: User, reason: str) -> InvalidFactor:
        self.log.record("factor_refused", account=user.account)
        return InvalidFactor(reason)

    def _read(self, session: OpenSession) -> tuple[AccountState, User]:
        """Read the account state before the user: a change in between shows as another credentials version."""
        account_state = self.lineage_store.get(session.ticket.account)
        user = self.users.get(session.ticket.account)
        if account_state is None or user is None:
            raise InvalidSession("auth_session: the account is gone")
        if user.credentials_version != account_state.credentials_version:
            raise errors.Unavailable("the credentials were changed while the factor was being checked", by_caller=True)
        return account_state, user

    def _check_may_go_on(self, session: OpenSession, account_state: AccountState) -> None:
        if not may_go_on(account_state, session.ticket.login):
            raise InvalidSession("auth_session: the account is not as it was when the password was proved")

    def _check_may_enrol(self, session: OpenSession, account_state: AccountState, user: User, *, now: int) -> None:
        """Refuse to enrol where the account has a factor, or before the address is proved.

        A stolen password alone must not add a factor.
        """
        verdict = judge_login(
            self.clients,
            session.login_request.client,
            account_state,
            user.factors,
            binding=session.login_request.binding,
            now=now,
            not_before=session.ring.not_before,
        )
        first = isinstance(verdict, EnrolmentAsked) and self.ask.email_first and not session.ticket.email_proved
        if first or isinstance(verdict, FactorAsked):
            began_at = session.ticket.issued_at
            raise self.ask(verdict, session.login_request, account_state, ring=session.ring, now=now, began_at=began_at)

    def _lineages(self, session: OpenSession, *, now: int) -> tuple[LineageId, ...]:
        """Return the lineage that this login will begin, and the same under the other roots."""
        return session.ring.lineage_ids(session.ticket.account, session.ticket.attempt, now=now)

    def _admit(
        self,
        session: OpenSession,
        account_state: AccountState,
        assurance: Assurance,
        *,
        login: UnfinishedLogin | None = None,
        now: int,
    ) -> TokenResponse:
        return self.admit(
            session.login_request,
            account_state,
            assurance=assurance,
            ring=session.ring,
            now=now,
            unfinished=login or session.ticket.login,
        )
