"""Registered people in memory: find, read, register and delete people, and store their password hashes."""

from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.lineages.model import (
    AccountState,
    Actor,
    Ended,
    EndReason,
    Lineage,
    Status,
)
from chalicelib.baton.lineages.rules import (
    may_act,
)
from chalicelib.baton.storage.memory.identities import remove_identities
from chalicelib.baton.storage.memory.tables import MemoryTables, kept


class MemoryUsers:
    """`accounts.ports.Users` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Return the account that has this e-mail address now, or ``None``."""
        with self._tables.lock:
            return None if email_index in self._tables.kept_until else self._tables.claims.get(email_index)

    def get(self, account: AccountId) -> User | None:
        """Read a user. Return ``None`` if there is none."""
        with self._tables.lock:
            return self._tables.users.get(account)

    def register(self, user: User, account_state: AccountState) -> Done | AddressTaken:
        """Write e-mail index entry, user and account state in one step, if none of the three exists.

        An expired index entry counts as missing. If one of the three exists, nothing is written, and the result is
        ``AddressTaken``. A repetition returns ``Done``.
        """
        tables = self._tables
        with tables.lock:
            claimed_by = self._taken_by(user.email_index, now=user.created_at)
            stored = tables.users.get(user.account)
            if claimed_by is None and stored is None and account_state.account not in tables.lineages:
                tables.claims[user.email_index] = user.account
                tables.kept_until.pop(user.email_index, None)
                tables.users[user.account] = user
                tables.lineages[account_state.account] = account_state
                return Done()
            return Done() if stored == user else AddressTaken(claimed_by or user.account)

    def _taken_by(self, email_index: EmailIndex, *, now: int) -> AccountId | None:
        """Return the account that has an address, or keeps it as an old address. ``None``: the address is free.

        The caller has the lock.
        """
        until = self._tables.kept_until.get(email_index)
        return self._tables.claims.get(email_index) if until is None or until > now else None

    def change_password(self, actor: Actor, password_hash: bytes, *, expected: AccountState, now: int) -> Done | Moved:
        """Replace the password hash, raise the credentials version, and end every login except the actor's.

        If the actor's login began with a handover, it ends too, because it ends with the login of the app. Remembered
        devices are deleted. ``Moved``: a condition in `accounts.ports.Users` is false.
        """
        tables = self._tables
        with tables.lock:
            account = actor.account
            user, account_state = tables.users.get(account), tables.lineages.get(account)
            if user is None or account_state is None:
                return Moved()
            if (user.password_hash, user.credentials_version) == (password_hash, actor.credentials_version + 1):
                return Done()
            own = may_act(account_state, actor, now=now)
            if not isinstance(own, Lineage) or account_state.epoch != expected.epoch:
                return Moved()
            if user.credentials_version != actor.credentials_version:
                return Moved()
            tables.users[account] = replace(
                user,
                password_hash=password_hash,
                credentials_version=user.credentials_version + 1,
                factors=replace(user.factors, remembered={}),
            )
            epoch = account_state.epoch + 1
            tables.lineages[account] = replace(
                account_state,
                epoch=epoch,
                credentials_version=account_state.credentials_version + 1,
                lineages={**account_state.lineages, own.id: kept(own, actor, epoch=epoch)},
                raised=Ended(at=now, reason=EndReason.PASSWORD_CHANGED),
            )
            return Done()

    def set_first_password(
        self, user: User, password_hash: bytes, *, expected: AccountState, verified: bool, demands: bool, now: int
    ) -> Done | Moved:
        """Set the first password of an account whose password is still in its old system (``User.migrate``)."""
        tables, account, version = self._tables, user.account, user.credentials_version
        with tables.lock:
            stored, account_state = tables.users.get(account), tables.lineages.get(account)
            if stored is None or account_state is None:
                return Moved()
            if (stored.password_hash, stored.credentials_version) == (password_hash, version + 1):
                return Done()
            waits = stored.password_hash is None and stored.migrate and stored.credentials_version == version
            as_read = (expected.status, expected.epoch, expected.credentials_version)
            as_stored = (account_state.status, account_state.epoch, account_state.credentials_version)
            if not waits or as_stored != as_read or account_state.status is not Status.ACTIVE:
                return Moved()
            proved = stored.verified_at if stored.verified_at is not None or not verified else now
            tables.users[account] = replace(
                stored, password_hash=password_hash, credentials_version=version + 1, verified_at=proved, migrate=False
            )
            tables.lineages[account] = replace(
                account_state,
                credentials_version=account_state.credentials_version + 1,
                second_factor_required=account_state.second_factor_required or demands,
            )
            return Done()

    def rehash(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, expected_password_hash: bytes
    ) -> None:
        """Store a new hash of the same password, if the stored hash and credentials version are as expected.

        Otherwise, do nothing.
        """
        with self._tables.lock:
            user = self._tables.users.get(account)
            if user and (user.password_hash, user.credentials_version) == (expected_password_hash, expected_version):
                self._tables.users[account] = replace(user, password_hash=password_hash)

    def forget(self, account: AccountId, email_index: EmailIndex, *, now: int) -> None:
        """Delete the user, its passkeys and identities, and the e-mail index entries that belong to this account."""
        with self._tables.lock:
            user = self._tables.users.pop(account, None)
            for passkey in user.factors.passkeys.values() if user else ():
                if self._tables.credentials.get(passkey.credential_id) == account:
                    del self._tables.credentials[passkey.credential_id]
            indexes = [linked.index for linked in user.identities.values()] if user else []
            remove_identities(self._tables, account, indexes, now=now)
            kept = user.kept if user else ()
            for index in (*(one.index for one in kept), email_index):
                if self._tables.claims.get(index) == account:
                    del self._tables.claims[index]
                    self._tables.kept_until.pop(index, None)
