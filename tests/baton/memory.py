"""The stores in memory: the same ports, the same rule, one lock. For tests alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Final

from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Actor,
    Ended,
    EndReason,
    KeyBinding,
    Lineage,
    PresentedToken,
    Status,
)
from chalicelib.baton.lineages.rules import (
    Ahead,
    Current,
    Exchanged,
    Inactive,
    ProofOutdated,
    Retry,
    Reused,
    Superseded,
    exchange,
    judge,
    may_act,
)
from chalicelib.baton.policy import NONCE_KEPT_S, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.tokens.caller import GrantUsed, Operation

NO_ATTEMPTS: Final = (NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT)


@dataclass(slots=True)
class Grant:
    """A kept grant, and the mark of the call that spent it."""

    lineage: LineageId
    operation: Operation
    step_up: GrantUsed
    credentials_version: int
    expires_at: int
    spent_by: bytes | None = None


@dataclass(slots=True)
class Tables:
    """Everything that is stored, and the lock under which it is."""

    lock: RLock = field(default_factory=RLock)
    claims: dict[EmailIndex, AccountId] = field(default_factory=dict)
    users: dict[AccountId, User] = field(default_factory=dict)
    lineages: dict[AccountId, AccountState] = field(default_factory=dict)
    nonces: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    tickets: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    windows: dict[tuple[str, int], int] = field(default_factory=dict)
    events: list[AuditEvent] = field(default_factory=list)
    event_keys: set[tuple[AccountId, int, str]] = field(default_factory=set)


class MemoryUsers:
    """``ports.Users`` in memory."""

    def __init__(self, tables: Tables) -> None:
        """Keep the tables."""
        self._tables = tables

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Find the account that claims an e-mail address."""
        with self._tables.lock:
            return self._tables.claims.get(email_index)

    def get(self, account: AccountId) -> User | None:
        """Read a user."""
        with self._tables.lock:
            return self._tables.users.get(account)

    def register(self, user: User, account_state: AccountState) -> Done | AddressTaken:
        """Write claim, user and account state, all of them or none, each of which must not exist."""
        tables = self._tables
        with tables.lock:
            claimed_by = tables.claims.get(user.email_index)
            stored = tables.users.get(user.account)
            if claimed_by is None and stored is None and account_state.account not in tables.lineages:
                tables.claims[user.email_index] = user.account
                tables.users[user.account] = user
                tables.lineages[account_state.account] = account_state
                return Done()
            return Done() if stored == user else AddressTaken(claimed_by or user.account)

    def change_password(self, actor: Actor, password_hash: bytes, *, expected: AccountState, now: int) -> Done | Moved:
        """Replace the verifier, raise verifier version and epoch, and keep the actor's lineage: all or none."""
        tables = self._tables
        with tables.lock:
            account = actor.account
            user, account_state = tables.users.get(account), tables.lineages.get(account)
            if user is None or account_state is None:
                return Moved()
            if (user.password_hash, user.credentials_version) == (password_hash, actor.credentials_version + 1):
                return Done()
            kept = may_act(account_state, actor, now=now)
            if not isinstance(kept, Lineage) or account_state.epoch != expected.epoch:
                return Moved()
            if user.credentials_version != actor.credentials_version:
                return Moved()
            tables.users[account] = replace(
                user, password_hash=password_hash, credentials_version=user.credentials_version + 1
            )
            tables.lineages[account] = replace(
                account_state,
                epoch=account_state.epoch + 1,
                credentials_version=account_state.credentials_version + 1,
                lineages={**account_state.lineages, kept.id: replace(kept, epoch=account_state.epoch + 1)},
                raised=Ended(at=now, reason=EndReason.PASSWORD_CHANGED),
            )
            return Done()

    def rehash(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, expected_password_hash: bytes
    ) -> None:
        """Replace a verifier by one of the same password and better parameters, when nobody else changed it."""
        with self._tables.lock:
            user = self._tables.users.get(account)
            if user and (user.password_hash, user.credentials_version) == (expected_password_hash, expected_version):
                self._tables.users[account] = replace(user, password_hash=password_hash)

    def forget(self, account: AccountId, email_index: EmailIndex) -> None:
        """Remove the user, and its claim last, while it is the account's."""
        with self._tables.lock:
            self._tables.users.pop(account, None)
            if self._tables.claims.get(email_index) == account:
                del self._tables.claims[email_index]


class MemoryLineageStore:
    """``ports.LineageStore`` in memory."""

    def __init__(self, tables: Tables) -> None:
        """Keep the tables."""
        self._tables = tables

    def get(self, account: AccountId) -> AccountState | None:
        """Read an account state."""
        with self._tables.lock:
            return self._tables.lineages.get(account)

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Move the lineage on if and only if the rule says ``Current``."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(presented.account)
            verdict = judge(account_state, presented, now=now, not_before=not_before, idle_s=idle_s)
            if not isinstance(verdict, Current):
                return verdict
            assert account_state is not None
            child = exchange(verdict.lineage, presented, now=now)
            self._put(account_state, child)
            return Exchanged(child)

    def add_lineage(
        self,
        lineage: Lineage,
        *,
        expected: AccountState,
        replaced: Sequence[Lineage],
        removed: Sequence[Lineage],
        lineages_max: int,
    ) -> Done | Moved:
        """Add a lineage, end those it replaces, and remove those that make room."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(expected.account)
            if account_state is None:
                return Moved()
            if lineage.id in account_state.lineages:
                return Done() if account_state.lineages[lineage.id] == lineage else Moved()
            fits = len(account_state.lineages) < lineages_max + len(removed)
            if isinstance(lineage.binding, KeyBinding):
                fits = fits and account_state.lineages.keys() == expected.lineages.keys()
            still_there = all(account_state.lineages.get(one.id) == one for one in removed)
            ending = [one.id for one in replaced if one not in removed]
            not_ended = all(
                one in account_state.lineages and account_state.lineages[one].ended is None for one in ending
            )
            may = account_state.status is Status.ACTIVE and _as_read(account_state, expected)
            if not (may and fits and still_there and not_ended):
                return Moved()
            gone = {one.id for one in removed}
            over = Ended(at=lineage.auth_time, reason=EndReason.REPLACED)
            kept = {
                key: replace(one, ended=over, attempts=NO_ATTEMPTS) if key in ending else one
                for key, one in account_state.lineages.items()
                if key not in gone
            }
            self._put(replace(account_state, lineages=kept), lineage)
            return Done()

    def record_use(
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, not_before: int
    ) -> Done | Moved:
        """Record that a lineage was used."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            stored = account_state.lineages.get(lineage.id) if account_state else None
            if account_state is None or stored is None:
                return Moved()
            if stored == expected and _may_act(account_state, stored, now=now, not_before=not_before):
                self._put(account_state, lineage)
                return Done()
            return Done() if stored == lineage else Moved()

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage, which forgets its attempts: nothing asks them any more."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            stored = account_state.lineages.get(lineage) if account_state else None
            if account_state and stored and stored.ended is None and stored.epoch == account_state.epoch:
                self._put(account_state, replace(stored, ended=Ended(at=now, reason=reason), attempts=NO_ATTEMPTS))
                return Done()
            return Done() if stored and stored.ended == Ended(at=now, reason=reason) else Refused()

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the account on behalf of another one, or of itself."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(actor.account)
            stored = account_state.lineages.get(lineage) if account_state else None
            if stored and stored.ended == Ended(at=now, reason=EndReason.ENDED_BY_OWNER):
                return Done()
            acting = may_act(account_state, actor, now=now)
            if not isinstance(acting, Lineage):
                return acting
            return self.end(actor.account, lineage, EndReason.ENDED_BY_OWNER, now=now)

    def end_all(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """End every lineage of the actor's account by raising the epoch."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(actor.account)
            raised = Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
            acting = may_act(account_state, actor, now=now)
            if isinstance(acting, Lineage):
                assert account_state is not None
                self._put(_raised(account_state, raised), replace(acting, ended=raised, attempts=NO_ATTEMPTS))
                return Done()
            stored = account_state.lineages.get(actor.lineage) if account_state else None
            return Done() if stored is not None and stored.ended == raised else acting

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Delete the actor's account."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(actor.account)
            acting = may_act(account_state, actor, now=now)
            if isinstance(acting, Lineage):
                self.set_status(actor.account, Status.DELETED, now=now)
                deleted = self._tables.lineages[actor.account]
                self._tables.lineages[actor.account] = replace(deleted, deleted_by=actor.lineage)
                return Done()
            return Done() if account_state is not None and account_state.deleted_by == actor.lineage else acting

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Disable, delete or enable."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            if account_state is None or account_state.status is Status.DELETED:
                return Done() if account_state and account_state.status is status else Refused()
            if account_state.status is status is Status.ACTIVE:
                return Done()
            reason = EndReason.ENDED_EVERYWHERE if status is Status.DELETED else EndReason.ACCOUNT_DISABLED
            changed = _raised(account_state, Ended(at=now, reason=reason))
            if status is Status.DELETED:
                changed = replace(changed, lineages={}, roles=frozenset())
            self._tables.lineages[account] = replace(changed, status=status)
            return Done()

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, when they are as read."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            if account_state is None or account_state.status is Status.DELETED:
                return Refused()
            if account_state.roles == roles:
                return Done()
            if account_state.status is not Status.ACTIVE:
                return Refused()
            if account_state.roles != expected:
                return Moved()
            self._tables.lineages[account] = replace(account_state, roles=roles)
            return Done()

    def liveness_condition(self, actor: Actor, *, roles: frozenset[int] | None, now: int) -> dict[str, object]:
        """Refuse: no transaction of a team's own reaches this memory."""
        raise NotImplementedError(
            "caller.live() is for a DynamoDB transaction: run this route with BATON_STORAGE=dynamodb"
        )

    def _put(self, account_state: AccountState, lineage: Lineage) -> None:
        self._tables.lineages[account_state.account] = replace(
            account_state, lineages={**account_state.lineages, lineage.id: lineage}
        )


class MemoryEphemeral:
    """``ports.Ephemeral`` in memory."""

    def __init__(self, tables: Tables) -> None:
        """Keep the tables."""
        self._tables = tables

    def consume_nonce(self, keyid: str, nonce: str, *, now: int, mark: bytes) -> Done | Refused:
        """Spend a nonce of a key, once."""
        with self._tables.lock:
            spent = self._tables.nonces.get((keyid, nonce))
            if spent is not None and spent[1] > now:
                return Done() if spent[0] == mark else Refused()
            self._tables.nonces[(keyid, nonce)] = (mark, now + NONCE_KEPT_S)
            return Done()

    def consume_ticket(self, ticket_id: bytes, *, expires_at: int, now: int, mark: bytes) -> Done | Refused:
        """Consume a ticket, once."""
        with self._tables.lock:
            consumed = self._tables.tickets.get(ticket_id)
            if consumed is not None and consumed[1] > now:
                return Done() if consumed[0] == mark else Refused()
            self._tables.tickets[ticket_id] = (mark, expires_at + TICKET_CONSUMED_KEPT_S)
            return Done()

    def store_grant(
        self,
        grant: str,
        *,
        lineage: LineageId,
        operation: Operation,
        step_up: GrantUsed,
        credentials_version: int,
        expires_at: int,
    ) -> None:
        """Keep a step-up grant."""
        with self._tables.lock:
            self._tables.grants.setdefault(grant, Grant(lineage, operation, step_up, credentials_version, expires_at))

    def consume_grant(
        self, grant: str, *, lineage: LineageId, operation: Operation, credentials_version: int, now: int, mark: bytes
    ) -> GrantUsed | Refused:
        """Spend a grant, once, when it is unexpired and for exactly this lineage, operation and password."""
        with self._tables.lock:
            kept = self._tables.grants.get(grant)
            if kept is None:
                return Refused()
            fits = kept.lineage == lineage and kept.operation == operation and kept.expires_at > now
            fits = fits and kept.credentials_version == credentials_version
            if kept.spent_by is None and fits:
                kept.spent_by = mark
            return kept.step_up if kept.spent_by == mark else Refused()

    def count(self, bucket: str, *, limit: int, window_s: int, now: int) -> Done | Refused:
        """Count one more in this window, unless the limit is reached."""
        with self._tables.lock:
            window = (bucket, now // window_s)
            taken = self._tables.windows.get(window, 0)
            if taken >= limit:
                return Refused()
            self._tables.windows[window] = taken + 1
            return Done()

    def uncount(self, bucket: str, *, window_s: int, now: int) -> None:
        """Take one from the count again, never below zero."""
        with self._tables.lock:
            window = (bucket, now // window_s)
            self._tables.windows[window] = max(0, self._tables.windows.get(window, 0) - 1)


class MemoryAudit:
    """``ports.Audit`` in memory; ``events`` in the order they were appended."""

    def __init__(self, tables: Tables) -> None:
        """Keep the tables."""
        self._tables = tables

    @property
    def events(self) -> list[AuditEvent]:
        """Give what happened."""
        return self._tables.events

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event, never over another."""
        key = (event.account, event.at, event_id)
        with self._tables.lock:
            if key not in self._tables.event_keys:
                self._tables.event_keys.add(key)
                self._tables.events.append(event)


class MemoryKeyRing:
    """``ports.KeyRing`` in memory: the ring it was given, or was given last."""

    def __init__(self, ring: Ring) -> None:
        """Keep the ring."""
        self.ring = ring

    def current(self, *, now: int) -> Ring:
        """Give the ring."""
        return self.ring

    def refreshed(self, *, now: int) -> Ring:
        """Give the ring."""
        return self.ring


@dataclass(slots=True)
class MemorySignals:
    """``ports.Signals`` in memory: every signal and its facts."""

    emitted: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)

    def begin(self, *, request_id: str) -> None:
        """Forget the request before."""

    def about(self, *, lineage: str) -> None:
        """Put the lineage on all that follows."""

    def emit(self, event: str, /, **facts: str | int) -> None:
        """Note that something happened."""
        self.emitted.append((event, facts))


class MemoryStores:
    """All stores over the same tables."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.tables = Tables()
        self.users = MemoryUsers(self.tables)
        self.lineage_store = MemoryLineageStore(self.tables)
        self.ephemeral = MemoryEphemeral(self.tables)
        self.audit = MemoryAudit(self.tables)
        self.signals = MemorySignals()


def _as_read(account_state: AccountState, expected: AccountState) -> bool:
    return (account_state.epoch, account_state.credentials_version) == (expected.epoch, expected.credentials_version)


def _raised(account_state: AccountState, raised: Ended) -> AccountState:
    return replace(account_state, epoch=account_state.epoch + 1, raised=raised)


def _may_act(account_state: AccountState, lineage: Lineage, *, now: int, not_before: int) -> bool:
    """Tell whether a lineage is live, as far as a write can tell that knows no mechanism."""
    alive = lineage.ended is None and lineage.epoch == account_state.epoch and lineage.expires_at > now
    return alive and lineage.auth_time >= not_before and account_state.status is Status.ACTIVE
