"""The writes of mail: a proved address, and a reset password."""

from typing import Final

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Actor, Ended, EndReason, Lineage
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act
from chalicelib.baton.storage.aws.service import TransactionFailed
from chalicelib.baton.storage.dynamodb.accounts import VERSION_AS_READ, Users, remembered_value, user_of
from chalicelib.baton.storage.dynamodb.items import (
    Value,
    all_of,
    binary,
    expression,
    number,
    of_account,
    state_of,
    text,
)
from chalicelib.baton.storage.dynamodb.state_writes import end_logins, live

NOT_VERIFIED: Final = "attribute_not_exists(verified_at)"
VERIFY: Final = "SET verified_at = if_not_exists(verified_at, :now)"
VERIFY_WITH_LANGUAGE: Final = f"{VERIFY}, #language = :language"
RESET: Final = "SET verifier = :verifier, v = :next_version, reset_mark = :mark, remembered = :remembered"
CLAIM: Final = f"{RESET}, verified_at = :now"
_NAMES: Final = {"#language": "language"}


class MailUsers(Users):
    """``mail.ports.MailUsers`` on DynamoDB."""

    def verify_address(self, actor: Actor, *, language: str, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """Store that the address is proved, while the login of the actor is live."""
        tables = self._database.tables
        update = expression(
            {
                ":now": number(now),
                ":language": text(language),
                ":version": number(actor.credentials_version),
            },
            _NAMES,
            condition=VERSION_AS_READ,
            update=VERIFY_WITH_LANGUAGE if language else VERIFY,
        )
        try:
            self._database.transact(
                {"Update": {"TableName": tables.users, "Key": of_account(actor.account), **update}},
                live(tables.lineages, actor, now=now),
            )
        except TransactionFailed as failed:
            _user, state = failed.items
            acting = may_act(state_of(state), actor, now=now) if state is not None else None
            if acting is not None and not isinstance(acting, Lineage):
                return acting
            return self._not_verified(actor, now=now)
        return Done()

    def _not_verified(self, actor: Actor, *, now: int) -> Refused | Inactive | ProofOutdated:
        """Read why the condition on the user failed: of a condition that held, the failure has no item."""
        item = self._database.read(self._database.tables.lineages, of_account(actor.account))
        acting = may_act(state_of(item) if item is not None else None, actor, now=now)
        return Refused() if isinstance(acting, Lineage) else acting

    def reset_password(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, mark: bytes, claim: bool, now: int
    ) -> Done | Moved:
        """Replace the password hash, end every login and forget the devices, in one transaction.

        A claim also removes the roles and the team's attributes.
        """
        tables = self._database.tables
        values: dict[str, Value] = {
            ":verifier": binary(password_hash),
            ":version": number(expected_version),
            ":next_version": number(expected_version + 1),
            ":mark": binary(mark),
            ":remembered": remembered_value({}),
            ":now": number(now),
        }
        update = expression(
            values,
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
            )
        except TransactionFailed as failed:
            item, _state = failed.items
            # The mark belongs to this reset, and the ciphertext has a random nonce: an earlier attempt wrote both.
            stored = user_of(item) if item is not None else None
            ours = stored is not None and (stored.reset_mark, stored.password_hash) == (mark, password_hash)
            return Done() if ours else Moved()
        return Done()
