"""Second factors in DynamoDB: codes are used in the item of the user, and a change also moves the credentials version.

A code is used by one conditional write that stores the mark of its request. If the condition fails, and the item has
this mark, an earlier sending of the same request used the code.
"""

from typing import Final

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import (
    EnrolTotp,
    FactorChange,
    Remember,
    RemoveTotp,
    ReplaceRecoveryCodes,
    SecondFactors,
    SwitchSecondFactor,
    Totp,
)
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Actor, UnfinishedLogin
from chalicelib.baton.storage.aws.service import ConditionFailed, TransactionFailed
from chalicelib.baton.storage.dynamodb.accounts import VERSION_AS_READ, factor_values, remembered_value, user_of
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import (
    Item,
    Value,
    all_of,
    binary,
    expression,
    number,
    of_account,
)
from chalicelib.baton.storage.dynamodb.state_writes import raise_version

TOTP_AS_READ: Final = "totp = :totp_as_read"
NEWER_STEP: Final = "totp_step < :step"
CODE_UNUSED: Final = "contains(recovery, :digest)"
NO_TOTP: Final = "attribute_not_exists(totp)"
SWITCH_IS_OFF: Final = "attribute_not_exists(second_factor)"
SWITCH_IS_ON: Final = "attribute_exists(second_factor)"

USE_STEP: Final = "SET totp_step = :step, totp_mark = :mark"
USE_CODE: Final = "SET recovery_spent = :digest, recovery_mark = :mark DELETE recovery :used"

# The attributes that a change replaces. An attribute without a new value is removed.
SWITCH: Final = "second_factor"
TOTP: Final = ("totp", "totp_step", "totp_mark", "totp_at", "totp_new")
RECOVERY: Final = ("recovery", "recovery_at", "recovery_mark", "recovery_spent", "recovery_new")


class Factors:
    """``factors.ports.FactorStore`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def consume_totp_step(
        self,
        account: AccountId,
        totp: Totp,
        *,
        step: int,
        mark: bytes,
        credentials_version: int,
        remember: Remember | None = None,
    ) -> Done | Refused:
        """Use the code of a time step, once, if the app is the enrolled one and no later step was used."""
        values = {
            ":totp_as_read": binary(totp.sealed),
            ":version": number(credentials_version),
            ":step": number(step),
            ":mark": binary(mark),
        }
        update, names = USE_STEP, dict[str, str]()
        if remember is not None:
            forgotten = {f"#forgotten_{place}": key for place, key in enumerate(remember.forgotten)}
            names, values[":now"] = {"#key": remember.key, **forgotten}, number(remember.at)
            update += ", remembered.#key = :now"
            if forgotten:
                update += " REMOVE " + ", ".join(f"remembered.{name}" for name in forgotten)
        condition = all_of(TOTP_AS_READ, VERSION_AS_READ, NEWER_STEP)
        try:
            self._update(account, expression(values, names, condition=condition, update=update))
        except ConditionFailed as failed:
            stored = user_of(failed.item).factors.totp if failed.item is not None else None
            return Done() if stored is not None and (stored.step, stored.mark) == (step, mark) else Refused()
        return Done()

    def consume_recovery_code(
        self, account: AccountId, digest: bytes, *, mark: bytes, credentials_version: int
    ) -> Done | Refused:
        """Use a recovery code, once: delete its digest, if it is one of the unused codes."""
        values: dict[str, Value] = {
            ":digest": binary(digest),
            ":used": {"BS": [digest]},
            ":mark": binary(mark),
            ":version": number(credentials_version),
        }
        condition = all_of(CODE_UNUSED, VERSION_AS_READ)
        try:
            self._update(account, expression(values, condition=condition, update=USE_CODE))
        except ConditionFailed as failed:
            stored = user_of(failed.item).factors.recovery if failed.item is not None else None
            return Done() if stored is not None and (stored.used, stored.mark) == (digest, mark) else Refused()
        return Done()

    def change_factors(
        self, by: Actor | UnfinishedLogin, change: FactorChange, *, remember: Remember | None, now: int
    ) -> Done | Moved:
        """Carry a change out, forget all devices but ``remember``, and raise the credentials version in both items."""
        tables = self._database.tables
        condition, replaced, after, values = _parts(change)
        sets = [
            "v = :next_version",
            "remembered = :remembered",
            *(f"{one} = :{one}" for one in replaced if one in after),
        ]
        removed = [one for one in replaced if one not in after]
        update = f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removed)}" if removed else "")
        values |= {f":{one}": after[one] for one in replaced if one in after}
        values |= {
            ":version": number(by.credentials_version),
            ":next_version": number(by.credentials_version + 1),
            ":remembered": remembered_value({remember.key: remember.at} if remember else {}),
        }
        of_user = expression(values, condition=all_of(VERSION_AS_READ, *condition), update=update)
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(by.account), **of_user}},
                raise_version(tables.lineages, by, now=now),
            )
        except TransactionFailed as failed:
            stored, _state = failed.items
            user = user_of(stored) if stored is not None else None
            ours = user is not None and user.credentials_version == by.credentials_version + 1
            return Done() if user is not None and ours and change.is_in(user.factors) else Moved()
        return Done()

    def _update(self, account: AccountId, parts: dict[str, object]) -> None:
        self._database.write("update_item", TableName=self._database.tables.users, Key=of_account(account), **parts)


def _parts(change: FactorChange) -> tuple[tuple[str, ...], tuple[str, ...], Item, Item]:
    """Return the condition of a change beside the version, the attributes that it replaces, and the values of both."""
    match change:
        case EnrolTotp(totp, recovery):
            after = SecondFactors(on=True, totp=totp, recovery=recovery)
            return (NO_TOTP,), (*TOTP, SWITCH, *(RECOVERY if recovery else ())), factor_values(after), {}
        case RemoveTotp(totp):
            return (TOTP_AS_READ,), (*TOTP, SWITCH), {}, {":totp_as_read": binary(totp.sealed)}
        case ReplaceRecoveryCodes(recovery):
            return (), RECOVERY, factor_values(SecondFactors(recovery=recovery)), {}
        case SwitchSecondFactor(on, recovery):
            after = SecondFactors(on=on, recovery=recovery)
            replaced = (SWITCH, *(RECOVERY if recovery else ()))
            return (SWITCH_IS_OFF if on else SWITCH_IS_ON,), replaced, factor_values(after), {}
