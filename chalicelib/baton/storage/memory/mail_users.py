"""The writes of mail in memory: a proved address, and a reset password."""

from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Actor, Ended, EndReason, Lineage, Status
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act
from chalicelib.baton.storage.memory.accounts import MemoryUsers


class MemoryMailUsers(MemoryUsers):
    """`mail.ports.MailUsers` in memory."""

    def verify_address(self, actor: Actor, *, language: str, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """Store that the address is proved, while the login of the actor is live."""
        tables = self._tables
        with tables.lock:
            acting = may_act(tables.lineages.get(actor.account), actor, now=now)
            if not isinstance(acting, Lineage):
                return acting
            user = tables.users.get(actor.account)
            if user is None or user.credentials_version != actor.credentials_version:
                return Refused()
            verified_at = now if user.verified_at is None else user.verified_at
            tables.users[actor.account] = replace(user, verified_at=verified_at, language=language or user.language)
            return Done()

    def reset_password(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, mark: bytes, claim: bool, now: int
    ) -> Done | Moved:
        """Replace the password hash, end every login and forget the devices."""
        tables = self._tables
        with tables.lock:
            user, account_state = tables.users.get(account), tables.lineages.get(account)
            if user is None or account_state is None:
                return Moved()
            if (user.reset_mark, user.password_hash) == (mark, password_hash):
                return Done()
            versions = {user.credentials_version, account_state.credentials_version}
            if account_state.status is not Status.ACTIVE or versions != {expected_version}:
                return Moved()
            if claim and user.verified_at is not None:
                return Moved()
            tables.users[account] = replace(
                user,
                password_hash=password_hash,
                credentials_version=expected_version + 1,
                reset_mark=mark,
                verified_at=now if claim else user.verified_at,
                factors=replace(user.factors, remembered={}),
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
