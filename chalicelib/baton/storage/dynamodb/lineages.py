"""Gates: the one item per account through which every decision about its lineages passes.

Every verb is one write. Its condition is built from the named parts below and is the rule of ``core.lineage`` in
DynamoDB's words; when it does not hold, the rule itself judges the item as it was at that moment.
A path that leads nowhere makes a comparison false, so an absent account state or lineage fails every condition here.
"""

from collections.abc import Sequence
from typing import Final

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import (
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
    judge,
    may_act,
)
from chalicelib.baton.policy import ATTEMPT_SLOTS
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import (
    ATTRIBUTES,
    END_REASON_CODES,
    Item,
    Value,
    all_of,
    binary,
    binding_value,
    expression,
    lineage_of,
    lineage_value,
    number,
    of_account,
    roles_value,
    state_item,
    state_of,
    text,
)

# Of the account state.
EXISTS: Final = "attribute_exists(pk)"
IS_NEW: Final = "attribute_not_exists(pk)"
ACTIVE: Final = "#status = :active"
NOT_DELETED: Final = "#status <> :deleted"
DISABLED: Final = "#status = :disabled"
EPOCH_AS_READ: Final = "#epoch = :epoch"
CREDENTIALS_AS_READ: Final = "#credentials_version = :credentials_version"
HAS_ROOM: Final = "size(#lineages) < :room"
AS_MANY_AS_READ: Final = "size(#lineages) = :count"
ROLES_AS_READ: Final = "#roles = :roles_as_read"
NO_ROLES: Final = "attribute_not_exists(#roles)"

# Of one lineage in it.
PRESENT: Final = "attribute_exists(#lineages.#lineage)"
ABSENT: Final = "attribute_not_exists(#lineages.#lineage)"
AS_READ: Final = "#lineages.#lineage = :lineage_as_read"
SAME_EPOCH: Final = "#lineages.#lineage.#epoch = #epoch"
NOT_ENDED: Final = "attribute_not_exists(#lineages.#lineage.#ended_at)"
NOT_EXPIRED: Final = "#lineages.#lineage.#expires_at > :now"
NOT_IDLE: Final = "#lineages.#lineage.#issued_at >= :idle_before"
AFTER_NOT_BEFORE: Final = "#lineages.#lineage.#auth_time >= :not_before"
AS_ISSUED: Final = "#lineages.#lineage.#issued_at = :presented_at"
SAME_CLIENT: Final = "#lineages.#lineage.#client = :client"
SAME_BINDING: Final = "#lineages.#lineage.#binding = :binding"
OF_CURRENT_GENERATION: Final = "#lineages.#lineage.#generation = :generation"

# What `lineage.judge` calls Current: E4 does not apply, and the generation is the current one.
CURRENT: Final = (
    ACTIVE,
    SAME_EPOCH,
    NOT_ENDED,
    NOT_EXPIRED,
    NOT_IDLE,
    AFTER_NOT_BEFORE,
    AS_ISSUED,
    SAME_CLIENT,
    SAME_BINDING,
    OF_CURRENT_GENERATION,
)
# E5: the child's generation and iat, and the attempt that used up its parent, in the slot of the parent.
TO_THE_NEXT_GENERATION: Final = tuple(
    "SET #lineages.#lineage.#generation = :next_generation,"
    " #lineages.#lineage.#issued_at = :issued_at,"
    f" #lineages.#lineage.#attempts[{slot}] = :attempt"
    for slot in range(ATTEMPT_SLOTS)
)

# What `lineage.may_act` permits: the login on whose behalf a write is made is live, and its proof is not outdated.
ACTOR_LIVE: Final = (
    ACTIVE,
    "#lineages.#actor.#epoch = #epoch",
    "attribute_not_exists(#lineages.#actor.#ended_at)",
    "#lineages.#actor.#expires_at > :now",
    "#lineages.#actor.#auth_time >= :not_before",
    CREDENTIALS_AS_READ,
)

ADMISSIBLE: Final = (ACTIVE, EPOCH_AS_READ, CREDENTIALS_AS_READ, ABSENT, HAS_ROOM)
# Two logins by one key at the same time: the later one must see the earlier one, to end it.
ADMISSIBLE_BY_KEY: Final = (*ADMISSIBLE, AS_MANY_AS_READ)
SLIDABLE: Final = (ACTIVE, SAME_EPOCH, NOT_ENDED, NOT_EXPIRED, AFTER_NOT_BEFORE, AS_READ)
# One that the epoch has ended is ended: it keeps that reason. (moto takes two paths that lead nowhere for equal.)
ENDABLE: Final = (PRESENT, SAME_EPOCH, NOT_ENDED)
# The password changes only while the login that changes it is live and nothing else has changed it.
KEEPABLE: Final = (*ACTOR_LIVE, EPOCH_AS_READ)

END_ONE: Final = (
    "SET #lineages.#lineage.#ended_at = :now, #lineages.#lineage.#ended_why = :why REMOVE #lineages.#lineage.#attempts"
)
# A lineage lives only while its epoch equals the state's: raising the state's ends all, whatever their number.
RAISE_EPOCH: Final = "SET #epoch = #epoch + :one, #ended_at = :now, #ended_why = :why"
SET_STATUS: Final = f"{RAISE_EPOCH}, #status = :status"
# The actor's own lineage is ended by name: so an earlier sending of this call is told from another device's.
RAISE_EPOCH_AND_END_ACTOR: Final = (
    f"{RAISE_EPOCH}, #lineages.#actor.#ended_at = :now, #lineages.#actor.#ended_why = :why"
    " REMOVE #lineages.#actor.#attempts"
)
# What stays of a deleted account holds no personal data: names of devices, times of logins and roles go.
REMOVE_ROLES: Final = "REMOVE #roles"
CLEAR: Final = f"{SET_STATUS}, #lineages = :no_lineages"
DELETE: Final = f"{CLEAR} {REMOVE_ROLES}"
DELETE_BY_ACTOR: Final = f"{CLEAR}, #deleted_by = :deleted_by {REMOVE_ROLES}"
SET_ROLES: Final = "SET #roles = :roles"
RAISE_EPOCH_AND_KEEP_ONE: Final = (
    f"{RAISE_EPOCH}, #credentials_version = :next_credentials_version, #lineages.#actor.#epoch = :next_epoch"
)

_CONSTANTS: Final[dict[str, Value]] = {
    ":active": number(Status.ACTIVE),
    ":deleted": number(Status.DELETED),
    ":disabled": number(Status.DISABLED),
    ":one": number(1),
    ":no_lineages": {"M": {}},
    ":replaced": number(END_REASON_CODES[EndReason.REPLACED]),
}


class LineageStore:
    """``ports.LineageStore`` on DynamoDB."""

    def __init__(self, engine: DynamoDB) -> None:
        """Keep the engine."""
        self._engine = engine
        self._table = engine.tables.lineages

    def get(self, account: AccountId) -> AccountState | None:
        """Read an account state."""
        item = self._engine.read(self._table, of_account(account))
        return state_of(item) if item is not None else None

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Move the lineage on if and only if the rule says ``Current`` (E5): one write, judged by what it returns."""
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
            item = self._engine.write("update_item", ReturnValues="ALL_NEW", **update)
        except ConditionFailed as failed:
            verdict = judge(_state(failed.item), presented, now=now, not_before=not_before, idle_s=idle_s)
            if isinstance(verdict, Current):
                raise Unavailable("the condition of an exchange and the rule disagree") from None
            return verdict
        return Exchanged(lineage_of(item, presented.lineage))

    def add_lineage(
        self,
        lineage: Lineage,
        *,
        expected: AccountState,
        replaced: Sequence[Lineage],
        removed: Sequence[Lineage],
        lineages_max: int,
    ) -> Done | Moved:
        """Add a lineage, end those that it replaces, and remove those that make room: one write."""
        ending = {f"#replaced_{place}": one.id for place, one in enumerate(replaced) if one not in removed}
        removing = {f"#removed_{place}": one.id for place, one in enumerate(removed)}
        sets = [
            "#lineages.#lineage = :lineage",
            *(f"#lineages.{name}.#ended_at = :now, #lineages.{name}.#ended_why = :replaced" for name in ending),
        ]
        gone = [*(f"#lineages.{name}.#attempts" for name in ending), *(f"#lineages.{name}" for name in removing)]
        admissible = ADMISSIBLE_BY_KEY if isinstance(lineage.binding, KeyBinding) else ADMISSIBLE
        # An exchange may go on meanwhile: only an end must not be overwritten.
        not_ended = (f"attribute_not_exists(#lineages.{name}.#ended_at)" for name in ending)
        present = (f"attribute_exists(#lineages.{name})" for name in ending)
        as_read = (f"#lineages.#removed_{place} = :removed_{place}" for place in range(len(removed)))
        # As many as read, and all of them there, are the same: where one is removed the number alone does not say so.
        staying = [one for one in expected.lineages if one not in removing.values()] if removed else []
        others = {f"#other_{place}": one for place, one in enumerate(staying)}
        if isinstance(lineage.binding, KeyBinding):
            present = (f"attribute_exists(#lineages.{name})" for name in [*ending, *others])
        update = state_update(
            self._table,
            expected.account,
            f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(gone)}" if gone else ""),
            (*admissible, *present, *not_ended, *as_read),
            lineage=lineage.id,
            names=ending | removing | others,
            values={
                **{f":removed_{place}": lineage_value(one) for place, one in enumerate(removed)},
                ":epoch": number(expected.epoch),
                ":credentials_version": number(expected.credentials_version),
                ":room": number(lineages_max + len(removed)),
                ":count": number(len(expected.lineages)),
                ":now": number(lineage.auth_time),
                ":lineage": lineage_value(lineage),
            },
        )
        try:
            self._engine.write("update_item", **update)
        except ConditionFailed as failed:
            return _done_when_stored(failed.item, lineage)
        return Done()

    def record_use(
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, not_before: int
    ) -> Done | Moved:
        """Replace a lineage by the one that has its use recorded, while it is live and as read."""
        update = state_update(
            self._table,
            account,
            "SET #lineages.#lineage = :lineage",
            SLIDABLE,
            lineage=lineage.id,
            values={
                ":lineage": lineage_value(lineage),
                ":lineage_as_read": lineage_value(expected),
                ":now": number(now),
                ":not_before": number(not_before),
            },
        )
        try:
            self._engine.write("update_item", **update)
        except ConditionFailed as failed:
            return _done_when_stored(failed.item, lineage)
        return Done()

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage. Already ended, or gone, is as good, and keeps the earlier reason."""
        ended = Ended(at=now, reason=reason)
        update = state_update(self._table, account, END_ONE, ENDABLE, lineage=lineage, values=_raised(ended))
        try:
            self._engine.write("update_item", **update)
        except ConditionFailed as failed:
            return _ended_as(failed.item, lineage, ended)
        return Done()

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the account on behalf of another one, or of itself."""
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
        """End every lineage of the actor's account by raising the epoch: one write."""
        ended = Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
        try:
            self._act(actor, RAISE_EPOCH_AND_END_ACTOR, (), ended)
        except ConditionFailed as failed:
            if isinstance(_ended_as(failed.item, actor.lineage, ended), Done):
                return Done()
            return _not_acting(_state(failed.item), actor, now=now)
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
        """Disable, delete or enable, for the operator. ``DELETED`` is absorbing.

        Enabling revives no lineage, and ends none of an account that is active.
        """
        reason = EndReason.ENDED_EVERYWHERE if status is Status.DELETED else EndReason.ACCOUNT_DISABLED
        update = state_update(
            self._table,
            account,
            DELETE if status is Status.DELETED else SET_STATUS,
            (EXISTS, DISABLED if status is Status.ACTIVE else NOT_DELETED),
            values={**_raised(Ended(at=now, reason=reason)), ":status": number(status)},
        )
        try:
            self._engine.write("update_item", **update)
        except ConditionFailed as failed:
            account_state = _state(failed.item)
            return Done() if account_state is not None and account_state.status is status else Refused()
        return Done()

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, when they are as read. An account without roles stores none."""
        condition, values = _roles_as_read(expected)
        update = state_update(
            self._table,
            account,
            SET_ROLES if roles else REMOVE_ROLES,
            (ACTIVE, condition),
            values=values | {":roles": roles_value(roles)},
        )
        try:
            self._engine.write("update_item", **update)
        except ConditionFailed as failed:
            account_state = _state(failed.item)
            if account_state is None or account_state.status is Status.DELETED:
                return Refused()
            if account_state.roles == roles:
                return Done()
            return Moved() if account_state.status is Status.ACTIVE else Refused()
        return Done()

    def liveness_condition(self, actor: Actor, *, roles: frozenset[int] | None, now: int) -> dict[str, object]:
        """Build the ``ConditionCheck`` that a login is live and, where ``roles`` are given, has the roles as read."""
        condition, values = _roles_as_read(roles) if roles is not None else (None, {})
        check = state_update(
            self._table,
            actor.account,
            "",
            ACTOR_LIVE if condition is None else (*ACTOR_LIVE, condition),
            names={"#actor": actor.lineage},
            values={**_actor_values(actor), ":now": number(now), **values},
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
        """Carry out one write on behalf of a login: the condition that this login is live is part of it."""
        write = state_update(
            self._table,
            actor.account,
            update,
            (*ACTOR_LIVE, *conditions),
            lineage=lineage,
            names={"#actor": actor.lineage},
            values={**_actor_values(actor), **_raised(ended), **(values or {})},
        )
        self._engine.write("update_item", **write)


def put_first(table: str, account_state: AccountState) -> dict[str, dict[str, object]]:
    """Build the write of an account state that must not exist, as a part of the registering transaction."""
    return {"Put": {"TableName": table, "Item": state_item(account_state), **expression({}, condition=IS_NEW)}}


def keep_one(table: str, *, actor: Actor, expected: AccountState, now: int) -> dict[str, dict[str, object]]:
    """Build the write that ends all other lineages, as a part of the transaction that changes the password."""
    update = state_update(
        table,
        actor.account,
        RAISE_EPOCH_AND_KEEP_ONE,
        KEEPABLE,
        names={"#actor": actor.lineage},
        values={
            **_actor_values(actor),
            **_raised(Ended(at=now, reason=EndReason.PASSWORD_CHANGED)),
            ":epoch": number(expected.epoch),
            ":next_epoch": number(expected.epoch + 1),
            ":next_credentials_version": number(actor.credentials_version + 1),
        },
    )
    return {"Update": update}


def state_update(  # noqa: PLR0913 - the parts of a write
    table: str,
    account: AccountId,
    update: str,
    conditions: tuple[str, ...],
    *,
    values: dict[str, Value],
    lineage: LineageId | None = None,
    names: dict[str, LineageId] | None = None,
) -> dict[str, object]:
    """Build a conditional update of an account's account state, as one write or as a part of a transaction.

    ``#lineage`` is the name of ``lineage`` in ``update`` and ``conditions``. ``names`` has those of other lineages.
    """
    known = {**ATTRIBUTES, **(names or {}), **({"#lineage": lineage} if lineage else {})}
    parts = expression({**_CONSTANTS, **values}, known, condition=all_of(*conditions), update=update)
    return {"TableName": table, "Key": of_account(account), **parts}


def _raised(ended: Ended) -> dict[str, Value]:
    return {":now": number(ended.at), ":why": number(END_REASON_CODES[ended.reason])}


def _actor_values(actor: Actor) -> dict[str, Value]:
    return {":not_before": number(actor.not_before), ":credentials_version": number(actor.credentials_version)}


def _roles_as_read(roles: frozenset[int]) -> tuple[str, dict[str, Value]]:
    """Give the condition that an account's roles are as they were read, and its value."""
    return (ROLES_AS_READ, {":roles_as_read": roles_value(roles)}) if roles else (NO_ROLES, {})


def _not_acting(account_state: AccountState | None, actor: Actor, *, now: int) -> Inactive | ProofOutdated:
    """Return why a write on behalf of a login did not happen, by the rule itself."""
    acting = may_act(account_state, actor, now=now)
    if isinstance(acting, Lineage):
        raise Unavailable("the condition of a write on behalf of a login and the rule disagree")
    return acting


def _ended_as(item: Item | None, lineage: LineageId, ended: Ended) -> Done | Refused:
    """Recognise the end that an earlier sending of this call wrote."""
    account_state = _state(item)
    stored = account_state.lineages.get(lineage) if account_state else None
    return Done() if stored is not None and stored.ended == ended else Refused()


def _state(item: Item | None) -> AccountState | None:
    return state_of(item) if item is not None else None


def _done_when_stored(item: Item | None, lineage: Lineage) -> Done | Moved:
    """Recognise our own earlier sending: what was to be written stands there, exactly."""
    account_state = _state(item)
    return Done() if account_state is not None and account_state.lineages.get(lineage.id) == lineage else Moved()
