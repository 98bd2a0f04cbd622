"""Admit a login and issue its first tokens. A repeated registration or login gets the same tokens."""

from collections.abc import Iterable

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.login_request import LoginRequest
from chalicelib.baton.effects import Done
from chalicelib.baton.errors import Refusal
from chalicelib.baton.events.ports import Log, Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.refusals import InvalidCredentials, InvalidSession
from chalicelib.baton.ids import LineageId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.login_rules import (
    NoRoom,
    handed_over,
    has_device,
    removed_by_login,
    replaced_by_handover,
    replaced_by_login,
    restored,
)
from chalicelib.baton.lineages.model import AccountState, Assurance, Lineage, Status, UnfinishedLogin
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import ended_of, may_go_on, rights_of
from chalicelib.baton.policy import LINEAGES_MAX, START_OVER_MAX
from chalicelib.baton.tokens.issue import Issue, TokenResponse, with_secret


class FirstTokens(Struct, frozen=True, kw_only=True):
    """Issue the first tokens of a lineage, in the request that begins it or in a retry with the same attempt."""

    issue: Issue

    def tokens_for(
        self, lineage: Lineage, login_request: LoginRequest, *, account_state: AccountState, ring: Ring, now: int
    ) -> TokenResponse:
        """Return the tokens with the rights in ``account_state``, and the HMAC secret if the lineage has one."""
        issued = self.issue(
            lineage,
            account=account_state.account,
            client=login_request.client,
            key=login_request.device.public_key,
            ring=ring,
            now=now,
            rights=rights_of(account_state),
        )
        return with_secret(issued, lineage, ring)

    def find_by_attempt(
        self,
        account_state: AccountState,
        login_request: LoginRequest,
        ids: Iterable[LineageId],
        *,
        ring: Ring,
        now: int,
    ) -> Lineage | None:
        """Return the lineage that this attempt began in an earlier request, or ``None``.

        ``ids`` are the lineage ids that derive from the attempt, one for each root secret.

        Raises ``Superseded`` if that lineage has had an exchange, has ended, or differs from the login request in
        binding or client.
        """
        for candidate in ids:
            lineage = account_state.lineages.get(candidate)
            if lineage is None:
                continue
            idle_s = login_request.client.mechanism.idle_s
            if (
                lineage.generation != 0
                or lineage.binding != login_request.binding
                or lineage.client != login_request.client.code
                or ended_of(account_state, lineage, now=now, not_before=ring.not_before, idle_s=idle_s) is not None
            ):
                raise errors.Superseded("the lineage of this attempt was exchanged, has ended or differs")
            return lineage
        return None


class Restoring(Struct, frozen=True):
    """A login that is restored from ``parent``, the login of the old phone.

    - ``refusal``: the error if ``parent`` has ended.
    - ``address``: the address for the notice to the owner, or empty if the account has none.
    """

    parent: Lineage
    refusal: Refusal
    address: str

    def __repr__(self) -> str:
        """Mask the address."""
        return "Restoring('**********')"


class HandingOver(Struct, frozen=True):
    """The handover of ``parent``, the login of an app, to a browser. ``refusal`` is raised if ``parent`` has ended."""

    parent: Lineage
    refusal: Refusal


Basis = UnfinishedLogin | Restoring | HandingOver
"""An earlier step or login that a new login depends on. If the basis is no longer valid, the new login is refused."""


class Admit(Struct, frozen=True, kw_only=True):
    """Begin a lineage for a person who has proved every factor that is required, and issue its first tokens."""

    clients: Clients
    lineage_store: LineageStore
    first_tokens: FirstTokens
    log: Log
    record: Record

    def __call__(
        self,
        login_request: LoginRequest,
        proved_at: AccountState,
        *,
        assurance: Assurance,
        ring: Ring,
        now: int,
        basis: Basis | None = None,
    ) -> TokenResponse:
        """Return the first tokens. ``proved_at`` is the account state as it was read before the check of the factors.

        ``basis`` is the unfinished login of an ``auth_session``, the login of the old phone (a restore), or the login
        of the app (a handover). An unfinished login must still be valid. The login of the phone or app must be live:
        otherwise, ``basis.refusal`` is raised. If ``basis`` is ``None``, the new login depends on no earlier
        step.

        A retry with the same attempt gets the same tokens.

        Raises:
            InvalidCredentials: the account was disabled or deleted during the login.
            InvalidSession: the unfinished login is no longer valid.
            Superseded: see `FirstTokens.find_by_attempt`.
            TooManyRequests: the account has no room for another login.
            Unavailable: the credentials changed during the login, or the account state kept changing.

        """
        account_state: AccountState | None = proved_at
        account, verified_version = proved_at.account, proved_at.credentials_version
        idle_s_of = {client.code: client.mechanism.idle_s for client in self.clients}
        ids = ring.lineage_ids(account, login_request.attempt, now=now)
        for _ in range(START_OVER_MAX):
            if account_state is None or account_state.credentials_version != verified_version:
                break
            before = self.first_tokens.find_by_attempt(account_state, login_request, ids, ring=ring, now=now)
            if before is not None:
                self.log.record("login_retried", lineage=before.id)
                return self.first_tokens.tokens_for(
                    before, login_request, account_state=account_state, ring=ring, now=now
                )
            lineage = login_request.lineage(ids[0], epoch=account_state.epoch, assurance=assurance, now=now)
            if isinstance(basis, Restoring):
                lineage = restored(lineage, basis.parent)
            if isinstance(basis, HandingOver):
                lineage = handed_over(lineage, basis.parent, idle_s=idle_s_of.get(basis.parent.client, 0))
            replaced = (
                replaced_by_handover(account_state, lineage, over=login_request.over)
                if isinstance(basis, HandingOver)
                else replaced_by_login(
                    account_state, login_request.binding, proved=login_request.proved, over=login_request.over
                )
            )
            removed = removed_by_login(
                account_state,
                replaced,
                now=now,
                not_before=ring.not_before,
                idle_s_of=idle_s_of,
                lineages_max=LINEAGES_MAX,
                parent=lineage.parent,
                live_too=not isinstance(basis, HandingOver),
            )
            if isinstance(removed, NoRoom):
                raise errors.TooManyRequests(
                    "no entry is old enough to make room",
                    retry_after=removed.until - now,
                    detail=f"This account has {LINEAGES_MAX} logins, and none of them can make room. Wait as "
                    "`Retry-After` says."
                    if isinstance(basis, HandingOver)
                    else f"This account has {LINEAGES_MAX} logins that began or ended within minutes. Wait as "
                    "`Retry-After` says.",
                )
            admitted = self.lineage_store.add_lineage(
                lineage, expected=account_state, replaced=replaced, removed=removed, lineages_max=LINEAGES_MAX
            )
            if isinstance(admitted, Done):
                self.log.set_lineage(lineage=lineage.id)  # otherwise the log lines get the id of a replaced lineage
                for one in {one.id: one for one in (*replaced, *removed)}.values():
                    idle_s, not_before = idle_s_of.get(one.client), ring.not_before
                    if ended_of(account_state, one, now=now, not_before=not_before, idle_s=idle_s) is None:
                        self.record("login_replaced", account=account, lineage=one.id)
                self._record(account_state, lineage, login_request, basis, now=now)
                return self.first_tokens.tokens_for(
                    lineage, login_request, account_state=account_state, ring=ring, now=now
                )
            account_state = self.lineage_store.get(account)
            _check_basis(account_state, basis, not_before=ring.not_before, now=now)
        raise errors.Unavailable("the account state kept changing during a login", by_caller=True)

    def _record(
        self,
        account_state: AccountState,
        lineage: Lineage,
        login_request: LoginRequest,
        basis: Basis | None,
        *,
        now: int,
    ) -> None:
        """Record the login. If the device is new to the account, the owner gets a notice."""
        client = login_request.client.id
        if isinstance(basis, Restoring):
            self.record(
                "restored_on_new_device",
                account=account_state.account,
                lineage=lineage.id,
                client=client,
                details={"restored_from": basis.parent.id},
                told=Told(device=lineage.label, address=basis.address, undo_since=now if basis.address else None),
            )
            return
        if isinstance(basis, HandingOver):
            self.record(
                "logged_in",
                account=account_state.account,
                lineage=lineage.id,
                client=client,
                details={"handed_over_from": basis.parent.id},
                told=None,  # a handover is no login of a new device
            )
            return
        is_new = not has_device(account_state, login_request.binding, proved=login_request.proved)
        told = Told(device=lineage.label) if is_new else None
        self.record("logged_in", account=account_state.account, lineage=lineage.id, client=client, told=told)


def _check_basis(account_state: AccountState | None, basis: Basis | None, *, not_before: int, now: int) -> None:
    """Refuse a login if its basis has ended or its account is inactive, in the newly read ``account_state``."""
    if isinstance(basis, UnfinishedLogin) and not may_go_on(account_state, basis):
        raise InvalidSession("auth_session: the account changed before the admission")
    if isinstance(basis, Restoring | HandingOver):
        parent = account_state.lineages.get(basis.parent.id) if account_state else None
        if account_state is None or parent is None:
            raise basis.refusal
        if ended_of(account_state, parent, now=now, not_before=not_before, idle_s=None) is not None:
            raise basis.refusal
    if isinstance(basis, HandingOver) and account_state is not None and account_state.status is not Status.ACTIVE:
        raise basis.refusal
    if account_state is not None and account_state.status is not Status.ACTIVE:
        raise InvalidCredentials("disabled while it was logging in")
