"""The writes of the mail flows, for the storage in memory.

They prove or move an address, reset a password, undo changes, and delete accounts with an unproved address.
"""

from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.user_parts import KeptAddress
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import Actor, Ended, EndReason, Lineage, Status, UnfinishedLogin
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act, may_go_on
from chalicelib.baton.mail.ports import Address, Undo
from chalicelib.baton.policy import ADDRESS_KEPT_S, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.storage.memory.accounts import MemoryUsers
from chalicelib.baton.storage.memory.identities import remove_identities


class MemoryMailUsers(MemoryUsers):
    """`mail.ports.MailUsers` in memory."""

    def verify_address(
        self, by: Actor | UnfinishedLogin, *, language: str, now: int
    ) -> Done | Refused | Inactive | ProofOutdated:
        """Store that the address is proved, if ``by`` is a live login or a valid unfinished login.

        Otherwise nothing is stored, and the result is one of these:

        - ``Inactive``, ``ProofOutdated``: the login may not act (`rules.may_act`).
        - ``Refused``: the unfinished login is no longer valid, or the account has no user.
        """
        tables = self._tables
        with tables.lock:
            account_state = tables.lineages.get(by.account)
            if isinstance(by, Actor):
                acting = may_act(account_state, by, now=now)
                if not isinstance(acting, Lineage):
                    return acting
            elif not may_go_on(account_state, by):
                return Refused()
            user = tables.users.get(by.account)
            if user is None or user.credentials_version != by.credentials_version:
                return Refused()
            verified_at = now if user.verified_at is None else user.verified_at
            tables.users[by.account] = replace(user, verified_at=verified_at, language=language or user.language)
            return Done()

    def reset_password(self, user: User, password_hash: bytes, *, mark: bytes, claim: bool, now: int) -> Done | Moved:
        """Replace the password hash, end every login, and delete remembered devices and restore keys.

        With ``claim`` (the address was never proved), also remove identities, roles and the team's attributes, and
        store that the address is proved.
        """
        tables, account, expected_version = self._tables, user.account, user.credentials_version
        with tables.lock:
            stored, account_state = tables.users.get(account), tables.lineages.get(account)
            if stored is None or account_state is None:
                return Moved()
            if (stored.reset_mark, stored.password_hash) == (mark, password_hash):
                return Done()
            versions = {stored.credentials_version, account_state.credentials_version}
            if account_state.status is not Status.ACTIVE or versions != {expected_version}:
                return Moved()
            if claim and stored.verified_at is not None:
                return Moved()
            if claim:
                remove_identities(tables, account, _indexes_of(user), now=now)
            tables.users[account] = replace(
                stored,
                password_hash=password_hash,
                credentials_version=expected_version + 1,
                reset_mark=mark,
                verified_at=now if claim else stored.verified_at,
                factors=replace(stored.factors, remembered={}),
                restore={},
                identities={} if claim else stored.identities,
            )
            tables.lineages[account] = replace(
                account_state,
                epoch=account_state.epoch + 1,
                credentials_version=expected_version + 1,
                raised=Ended(at=now, reason=EndReason.CLAIMED if claim else EndReason.PASSWORD_RESET),
                roles=frozenset() if claim else account_state.roles,
                attributes=b"" if claim else account_state.attributes,
            )
            return Done()

    def move_address(
        self, actor: Actor, user: User, new: Address, *, kept: tuple[KeptAddress, ...], language: str, now: int
    ) -> Done | Moved | AddressTaken:
        """Replace the address of the actor's account by ``new``, a proved address. Raise the credentials version."""
        tables, account, version = self._tables, actor.account, actor.credentials_version
        with tables.lock:
            stored, account_state = tables.users.get(account), tables.lineages.get(account)
            if stored is None or account_state is None:
                return Moved()
            if (stored.email_index, stored.credentials_version) == (new.index, version + 1):
                return Done()
            taken_by = self._taken_by(new.index, now=now)
            if taken_by not in {None, account}:
                return AddressTaken(taken_by)
            had = user.email_index
            current = not had or (tables.claims.get(had) == account and had not in tables.kept_until)
            own = taken_by is None or new.index in tables.kept_until
            as_read = (stored.email_index, stored.credentials_version) == (user.email_index, version)
            proved = user.verified_at is not None
            live = isinstance(may_act(account_state, actor, now=now), Lineage)
            if not (current and own and as_read and live) or (not proved and stored.verified_at is not None):
                return Moved()
            tables.claims[new.index] = account
            tables.kept_until.pop(new.index, None)
            if proved:
                tables.kept_until[user.email_index] = now + ADDRESS_KEPT_S
            elif had:
                del tables.claims[had]
            tables.users[account] = replace(
                stored,
                email=new.email,
                email_index=new.index,
                credentials_version=version + 1,
                verified_at=now,
                language=language or stored.language,
                kept=kept,
            )
            tables.lineages[account] = replace(account_state, credentials_version=version + 1)
            return Done()

    def undo_changes(self, user: User, undo: Undo, *, now: int) -> Done | Moved | Refused:
        """Undo changes of an account, end every login, and consume the ticket of the undo link."""
        tables, account, back = self._tables, user.account, undo.address
        with tables.lock:
            stored, account_state = tables.users.get(account), tables.lineages.get(account)
            if stored is None or account_state is None:
                return Moved()
            if (stored.reset_mark, stored.password_hash) == (undo.mark, undo.password_hash):
                return Done()
            if tables.tickets.get(undo.mark, (b"", now))[1] > now:
                return Refused()
            version = user.credentials_version
            as_read = {stored.credentials_version, account_state.credentials_version} == {version}
            entries = [*undo.freed, *((back.index,) if back else ())]
            owned = all(tables.claims.get(one) == account for one in entries)
            kept = back is None or tables.kept_until.get(back.index, now) > now
            if not (as_read and owned and kept and account_state.status is Status.ACTIVE):
                return Moved()
            tables.tickets[undo.mark] = (undo.mark, undo.used_until + TICKET_CONSUMED_KEPT_S)
            for one in undo.freed:
                del tables.claims[one]
                tables.kept_until.pop(one, None)
            for passkey in undo.removed_passkeys(user):
                tables.credentials.pop(passkey.credential_id, None)
            remove_identities(tables, account, undo.removed_identities(user), now=now)
            if back is not None:
                del tables.kept_until[back.index]
                stored = replace(stored, email=back.email, email_index=back.index, verified_at=now)
            factors = stored.factors
            tables.users[account] = replace(
                stored,
                password_hash=undo.password_hash,
                credentials_version=version + 1,
                reset_mark=undo.mark,
                factors=replace(
                    factors,
                    on=undo.factors.on,
                    totp=factors.totp if undo.factors.totp else None,
                    recovery=factors.recovery if undo.factors.recovery else None,
                    passkeys=undo.factors.passkeys,
                    remembered={},
                ),
                kept=undo.kept,
                restore={},
                identities=undo.identities,
            )
            tables.lineages[account] = replace(
                account_state,
                epoch=account_state.epoch + 1,
                credentials_version=version + 1,
                raised=Ended(at=now, reason=EndReason.UNDONE),
            )
            return Done()

    def delete_unproved(self, user: User, *, mark: LineageId, now: int) -> Done | Moved:
        """Delete an account whose address was never proved. The caller must check that the account has no passkey."""
        tables, account = self._tables, user.account
        with tables.lock:
            stored, account_state = tables.users.get(account), tables.lineages.get(account)
            if account_state is not None and account_state.deleted_by == mark:
                return Done()
            if stored is None or account_state is None or account_state.status is not Status.ACTIVE:
                return Moved()
            versions = {stored.credentials_version, account_state.credentials_version}
            own = stored.email_index == user.email_index and tables.claims.get(user.email_index) == account
            if versions != {user.credentials_version} or not own or stored.verified_at is not None:
                return Moved()
            remove_identities(tables, account, _indexes_of(user), now=now)
            del tables.users[account], tables.claims[user.email_index]
            tables.lineages[account] = replace(
                account_state,
                status=Status.DELETED,
                epoch=account_state.epoch + 1,
                raised=Ended(at=now, reason=EndReason.ENDED_EVERYWHERE),
                lineages={},
                deleted_by=mark,
                roles=frozenset(),
                second_factor_required=False,
                attributes=b"",
            )
            return Done()


def _indexes_of(user: User) -> list[str]:
    return [linked.index for linked in user.identities.values()]
