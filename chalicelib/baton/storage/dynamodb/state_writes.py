"""Writes of an account state: named conditions, update expressions, and the requests that are built from them.

A condition is a rule of `lineages.rules` as a DynamoDB expression. For a missing attribute, a comparison with ``=``,
``<`` or ``>`` is false. Therefore an update of a missing account or lineage fails.
"""

from collections.abc import Sequence
from typing import Final

from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import (
    AccountState,
    Actor,
    Ended,
    EndReason,
    KeyBinding,
    Lineage,
    Status,
    UnfinishedLogin,
)
from chalicelib.baton.policy import ATTEMPT_SLOTS
from chalicelib.baton.storage.dynamodb.items import (
    END_REASON_CODES,
    binding_value,
    expression,
    lineage_id_value,
    lineage_value,
    roles_value,
    state_item,
    state_update,
)
from chalicelib.baton.storage.dynamodb.values import Value, number, text

# Conditions on the account state.
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

# Conditions on one lineage of the account state.
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

# The condition for `Current` of `rules.judge`: E4 does not apply, and the generation is current. Also see `NO_PARENT`.
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
# E5: store generation and iat of the child token. In the slot of the parent token, store the attempt of the exchange.
TO_THE_NEXT_GENERATION: Final = tuple(
    "SET #lineages.#lineage.#generation = :next_generation,"
    " #lineages.#lineage.#issued_at = :issued_at,"
    f" #lineages.#lineage.#attempts[{slot}] = :attempt"
    for slot in range(ATTEMPT_SLOTS)
)

# The rule `rules.may_act` permits the write: the actor's login is live, and the credentials version is the actor's. If
# an app handed this login over to a browser, the actor names the login of the app, and `APP_LIVE` must be true too.
ACTOR_LIVE: Final = (
    ACTIVE,
    "#lineages.#actor.#epoch = #epoch",
    "attribute_not_exists(#lineages.#actor.#ended_at)",
    "#lineages.#actor.#expires_at > :now",
    "#lineages.#actor.#auth_time >= :not_before",
    CREDENTIALS_AS_READ,
)
NOT_HANDED_OVER: Final = "(attribute_not_exists(#lineages.#actor.#parent_id) OR #lineages.#actor.#binding <> :unbound)"
HANDED_OVER: Final = ("#lineages.#actor.#parent_id = :app", "#lineages.#actor.#binding = :unbound")
# The app's login may have been removed, and a later login may have its id. The last condition refuses the later login.
APP_LIVE: Final = (
    "#lineages.#app.#epoch = #epoch",
    "attribute_not_exists(#lineages.#app.#ended_at)",
    "#lineages.#app.#expires_at > :now",
    "#lineages.#app.#auth_time >= :not_before",
    "#lineages.#app.#auth_time <= #lineages.#actor.#auth_time",
)
# For an unbound token: an unbound login with a parent is a browser login after a handover, and is never exchanged.
NO_PARENT: Final = "attribute_not_exists(#lineages.#lineage.#parent_id)"

# The rule `rules.may_go_on` permits the write: the account is as it was when the unfinished login began.
AS_PROVED: Final = (ACTIVE, EPOCH_AS_READ, CREDENTIALS_AS_READ)

ADDABLE: Final = (*AS_PROVED, ABSENT, HAS_ROOM)
# If two logins with one key begin at the same time, the second write must fail: it did not read the first login.
ADDABLE_BY_KEY: Final = (*ADDABLE, AS_MANY_AS_READ)
# A login with a parent (a restored or handed-over login) begins only while the parent is live. The parent's binding
# must be as it was read, because a restore key is stored under the parent's device key. The caller has already compared
# the `auth_time` of the parent with the not-before time. The `auth_time` of a login never changes.
PARENT_LIVE: Final = (
    "#lineages.#parent.#epoch = #epoch",
    "attribute_not_exists(#lineages.#parent.#ended_at)",
    "#lineages.#parent.#expires_at > :now",
    "#lineages.#parent.#binding = :parent_binding",
)
RECORDABLE: Final = (ACTIVE, SAME_EPOCH, NOT_ENDED, NOT_EXPIRED, AFTER_NOT_BEFORE, AS_READ)
# `SAME_EPOCH`: a lineage that a raised epoch has ended keeps the reason of this end. `PRESENT`: only moto, a simulator
# of DynamoDB, needs this condition, because in moto, two missing paths are equal.
ENDABLE: Final = (PRESENT, SAME_EPOCH, NOT_ENDED)
# No earlier try of this call raised the epoch. A repetition must not end a login that began after an earlier try.
NOT_RAISED_BY_THIS: Final = "(attribute_not_exists(#ended_at) OR #ended_at <> :now OR #ended_why <> :why)"

END_ONE: Final = (
    "SET #lineages.#lineage.#ended_at = :now, #lineages.#lineage.#ended_why = :why REMOVE #lineages.#lineage.#attempts"
)
# A lineage is active only while its epoch equals the state's epoch. Raising the epoch ends any number of lineages.
RAISE_EPOCH: Final = "SET #epoch = #epoch + :one, #ended_at = :now, #ended_why = :why"
SET_STATUS: Final = f"{RAISE_EPOCH}, #status = :status"
# An end is also stored in the actor's lineage. This end distinguishes a repeated call from a call of another device.
RAISE_EPOCH_AND_END_ACTOR: Final = (
    f"{RAISE_EPOCH}, #lineages.#actor.#ended_at = :now, #lineages.#actor.#ended_why = :why"
    " REMOVE #lineages.#actor.#attempts"
)
# The item of a deleted account keeps no personal data: device names, times of logins, roles and attributes are removed.
REMOVE_ROLES: Final = "REMOVE #roles"
REMOVE_RIGHTS: Final = f"{REMOVE_ROLES}, #second_factor_required, #team_attributes"
CLEAR: Final = f"{SET_STATUS}, #lineages = :no_lineages"
DELETE: Final = f"{CLEAR} {REMOVE_RIGHTS}"
DELETE_BY_ACTOR: Final = f"{CLEAR}, #deleted_by = :deleted_by {REMOVE_RIGHTS}"
SET_ROLES: Final = "SET #roles = :roles"
RAISE_VERSION_AND_EPOCH: Final = f"{RAISE_EPOCH}, #credentials_version = :next_credentials_version"
REQUIRE_SECOND_FACTOR: Final = "SET #second_factor_required = :one"
RELEASE_SECOND_FACTOR: Final = "REMOVE #second_factor_required"
SET_ATTRIBUTES: Final = "SET #team_attributes = :attributes"
REMOVE_ATTRIBUTES: Final = "REMOVE #team_attributes"
CLAIM: Final = f"{RAISE_VERSION_AND_EPOCH} {REMOVE_ROLES}, #team_attributes"
RAISE_CREDENTIALS_VERSION: Final = "SET #credentials_version = :next_credentials_version"
RAISE_EPOCH_AND_KEEP_ONE: Final = (
    f"{RAISE_VERSION_AND_EPOCH}, #lineages.#actor.#epoch = :next_epoch,"
    " #lineages.#actor.#generation = #lineages.#actor.#generation + :generations"
)


def add_one(
    table: str,
    lineage: Lineage,
    *,
    expected: AccountState,
    replaced: Sequence[Lineage],
    removed: Sequence[Lineage],
    lineages_max: int,
) -> dict[str, object]:
    """Build the write that adds a lineage, ends the ``replaced`` lineages, and removes the ``removed`` lineages."""
    ending = {f"#replaced_{place}": one.id for place, one in enumerate(replaced) if one not in removed}
    removing = {f"#removed_{place}": one.id for place, one in enumerate(removed)}
    sets = [
        "#lineages.#lineage = :lineage",
        *(f"#lineages.{name}.#ended_at = :now, #lineages.{name}.#ended_why = :replaced" for name in ending),
    ]
    gone = [*(f"#lineages.{name}.#attempts" for name in ending), *(f"#lineages.{name}" for name in removing)]
    admissible = ADDABLE_BY_KEY if isinstance(lineage.binding, KeyBinding) else ADDABLE
    # A replaced lineage may be exchanged meanwhile. But if it has ended, its end must not be overwritten.
    not_ended = (f"attribute_not_exists(#lineages.{name}.#ended_at)" for name in ending)
    present = (f"attribute_exists(#lineages.{name})" for name in ending)
    as_read = (f"#lineages.#removed_{place} = :removed_{place}" for place in range(len(removed)))
    # If the number of lineages is as read, and each lineage that was read still exists, no login was added. If this
    # write removes no lineage, the comparison of the number is enough.
    staying = [one for one in expected.lineages if one not in removing.values()] if removed else []
    others = {f"#other_{place}": one for place, one in enumerate(staying)}
    if isinstance(lineage.binding, KeyBinding):
        present = (f"attribute_exists(#lineages.{name})" for name in [*ending, *others])
    roles_as_read, roles = roles_condition(expected.roles)
    parent = expected.lineages[lineage.parent] if lineage.parent is not None else None
    return state_update(
        table,
        expected.account,
        f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(gone)}" if gone else ""),
        (*admissible, *present, *not_ended, *as_read, roles_as_read, *(PARENT_LIVE if parent else ())),
        lineage=lineage.id,
        names=ending | removing | others | ({"#parent": parent.id} if parent else {}),
        values={
            **{f":removed_{place}": lineage_value(one) for place, one in enumerate(removed)},
            ":epoch": number(expected.epoch),
            ":credentials_version": number(expected.credentials_version),
            ":room": number(lineages_max + len(removed)),
            ":count": number(len(expected.lineages)),
            ":now": number(lineage.auth_time),
            ":lineage": lineage_value(lineage),
            **({":parent_binding": binding_value(parent.binding)} if parent else {}),
            **roles,
        },
    )


def roles_condition(roles: frozenset[int]) -> tuple[str, dict[str, Value]]:
    """Return the condition that the stored roles of an account equal ``roles``, and the values for this condition."""
    return (ROLES_AS_READ, {":roles_as_read": roles_value(roles)}) if roles else (NO_ROLES, {})


def put_first(table: str, account_state: AccountState) -> dict[str, dict[str, object]]:
    """Build the write of a new account state, as a part of the transaction of a registration."""
    return {"Put": {"TableName": table, "Item": state_item(account_state), **expression({}, condition=IS_NEW)}}


def keep_one(table: str, *, actor: Actor, expected: AccountState, ended: Ended) -> dict[str, dict[str, object]]:
    """Build the part of a transaction that ends all lineages except the actor's, and raises the credentials version.

    If an app handed the actor's login over to a browser, this login ends too, because the login of the app ends.
    """
    update = state_update(
        table,
        actor.account,
        RAISE_EPOCH_AND_KEEP_ONE,
        (*actor_live(actor), EPOCH_AS_READ),  # no other request has changed the password or unlinked an identity
        names=actor_names(actor),
        values={
            **actor_values(actor),
            **end_values(ended),
            ":epoch": number(expected.epoch),
            ":next_epoch": number(expected.epoch + 1),
            ":generations": number(int(actor.in_cookies)),  # 1 with cookies: Baton then refuses the old cookies
            ":next_credentials_version": number(actor.credentials_version + 1),
        },
    )
    return {"Update": update}


def live(table: str, by: Actor | UnfinishedLogin, *, now: int) -> dict[str, dict[str, object]]:
    """Build the part of a transaction that checks that a login is live, or that an unfinished login is still valid."""
    if isinstance(by, Actor):
        names, values = actor_names(by), {**actor_values(by), ":now": number(now)}
        return {"ConditionCheck": state_update(table, by.account, "", actor_live(by), names=names, values=values)}
    values = {":epoch": number(by.epoch), ":credentials_version": number(by.credentials_version)}
    return {"ConditionCheck": state_update(table, by.account, "", AS_PROVED, values=values)}


def end_logins(
    table: str, account: AccountId, *, expected_version: int, ended: Ended, clear: bool
) -> dict[str, dict[str, object]]:
    """Build the part of a transaction that ends every login and raises the credentials version.

    The account must be active, with credentials version ``expected_version``. ``clear`` removes roles and attributes.
    """
    update = state_update(
        table,
        account,
        CLAIM if clear else RAISE_VERSION_AND_EPOCH,
        (ACTIVE, CREDENTIALS_AS_READ),
        values={
            **end_values(ended),
            ":credentials_version": number(expected_version),
            ":next_credentials_version": number(expected_version + 1),
        },
    )
    return {"Update": update}


def delete_active(
    table: str, account: AccountId, *, expected_version: int, deleted_by: LineageId, now: int
) -> dict[str, dict[str, object]]:
    """Build the write that marks an account as deleted and clears its account state.

    The account must be active, with the credentials version ``expected_version``.
    """
    update = state_update(
        table,
        account,
        DELETE_BY_ACTOR,
        (ACTIVE, CREDENTIALS_AS_READ),
        values={
            **end_values(Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)),
            ":status": number(Status.DELETED),
            ":deleted_by": text(deleted_by),
            ":credentials_version": number(expected_version),
        },
    )
    return {"Update": update}


def raise_version(table: str, by: Actor | UnfinishedLogin, *, now: int) -> dict[str, dict[str, object]]:
    """Build the write that raises the credentials version, as a part of the transaction that changes a credential."""
    conditions: tuple[str, ...] = AS_PROVED
    names: dict[str, LineageId] = {}
    if isinstance(by, Actor):
        conditions, names, values = actor_live(by), actor_names(by), {**actor_values(by), ":now": number(now)}
    else:
        values = {":epoch": number(by.epoch), ":credentials_version": number(by.credentials_version)}
    values[":next_credentials_version"] = number(by.credentials_version + 1)
    update = state_update(table, by.account, RAISE_CREDENTIALS_VERSION, conditions, names=names, values=values)
    return {"Update": update}


def raise_version_as_read(table: str, expected: AccountState, *, demands: bool) -> dict[str, dict[str, object]]:
    """Build the part of a transaction that raises the credentials version of an active account.

    Epoch and version must be as in ``expected``. ``demands`` requires a second factor at each login from now on.
    """
    version = expected.credentials_version
    update = state_update(
        table,
        expected.account,
        f"{RAISE_CREDENTIALS_VERSION}, #second_factor_required = :one" if demands else RAISE_CREDENTIALS_VERSION,
        AS_PROVED,
        values={
            ":epoch": number(expected.epoch),
            ":credentials_version": number(version),
            ":next_credentials_version": number(version + 1),
        },
    )
    return {"Update": update}


def end_values(ended: Ended) -> dict[str, Value]:
    """Return the expression values for the end of a login: time and reason."""
    return {":now": number(ended.at), ":why": number(END_REASON_CODES[ended.reason])}


def actor_live(actor: Actor) -> tuple[str, ...]:
    """Return the conditions for a live login. If an app handed it to a browser, the app's login must be live too."""
    return (*ACTOR_LIVE, NOT_HANDED_OVER) if actor.app is None else (*ACTOR_LIVE, *HANDED_OVER, *APP_LIVE)


def actor_names(actor: Actor) -> dict[str, LineageId]:
    """Map the names in ``actor_live`` to lineage ids: ``#actor`` and, if an app handed the login over, ``#app``."""
    return {"#actor": actor.lineage} | ({"#app": actor.app} if actor.app is not None else {})


def actor_values(actor: Actor) -> dict[str, Value]:
    """Return the values for the conditions of ``actor_live``, except ``:now``."""
    return {
        ":not_before": number(actor.not_before),
        ":credentials_version": number(actor.credentials_version),
        **({":app": lineage_id_value(actor.app)} if actor.app is not None else {}),
    }
