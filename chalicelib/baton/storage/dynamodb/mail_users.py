"""The writes of the mail flows: prove or move an address, reset a password, undo changes, delete unproved accounts."""

from typing import Final

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.user_parts import KeptAddress
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.lineages.model import Actor, Ended, EndReason, Lineage, UnfinishedLogin
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act
from chalicelib.baton.mail.ports import Address, Undo
from chalicelib.baton.policy import ADDRESS_KEPT_S
from chalicelib.baton.storage.aws.service import TransactionFailed
from chalicelib.baton.storage.dynamodb import restore_keys
from chalicelib.baton.storage.dynamodb.accounts import (
    CLAIMED_BY_ACCOUNT,
    KEPT,
    VERSION_AS_READ,
    Users,
    account_of_entry,
    delete_entry,
    email_entry_key,
    kept_value,
    put_free,
    remembered_value,
    user_of,
)
from chalicelib.baton.storage.dynamodb.factors import RECOVERY, SWITCH, TOTP
from chalicelib.baton.storage.dynamodb.identity_items import identities_value, removals
from chalicelib.baton.storage.dynamodb.items import expression, of_account, state_of
from chalicelib.baton.storage.dynamodb.one_time import use_ticket
from chalicelib.baton.storage.dynamodb.passkeys import delete_credential
from chalicelib.baton.storage.dynamodb.state_writes import delete_active, end_logins, live, raise_version
from chalicelib.baton.storage.dynamodb.values import Value, all_of, binary, number, text

NOT_VERIFIED: Final = "attribute_not_exists(verified_at)"
VERIFY: Final = "SET verified_at = if_not_exists(verified_at, :now)"
VERIFY_WITH_LANGUAGE: Final = f"{VERIFY}, #language = :language"
# A reset ends every login. A restore key works only while the login of its device is live, so the keys are deleted.
RESET: Final = (
    "SET verifier = :verifier, v = :next_version, reset_mark = :mark, remembered = :remembered, "
    + restore_keys.NO_RESTORE_KEYS
)
CLAIM: Final = f"{RESET}, verified_at = :now REMOVE identities"
ADDRESS_AS_READ: Final = "email_index = :old_index"
NO_ADDRESS: Final = "attribute_not_exists(email_index)"
MOVE: Final = "SET email = :email, email_index = :index, verified_at = :now, kept = :kept, v = :next_version"
MOVE_WITH_LANGUAGE: Final = f"{MOVE}, #language = :language"
BACK: Final = "email = :email, email_index = :index, verified_at = :now"
# Conditions and updates of an e-mail index entry.
CURRENT_OF_ACCOUNT: Final = f"{CLAIMED_BY_ACCOUNT} AND attribute_not_exists(#until)"
KEPT_FOR_ACCOUNT: Final = f"({CLAIMED_BY_ACCOUNT} AND attribute_exists(#until))"
STILL_KEPT: Final = "#until > :now"
KEEP: Final = "SET #until = :until"
RETURN: Final = "REMOVE #until"
_NAMES: Final = {"#language": "language"}


class MailUsers(Users):
    """``mail.ports.MailUsers`` on DynamoDB."""

    def verify_address(
        self, by: Actor | UnfinishedLogin, *, language: str, now: int
    ) -> Done | Refused | Inactive | ProofOutdated:
        """Store that the address is proved, if the actor's login is live or the unfinished login is still valid.

        Otherwise nothing is stored, and the result is one of these:

        - ``Inactive``, ``ProofOutdated``: the login may not act (`rules.may_act`).
        - ``Refused``: the unfinished login is no longer valid, or the account has no user.
        """
        tables = self._database.tables
        update = expression(
            {
                ":now": number(now),
                ":language": text(language),
                ":version": number(by.credentials_version),
            },
            _NAMES,
            condition=VERSION_AS_READ,
            update=VERIFY_WITH_LANGUAGE if language else VERIFY,
        )
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(by.account), **update}},
                live(tables.lineages, by, now=now),
            )
        except TransactionFailed as failed:
            if isinstance(by, UnfinishedLogin):
                return Refused()
            _user, state = failed.items
            acting = may_act(state_of(state), by, now=now) if state is not None else None
            if acting is not None and not isinstance(acting, Lineage):
                return acting
            return self._not_verified(by, now=now)
        return Done()

    def _not_verified(self, actor: Actor, *, now: int) -> Refused | Inactive | ProofOutdated:
        """Return why ``verify_address`` failed.

        DynamoDB returns no item for a condition that was true, so the account state must be read.
        """
        item = self._database.read(self._database.tables.lineages, of_account(actor.account))
        acting = may_act(state_of(item) if item is not None else None, actor, now=now)
        return Refused() if isinstance(acting, Lineage) else acting

    def reset_password(self, user: User, password_hash: bytes, *, mark: bytes, claim: bool, now: int) -> Done | Moved:
        """Replace the password hash, end every login, and delete remembered devices and restore keys.

        This is one transaction. With ``claim`` (the address was never proved), it also removes identities, roles and
        the team's attributes, and stores that the address is proved.
        """
        tables, account, expected_version = self._database.tables, user.account, user.credentials_version
        claimed = [linked.index for linked in user.identities.values()] if claim else []
        values: dict[str, Value] = {
            ":verifier": binary(password_hash),
            ":version": number(expected_version),
            ":next_version": number(expected_version + 1),
            ":mark": binary(mark),
            ":remembered": remembered_value({}),
            ":no_restore_keys": restore_keys.NONE,
            ":now": number(now),
        }
        update = expression(
            values,
            restore_keys.NAMES,
            condition=all_of(VERSION_AS_READ, NOT_VERIFIED) if claim else VERSION_AS_READ,
            update=CLAIM if claim else RESET,
        )
        reason = EndReason.CLAIMED if claim else EndReason.PASSWORD_RESET
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(account), **update}},
                end_logins(
                    tables.lineages,
                    account,
                    expected_version=expected_version,
                    ended=Ended(at=now, reason=reason),
                    clear=claim,
                ),
                *removals(self._database, account, claimed, now=now),
            )
        except TransactionFailed as failed:
            item, *_others = failed.items
            # Only this reset has this mark and ciphertext. If both are stored, an earlier try of this call wrote them.
            stored = user_of(item) if item is not None else None
            ours = stored is not None and (stored.reset_mark, stored.password_hash) == (mark, password_hash)
            return Done() if ours else Moved()
        return Done()

    def move_address(
        self, actor: Actor, user: User, new: Address, *, kept: tuple[KeptAddress, ...], language: str, now: int
    ) -> Done | Moved | AddressTaken:
        """Give an account a new, proved address: change index entries, user and account state in one transaction."""
        tables, account, proved = self._database.tables, actor.account, user.verified_at is not None
        as_read = ADDRESS_AS_READ if user.email_index else NO_ADDRESS
        values = {
            ":email": text(new.email),
            ":index": text(new.index),
            ":old_index": text(user.email_index),
            ":language": text(language),
            ":kept": kept_value(kept),
            ":now": number(now),
            ":version": number(actor.credentials_version),
            ":next_version": number(actor.credentials_version + 1),
        }
        update = expression(
            values,
            _NAMES,
            condition=all_of(VERSION_AS_READ, as_read, *(() if proved else (NOT_VERIFIED,))),
            update=MOVE_WITH_LANGUAGE if language else MOVE,
        )
        until = now + ADDRESS_KEPT_S if proved else None
        try:
            self._database.transact(
                put_free(tables.users, new.index, account, now=now, or_also=KEPT_FOR_ACCOUNT),
                *((self._leave(account, user.email_index, until=until),) if user.email_index else ()),
                {"Update": {"TableName": tables.users, "Key": of_account(account), **update}},
                raise_version(tables.lineages, actor, now=now),
            )
        except TransactionFailed as failed:
            entry, *_old, item, _state = failed.items
            stored = user_of(item) if item is not None else None
            moved = (new.index, actor.credentials_version + 1)
            if stored is not None and (stored.email_index, stored.credentials_version) == moved:
                return Done()  # an earlier try of this call wrote this index and this version
            taken_by = account_of_entry(entry) if entry is not None else account
            return AddressTaken(taken_by) if taken_by != account else Moved()
        return Done()

    def _leave(self, account: AccountId, index: EmailIndex, *, until: int | None) -> dict[str, dict[str, object]]:
        """Build the write that keeps the index entry of an old address until ``until``. ``None``: delete the entry."""
        table = self._database.tables.users
        values = {":account": text(account), ":until": number(until or 0)}
        key = {"TableName": table, "Key": email_entry_key(index)}
        if until is None:
            return {"Delete": {**key, **expression(values, KEPT, condition=CURRENT_OF_ACCOUNT)}}
        return {"Update": {**key, **expression(values, KEPT, condition=CURRENT_OF_ACCOUNT, update=KEEP)}}

    def undo_changes(self, user: User, undo: Undo, *, now: int) -> Done | Moved | Refused:
        """Undo changes of an account, end every login and consume the undo link's ticket, in one transaction."""
        tables, account, back = self._database.tables, user.account, undo.address
        stays = undo.factors
        removed = [
            *(() if stays.totp else TOTP),
            *(() if stays.recovery else RECOVERY),
            *(() if stays.on else (SWITCH,)),
            *(() if undo.kept else ("kept",)),
            *(() if undo.identities else ("identities",)),
        ]
        values: dict[str, Value] = {
            ":verifier": binary(undo.password_hash),
            ":version": number(user.credentials_version),
            ":next_version": number(user.credentials_version + 1),
            ":mark": binary(undo.mark),
            ":remembered": remembered_value({}),
            ":no_restore_keys": restore_keys.NONE,
            ":kept": kept_value(undo.kept),
            ":identities": identities_value(undo.identities),
            ":now": number(now),
        }
        sets = [
            RESET,
            *(("kept = :kept",) if undo.kept else ()),
            *(("identities = :identities",) if undo.identities else ()),
        ]
        entries: list[dict[str, dict[str, object]]] = [delete_entry(tables.users, one, account) for one in undo.freed]
        entries += removals(self._database, account, undo.removed_identities(user), now=now)
        names = dict(restore_keys.NAMES)
        for place, passkey in enumerate(undo.removed_passkeys(user)):
            names[f"#passkey{place}"] = passkey.id
            removed.append(f"passkeys.#passkey{place}")
            entries.append({"Delete": delete_credential(tables.users, passkey.credential_id, account)})
        if back is not None:
            values |= {":email": text(back.email), ":index": text(back.index)}
            sets.append(BACK)
            entries.append(self._return(account, back.index, now=now))
        update = f"{', '.join(sets)}" + (f" REMOVE {', '.join(removed)}" if removed else "")
        of_user = expression(values, names, condition=VERSION_AS_READ, update=update)
        try:
            self._database.transact(
                use_ticket(tables.ephemeral, undo.mark, expires_at=undo.used_until, now=now),
                {"Update": {"TableName": tables.users, "Key": of_account(account), **of_user}},
                end_logins(
                    tables.lineages,
                    account,
                    expected_version=user.credentials_version,
                    ended=Ended(at=now, reason=EndReason.UNDONE),
                    clear=False,
                ),
                *entries,
            )
        except TransactionFailed as failed:
            used, item, *_others = failed.items
            # As in `reset_password`: an earlier try of this call wrote mark and ciphertext.
            stored = user_of(item) if item is not None else None
            if stored is not None and (stored.reset_mark, stored.password_hash) == (undo.mark, undo.password_hash):
                return Done()
            return Refused() if used is not None else Moved()
        return Done()

    def delete_unproved(self, user: User, *, mark: LineageId, now: int) -> Done | Moved:
        """Delete an account whose address was never proved.

        One transaction deletes the user, its index entry and its identities, and marks the account state as deleted.
        The caller must check that the account has no passkey.
        """
        tables, account = self._database.tables, user.account
        values = {":version": number(user.credentials_version)}
        condition = expression(values, condition=all_of(VERSION_AS_READ, NOT_VERIFIED))
        indexes = [linked.index for linked in user.identities.values()]
        try:
            self._database.transact(
                {"Delete": {"TableName": tables.users, "Key": of_account(account), **condition}},
                delete_entry(tables.users, user.email_index, account),
                delete_active(
                    tables.lineages, account, expected_version=user.credentials_version, deleted_by=mark, now=now
                ),
                *removals(self._database, account, indexes, now=now),
            )
        except TransactionFailed as failed:
            _user, _entry, state, *_identities = failed.items
            return Done() if state is not None and state_of(state).deleted_by == mark else Moved()
        return Done()

    def _return(self, account: AccountId, index: EmailIndex, *, now: int) -> dict[str, dict[str, object]]:
        """Build the write that gives an account its old address back, if the old address is still kept."""
        values = {":account": text(account), ":now": number(now)}
        condition = expression(values, KEPT, condition=all_of(CLAIMED_BY_ACCOUNT, STILL_KEPT), update=RETURN)
        return {"Update": {"TableName": self._database.tables.users, "Key": email_entry_key(index), **condition}}
