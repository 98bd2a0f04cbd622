"""What the store ``accounts`` must do (``accounts/ports.py``)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.lineages.model import (
    AccountState,
    Ended,
    EndReason,
    Status,
)
from chalicelib.baton.lineages.rules import (
    ended_of,
)
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NOT_BEFORE,
    NOW,
    OTHER,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    USER,
    VERSION,
    presented,
    state_with,
)


class AccountsContract(Contract):
    """The tests of the store ``accounts``: `accounts.ports.Users`."""

    def register(self, storage: StorageUnderTest) -> AccountState:
        """Register a person with two devices and return the account state."""
        account_state = state_with(MINE_LIVE, OTHER_LIVE)
        assert storage.accounts.register(USER, account_state) == Done()
        return account_state

    def test_registering_writes_index_entry_user_and_account_state(self, storage: StorageUnderTest) -> None:
        """A registered person is found by the address. The stored user and account state are as given."""
        account_state = self.register(storage)
        assert storage.accounts.find(USER.email_index) == ACCOUNT
        assert storage.accounts.get(ACCOUNT) == USER
        assert storage.lineages.get(ACCOUNT) == account_state

    def test_no_account_is_found_before_registering(self, storage: StorageUnderTest) -> None:
        """For an unknown address or account the store returns ``None``, not an error."""
        assert storage.accounts.find(USER.email_index) is None
        assert storage.accounts.get(ACCOUNT) is None

    def test_a_taken_address_names_its_account_and_writes_nothing(self, storage: StorageUnderTest) -> None:
        """The registration of a second account with the same address stores nothing for the second account."""
        self.register(storage)
        second = replace(USER, account=SOMEBODY_ELSE)
        assert storage.accounts.register(second, state_with(account=SOMEBODY_ELSE)) == AddressTaken(ACCOUNT)
        assert storage.accounts.get(SOMEBODY_ELSE) is None
        assert storage.lineages.get(SOMEBODY_ELSE) is None

    def test_an_id_whose_account_state_remains_cannot_be_registered(self, storage: StorageUnderTest) -> None:
        """If only the account state exists, registering its account id writes nothing and returns ``AddressTaken``."""
        storage.seed(state_with(status=Status.DELETED))
        assert storage.accounts.register(USER, state_with(MINE_LIVE)) == AddressTaken(ACCOUNT)
        assert storage.accounts.find(USER.email_index) is None
        assert storage.accounts.get(ACCOUNT) is None
        assert storage.lineages.get(ACCOUNT) == state_with(status=Status.DELETED)

    def test_an_id_with_another_address_cannot_be_registered(self, storage: StorageUnderTest) -> None:
        """Registering the same account id with another address returns ``AddressTaken`` with that account id."""
        self.register(storage)
        moved = replace(USER, email_index=EmailIndex("ada elsewhere"))
        assert storage.accounts.register(moved, state_with(MINE_LIVE)) == AddressTaken(ACCOUNT)
        assert storage.accounts.find(EmailIndex("ada elsewhere")) is None

    def test_the_very_same_registration_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The same encrypted password hash means the same call, because each encryption has a new random nonce."""
        account_state = self.register(storage)
        assert storage.accounts.register(USER, account_state) == Done()

    def test_the_same_account_with_another_password_hash_is_taken(self, storage: StorageUnderTest) -> None:
        """A retry by the client has a new hash. The store returns the id of the account that has the address."""
        account_state = self.register(storage)
        assert storage.accounts.register(replace(USER, password_hash=NEW_PASSWORD_HASH), account_state) == AddressTaken(
            ACCOUNT
        )
        assert storage.accounts.get(ACCOUNT) == USER

    @pytest.mark.guarantee(8)
    def test_one_of_many_registrations_of_an_address_wins(self, storage: StorageUnderTest) -> None:
        """Eight accounts register one address at the same time. One succeeds. The others get the id of this account."""
        accounts = [AccountId(f"AQAAAAAAAAAAAA{number:02}") for number in range(RACERS)]

        def registering(account: AccountId) -> Callable[[], Done | AddressTaken]:
            user, account_state = replace(USER, account=account), state_with(account=account)
            return lambda: storage.accounts.register(user, account_state)

        answers = race([registering(account) for account in accounts])
        winner = storage.accounts.find(USER.email_index)
        assert winner is not None
        assert [account for account, answer in zip(accounts, answers, strict=True) if answer == Done()] == [winner]
        assert answers.count(AddressTaken(winner)) == RACERS - 1

    def change(
        self,
        storage: StorageUnderTest,
        expected: AccountState,
        *,
        password_hash: bytes = NEW_PASSWORD_HASH,
        keep: LineageId = MINE,
    ) -> Done | Moved:
        """Change the password."""
        actor = replace(ACTOR, lineage=keep, credentials_version=expected.credentials_version)
        return storage.accounts.change_password(actor, password_hash, expected=expected, now=NOW)

    @pytest.mark.guarantee(6)
    def test_changing_the_password_ends_every_other_lineage(self, storage: StorageUnderTest) -> None:
        """Credentials version and epoch rise by one. The actor's lineage stays active, and the other lineages end."""
        expected = self.register(storage)
        assert self.change(storage, expected) == Done()
        account_state, user = storage.lineages.get(ACCOUNT), storage.accounts.get(ACCOUNT)
        assert user == replace(USER, password_hash=NEW_PASSWORD_HASH, credentials_version=VERSION + 1)
        assert account_state is not None
        assert (account_state.epoch, account_state.credentials_version) == (EPOCH + 1, VERSION + 1)
        assert account_state.lineages[MINE] == replace(MINE_LIVE, epoch=EPOCH + 1)
        ended = ended_of(account_state, account_state.lineages[OTHER], now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
        assert ended == Ended(at=NOW, reason=EndReason.PASSWORD_CHANGED)

    def test_the_cookies_of_the_actor_get_the_next_generation(self, storage: StorageUnderTest) -> None:
        """If the actor's tokens are in cookies, the generation of the lineage rises, so earlier cookies are refused."""
        expected = self.register(storage)
        actor = replace(ACTOR, credentials_version=expected.credentials_version, in_cookies=True)
        for _ in range(2):  # a repetition changes nothing
            changed = storage.accounts.change_password(actor, NEW_PASSWORD_HASH, expected=expected, now=NOW)
            assert changed == Done()
        account_state = storage.lineages.get(ACCOUNT)
        assert account_state is not None
        after = replace(MINE_LIVE, epoch=EPOCH + 1, generation=MINE_LIVE.generation + 1)
        assert account_state.lineages == {MINE: after, OTHER: OTHER_LIVE}

    def test_an_exchange_in_between_does_not_stop_a_password_change(self, storage: StorageUnderTest) -> None:
        """After the read, an exchange gives the lineage a newer generation. The password change still succeeds."""
        expected = self.register(storage)
        storage.lineages.exchange(presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
        assert self.change(storage, expected) == Done()

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(replace(state_with(MINE_LIVE), status=Status.DISABLED), id="disabled"),
            pytest.param(
                replace(state_with(replace(MINE_LIVE, epoch=EPOCH + 1)), epoch=EPOCH + 1), id="epoch raised by another"
            ),
            pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), id="credentials version"),
            pytest.param(state_with(replace(MINE_LIVE, epoch=EPOCH - 1)), id="keeper of an older epoch"),
            pytest.param(state_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.LOGOUT))), id="keeper ended"),
            pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW)), id="keeper expired"),
            pytest.param(state_with(OTHER_LIVE), id="keeper gone"),
        ],
    )
    def test_an_account_state_that_moved_stops_a_password_change(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """If status, epoch or credentials version changed, or the actor's lineage ended, nothing is written."""
        expected = self.register(storage)
        storage.seed(meanwhile)
        before = storage.lineages.get(ACCOUNT)
        assert self.change(storage, expected) == Moved()
        assert storage.accounts.get(ACCOUNT) == USER
        assert storage.lineages.get(ACCOUNT) == before

    def test_a_password_hash_that_moved_stops_a_password_change(self, storage: StorageUnderTest) -> None:
        """If the user's item has another credentials version, the result is ``Moved``, and nothing changes."""
        expected = state_with(MINE_LIVE)
        storage.accounts.register(replace(USER, credentials_version=VERSION + 1), expected)
        assert self.change(storage, expected) == Moved()
        assert storage.lineages.get(ACCOUNT) == expected

    def test_the_very_same_password_change_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The store recognises its own earlier write. Version and epoch do not rise a second time."""
        expected = self.register(storage)
        assert self.change(storage, expected) == Done()
        once = storage.lineages.get(ACCOUNT)
        assert self.change(storage, expected) == Done()
        assert storage.lineages.get(ACCOUNT) == once

    def test_two_password_changes_from_one_reading_are_not_both_done(self, storage: StorageUnderTest) -> None:
        """The second change has another password hash. Its result is ``Moved``."""
        expected = self.register(storage)
        assert self.change(storage, expected) == Done()
        assert self.change(storage, expected, password_hash=b"yet another", keep=OTHER) == Moved()

    def test_a_password_change_of_an_unknown_user_is_moved(self, storage: StorageUnderTest) -> None:
        """A user who was deleted meanwhile is not created again."""
        assert self.change(storage, state_with(MINE_LIVE)) == Moved()
        assert storage.accounts.get(ACCOUNT) is None

    @pytest.mark.parametrize(
        ("version", "password_hash", "rehashed"),
        [
            pytest.param(VERSION, USER.password_hash, True, id="as read"),
            pytest.param(VERSION - 1, USER.password_hash, False, id="another version"),
            pytest.param(VERSION, b"another", False, id="another password hash"),
        ],
    )
    def test_a_rehash_replaces_only_what_was_read(
        self, storage: StorageUnderTest, version: int, password_hash: bytes, *, rehashed: bool
    ) -> None:
        """A rehash keeps the credentials version. If hash or version changed after the read, nothing is written."""
        account_state = self.register(storage)
        storage.accounts.rehash(
            ACCOUNT, NEW_PASSWORD_HASH, expected_version=version, expected_password_hash=password_hash
        )
        assert storage.accounts.get(ACCOUNT) == (replace(USER, password_hash=NEW_PASSWORD_HASH) if rehashed else USER)
        assert storage.lineages.get(ACCOUNT) == account_state

    def test_a_rehash_of_an_unknown_user_makes_no_user(self, storage: StorageUnderTest) -> None:
        """A user who was deleted meanwhile is not created again."""
        assert USER.password_hash is not None
        storage.accounts.rehash(
            ACCOUNT, NEW_PASSWORD_HASH, expected_version=VERSION, expected_password_hash=USER.password_hash
        )
        assert storage.accounts.get(ACCOUNT) is None

    def test_a_forgotten_address_is_free_again(self, storage: StorageUnderTest) -> None:
        """User and index entry are deleted. A repeated call is safe, and another person can register the address."""
        self.register(storage)
        for _ in range(2):
            storage.accounts.forget(ACCOUNT, USER.email_index, now=NOW)
            assert storage.accounts.get(ACCOUNT) is None
            assert storage.accounts.find(USER.email_index) is None
        second = replace(USER, account=SOMEBODY_ELSE)
        assert storage.accounts.register(second, state_with(account=SOMEBODY_ELSE)) == Done()

    def test_forgetting_late_does_not_change_the_next_owner_of_the_address(self, storage: StorageUnderTest) -> None:
        """The e-mail index entry is deleted only if it still belongs to the deleted account."""
        storage.accounts.register(USER, state_with())
        storage.accounts.forget(SOMEBODY_ELSE, USER.email_index, now=NOW)
        assert storage.accounts.find(USER.email_index) == ACCOUNT
