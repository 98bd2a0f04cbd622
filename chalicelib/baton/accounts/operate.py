"""The Lambda function ``operate``: the console of a stage calls it to read or change one account for an operator.

An error that an operator can cause is a returned value, never an exception. The caller is a person with the right to
invoke this function. The request names an operator. Baton does not check this name, because CloudTrail records who
invoked the function.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.activity import shown
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.forget import Forget
from chalicelib.baton.accounts.ports import ForgetLater, Users
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.effects import Clock, Done, Refused
from chalicelib.baton.events.ports import Audit
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import AccountState, EndReason, KeyBinding, Lineage, SecretBinding, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import ended_of, used_by
from chalicelib.baton.policy import ACTIVITY_PAGE, ATTEMPT_SLOTS, LINEAGES_MAX

Op = Literal["find", "account", "activity", "disable", "enable", "end", "end_all", "delete"]

STATUSES: Final[Mapping[str, Status]] = {
    "disable": Status.DISABLED,
    "enable": Status.ACTIVE,
    "delete": Status.DELETED,
}

Text = Annotated[str, Meta(min_length=1, max_length=512)]


class OperatorRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request of an operator.

    ``q`` is the e-mail address or account id that ``find`` looks up. ``before`` is the ``next`` of an earlier page of
    ``activity``.
    ``confirm`` is the e-mail address of the account, as the operator types it. For an account without an address,
    ``confirm`` is the id of the account.
    """

    op: Op
    operator: Text
    q: str = ""
    account: str = ""
    lineage: str = ""
    before: str = ""
    confirm: str = ""


class Operate(Struct, frozen=True, kw_only=True):
    """Answer the requests of operators."""

    clock: Clock
    key_ring: KeyRing
    users: Users
    lineage_store: LineageStore
    audit: Audit
    clients: Clients
    record: Record
    forget_later: ForgetLater | None

    def __call__(self, event: object) -> dict[str, object]:
        """Return the result, or ``{"error": {"status", "code", "detail"}}``. A change needs ``confirm``."""
        try:
            request = msgspec.convert(event, OperatorRequest)
        except ValueError as wrong:  # this is also raised for half of a surrogate pair
            return _error(400, "malformed", f"{wrong}. Known members: {', '.join(OperatorRequest.__struct_fields__)}.")
        try:
            return self._answer(request)
        except ConfirmationWrong:
            return _error(
                400,
                "confirmation_wrong",
                "`confirm` must be the e-mail address of this account, or its id if it has no address.",
            )
        except errors.Refusal as refusal:
            return _error(refusal.status, refusal.code, refusal.reason or refusal.detail)

    def _answer(self, request: OperatorRequest) -> dict[str, object]:
        if request.op == "find":
            return {"accounts": self._found(request.q.strip())}
        account, user, state = self._known(AccountId(request.account))
        if request.op == "account":
            return self._shown(user, state)
        if request.op == "activity":
            return self._activity(account, state, request.before)
        self._check_confirmation(user, request.confirm)
        by = {"operator": request.operator}
        match request.op:
            case "end":
                self._end(state, LineageId(request.lineage), by)
            case "end_all":
                if isinstance(self.lineage_store.end_every(account, now=self.clock()), Refused):
                    raise errors.NotFound("the account is not active: it has no logins")
                self.record("ended_by_operator", account=account, details=by)
            case op:
                self._set_status(user, STATUSES[op], by)
        return {"account": account, "status": self._status(account)}

    def _found(self, text: str) -> list[dict[str, object]]:
        """Find an account by its e-mail address or its id. A search by device or by request is not possible."""
        account: AccountId | None = AccountId(text)
        if "@" in text:
            index = self.key_ring.current(now=self.clock()).email_index(canonical_email(text))
            account = self.users.find(index)
        if not account:
            return []
        user, state = self.users.get(account), self.lineage_store.get(account)
        if user is None or state is None:
            return []
        return [{"account": account, "email": user.email, "status": state.status.name.lower()}]

    def _known(self, account: AccountId) -> tuple[AccountId, User, AccountState]:
        user, state = self.users.get(account), self.lineage_store.get(account)
        if user is None or state is None:
            raise errors.NotFound("no account has this id")
        return account, user, state

    def _check_confirmation(self, user: User, typed: str) -> None:
        if not user.email_index:  # the person came from an identity provider
            if typed != user.account:
                raise ConfirmationWrong
            return
        ring = self.key_ring.current(now=self.clock())
        try:
            confirmed = ring.email_index(canonical_email(typed)) == user.email_index
        except errors.InvalidRequest:  # `typed` is not an address
            confirmed = False
        if not confirmed:
            raise ConfirmationWrong

    def _end(self, state: AccountState, lineage: LineageId, by: Mapping[str, str]) -> None:
        account, ended = state.account, None
        if lineage in state.lineages:  # no text of the caller gets into a write unchecked
            ended = self.lineage_store.end(account, lineage, EndReason.ENDED_BY_OPERATOR, now=self.clock())
        if not isinstance(ended, Done):
            raise errors.NotFound("the account has no active login with this id")
        self.record("ended_by_operator", account=account, lineage=lineage, details=by)

    def _set_status(self, user: User, status: Status, by: Mapping[str, str]) -> None:
        act = SetStatus(
            clock=self.clock,
            key_ring=self.key_ring,
            users=self.users,
            lineage_store=self.lineage_store,
            record=self.record,
            forget_later=self.forget_later,
        )
        act.change(user.account, user.email_index, status, details=by)
        if status is Status.DELETED and self.forget_later is None:  # no queue: erase the events now
            Forget(lineage_store=self.lineage_store, audit=self.audit)(user.account, deleted_at=self.clock())

    def _status(self, account: AccountId) -> str:
        state = self.lineage_store.get(account)
        return state.status.name.lower() if state else "deleted"

    def _activity(self, account: AccountId, state: AccountState, before: str) -> dict[str, object]:
        stored = self.audit.newest(account, before=before or None, limit=ACTIVITY_PAGE + 1, now=self.clock())
        events = [msgspec.to_builtins(shown(one, state)) for one in stored[:ACTIVITY_PAGE]]
        more = len(stored) > ACTIVITY_PAGE
        return {"events": events, "next": stored[ACTIVITY_PAGE - 1].key if more else None}

    def _shown(self, user: User, state: AccountState) -> dict[str, object]:
        factors = user.factors
        lineages = [self._lineage(state, one) for one in state.lineages.values()]
        lineages.sort(key=lambda one: str(one["auth_time"]), reverse=True)
        return {
            "account": user.account,
            "email": user.email,
            "status": state.status.name.lower(),
            "verified": user.verified_at is not None,
            "created_at": user.created_at,
            "roles": sorted(self.clients.role_names(state.roles)),
            "second_factor_required": state.second_factor_required,
            "credentials_version": state.credentials_version,
            "factors": {
                "on": factors.on,
                "totp": factors.totp is not None,
                "passkeys": len(factors.passkeys),
                "recovery_codes": factors.codes_left,
            },
            "logins": sum(one["ended"] is None for one in lineages),
            "logins_max": LINEAGES_MAX,
            "lineages": lineages,
        }

    def _lineage(self, state: AccountState, lineage: Lineage) -> dict[str, object]:
        client, now = self.clients.of(lineage.client), self.clock()
        idle_s = client.mechanism.idle_s if client else None
        ended = ended_of(state, lineage, now=now, not_before=self.key_ring.current(now=now).not_before, idle_s=idle_s)
        stored = range(max(0, lineage.generation - ATTEMPT_SLOTS), lineage.generation)
        attempts = {g: used_by(lineage, g) for g in stored} if lineage.ended is None else {}
        return {
            "lineage": lineage.id,
            "client": client.id if client else str(lineage.client),
            "device": lineage.label,
            "bound": _bound(lineage),
            "generation": lineage.generation,
            "attempts": {str(g): attempt[:4].hex() for g, attempt in attempts.items() if attempt},
            "auth_time": lineage.auth_time,
            "issued_at": lineage.issued_at,
            "expires_at": lineage.expires_at,
            "ended": {"at": ended.at, "reason": ended.reason.value} if ended else None,
        }


class ConfirmationWrong(Exception):
    """``confirm`` is not the e-mail address of the account or, for an account without an address, its id."""


def _bound(lineage: Lineage) -> str:
    match lineage.binding:
        case KeyBinding():
            return "key"
        case SecretBinding():
            return "secret"
        case _:
            return "none"


def _error(status: int, code: str, detail: str) -> dict[str, object]:
    return {"error": {"status": status, "code": code, "detail": detail}}
