"""The account state in DynamoDB: one item per account, with all lineages of the account.

Each method that changes the item is one conditional write. If the condition fails, `lineages.rules` judges the item
that DynamoDB returns with the failure. No second read is needed.
"""

from collections.abc import Sequence

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import (
    AccountState,
    Actor,
    BrowserKey,
    Ended,
    EndReason,
    Lineage,
    NoBinding,
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
    judge,
    may_act,
)
from chalicelib.baton.policy import ATTEMPT_SLOTS
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.browser_writes import BIND_BROWSER, NO_BROWSER_KEY
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import (
    binding_value,
    browser_key_value,
    lineage_of,
    lineage_value,
    of_account,
    roles_value,
    state_of,
    state_update,
    stored_rights,
)
from chalicelib.baton.storage.dynamodb.outcomes import done_when_stored, ended_as, not_acting, state_or_none
from chalicelib.baton.storage.dynamodb.state_writes import (
    ACTIVE,
    APP_LIVE,
    CURRENT,
    DELETE,
    DELETE_BY_ACTOR,
    DISABLED,
    END_ONE,
    ENDABLE,
    EXISTS,
    NO_PARENT,
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
    actor_live,
    actor_names,
    actor_values,
    add_one,
    end_values,
    roles_condition,
)
from chalicelib.baton.storage.dynamodb.values import Value, binary, number, text


class LineageStore:
    """``lineages.ports.LineageStore`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database
        self._table = database.tables.lineages

    def get(self, account: AccountId) -> AccountState | None:
        """Read an account state, or return ``None``. A deleted account keeps its account state."""
        item = self._database.read(self._table, of_account(account))
        return state_of(item) if item is not None else None

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Advance the lineage to its next generation (E5) if `judge` returns ``Current``, else return its verdict."""
        update = state_update(
            self._table,
            presented.account,
            TO_THE_NEXT_GENERATION[presented.generation % ATTEMPT_SLOTS],
            (*CURRENT, NO_PARENT) if isinstance(presented.binding, NoBinding) else CURRENT,
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
            verdict = judge(state_or_none(failed.item), presented, now=now, not_before=not_before, idle_s=idle_s)
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
        """Add a lineage, end the replaced lineages and delete the removed lineages, in one write."""
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
            return done_when_stored(failed.item, lineage)
        return Done()

    def record_use(
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, not_before: int
    ) -> Done | Moved:
        """Record a use: replace ``expected`` by ``lineage``. ``Moved``: ``expected`` is not stored, or not live."""
        update = state_update(
            self._table,
            account,
            "SET #lineages.#lineage = :lineage",
            RECORDABLE if expected.app is None else (*RECORDABLE, *APP_LIVE),
            lineage=lineage.id,
            names={} if expected.app is None else {"#actor": lineage.id, "#app": expected.app},
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
            return done_when_stored(failed.item, lineage)
        return Done()

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage. ``Refused``: the lineage has already ended and keeps its reason, or it does not exist."""
        ended = Ended(at=now, reason=reason)
        update = state_update(self._table, account, END_ONE, ENDABLE, lineage=lineage, values=end_values(ended))
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            return ended_as(failed.item, lineage, ended)
        return Done()

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the actor's account, possibly the actor's own."""
        ended = Ended(at=now, reason=EndReason.ENDED_BY_OWNER)
        try:
            self._act(actor, END_ONE, ENDABLE, ended, lineage=lineage)
        except ConditionFailed as failed:
            if isinstance(ended_as(failed.item, lineage, ended), Done):
                return Done()
            acting = may_act(state_or_none(failed.item), actor, now=now)
            return Refused() if isinstance(acting, Lineage) else acting
        return Done()

    def bind_browser(self, actor: Actor, key: BrowserKey, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """Bind the actor's own login to the key of its browser. ``Refused``: the login is bound to another key."""
        values = {":browser_key": browser_key_value(key), ":now": number(now)}
        try:
            self._act(actor, BIND_BROWSER, (NO_BROWSER_KEY,), None, values=values)
        except ConditionFailed as failed:
            acting = may_act(state_or_none(failed.item), actor, now=now)
            if not isinstance(acting, Lineage):
                return acting
            return Done() if acting.browser_key is not None and acting.browser_key.point == key.point else Refused()
        return Done()

    def end_all(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """End every lineage of the actor's account by raising the epoch, in one write."""
        ended = Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
        try:
            self._act(actor, RAISE_EPOCH_AND_END_ACTOR, (), ended)
        except ConditionFailed as failed:
            if isinstance(ended_as(failed.item, actor.lineage, ended), Done):
                return Done()
            return not_acting(state_or_none(failed.item), actor, now=now)
        return Done()

    def end_every(self, account: AccountId, *, now: int) -> Done | Refused:
        """End every lineage of an active account by raising its epoch, in one write."""
        ended = Ended(at=now, reason=EndReason.ENDED_BY_OPERATOR)
        conditions = (ACTIVE, NOT_RAISED_BY_THIS)
        update = state_update(self._table, account, RAISE_EPOCH, conditions, values=end_values(ended))
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            state = state_or_none(failed.item)  # If the account is active, an earlier try raised the epoch.
            return Done() if state is not None and state.status is Status.ACTIVE else Refused()
        return Done()

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Delete the actor's account in one write: raise its epoch, and remove its lineages, roles and attributes."""
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
            account_state = state_or_none(failed.item)
            ours = account_state is not None and account_state.deleted_by == actor.lineage
            return Done() if ours else not_acting(account_state, actor, now=now)
        return Done()

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Disable, delete or enable an account, for the operator. A deleted account stays deleted.

        Enabling revives no lineage. Enabling an active account changes nothing.
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
            account_state = state_or_none(failed.item)
            return Done() if account_state is not None and account_state.status is status else Refused()
        return Done()

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, if they are ``expected``. ``lineages.ports`` lists the results."""
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
            account_state = state_or_none(failed.item)
            if account_state is None or account_state.status is Status.DELETED:
                return Refused()
            if account_state.roles == roles:
                return Done()
            return Moved() if account_state.status is Status.ACTIVE else Refused()
        return Done()

    def set_second_factor(self, account: AccountId, *, required: bool) -> Done | Refused:
        """Require a second factor from an active account, or end this requirement if ``required`` is false."""
        return self._set(account, REQUIRE_SECOND_FACTOR if required else RELEASE_SECOND_FACTOR, {})

    def set_attributes(self, account: AccountId, attributes: bytes) -> Done | Refused:
        """Replace the team's attributes of an active account. Empty bytes remove the attributes."""
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
        """Build a ``ConditionCheck``: the actor's login is live, and the roles are ``roles`` (``None``: any)."""
        condition, values = roles_condition(roles) if roles is not None else (None, {})
        check = state_update(
            self._table,
            actor.account,
            "",
            actor_live(actor) if condition is None else (*actor_live(actor), condition),
            names=actor_names(actor),
            values={**actor_values(actor), ":now": number(now), **values},
        )
        return {"ConditionCheck": check}

    def _act(
        self,
        actor: Actor,
        update: str,
        conditions: tuple[str, ...],
        ended: Ended | None,
        *,
        lineage: LineageId | None = None,
        values: dict[str, Value] | None = None,
    ) -> None:
        """Send one write on behalf of a login. The condition of the write includes that this login is active."""
        write = state_update(
            self._table,
            actor.account,
            update,
            (*actor_live(actor), *conditions),
            lineage=lineage,
            names=actor_names(actor),
            values={**actor_values(actor), **(end_values(ended) if ended else {}), **(values or {})},
        )
        self._database.write("update_item", **write)
