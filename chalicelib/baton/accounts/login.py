"""Login with e-mail address and password. It can be repeated with the same attempt."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.first_tokens import FirstTokens
from chalicelib.baton.accounts.login_request import Device, LoginRequest, ReadLoginRequest
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.rate_limits import login_limits
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.login_rules import NoRoom, removed_by_login, replaced_by_login
from chalicelib.baton.lineages.model import AccountState, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.policy import LINEAGES_MAX, START_OVER_MAX
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import TokenResponse


class Login(Struct, frozen=True, kw_only=True):
    """Check the password and begin a lineage on this device."""

    clock: Clock
    key_ring: KeyRing
    introduce: ReadLoginRequest
    clients: Clients
    credentials: Credentials
    users: Users
    lineage_store: LineageStore
    first_tokens: FirstTokens
    log: Log
    record: Record

    def __call__(
        self, message: Message, *, source: str, email: str, password: str, client_id: str, device: Device
    ) -> TokenResponse:
        """Return the first tokens. A retry with the same attempt gets the same ones."""
        now = self.clock()
        ring = self.key_ring.current(now=now)
        secret = normalise(password)
        login_request = self.introduce(message, email=email, client_id=client_id, device=device, now=now)
        claimed = self.users.find(ring.email_index(login_request.email))
        # An unknown address gets the same reads, the same hashing and the same answer as a known one.
        account = claimed or ring.decoy_account(login_request.email)
        account_state = self.lineage_store.get(account)
        rate_limits = login_limits(
            account, account_state, login_request.binding, proved=login_request.proved, source=source
        )
        self.credentials.check(
            secret, account=account, account_state=account_state, ring=ring, rate_limits=rate_limits, now=now
        )
        return self._admit(login_request, account_state, account=account, ring=ring, now=now)

    def _admit(
        self,
        login_request: LoginRequest,
        account_state: AccountState | None,
        *,
        account: AccountId,
        ring: Ring,
        now: int,
    ) -> TokenResponse:
        verified_version = account_state.credentials_version if account_state else None
        idle_s_of = {client.code: client.mechanism.idle_s for client in self.clients}
        ids = ring.lineage_ids(login_request.email, login_request.attempt, now=now)
        for _ in range(START_OVER_MAX):
            if account_state is None or account_state.credentials_version != verified_version:
                break
            before = self.first_tokens.find_by_attempt(account_state, login_request, ids, ring=ring, now=now)
            if before is not None:
                self.log.record("login_retried", lineage=before.id)
                return self.first_tokens.tokens_for(
                    before, login_request, account_state=account_state, ring=ring, now=now
                )
            lineage = login_request.lineage(ids[0], epoch=account_state.epoch, now=now)
            replaced = replaced_by_login(account_state, login_request.binding, proved=login_request.proved)
            removed = removed_by_login(
                account_state,
                replaced,
                now=now,
                not_before=ring.not_before,
                idle_s_of=idle_s_of,
                lineages_max=LINEAGES_MAX,
            )
            if isinstance(removed, NoRoom):
                raise errors.TooManyRequests(
                    "no entry is old enough to make room",
                    retry_after=removed.until - now,
                    detail=f"This account began {LINEAGES_MAX} logins within minutes. Wait as `Retry-After` says.",
                )
            admitted = self.lineage_store.add_lineage(
                lineage, expected=account_state, replaced=replaced, removed=removed, lineages_max=LINEAGES_MAX
            )
            if isinstance(admitted, Done):
                for one in {one.id: one for one in (*replaced, *removed)}.values():
                    if (
                        ended_of(
                            account_state, one, now=now, not_before=ring.not_before, idle_s=idle_s_of.get(one.client)
                        )
                        is None
                    ):
                        self.record("login_replaced", account=account, lineage=one.id)
                self.record("logged_in", account=account, lineage=lineage.id, client=login_request.client.id)
                return self.first_tokens.tokens_for(
                    lineage, login_request, account_state=account_state, ring=ring, now=now
                )
            account_state = self.lineage_store.get(account)
            if account_state is not None and account_state.status is not Status.ACTIVE:
                raise InvalidCredentials("disabled while it was logging in")
        raise errors.Unavailable("the account state kept changing during a login", by_caller=True)
