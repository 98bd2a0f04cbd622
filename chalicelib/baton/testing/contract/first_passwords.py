"""What the store ``accounts`` must do for an account imported without a password (``accounts/ports.py``)."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import User
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.testing.contract.factor_values import MOVED
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NOW,
    USER,
    VERSION,
    state_with,
)

WAITING: Final = replace(USER, password_hash=None, migrate=True)
STATE: Final = state_with(MINE_LIVE)


class FirstPasswordsContract(LineagesUnderTest):
    """The tests of accounts without a password, and of the method `accounts.ports.Users.set_first_password`."""

    def complete(
        self,
        storage: StorageUnderTest,
        *,
        password_hash: bytes = NEW_PASSWORD_HASH,
        verified: bool = False,
        demands: bool = False,
    ) -> Done | Moved:
        """Set the first password, as a caller that has read the user ``WAITING`` and the account state ``STATE``."""
        return storage.accounts.set_first_password(
            WAITING, password_hash, expected=STATE, verified=verified, demands=demands, now=NOW
        )

    def test_an_account_without_a_password_is_read_as_it_was_written(self, storage: StorageUnderTest) -> None:
        """The account has no password, and waits for its first password."""
        assert storage.accounts.register(WAITING, STATE) == Done()
        assert storage.accounts.get(ACCOUNT) == WAITING

    def test_a_first_password_raises_the_version_and_ends_no_login(self, storage: StorageUnderTest) -> None:
        """The account no longer waits for a first password. The store recognises a repetition."""
        storage.accounts.register(WAITING, STATE)
        for _ in range(2):
            assert self.complete(storage) == Done()
            assert storage.accounts.get(ACCOUNT) == replace(
                USER, password_hash=NEW_PASSWORD_HASH, credentials_version=VERSION + 1
            )
            assert self.account_state(storage) == replace(STATE, credentials_version=VERSION + 1)

    def test_a_proved_address_and_a_required_factor_come_in_the_same_write(self, storage: StorageUnderTest) -> None:
        """The address is stored as proved now, and the account state requires a second factor."""
        storage.accounts.register(WAITING, STATE)
        assert self.complete(storage, verified=True, demands=True) == Done()
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        assert user.verified_at == NOW
        assert self.account_state(storage).second_factor_required

    def test_an_earlier_proof_keeps_its_time(self, storage: StorageUnderTest) -> None:
        """If the address was proved before the first password is set, the time of that proof stays."""
        storage.accounts.register(replace(WAITING, verified_at=NOW - 5), STATE)
        assert self.complete(storage, verified=True) == Done()
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        assert user.verified_at == NOW - 5

    @pytest.mark.parametrize(
        "stored",
        [
            pytest.param(USER, id="has a password"),
            pytest.param(replace(WAITING, migrate=False), id="does not wait"),
            pytest.param(replace(WAITING, credentials_version=VERSION + 1), id="another version"),
        ],
    )
    def test_only_an_account_that_waits_gets_one(self, storage: StorageUnderTest, stored: User) -> None:
        """If the account does not wait for a first password, or has another credentials version, nothing is written.

        So a password of the old system never replaces a password of Baton.
        """
        storage.accounts.register(stored, STATE)
        assert self.complete(storage) == Moved()
        assert storage.accounts.get(ACCOUNT) == stored
        assert self.account_state(storage) == STATE

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("meanwhile", MOVED)
    def test_an_account_state_that_moved_stops_it(self, storage: StorageUnderTest, meanwhile: AccountState) -> None:
        """The transaction checks status, epoch and credentials version of the account state."""
        storage.accounts.register(WAITING, STATE)
        storage.seed(meanwhile)
        assert self.complete(storage) == Moved()
        assert storage.accounts.get(ACCOUNT) == WAITING

    @pytest.mark.guarantee(8)
    def test_of_several_first_passwords_at_the_same_time_one_is_set(self, storage: StorageUnderTest) -> None:
        """Eight calls set different passwords at the same time. One gets ``Done``, and the others get ``Moved``."""
        storage.accounts.register(WAITING, STATE)

        def completing(number: int) -> Callable[[], Done | Moved]:
            return lambda: self.complete(storage, password_hash=bytes([number]) * 40)

        assert race([completing(number) for number in range(RACERS)]).count(Done()) == 1
        assert self.account_state(storage).credentials_version == VERSION + 1
