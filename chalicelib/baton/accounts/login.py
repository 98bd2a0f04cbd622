"""Login with e-mail address and password. The request can be repeated with the same attempt.

If the login needs a second factor, it continues in ``login_factor``.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import AskForFactor
from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.login_request import Device, Judge, ReadLoginRequest, attested
from chalicelib.baton.accounts.migration import Migrate
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.attestation.model import Evidence
from chalicelib.baton.effects import Clock
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.rate_limits import login_limits
from chalicelib.baton.factors.rules import Admitted
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import TokenResponse


class Login(Struct, frozen=True, kw_only=True):
    """Check the password and begin a lineage on this device."""

    clock: Clock
    key_ring: KeyRing
    introduce: ReadLoginRequest
    credentials: Credentials
    users: Users
    lineage_store: LineageStore
    migrate: Migrate
    judge: Judge
    judge_evidence: JudgeEvidence
    ask: AskForFactor
    admit: Admit

    def __call__(  # noqa: PLR0913 - members of a body
        self,
        message: Message,
        *,
        email: str,
        password: str,
        client_id: str,
        device: Device,
        remember: bool = False,
        evidence: Evidence | None = None,
    ) -> TokenResponse:
        """Return the first tokens. A retry with the same attempt gets the same tokens.

        If the login needs a second factor, raises one of these errors:

        - ``FactorRequired`` or ``EnrolmentRequired``, with an ``auth_session``.
        - ``SecondFactorUnsupported``, if the client cannot request the second factor.
        """
        now = self.clock()
        normalise(password)  # refuse an invalid password before anything else is read
        login_request = self.introduce(
            message, email=email, client_id=client_id, device=device, now=now, remember=remember
        )
        judged = self.judge_evidence(login_request.client, login_request.binding, evidence, now=now)
        ring = self.key_ring.current(now=now)
        claimed = self.users.find(ring.email_index(login_request.email))
        # An unknown address gets the same reads, the same hashing and the same answer as a known one.
        account = claimed or ring.decoy_account(login_request.email)
        account_state = self.lineage_store.get(account)
        rate_limits = login_limits(
            account,
            account_state,
            login_request.binding,
            proved=login_request.proved,
            source=login_request.source,
            attested=judged.required,
        )
        user = self.credentials.check(
            password,
            account=account,
            account_state=account_state,
            ring=ring,
            rate_limits=rate_limits,
            now=now,
            elsewhere=lambda user, state: self.migrate(
                login_request.email, password, claimed=claimed, user=user, account_state=state, ring=ring, now=now
            ),
        )
        if account_state is None or account_state.credentials_version != user.credentials_version:
            account_state = self.lineage_store.get(user.account)  # the account has just moved to Baton
        if account_state is None or account_state.credentials_version != user.credentials_version:
            raise errors.Unavailable("the account changed during a migration", by_caller=True)
        login_request = attested(login_request, self.judge_evidence, judged, account=user.account, now=now)
        verdict = self.judge(login_request, account_state, user, ring=ring, now=now)
        if not isinstance(verdict, Admitted):
            # Do not call `admit`: the second step of this attempt may have begun a lineage already. Then `admit` would
            # return the tokens of this lineage to a repeated first step.
            raise self.ask(verdict, login_request, account_state, ring=ring, now=now)
        return self.admit(login_request, account_state, assurance=verdict.assurance, ring=ring, now=now)
