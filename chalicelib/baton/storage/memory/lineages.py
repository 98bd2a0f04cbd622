"""The account states in memory. The rules in ``lineages/rules.py`` decide each write."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Actor,
    BrowserKey,
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
    check_attributes,
    ended_of,
    exchange,
    judge,
    may_act,
    rights_of,
)
from chalicelib.baton.storage.memory.tables import MemoryTables

NO_ATTEMPTS: Final = (NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT)


class MemoryLineageStore:
    """`lineages.ports.LineageStore` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def get(self, account: AccountId) -> AccountState | None:
        """Read an account state, also of a deleted account. ``None``: no account state is stored."""
        with self._tables.lock:
            return self._tables.lineages.get(account)

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Advance the lineage to its next generation (E5) if `rules.judge` returns ``Current``.

        For any other verdict, nothing is written, and this verdict is returned.
        """
        with self._tables.lock:
            account_state = self._tables.lineages.get(presented.account)
            verdict = judge(account_state, presented, now=now, not_before=not_before, idle_s=idle_s)
            if not isinstance(verdict, Current):
                return verdict
            assert account_state is not None
            child = exchange(verdict.lineage, presented, now=now)
            self._put(account_state, child)
            return Exchanged(child, rights_of(account_state))

    def add_lineage(
        self,
        lineage: Lineage,
        *,
        expected: AccountState,
        replaced: Sequence[Lineage],
        removed: Sequence[Lineage],
        lineages_max: int,
    ) -> Done | Moved:
        """Add ``lineage``, end the lineages in ``replaced``, and delete the lineages in ``removed``."""
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
            may = may and (lineage.parent is None or _parent_lives(lineage, account_state, expected))
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
        """Store ``lineage``. ``Moved``: the stored lineage does not equal ``expected``, or has ended."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            stored = account_state.lineages.get(lineage.id) if account_state else None
            if account_state is None or stored is None:
                return Moved()
            if stored == expected and _is_live(account_state, stored, now=now, not_before=not_before):
                self._put(account_state, lineage)
                return Done()
            return Done() if stored == lineage else Moved()

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage, and delete its attempts: no rule reads the attempts of an ended lineage.

        ``Refused``: the lineage has already ended and keeps its reason, or it does not exist.
        """
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            stored = account_state.lineages.get(lineage) if account_state else None
            if account_state and stored and stored.ended is None and stored.epoch == account_state.epoch:
                self._put(account_state, replace(stored, ended=Ended(at=now, reason=reason), attempts=NO_ATTEMPTS))
                return Done()
            return Done() if stored and stored.ended == Ended(at=now, reason=reason) else Refused()

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the actor's account, possibly the actor's own."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(actor.account)
            stored = account_state.lineages.get(lineage) if account_state else None
            if stored and stored.ended == Ended(at=now, reason=EndReason.ENDED_BY_OWNER):
                return Done()
            acting = may_act(account_state, actor, now=now)
            if not isinstance(acting, Lineage):
                return acting
            return self.end(actor.account, lineage, EndReason.ENDED_BY_OWNER, now=now)

    def bind_browser(self, actor: Actor, key: BrowserKey, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """Bind the actor's own login to the key of its browser. ``Refused``: the login is bound to another key."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(actor.account)
            acting = may_act(account_state, actor, now=now)
            if not isinstance(acting, Lineage):
                return acting
            assert account_state is not None
            if acting.browser_key is not None:
                return Done() if acting.browser_key.point == key.point else Refused()
            self._put(account_state, replace(acting, browser_key=key))
            return Done()

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

    def end_every(self, account: AccountId, *, now: int) -> Done | Refused:
        """End every lineage of an active account by raising its epoch. ``Refused``: the account is not active."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            if account_state is None or account_state.status is not Status.ACTIVE:
                return Refused()
            raised = Ended(at=now, reason=EndReason.ENDED_BY_OPERATOR)
            if account_state.raised != raised:
                self._tables.lineages[account] = _raised(account_state, raised)
            return Done()

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Delete the actor's account. Its account state stays, with status ``DELETED`` and without lineages."""
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
        """Disable, delete or enable an account, for the operator. A deleted account stays deleted."""
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            if account_state is None or account_state.status is Status.DELETED:
                return Done() if account_state and account_state.status is status else Refused()
            if account_state.status is status is Status.ACTIVE:
                return Done()
            reason = EndReason.ENDED_EVERYWHERE if status is Status.DELETED else EndReason.ACCOUNT_DISABLED
            changed = _raised(account_state, Ended(at=now, reason=reason))
            if status is Status.DELETED:
                changed = replace(changed, lineages={}, roles=frozenset(), attributes=b"", second_factor_required=False)
            self._tables.lineages[account] = replace(changed, status=status)
            return Done()

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, if they are ``expected``. ``lineages.ports`` lists the results."""
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

    def set_second_factor(self, account: AccountId, *, required: bool) -> Done | Refused:
        """Require a second factor from an active account, or end this requirement."""
        return self._set(account, second_factor_required=required)

    def set_attributes(self, account: AccountId, attributes: bytes) -> Done | Refused:
        """Replace the team's attributes of an active account. Raises ``ValueError`` for more than 32 bytes."""
        check_attributes(attributes)
        return self._set(account, attributes=attributes)

    def _set(self, account: AccountId, **changes: bool | bytes) -> Done | Refused:
        with self._tables.lock:
            account_state = self._tables.lineages.get(account)
            if account_state is None or account_state.status is not Status.ACTIVE:
                return Refused()
            self._tables.lineages[account] = replace(account_state, **changes)
            return Done()

    def liveness_condition(self, actor: Actor, *, roles: frozenset[int] | None, now: int) -> dict[str, object]:
        """Raise ``NotImplementedError``: a transaction of DynamoDB cannot contain a condition on this memory."""
        raise NotImplementedError(
            "caller.live() is a condition of a DynamoDB transaction, and BATON_STORAGE=memory has none: run this route "
            "with BATON_STORAGE=dynamodb"
        )

    def _put(self, account_state: AccountState, lineage: Lineage) -> None:
        self._tables.lineages[account_state.account] = replace(
            account_state, lineages={**account_state.lineages, lineage.id: lineage}
        )


def _as_read(account_state: AccountState, expected: AccountState) -> bool:
    return (account_state.epoch, account_state.credentials_version, account_state.roles) == (
        expected.epoch,
        expected.credentials_version,
        expected.roles,
    )


def _parent_lives(restored: Lineage, account_state: AccountState, expected: AccountState) -> bool:
    parent = account_state.lineages.get(restored.parent) if restored.parent is not None else None
    if parent is None or parent.binding != expected.lineages[parent.id].binding:
        return False
    return _is_live(account_state, parent, now=restored.auth_time, not_before=parent.auth_time)


def _raised(account_state: AccountState, raised: Ended) -> AccountState:
    return replace(account_state, epoch=account_state.epoch + 1, raised=raised)


def _is_live(account_state: AccountState, lineage: Lineage, *, now: int, not_before: int) -> bool:
    """Decide whether a lineage is live. The idle limit is not checked, because it depends on the mechanism."""
    ended = ended_of(account_state, lineage, now=now, not_before=not_before, idle_s=None)
    return ended is None and account_state.status is Status.ACTIVE
