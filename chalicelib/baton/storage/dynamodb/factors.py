"""Second factors in DynamoDB, in the item of the user. A change of a factor also raises the credentials version.

One conditional write uses a code and stores the mark of the request. If the condition fails, and the item already has
this mark, an earlier try of the same request used the code.
"""

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import (
    AddPasskey,
    EnrolTotp,
    FactorChange,
    PasskeyUse,
    Remember,
    RemoveAll,
    RemovePasskey,
    RemoveTotp,
    ReplaceRecoveryCodes,
    SecondFactors,
    SwitchSecondFactor,
    Totp,
)
from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Actor, UnfinishedLogin
from chalicelib.baton.storage.aws.service import ConditionFailed, TransactionFailed
from chalicelib.baton.storage.dynamodb import passkeys, restore_keys
from chalicelib.baton.storage.dynamodb.accounts import (
    CREDENTIAL_LEFT,
    VERSION_AS_READ,
    factor_values,
    remembered_value,
    user_of,
)
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression, of_account
from chalicelib.baton.storage.dynamodb.state_writes import live, raise_version
from chalicelib.baton.storage.dynamodb.values import Item, Value, all_of, binary, number, text

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
        """Use the code of a time step, once, if ``totp`` is still enrolled. All conditions are in ``FactorStore``."""
        values: Item = {
            ":totp_as_read": binary(totp.sealed),
            ":version": number(credentials_version),
            ":step": number(step),
            ":mark": binary(mark),
        }
        update, names = _remembering(USE_STEP, values, remember)
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
        """Use a recovery code once: delete its ``digest``. The conditions are in ``FactorStore``."""
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

    def use_passkey(
        self, account: AccountId, use: PasskeyUse, *, credentials_version: int, remember: Remember | None = None
    ) -> Done | Refused:
        """Store counter, flags and day of use after an assertion of a passkey. ``FactorStore`` has the conditions."""
        after = use.after
        values: Item = {
            ":key": binary(use.passkey.public_key),
            ":version": number(credentials_version),
            ":counter": number(after.counter),
            ":flags": passkeys.flags_value(after),
            ":used": number(after.used_day),
        }
        update, names = _remembering(passkeys.USE_PASSKEY, values, remember)
        condition = all_of(passkeys.SAME_KEY, passkeys.COUNTER_GROWS, VERSION_AS_READ)
        names |= {**passkeys.NAMES, "#passkey": after.id}
        try:
            self._update(account, expression(values, names, condition=condition, update=update))
        except ConditionFailed:
            return Refused()
        return Done()

    def rename_passkey(self, actor: Actor, passkey: str, name: str, *, now: int) -> Done | Moved:
        """Give a passkey a new name, if the actor's login is live and the credentials version is as in ``actor``.

        Otherwise, or if the account does not have the passkey, the result is ``Moved``, and nothing is written.
        """
        tables = self._database.tables
        renamed = expression(
            {":version": number(actor.credentials_version), ":name": text(name)},
            {**passkeys.NAMES, "#passkey": passkey},
            condition=all_of(VERSION_AS_READ, passkeys.HAS_PASSKEY),
            update=passkeys.RENAME_PASSKEY,
        )
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(actor.account), **renamed}},
                live(tables.lineages, actor, now=now),
            )
        except TransactionFailed:
            return Moved()
        return Done()

    def keep_restore_key(
        self, actor: Actor, device: str, key: RestoreKey | None, *, forgotten: Collection[str] = (), now: int
    ) -> Done | Moved:
        """Store the restore key of a device, or delete it if ``key`` is ``None``.

        The restore keys of the devices in ``forgotten`` are deleted too. The actor's login must be live, and the
        credentials version must be as in ``actor``. Otherwise the result is ``Moved``, and nothing is written.
        """
        tables, values = self._database.tables, {":version": number(actor.credentials_version)}
        gone = [*([device] if key is None else []), *(one for one in forgotten if one != device)]
        names = {f"#forgotten_{place}": one for place, one in enumerate(gone)}
        update = restore_keys.SET_KEY if key is not None else ""
        if key is not None:
            values[":restore_key"] = restore_keys.restore_key_value(key)
        if gone:
            update += f" REMOVE {', '.join(f'#restore.{name}' for name in names)}"
        names |= {**restore_keys.NAMES, "#device": device}
        kept = expression(values, names, condition=VERSION_AS_READ, update=update)
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(actor.account), **kept}},
                live(tables.lineages, actor, now=now),
            )
        except TransactionFailed:
            return Moved()
        return Done()

    def change_factors(
        self, by: Actor | UnfinishedLogin, change: FactorChange, *, remember: Remember | None, now: int
    ) -> Done | Moved | Refused:
        """Change a factor, and raise the credentials version in the user and in the account state.

        All remembered devices are forgotten, except the device of ``remember``. All conditions are in
        ``FactorStore``.
        """
        tables = self._database.tables
        parts = _parts(change, tables.users, by.account)
        sets = [
            "v = :next_version",
            "remembered = :remembered",
            *parts.sets,
            *(f"{one} = :{one}" for one in parts.replaced if one in parts.after),
        ]
        removed = [*parts.removes, *(one for one in parts.replaced if one not in parts.after)]
        update = f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removed)}" if removed else "")
        values = parts.values | {f":{one}": parts.after[one] for one in parts.replaced if one in parts.after}
        values |= {
            ":version": number(by.credentials_version),
            ":next_version": number(by.credentials_version + 1),
            ":remembered": remembered_value({remember.key: remember.at} if remember else {}),
        }
        of_user = expression(values, parts.names, condition=all_of(VERSION_AS_READ, *parts.condition), update=update)
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(by.account), **of_user}},
                raise_version(tables.lineages, by, now=now),
                *parts.credential,
            )
        except TransactionFailed as failed:
            stored, _state, *credential = failed.items
            user = user_of(stored) if stored is not None else None
            if user is not None and user.credentials_version == by.credentials_version + 1:
                return Done() if change.is_in(user.factors) else Moved()
            others = [one for one in credential if one and passkeys.account_of_credential(one) != by.account]
            return Refused() if others and isinstance(change, AddPasskey) else Moved()
        return Done()

    def _update(self, account: AccountId, parts: dict[str, object]) -> None:
        self._database.write("update_item", TableName=self._database.tables.users, Key=of_account(account), **parts)


class _Parts(Struct, frozen=True):
    """The parts that a change adds to the write of the user: more conditions, and attributes to replace.

    ``after`` has the new values of the replaced attributes. An attribute without a new value is removed. ``credential``
    has further writes of the transaction: they store or delete the items that map a passkey to its account.
    """

    condition: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    after: Item = {}
    values: Item = {}
    names: dict[str, str] = {}
    sets: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    credential: tuple[dict[str, dict[str, object]], ...] = ()


def _parts(change: FactorChange, table: str, account: AccountId) -> _Parts:
    match change:
        case EnrolTotp(totp, recovery):
            after = factor_values(SecondFactors(on=True, totp=totp, recovery=recovery))
            return _Parts((NO_TOTP,), (*TOTP, SWITCH, *(RECOVERY if recovery else ())), after)
        case RemoveTotp(totp, last):
            replaced = (*TOTP, SWITCH) if last else TOTP
            return _Parts((TOTP_AS_READ,), replaced, values={":totp_as_read": binary(totp.sealed)})
        case ReplaceRecoveryCodes(recovery):
            return _Parts(replaced=RECOVERY, after=factor_values(SecondFactors(recovery=recovery)))
        case SwitchSecondFactor(on, recovery):
            after = factor_values(SecondFactors(on=on, recovery=recovery))
            replaced = (SWITCH, *(RECOVERY if recovery else ()))
            return _Parts((SWITCH_IS_OFF if on else SWITCH_IS_ON,), replaced, after)
        case AddPasskey(passkey, recovery):
            return _Parts(
                (passkeys.NO_PASSKEY, passkeys.ROOM_FOR_ONE),
                RECOVERY if recovery else (),
                factor_values(SecondFactors(recovery=recovery)),
                {":passkey": passkeys.passkey_value(passkey), ":passkeys_max": passkeys.ROOM},
                {"#passkey": passkey.id},
                sets=(passkeys.ADD_PASSKEY,),
                credential=(passkeys.put_credential(table, passkey.credential_id, account),),
            )
        case RemovePasskey() | RemoveAll():
            return _removed(change, table, account)


def _removed(change: RemovePasskey | RemoveAll, table: str, account: AccountId) -> _Parts:
    """Return the parts of a change that removes passkeys. The change also deletes the ``C#`` items of the passkeys."""
    if isinstance(change, RemovePasskey):
        deleted = passkeys.delete_credential(table, change.passkey.credential_id, account)
        return _Parts(
            (passkeys.HAS_PASSKEY, CREDENTIAL_LEFT),
            (SWITCH,) if change.last else (),
            values={":passkeys_gone": number(1), ":identities_gone": number(0)},
            names={"#passkey": change.passkey.id},
            removes=(passkeys.REMOVE_PASSKEY,),
            credential=({"Delete": deleted},),
        )
    deletes = (passkeys.delete_credential(table, passkey.credential_id, account) for passkey in change.passkeys)
    return _Parts(
        replaced=(*TOTP, SWITCH, *RECOVERY),
        values={":no_passkeys": {"M": {}}},
        sets=(passkeys.NO_PASSKEYS,),
        credential=tuple({"Delete": delete} for delete in deletes),
    )


def _remembering(update: str, values: Item, remember: Remember | None) -> tuple[str, dict[str, str]]:
    """Extend ``update``, a ``SET`` expression for the item of a user, to remember the device of ``remember``.

    Return the extended expression, and a map from its new placeholders (``#...``) to key ids of devices. The expression
    also deletes the remembered devices in ``remember.forgotten``. Add the time of the proof to ``values``.

    If ``remember`` is ``None``, return ``update`` unchanged and an empty map.
    """
    if remember is None:
        return update, {}
    forgotten = {f"#forgotten_{place}": key for place, key in enumerate(remember.forgotten)}
    values[":now"] = number(remember.at)
    update += ", remembered.#device = :now"
    if forgotten:
        update += " REMOVE " + ", ".join(f"remembered.{name}" for name in forgotten)
    return update, {"#device": remember.key, **forgotten}
