"""What the store ``accounts`` must do for mail (``mail/ports.py``)."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import EmailIndex, LineageId
from chalicelib.baton.lineages.model import NO_RIGHTS, AccountState, Ended, EndReason, Status
from chalicelib.baton.lineages.rules import ended_of, may_act, rights_of
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.factor_values import FACTORS, LOGIN, MOVED
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    ADMIN,
    ATTRIBUTES,
    EPOCH,
    IDLE_S,
    MARK,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NOT_BEFORE,
    NOW,
    OTHER_LIVE,
    OTHER_MARK,
    USER,
    VERSION,
    state_with,
)

OF_LINK: Final = LineageId("the id of a link")


class MailContract(LineagesUnderTest):
    """The tests of the store ``accounts``: `mail.ports.MailUsers`."""

    def registered_with(self, storage: StorageUnderTest, **user: object) -> AccountState:
        """Register a person with two devices, a role and attributes, and return the account state."""
        account_state = replace(state_with(MINE_LIVE, OTHER_LIVE), roles=ADMIN, attributes=ATTRIBUTES)
        assert storage.accounts.register(replace(USER, **user), account_state) == Done()
        return account_state

    def reset(
        self,
        storage: StorageUnderTest,
        *,
        version: int = VERSION,
        mark: bytes = MARK,
        claim: bool = False,
        password_hash: bytes = NEW_PASSWORD_HASH,
    ) -> Done | Moved:
        """Reset the password."""
        return storage.accounts.reset_password(
            replace(USER, credentials_version=version), password_hash, mark=mark, claim=claim, now=NOW
        )

    def test_a_user_is_stored_with_what_mail_writes(self, storage: StorageUnderTest) -> None:
        """The time of proof, the language and the mark of a reset are read as they were written."""
        self.registered_with(storage, verified_at=NOW, language="zh", reset_mark=MARK)
        assert storage.accounts.get(ACCOUNT) == replace(USER, verified_at=NOW, language="zh", reset_mark=MARK)

    def test_an_address_is_verified_once_and_no_login_changes(self, storage: StorageUnderTest) -> None:
        """The time of the first proof stays.

        A new language replaces the stored language. A call without a language keeps the stored language.
        """
        account_state = self.registered_with(storage)
        assert storage.accounts.verify_address(ACTOR, language="", now=NOW) == Done()
        assert storage.accounts.get(ACCOUNT) == replace(USER, verified_at=NOW)
        assert storage.accounts.verify_address(ACTOR, language="zh", now=NOW + 9) == Done()
        assert storage.accounts.verify_address(ACTOR, language="", now=NOW + 9) == Done()
        assert storage.accounts.get(ACCOUNT) == replace(USER, verified_at=NOW, language="zh")
        assert self.account_state(storage) == account_state

    def test_an_address_of_other_credentials_is_not_verified(self, storage: StorageUnderTest) -> None:
        """The credentials version of the user must match, because a change of the address raises this version."""
        self.registered_with(storage, credentials_version=VERSION + 1)
        assert storage.accounts.verify_address(ACTOR, language="", now=NOW) == Refused()
        assert storage.accounts.get(ACCOUNT) == replace(USER, credentials_version=VERSION + 1)

    def test_an_address_of_a_missing_user_is_not_verified(self, storage: StorageUnderTest) -> None:
        """The result is ``Refused``, and no user is created."""
        storage.seed(state_with(MINE_LIVE))
        assert storage.accounts.verify_address(ACTOR, language="", now=NOW) == Refused()
        assert storage.accounts.get(ACCOUNT) is None

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_address_is_verified_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, inactive: AccountState, verdict: object
    ) -> None:
        """The transaction checks the login, writes nothing, and returns the reason."""
        assert may_act(inactive, ACTOR, now=NOW) == verdict
        storage.accounts.register(USER, state_with(MINE_LIVE))
        storage.seed(inactive)
        assert storage.accounts.verify_address(ACTOR, language="en", now=NOW) == verdict
        assert storage.accounts.get(ACCOUNT) == USER

    def test_an_unfinished_login_proves_the_address(self, storage: StorageUnderTest) -> None:
        """The unfinished login has proved the password, and has no lineage yet. No login changes."""
        account_state = self.registered_with(storage)
        assert storage.accounts.verify_address(LOGIN, language="", now=NOW) == Done()
        assert storage.accounts.get(ACCOUNT) == replace(USER, verified_at=NOW)
        assert self.account_state(storage) == account_state

    @pytest.mark.parametrize("meanwhile", MOVED)
    def test_an_unfinished_login_that_may_not_go_on_proves_nothing(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """The transaction checks status, epoch and credentials version of the account state."""
        storage.accounts.register(USER, state_with(MINE_LIVE))
        storage.seed(meanwhile)
        assert storage.accounts.verify_address(LOGIN, language="", now=NOW) == Refused()
        assert storage.accounts.get(ACCOUNT) == USER

    @pytest.mark.guarantee(6)
    def test_a_reset_ends_every_login_and_keeps_the_rest(self, storage: StorageUnderTest) -> None:
        """Credentials version and epoch rise by one in one transaction.

        Roles, attributes and the time of proof stay.
        """
        account_state = self.registered_with(storage, verified_at=NOW - 5)
        assert self.reset(storage) == Done()
        assert storage.accounts.get(ACCOUNT) == replace(
            USER,
            password_hash=NEW_PASSWORD_HASH,
            credentials_version=VERSION + 1,
            reset_mark=MARK,
            verified_at=NOW - 5,
        )
        ended = Ended(at=NOW, reason=EndReason.PASSWORD_RESET)
        after = self.account_state(storage)
        assert after == replace(account_state, epoch=EPOCH + 1, credentials_version=VERSION + 1, raised=ended)
        for lineage in after.lineages.values():
            assert ended_of(after, lineage, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S) == ended

    def test_a_claim_proves_the_address_and_takes_the_rights(self, storage: StorageUnderTest) -> None:
        """The account loses its roles and attributes, and its logins end with reason ``claimed``."""
        self.registered_with(storage)
        assert self.reset(storage, claim=True) == Done()
        user, after = storage.accounts.get(ACCOUNT), self.account_state(storage)
        assert user is not None
        assert user.verified_at == NOW
        assert rights_of(after) == NO_RIGHTS
        assert after.raised == Ended(at=NOW, reason=EndReason.CLAIMED)

    def test_a_reset_keeps_the_second_factors_and_forgets_remembered_devices(self, storage: StorageUnderTest) -> None:
        """The person still has the authenticator app. A remembered device may belong to a thief."""
        self.registered_with(storage, verified_at=NOW - 5, factors=FACTORS)
        assert self.reset(storage) == Done()
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        assert user.factors == replace(FACTORS, remembered={})

    def test_an_address_that_was_verified_meanwhile_is_not_claimed(self, storage: StorageUnderTest) -> None:
        """The owner proved the address between the read and the write. So nothing is written, and the roles stay."""
        account_state = self.registered_with(storage, verified_at=NOW)
        assert self.reset(storage, claim=True) == Moved()
        assert storage.accounts.get(ACCOUNT) == replace(USER, verified_at=NOW)
        assert self.account_state(storage) == account_state

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(replace(state_with(MINE_LIVE), status=Status.DISABLED), id="disabled"),
            pytest.param(replace(state_with(), status=Status.DELETED), id="deleted"),
            pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), id="credentials version"),
        ],
    )
    def test_an_account_state_that_moved_stops_a_reset(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """The account was disabled or deleted, or a credential changed, after the read. Nothing is written."""
        storage.accounts.register(USER, state_with(MINE_LIVE))
        storage.seed(meanwhile)
        assert self.reset(storage) == Moved()
        assert storage.accounts.get(ACCOUNT) == USER
        assert self.account_state(storage) == meanwhile

    def test_other_credentials_of_the_user_stop_a_reset(self, storage: StorageUnderTest) -> None:
        """If the user has another credentials version or does not exist, the result is ``Moved``."""
        account_state = self.registered_with(storage, credentials_version=VERSION + 1)
        assert self.reset(storage) == Moved()
        assert self.account_state(storage) == account_state
        storage.accounts.forget(ACCOUNT, USER.email_index, now=NOW)
        assert self.reset(storage) == Moved()
        assert storage.accounts.get(ACCOUNT) is None

    def test_the_very_same_reset_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The store recognises its own write by mark and encrypted hash. The versions do not rise a second time."""
        self.registered_with(storage)
        assert self.reset(storage) == Done()
        once = self.account_state(storage)
        assert self.reset(storage) == Done()
        assert self.account_state(storage) == once
        assert self.reset(storage, password_hash=b"of another password") == Moved()
        assert self.reset(storage, mark=OTHER_MARK) == Moved()

    @pytest.mark.guarantee(8)
    def test_one_of_many_resets_at_the_same_time_wins(self, storage: StorageUnderTest) -> None:
        """Eight requests with valid codes reset one password at the same time: one of them sets it."""
        self.registered_with(storage)

        def resetting(number: int) -> Callable[[], Done | Moved]:
            return lambda: self.reset(storage, mark=bytes([number]) * 16, password_hash=bytes([number]) * 40)

        assert race([resetting(number) for number in range(RACERS)]).count(Done()) == 1
        assert self.account_state(storage).epoch == EPOCH + 1

    def delete_unproved(self, storage: StorageUnderTest, user: User = USER) -> Done | Moved:
        """Delete the account by the link of a mail."""
        return storage.accounts.delete_unproved(user, mark=OF_LINK, now=NOW)

    def test_an_account_that_was_never_proved_is_deleted(self, storage: StorageUnderTest) -> None:
        """User, address, logins and rights are deleted. A repetition of the call returns ``Done``."""
        self.registered_with(storage)
        for _ in range(2):
            assert self.delete_unproved(storage) == Done()
        assert storage.accounts.get(ACCOUNT) is None
        assert storage.accounts.find(USER.email_index) is None
        left = self.account_state(storage)
        assert (left.status, left.epoch, left.lineages, left.deleted_by) == (Status.DELETED, EPOCH + 1, {}, OF_LINK)
        assert rights_of(left) == NO_RIGHTS

    @pytest.mark.parametrize(
        "meanwhile",
        [{"verified_at": NOW}, {"credentials_version": VERSION + 1}, {"email_index": EmailIndex("another")}],
        ids=str,
    )
    def test_what_happens_to_a_user_meanwhile_stops_the_deletion(
        self, storage: StorageUnderTest, meanwhile: dict[str, object]
    ) -> None:
        """After the read, the address was proved, a credential changed, or the address changed. Nothing is deleted."""
        self.registered_with(storage, **meanwhile)
        assert self.delete_unproved(storage) == Moved()
        assert storage.accounts.get(ACCOUNT) == replace(USER, **meanwhile)
        assert self.account_state(storage).status is Status.ACTIVE

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(replace(state_with(MINE_LIVE), status=Status.DISABLED), id="disabled"),
            pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), id="credentials version"),
            pytest.param(replace(state_with(), status=Status.DELETED, deleted_by=MINE_LIVE.id), id="by its owner"),
        ],
    )
    def test_an_account_state_that_moved_stops_the_deletion(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """After the read, the account was disabled or deleted, or a credential changed. Nothing is deleted.

        Only an operator may delete a disabled account.
        """
        self.registered_with(storage)
        storage.seed(meanwhile)
        assert self.delete_unproved(storage) == Moved()
        assert storage.accounts.get(ACCOUNT) == USER
        assert self.account_state(storage) == meanwhile
