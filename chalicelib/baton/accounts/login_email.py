"""Prove the address of an account during a login, before the login enrols a second factor.

The client, a role or an operator can require a second factor. This step is for an account that has no second factor
yet. A thief who has only the password must not enrol an authenticator app. So if mail is on, the person must first send
back a code from the mailbox. The code is bound to the ``auth_session``, and proves the address of the account.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import AskForFactor, OpenSession, ReadSession
from chalicelib.baton.accounts.login_request import Judge
from chalicelib.baton.accounts.ports import LoginCodes, ProvingUsers
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.errors import Refusal
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.refusals import InvalidSession
from chalicelib.baton.factors.rules import EnrolmentAsked, FactorAsked
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_go_on
from chalicelib.baton.routing import Message


class CodeSent(Struct, frozen=True):
    """A code was sent to the address of the account. Send it with the same ``auth_session`` to ``POST /login/factor``.

    The code is valid for ``expires_in`` seconds.
    """

    expires_in: int


class ProveLoginEmail(Struct, frozen=True, kw_only=True):
    """Send a code to the address of the account, and check the code. ``codes`` is ``None`` if mail is off."""

    clock: Clock
    read_session: ReadSession
    judge: Judge
    users: ProvingUsers
    lineage_store: LineageStore
    codes: LoginCodes | None
    ask: AskForFactor
    record: Record

    def send(self, message: Message, auth_session: str) -> CodeSent:
        """Send the code. A repetition sends the same code.

        Raises ``InvalidSession``, ``TooManyRequests`` and ``Unavailable``. Raises ``FactorRequired`` if the account has
        a second factor, and ``NotFound`` if mail is off or the account has no address.
        """
        codes, now = self._codes(), self.clock()
        session, account_state, user, _ = self._open(message, auth_session, now=now)
        return CodeSent(codes.send(user, account_state, session, source=session.login_request.source, now=now))

    def prove(self, message: Message, auth_session: str, code: str) -> Refusal:
        """Check the code, and return ``EnrolmentRequired``: its new ``auth_session`` permits the enrolment of a factor.

        A repetition is answered in the same way. Raises ``InvalidCode``, and the errors of ``send``.
        """
        codes, now = self._codes(), self.clock()
        session, account_state, user, verdict = self._open(message, auth_session, now=now)
        codes.check(user, account_state, session, code, now=now)
        if not isinstance(self.users.verify_address(session.ticket.login, language="", now=now), Done):
            raise InvalidSession("auth_session: the account changed while its address was proved")
        if user.verified_at is None:
            self.record("address_verified", account=user.account)
        began_at, ring = session.ticket.issued_at, session.ring
        return self.ask(
            verdict, session.login_request, account_state, ring=ring, now=now, began_at=began_at, email_proved=True
        )

    def _codes(self) -> LoginCodes:
        if self.codes is None:
            raise errors.NotFound("mail is off", detail="This deployment sends no mail. Enrol without a code.")
        return self.codes

    def _open(self, message: Message, text: str, *, now: int) -> tuple[OpenSession, AccountState, User, EnrolmentAsked]:
        """Open a session of a login that must enrol a second factor. Raises ``FactorRequired`` if a factor exists.

        The account state is read first, then the user. If the credentials change between the two reads, the credentials
        versions differ, and ``Unavailable`` is raised.
        """
        session = self.read_session(message, text, now=now)
        account_state = self.lineage_store.get(session.ticket.account)
        user = self.users.get(session.ticket.account)
        if account_state is None or user is None or not may_go_on(account_state, session.ticket.login):
            raise InvalidSession("auth_session: the account is not as it was when the password was proved")
        if not user.email:
            detail = "The account has no e-mail address. Enrol without a code."
            raise errors.NotFound("no address", detail=detail)
        if user.credentials_version != account_state.credentials_version:
            raise errors.Unavailable("the credentials were changed while a code was being checked", by_caller=True)
        login_request, ring = session.login_request, session.ring
        verdict = self.judge(login_request, account_state, user, ring=ring, now=now, verified=True)
        if isinstance(verdict, FactorAsked):
            began_at = session.ticket.issued_at
            raise self.ask(verdict, login_request, account_state, ring=ring, now=now, began_at=began_at)
        if not isinstance(verdict, EnrolmentAsked):
            raise InvalidSession("auth_session: no second factor is required any more")
        return session, account_state, user, verdict
