"""The account state in DynamoDB: one item per account, with all lineages of the account.

Each method that changes the item is one conditional write. If the condition fails, `lineages.rules` judges the item
that DynamoDB returns with the failure. No second read is needed.
"""

from collections.abc import Sequence

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, Ended, EndReason, Lineage, PresentedToken, Status
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
    judge,
    may_act,
)
from chalicelib.baton.policy import ATTEMPT_SLOTS
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import (
    Item,
    Value,
    binary,
    binding_value,
    lineage_of,
    lineage_value,
    number,
    of_account,
    roles_value,
    state_of,
    state_update,
    stored_rights,
    text,
)
from chalicelib.baton.storage.dynamodb.state_writes import (
    ACTIVE,
    ACTOR_LIVE,
    CURRENT,
    DELETE,
    DELETE_BY_ACTOR,
    DISABLED,
    END_ONE,
    ENDABLE,
    EXISTS,
    NOT_DELETED,
    NOT_RAISED_BY_THIS,
    RAISE_EPOCH,
    RAISE_EPOCH_AND_END_ACTOR,
    RECORDABLE,
    RELEASE_SECOND_FACTOR,
    REMOVE_ATTRIBUTES,
    REMOVE_ROLES,
    REQUIRE_SECOND_FACTOR,
    SET_ATTRIBUTES,
    SET_ROLES,
    SET_STATUS,
    TO_THE_NEXT_GENERATION,
    actor_values,
    add_one,
    end_values,
    roles_condition,
)


class LineageStore:
    """``ports.LineageStore`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database
        self._table = database.tables.lineages

    def get(self, account: AccountId) -> AccountState | None:
        """Read an account state."""
        item = self._database.read(self._table, of_account(account))
        return state_of(item) if item is not None else None

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Advance the lineage if `rules.judge` returns ``Current`` (E5), in one write."""
        update = state_update(
            self._table,
            presented.account,
            TO_THE_NEXT_GENERATION[presented.generation % ATTEMPT_SLOTS],
            CURRENT,
            lineage=presented.lineage,
            values={
                ":now": number(now),
                ":idle_before": number(now - idle_s),
                ":not_before": number(not_before),
                ":presented_at": number(presented.issued_at),
                ":client": number(presented.client),
                ":binding": binding_value(presented.binding),
                ":generation": number(presented.generation),
                ":next_generation": number(presented.generation + 1),
                ":issued_at": number(max(now, presented.issued_at)),
                ":attempt": binary(presented.attempt),
            },
        )
        try:
            item = self._database.write("update_item", ReturnValues="ALL_NEW", **update)
        except ConditionFailed as failed:
            verdict = judge(_state(failed.item), presented, now=now, not_before=not_before, idle_s=idle_s)
            if isinstance(verdict, Current):
                raise Unavailable("the condition of an exchange and the rule disagree") from None
            return verdict
        return Exchanged(lineage_of(item, presented.lineage), stored_rights(item))

    def add_lineage(
        self,
        lineage: Lineage,
        *,
        expected: AccountState,
        replaced: Sequence[Lineage],
        removed: Sequence[Lineage],
        lineages_max: int,
    ) -> Done | Moved:
        """Add a lineage, end the replaced lineages and delete the removed ones, in one write."""
        update = add_one(
            self._table,
            lineage,
            expected=expected,
            replaced=replaced,
            removed=removed,
            lineages_max=lineages_max,
        )
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            return _done_when_stored(failed.item, lineage)
        return Done()

    def record_use(
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, not_before: int
    ) -> Done | Moved:
        """Store the use of a lineage, if the stored lineage is as it was read, and is active."""
        update = state_update(
            self._table,
            account,
            "SET #lineages.#lineage = :lineage",
            RECORDABLE,
            lineage=lineage.id,
            values={
                ":lineage": lineage_value(lineage),
                ":lineage_as_read": lineage_value(expected),
                ":now": number(now),
                ":not_before": number(not_before),
            },
        )
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            return _done_when_stored(failed.item, lineage)
        return Done()

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage. ``Refused``: it has already ended and keeps its reason, or it does not exist."""
        ended = Ended(at=now, reason=reason)
        update = state_update(self._table, account, END_ONE, ENDABLE, lineage=lineage, values=end_values(ended))
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            return _ended_as(failed.item, lineage, ended)
        return Done()

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the actor's account, possibly the actor's own."""
        ended = Ended(at=now, reason=EndReason.ENDED_BY_OWNER)
        try:
            self._act(actor, END_ONE, ENDABLE, ended, lineage=lineage)
        except ConditionFailed as failed:
            if isinstance(_ended_as(failed.item, lineage, ended), Done):
                return Done()
            acting = may_act(_state(failed.item), actor, now=now)
            return Refused() if isinstance(acting, Lineage) else acting
        return Done()

    def end_all(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """End every lineage of the actor's account by raising the epoch, in one write."""
        ended = Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
        try:
            self._act(actor, RAISE_EPOCH_AND_END_ACTOR, (), ended)
        except ConditionFailed as failed:
            if isinstance(_ended_as(failed.item, actor.lineage, ended), Done):
                return Done()
            return _not_acting(_state(failed.item), actor, now=now)
        return Done()

    def end_every(self, account: AccountId, *, now: int) -> Done | Refused:
        """End every lineage of an active account by raising its epoch, in one write."""
        ended = Ended(at=now, reason=EndReason.ENDED_BY_OPERATOR)
        conditions = (ACTIVE, NOT_RAISED_BY_THIS)
        update = state_update(self._table, account, RAISE_EPOCH, conditions, values=end_values(ended))
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            state = _state(failed.item)
            return (
                Done() if state is not None and state.status is Status.ACTIVE and state.raised == ended else Refused()
            )
        return Done()

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Delete the actor's account: status, epoch and all lineages in one write."""
        ended = Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
        try:
            self._act(
                actor,
                DELETE_BY_ACTOR,
                (),
                ended,
                values={":status": number(Status.DELETED), ":deleted_by": text(actor.lineage)},
            )
        except ConditionFailed as failed:
            account_state = _state(failed.item)
            ours = account_state is not None and account_state.deleted_by == actor.lineage
            return Done() if ours else _not_acting(account_state, actor, now=now)
        return Done()

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Disable, delete or enable an account, for the operator. A deleted account stays deleted.

        Enabling revives no lineage. It does not end lineages of an active account.
        """
        reason = EndReason.ENDED_EVERYWHERE if status is Status.DELETED else EndReason.ACCOUNT_DISABLED
        update = state_update(
            self._table,
            account,
            DELETE if status is Status.DELETED else SET_STATUS,
            (EXISTS, DISABLED if status is Status.ACTIVE else NOT_DELETED),
            values={**end_values(Ended(at=now, reason=reason)), ":status": number(status)},
        )
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            account_state = _state(failed.item)
            return Done() if account_state is not None and account_state.status is status else Refused()
        return Done()

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, if they are as they were read."""
        condition, values = roles_condition(expected)
        update = state_update(
            self._table,
            account,
            SET_ROLES if roles else REMOVE_ROLES,
            (ACTIVE, condition),
            values=values | {":roles": roles_value(roles)},
        )
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            account_state = _state(failed.item)
            if account_state is None or account_state.status is Status.DELETED:
                return Refused()
            if account_state.roles == roles:
                return Done()
            return Moved() if account_state.status is Status.ACTIVE else Refused()
        return Done()

    def set_second_factor(self, account: AccountId, *, required: bool) -> Done | Refused:
        """Require a second factor from an active account, or release it. Released, the attribute does not exist."""
        return self._set(account, REQUIRE_SECOND_FACTOR if required else RELEASE_SECOND_FACTOR, {})

    def set_attributes(self, account: AccountId, attributes: bytes) -> Done | Refused:
        """Replace the team's attributes of an active account. Without attributes, the attribute does not exist."""
        check_attributes(attributes)
        return self._set(
            account, SET_ATTRIBUTES if attributes else REMOVE_ATTRIBUTES, {":attributes": binary(attributes)}
        )

    def _set(self, account: AccountId, update: str, values: dict[str, Value]) -> Done | Refused:
        """Change one attribute of an active account."""
        try:
            self._database.write("update_item", **state_update(self._table, account, update, (ACTIVE,), values=values))
        except ConditionFailed:
            return Refused()
        return Done()

    def liveness_condition(self, actor: Actor, *, roles: frozenset[int] | None, now: int) -> dict[str, object]:
        """Build the ``ConditionCheck`` that a login is active and, with ``roles``, that these are its roles."""
        condition, values = roles_condition(roles) if roles is not None else (None, {})
        check = state_update(
            self._table,
            actor.account,
            "",
            ACTOR_LIVE if condition is None else (*ACTOR_LIVE, condition),
            names={"#actor": actor.lineage},
            values={**actor_values(actor), ":now": number(now), **values},
        )
        return {"ConditionCheck": check}

    def _act(
        self,
        actor: Actor,
        update: str,
        conditions: tuple[str, ...],
        ended: Ended,
        *,
        lineage: LineageId | None = None,
        values: dict[str, Value] | None = None,
    ) -> None:
        """Send one write on behalf of a login. Its condition includes that this login is active."""
        write = state_update(
            self._table,
            actor.account,
            update,
            (*ACTOR_LIVE, *conditions),
            lineage=lineage,
            names={"#actor": actor.lineage},
            values={**actor_values(actor), **end_values(ended), **(values or {})},
        )
        self._database.write("update_item", **write)


def _not_acting(account_state: AccountState | None, actor: Actor, *, now: int) -> Inactive | ProofOutdated:
    """Return why the condition of a write on behalf of a login failed, by `rules.may_act`."""
    acting = may_act(account_state, actor, now=now)
    if isinstance(acting, Lineage):
        raise Unavailable("the condition of a write on behalf of a login and the rule disagree")
    return acting


def _ended_as(item: Item | None, lineage: LineageId, ended: Ended) -> Done | Refused:
    """Return ``Done`` if an earlier attempt of this call wrote this end."""
    account_state = _state(item)
    stored = account_state.lineages.get(lineage) if account_state else None
    return Done() if stored is not None and stored.ended == ended else Refused()


def _state(item: Item | None) -> AccountState | None:
    return state_of(item) if item is not None else None


def _done_when_stored(item: Item | None, lineage: Lineage) -> Done | Moved:
    """Return ``Done`` if an earlier attempt of this call wrote this lineage: the stored lineage is equal."""
    account_state = _state(item)
    return Done() if account_state is not None and account_state.lineages.get(lineage.id) == lineage else Moved()
