"""Second factors in memory. Each ``FactorChange`` decides its condition (``fits``) and its effect (``apply``)."""

from collections.abc import Collection

from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import (
    AddPasskey,
    FactorChange,
    PasskeyUse,
    Remember,
    RemoveAll,
    RemovePasskey,
    SecondFactors,
    Totp,
    User,
)
from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.factors.rules import leaves_a_credential
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Actor, Lineage, UnfinishedLogin
from chalicelib.baton.lineages.rules import may_act, may_go_on
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemoryFactors:
    """`factors.ports.FactorStore` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

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
        """Use the code of a time step, once, if ``totp`` is still enrolled. All conditions are in `FactorStore`."""
        with self._tables.lock:
            user = self._tables.users.get(account)
            stored = user.factors.totp if user else None
            if user is None or stored is None:
                return Refused()
            if stored.sealed == totp.sealed and user.credentials_version == credentials_version and stored.step < step:
                factors = replace(_remembering(user.factors, remember), totp=replace(stored, step=step, mark=mark))
                self._tables.users[account] = replace(user, factors=factors)
                return Done()
            return Done() if (stored.step, stored.mark) == (step, mark) else Refused()

    def consume_recovery_code(
        self, account: AccountId, digest: bytes, *, mark: bytes, credentials_version: int
    ) -> Done | Refused:
        """Use a recovery code once: delete its ``digest``. The conditions are in `FactorStore`."""
        with self._tables.lock:
            user = self._tables.users.get(account)
            stored = user.factors.recovery if user else None
            if user is None or stored is None:
                return Refused()
            if digest in stored.digests and user.credentials_version == credentials_version:
                left = replace(stored, digests=stored.digests - {digest}, used=digest, mark=mark)
                self._tables.users[account] = replace(user, factors=replace(user.factors, recovery=left))
                return Done()
            return Done() if (stored.used, stored.mark) == (digest, mark) else Refused()

    def use_passkey(
        self, account: AccountId, use: PasskeyUse, *, credentials_version: int, remember: Remember | None = None
    ) -> Done | Refused:
        """Store counter, flags and day of use after an assertion of a passkey. `FactorStore` has the conditions."""
        with self._tables.lock:
            user = self._tables.users.get(account)
            stored = user.factors.passkeys.get(use.passkey.id) if user else None
            if user is None or stored is None or stored.public_key != use.passkey.public_key:
                return Refused()
            if user.credentials_version != credentials_version:
                return Refused()
            after = use.after
            if stored.counter > after.counter:
                return Refused()
            stored = replace(
                stored,
                counter=after.counter,
                backup_eligible=after.backup_eligible,
                backed_up=after.backed_up,
                used_day=after.used_day,
            )
            passkeys = {**user.factors.passkeys, stored.id: stored}
            factors = replace(_remembering(user.factors, remember), passkeys=passkeys)
            self._tables.users[account] = replace(user, factors=factors)
            return Done()

    def rename_passkey(self, actor: Actor, passkey: str, name: str, *, now: int) -> Done | Moved:
        """Give a passkey a new name, if the actor's login is live and the credentials version is as in ``actor``.

        Otherwise, or if the account does not have the passkey, the result is ``Moved``, and nothing is written.
        """
        with self._tables.lock:
            user = self._tables.users.get(actor.account)
            stored = user.factors.passkeys.get(passkey) if user else None
            live = isinstance(may_act(self._tables.lineages.get(actor.account), actor, now=now), Lineage)
            if not live or user is None or stored is None or user.credentials_version != actor.credentials_version:
                return Moved()
            passkeys = {**user.factors.passkeys, passkey: replace(stored, name=name)}
            self._tables.users[actor.account] = replace(user, factors=replace(user.factors, passkeys=passkeys))
            return Done()

    def keep_restore_key(
        self, actor: Actor, device: str, key: RestoreKey | None, *, forgotten: Collection[str] = (), now: int
    ) -> Done | Moved:
        """Store the restore key of a device, or delete it if ``key`` is ``None``.

        The restore keys of the devices in ``forgotten`` are deleted too. The actor's login must be live, and the
        credentials version must be as in ``actor``. Otherwise the result is ``Moved``, and nothing is written.
        """
        with self._tables.lock:
            user = self._tables.users.get(actor.account)
            live = isinstance(may_act(self._tables.lineages.get(actor.account), actor, now=now), Lineage)
            if not live or user is None or user.credentials_version != actor.credentials_version:
                return Moved()
            restore = {one: kept for one, kept in user.restore.items() if one not in forgotten and one != device}
            if key is not None:
                restore[device] = key
            self._tables.users[actor.account] = replace(user, restore=restore)
            return Done()

    def change_factors(
        self, by: Actor | UnfinishedLogin, change: FactorChange, *, remember: Remember | None, now: int
    ) -> Done | Moved | Refused:
        """Change a factor, and raise the credentials version.

        All remembered devices are forgotten, except the device of ``remember``. All conditions are in
        `FactorStore`.
        """
        tables = self._tables
        with tables.lock:
            user, account_state = tables.users.get(by.account), tables.lineages.get(by.account)
            if user is None or account_state is None:
                return Moved()
            if user.credentials_version == by.credentials_version + 1 and change.is_in(user.factors):
                return Done()
            if isinstance(by, Actor):
                may = isinstance(may_act(account_state, by, now=now), Lineage)
            else:
                may = may_go_on(account_state, by)
            passkey = change.passkey if isinstance(change, AddPasskey | RemovePasskey) else None
            owner = tables.credentials.get(passkey.credential_id) if passkey else None
            if owner not in (None, by.account):
                return Refused() if isinstance(change, AddPasskey) else Moved()
            if not may or user.credentials_version != by.credentials_version or not _fits(change, user):
                return Moved()
            if isinstance(change, AddPasskey):
                tables.credentials[change.passkey.credential_id] = by.account
            elif passkey is not None and owner == by.account:
                del tables.credentials[passkey.credential_id]
            elif isinstance(change, RemoveAll):
                for one in change.passkeys:
                    tables.credentials.pop(one.credential_id, None)
            remembered = {remember.key: remember.at} if remember else {}
            version = by.credentials_version + 1
            factors = replace(change.apply(user.factors), remembered=remembered)
            tables.users[by.account] = replace(user, credentials_version=version, factors=factors)
            tables.lineages[by.account] = replace(account_state, credentials_version=version)
            return Done()


def _fits(change: FactorChange, user: User) -> bool:
    """Check that a change fits the stored factors. After ``RemovePasskey``, a way to log in must be left."""
    left = not isinstance(change, RemovePasskey) or leaves_a_credential(user, passkeys=1)
    return left and change.fits(user.factors)


def _remembering(factors: SecondFactors, remember: Remember | None) -> SecondFactors:
    if remember is None:
        return factors
    remembered = {key: at for key, at in factors.remembered.items() if key not in remember.forgotten}
    return replace(factors, remembered={**remembered, remember.key: remember.at})
