"""The second step of a login: prove or enrol a second factor, with the ``auth_session`` of the first step."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import AskForFactor, OpenSession, ReadSession
from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.login_request import Judge
from chalicelib.baton.accounts.passkey_factor import Enrolling, PasskeyEnrolment, PasskeysOfLogin
from chalicelib.baton.effects import Clock, Entropy, Moved, Refused
from chalicelib.baton.events.ports import Log, Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.enrolment import (
    TotpEnrolment,
    begin_enrolment,
    codes_again,
    complete_enrolment,
    is_made,
    read_enrolment,
)
from chalicelib.baton.factors.model import Remember, User
from chalicelib.baton.factors.passkey_challenge import PasskeyOptions
from chalicelib.baton.factors.ports import FactorStore, Passwords
from chalicelib.baton.factors.prove_totp import ProveTotp, mark_of
from chalicelib.baton.factors.rate_limits import proved_device
from chalicelib.baton.factors.recovery_codes import digest_of
from chalicelib.baton.factors.refusals import InvalidFactor, InvalidSession, PasskeyExists
from chalicelib.baton.factors.rules import EnrolmentAsked, FactorAsked, is_new_key, remember
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import PASSWORD_AND_PASSKEY, PASSWORD_AND_RECOVERY_CODE, PASSWORD_AND_TOTP
from chalicelib.baton.lineages.model import AccountState, Assurance, UnfinishedLogin
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_go_on
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import TokenResponse


class Proof(Struct, frozen=True):
    """A second factor: a code of the authenticator app, a recovery code, or the assertion of a passkey.

    With ``enrolment``, the factor is new: ``totp`` is its first code, or ``passkey`` is its registration.
    """

    totp: str | None = None
    recovery_code: str | None = None
    passkey: Mapping[str, Any] | None = None
    enrolment: str | None = None

    def check(self) -> None:
        """Check that the request has exactly one factor, and no recovery code in an enrolment. Raises ``Malformed``."""
        sent = sum(one is not None for one in (self.totp, self.recovery_code, self.passkey))
        if sent != 1 or (self.enrolment is not None and self.recovery_code is not None):
            raise errors.Malformed(
                "not one proof",
                detail="Send one of `totp`, `recovery_code`, `passkey` and `email_code`. To complete an `enrolment`, "
                "send it with its `totp` or its `passkey`.",
            )

    def __repr__(self) -> str:
        """Mask the codes."""
        return "Proof('**********')"


class LoginTokens(TokenResponse, frozen=True, kw_only=True):
    """The tokens of a login with a second factor.

    ``recovery_codes``: the codes that this request made, at an enrolment. Only a repetition of the request returns them
    again.
    ``recovery_codes_left``: after a login with a recovery code, the number of unused codes.
    """

    recovery_codes: tuple[str, ...] | UnsetType = UNSET
    recovery_codes_left: int | UnsetType = UNSET


class FinishLogin(Struct, frozen=True, kw_only=True):
    """Prove or enrol a second factor, and begin a lineage on this device."""

    clock: Clock
    entropy: Entropy
    read_session: ReadSession
    judge: Judge
    users: Passwords
    store: FactorStore
    lineage_store: LineageStore
    prove_totp: ProveTotp
    passkeys: PasskeysOfLogin
    ask: AskForFactor
    admit: Admit
    log: Log
    record: Record
    product: str

    def enrol(self, message: Message, auth_session: str) -> TotpEnrolment:
        """Make the secret of an authenticator app, for an account without a second factor. Nothing is stored.

        Raises:
            InvalidSession: ``auth_session`` is not valid.
            FactorRequired: the account already has a second factor.
            EnrolmentRequired: the login must prove the address first.

        """
        now = self.clock()
        session, user = self._begin_enrolment(message, auth_session, now=now)
        lineage = self._lineages(session, now=now)[0]
        return begin_enrolment(user, lineage, product=self.product, ring=session.ring, entropy=self.entropy, now=now)

    def enrol_passkey(self, message: Message, auth_session: str) -> PasskeyEnrolment:
        """Return the options to register a passkey, for an account without a second factor. Nothing is stored.

        Raises the errors of `enrol`, or ``NotFound`` if the client cannot use passkeys.
        """
        now = self.clock()
        session, user = self._begin_enrolment(message, auth_session, now=now)
        return self.passkeys.begin(session, user, self._lineages(session, now=now), now=now)

    def options(self, message: Message, auth_session: str) -> PasskeyOptions:
        """Return the options to prove a passkey.

        Raises ``InvalidSession``, or ``NotFound`` if the account has no passkey or the client cannot use passkeys.
        """
        now = self.clock()
        session = self.read_session(message, auth_session, now=now)
        account_state, user = self._read(session)
        self._check_may_go_on(session, account_state)
        return self.passkeys.options(session, user, self._lineages(session, now=now), now=now)

    def prove(self, message: Message, auth_session: str, proof: Proof, *, remember_device: bool) -> LoginTokens:
        """Return the first tokens. A retry with the same session and proof gets the same tokens.

        Raises ``InvalidSession``, ``InvalidFactor``, ``FactorRequired``, ``EnrolmentRequired``, ``FactorExists``,
        ``TooManyRequests``, ``InvalidPasskey``, ``UnknownPasskey``, ``ChallengeInvalid`` and ``PasskeyExists``.
        """
        proof.check()
        now = self.clock()
        session = self.read_session(message, auth_session, now=now)
        account_state, user = self._read(session)
        login_request = session.login_request
        binding, client = login_request.binding, login_request.client
        device = remember(user.factors, account_state, binding, client, now=now) if remember_device else None
        if proof.enrolment is not None:
            enrolling = self._enrolling(session, proof, user, now=now)
            return self._enrolled(session, enrolling, account_state, user, device=device, now=now)
        self._check_may_go_on(session, account_state)
        if proof.recovery_code is not None:
            left = self._use_recovery_code(session, proof.recovery_code, user)
            tokens = self._admit(session, account_state, PASSWORD_AND_RECOVERY_CODE, now=now)
            return LoginTokens(**asdict(tokens), recovery_codes_left=left)
        if proof.passkey is not None:
            lineages = self._lineages(session, now=now)
            self.passkeys.prove(session, user, proof.passkey, lineages, remember=device, now=now)
            return LoginTokens(**asdict(self._admit(session, account_state, PASSWORD_AND_PASSKEY, now=now)))
        assert proof.totp is not None
        self.prove_totp(
            user,
            proof.totp,
            device=proved_device(account_state, user.factors, binding, login_request.proved),
            attempt=session.ticket.attempt,
            effect="login",
            remember=device,
            ring=session.ring,
            now=now,
        )
        return LoginTokens(**asdict(self._admit(session, account_state, PASSWORD_AND_TOTP, now=now)))

    def _begin_enrolment(self, message: Message, auth_session: str, *, now: int) -> tuple[OpenSession, User]:
        session = self.read_session(message, auth_session, now=now)
        account_state, user = self._read(session)
        self._check_may_go_on(session, account_state)
        self._check_may_enrol(session, account_state, user, now=now)
        return session, user

    def _enrolling(self, session: OpenSession, proof: Proof, user: User, *, now: int) -> Enrolling:
        """Return the factor that this ``proof`` enrols. The proof must have an ``enrolment``."""
        lineages, text, code = self._lineages(session, now=now), proof.enrolment, proof.totp
        assert text is not None
        if proof.passkey is not None:
            return self.passkeys.enrolling(session, user, proof.passkey, text, lineages, now=now)
        assert code is not None
        ring, entropy = session.ring, self.entropy
        ticket = read_enrolment(text, account=user.account, lineages=lineages, ring=ring, now=now)
        return Enrolling(
            "totp",
            PASSWORD_AND_TOTP,
            codes_again(ticket, user, ring) if is_made(ticket, user) else None,
            lambda by_new_key: complete_enrolment(
                ticket, code, user, by_new_key=by_new_key, ring=ring, entropy=entropy, now=now
            ),
        )

    def _enrolled(
        self,
        session: OpenSession,
        enrolling: Enrolling,
        account_state: AccountState,
        user: User,
        *,
        device: Remember | None,
        now: int,
    ) -> LoginTokens:
        """Enrol the factor, and admit the login. The enrolment raises the credentials version by one."""
        login = session.ticket.login
        next_login = replace(login, credentials_version=login.credentials_version + 1)
        if enrolling.made is not None and may_go_on(account_state, next_login):
            tokens = self._admit(session, account_state, enrolling.assurance, login=next_login, now=now)
            return LoginTokens(**asdict(tokens), recovery_codes=enrolling.made or UNSET)
        self._check_may_go_on(session, account_state)
        self._check_may_enrol(session, account_state, user, now=now)
        by_new_key = is_new_key(account_state, session.login_request.binding, session.login_request.proved, now=now)
        change, codes = enrolling.complete(by_new_key)
        outcome = self.store.change_factors(login, change, remember=device, now=now)
        if isinstance(outcome, Refused):
            raise PasskeyExists
        if isinstance(outcome, Moved):
            raise InvalidSession("auth_session: the account changed during the enrolment")
        told = Told(
            device=session.ticket.label,
            address=user.email,
            text="passkey_added" if enrolling.kind == "passkey" else "",
            undo_since=now if by_new_key and user.email else None,
        )
        self.record("factor_added", account=user.account, details={"kind": enrolling.kind}, told=told)
        moved = replace(account_state, credentials_version=next_login.credentials_version)
        tokens = self._admit(session, moved, enrolling.assurance, login=next_login, now=now)
        return LoginTokens(**asdict(tokens), recovery_codes=codes or UNSET)

    def _use_recovery_code(self, session: OpenSession, code: str, user: User) -> int:
        """Use a recovery code, and return the number of unused codes.

        There is no rate limit, because a code has 120 bits and cannot be guessed.
        """
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
        # If the tables are restored from a backup, the code is valid again. Then `tools.after_restore` finds it by this
        # digest, and removes it.
        details: dict[str, str | int] = {"left": left, "digest": digest.hex()}
        self.record("recovery_code_used", account=user.account, details=details, told=told)
        return left

    def _wrong(self, user: User, reason: str) -> InvalidFactor:
        self.log.record("factor_refused", account=user.account)
        return InvalidFactor(reason)

    def _read(self, session: OpenSession) -> tuple[AccountState, User]:
        """Read the account state, then the user.

        If the credentials change between the two reads, the credentials versions differ. Raises ``Unavailable`` then.
        """
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
        """Refuse an enrolment that this login may not make. A thief who has only the password must not add a factor.

        Raises:
            InvalidSession: the login needs no second factor any more.
            FactorRequired: the account already has a second factor.
            EnrolmentRequired: mail is on, and this login has not proved the address.

        """
        verdict = self.judge(session.login_request, account_state, user, ring=session.ring, now=now)
        if not isinstance(verdict, EnrolmentAsked | FactorAsked):
            raise InvalidSession("auth_session: no second factor is required any more")
        if isinstance(verdict, FactorAsked) or (self.ask.email_first and not session.ticket.email_proved):
            began_at = session.ticket.issued_at
            raise self.ask(verdict, session.login_request, account_state, ring=session.ring, now=now, began_at=began_at)

    def _lineages(self, session: OpenSession, *, now: int) -> tuple[LineageId, ...]:
        """Return the possible ids of the lineage that this login will begin, one for each root secret."""
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
            basis=login or session.ticket.login,
        )
