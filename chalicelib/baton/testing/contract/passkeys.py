"""What the store ``factors`` must do with passkeys (``factors/ports.py``)."""

from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import (
    PASSKEYS_MAX,
    AddPasskey,
    Passkey,
    PasskeyUse,
    Remember,
    RemovePasskey,
    SecondFactors,
)
from chalicelib.baton.lineages.model import Actor, UnfinishedLogin
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.factor_values import LOGIN, PASSKEY, PHONE, SYNCED, by_id
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    MINE_LIVE,
    NOW,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    USER,
    VERSION,
    state_with,
)

USE: Final = PasskeyUse(PASSKEY, counter=8, backup_eligible=True, backed_up=True, day=NOW // 86_400)
USED: Final = replace(PASSKEY, counter=8, backup_eligible=True, backed_up=True, used_day=NOW // 86_400)
TEN: Final = by_id(*(replace(SYNCED, credential_id=b"%d" % number) for number in range(PASSKEYS_MAX)))
OF_SOMEBODY: Final = replace(USER, account=SOMEBODY_ELSE, email_index="somebody")
ACTOR_OF_SOMEBODY: Final = replace(ACTOR, account=SOMEBODY_ELSE)


class PasskeysContract(Contract):
    """The tests of the passkeys in the store ``factors``: `factors.ports.FactorStore`."""

    def with_passkeys(self, storage: StorageUnderTest, factors: SecondFactors | None = None) -> None:
        """Register a person with these factors (default: one passkey), and with two devices."""
        factors = SecondFactors(passkeys=by_id(PASSKEY)) if factors is None else factors
        state = state_with(MINE_LIVE, OTHER_LIVE)
        assert storage.accounts.register(replace(USER, factors=factors), state) == Done()

    def factors_of_account(self, storage: StorageUnderTest) -> SecondFactors:
        """Read the factors."""
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        return user.factors

    def use_it(self, storage: StorageUnderTest, use: PasskeyUse = USE, *, version: int = VERSION) -> Done | Refused:
        """Store the use of a passkey."""
        return storage.factors.use_passkey(ACCOUNT, use, credentials_version=version)

    def test_a_use_is_stored_and_can_be_sent_again(self, storage: StorageUnderTest) -> None:
        """The store keeps the counter, the flags and the day. Nothing else changes, in this or in another passkey."""
        self.with_passkeys(storage, SecondFactors(passkeys=by_id(PASSKEY, SYNCED)))
        for _ in range(2):
            assert self.use_it(storage) == Done()
            assert self.factors_of_account(storage).passkeys == by_id(USED, SYNCED)

    def test_the_larger_counter_stays(self, storage: StorageUnderTest) -> None:
        """A copy of the authenticator with a lower counter does not lower the stored counter."""
        self.with_passkeys(storage)
        assert self.use_it(storage, replace(USE, counter=3)) == Done()
        assert self.factors_of_account(storage).passkeys == by_id(replace(USED, counter=7))

    @pytest.mark.guarantee(8)
    def test_a_counter_that_another_login_raised_meanwhile_is_not_set_back(self, storage: StorageUnderTest) -> None:
        """Two logins read the same counter. The later write has the lower counter, so this write is refused."""
        self.with_passkeys(storage)
        assert self.use_it(storage, replace(USE, counter=20)) == Done()
        assert self.use_it(storage, replace(USE, counter=12)) == Refused()
        assert self.factors_of_account(storage).passkeys[PASSKEY.id].counter == 20

    def test_a_use_remembers_the_device_in_the_same_write(self, storage: StorageUnderTest) -> None:
        """One write stores the use, remembers the device, and forgets the devices ``forgotten``."""
        passkeys = by_id(PASSKEY)
        self.with_passkeys(storage, SecondFactors(remembered={"tablet": NOW - 1, "watch": NOW}, passkeys=passkeys))
        remember = Remember("phone", at=NOW, forgotten=("tablet",))
        assert storage.factors.use_passkey(ACCOUNT, USE, credentials_version=VERSION, remember=remember) == Done()
        assert self.factors_of_account(storage) == SecondFactors(
            remembered={"watch": NOW, "phone": NOW}, passkeys=by_id(USED)
        )

    @pytest.mark.guarantee(8)
    def test_a_passkey_that_was_removed_is_not_used(self, storage: StorageUnderTest) -> None:
        """If the passkey was removed or has another key, or the credentials version moved, nothing is stored."""
        factors = SecondFactors(passkeys=by_id(SYNCED))
        self.with_passkeys(storage, factors)
        assert self.use_it(storage) == Refused()
        assert self.use_it(storage, replace(USE, passkey=replace(SYNCED, public_key=b"another key"))) == Refused()
        assert self.use_it(storage, replace(USE, passkey=SYNCED), version=VERSION + 1) == Refused()
        assert self.factors_of_account(storage) == factors
        assert storage.factors.use_passkey(SOMEBODY_ELSE, USE, credentials_version=VERSION) == Refused()
        assert storage.accounts.get(SOMEBODY_ELSE) is None

    def test_a_passkey_is_named(self, storage: StorageUnderTest) -> None:
        """The new name is stored. The credentials version does not change, so grants and tickets stay valid."""
        self.with_passkeys(storage)
        for name in ("Work phone", ""):
            assert storage.factors.rename_passkey(ACTOR, PASSKEY.id, name, now=NOW) == Done()
            assert self.factors_of_account(storage).passkeys == by_id(replace(PASSKEY, name=name))
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        assert user.credentials_version == VERSION

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_passkey_is_named_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, inactive: object, verdict: object
    ) -> None:
        """The login ended, or a credential changed, between the read and the write. Nothing is written."""
        del verdict
        self.with_passkeys(storage)
        storage.seed(inactive)  # type: ignore[arg-type]
        assert storage.factors.rename_passkey(ACTOR, PASSKEY.id, "thief", now=NOW) == Moved()
        assert self.factors_of_account(storage).passkeys == by_id(PASSKEY)

    def test_only_a_passkey_of_the_account_is_named(self, storage: StorageUnderTest) -> None:
        """Nothing is stored for a passkey of another account, or after a change of the credentials."""
        self.with_passkeys(storage)
        assert storage.factors.rename_passkey(ACTOR, SYNCED.id, "name", now=NOW) == Moved()
        later = replace(ACTOR, credentials_version=VERSION + 1)
        assert storage.factors.rename_passkey(later, PASSKEY.id, "name", now=NOW) == Moved()
        assert self.factors_of_account(storage).passkeys == by_id(PASSKEY)

    def test_no_passkey_of_other_credentials_is_named(self, storage: StorageUnderTest) -> None:
        """The write requires the actor's credentials version, both in the user's item and in the account state."""
        user = replace(USER, credentials_version=VERSION + 2, factors=SecondFactors(passkeys=by_id(PASSKEY)))
        assert storage.accounts.register(user, state_with(MINE_LIVE)) == Done()
        assert storage.factors.rename_passkey(ACTOR, PASSKEY.id, "name", now=NOW) == Moved()
        assert self.factors_of_account(storage).passkeys == by_id(PASSKEY)

    @pytest.mark.parametrize(
        ("change", "stored"),
        [
            pytest.param(AddPasskey(PASSKEY), by_id(PASSKEY), id="added before"),
            pytest.param(AddPasskey(PASSKEY), TEN, id="no room"),
            pytest.param(RemovePasskey(PASSKEY, last=False), by_id(SYNCED), id="removed before"),
        ],
    )
    def test_a_change_of_passkeys_that_does_not_fit_is_not_made(
        self, storage: StorageUnderTest, change: AddPasskey | RemovePasskey, stored: dict[str, Passkey]
    ) -> None:
        """An account has at most ten passkeys, and no passkey twice. The passkey to remove must exist."""
        self.with_passkeys(storage, SecondFactors(passkeys=stored))
        assert storage.factors.change_factors(ACTOR, change, remember=None, now=NOW) == Moved()
        assert self.factors_of_account(storage).passkeys == stored
        assert storage.lineages.get(ACCOUNT) == state_with(MINE_LIVE, OTHER_LIVE)

    @pytest.mark.guarantee(8)
    @pytest.mark.parametrize("by", [ACTOR, LOGIN], ids=["a login", "a login under way"])
    def test_a_credential_belongs_to_one_account(self, storage: StorageUnderTest, by: Actor | UnfinishedLogin) -> None:
        """Another account cannot add the credential until it is removed from the first account."""
        self.with_passkeys(storage, SecondFactors())
        other = state_with(MINE_LIVE, account=SOMEBODY_ELSE)
        assert storage.accounts.register(OF_SOMEBODY, other) == Done()
        add, remove = AddPasskey(PASSKEY), RemovePasskey(PASSKEY, last=True)
        change = storage.factors.change_factors
        assert change(by, add, remember=PHONE, now=NOW) == Done()
        assert change(ACTOR_OF_SOMEBODY, add, remember=None, now=NOW) == Refused()
        assert storage.accounts.get(SOMEBODY_ELSE) == OF_SOMEBODY
        assert storage.lineages.get(SOMEBODY_ELSE) == other
        later = replace(ACTOR, credentials_version=VERSION + 1)
        assert change(later, remove, remember=None, now=NOW) == Done()
        assert change(ACTOR_OF_SOMEBODY, add, remember=None, now=NOW) == Done()

    @pytest.mark.guarantee(8)
    def test_one_of_many_accounts_gets_a_credential(self, storage: StorageUnderTest) -> None:
        """Two accounts add one credential at the same time, several times each. One account gets the credential."""
        self.with_passkeys(storage, SecondFactors())
        storage.accounts.register(OF_SOMEBODY, state_with(MINE_LIVE, account=SOMEBODY_ELSE))
        actors = [ACTOR, ACTOR_OF_SOMEBODY] * (RACERS // 2)
        race(
            [
                lambda actor=actor: storage.factors.change_factors(  # type: ignore[misc]
                    actor, AddPasskey(PASSKEY), remember=None, now=NOW
                )
                for actor in actors
            ]
        )
        users = [storage.accounts.get(account) for account in (ACCOUNT, SOMEBODY_ELSE)]
        assert [len(user.factors.passkeys) for user in users if user].count(1) == 1
        assert sum(len(user.factors.passkeys) for user in users if user) == 1

    def test_a_forgotten_account_frees_its_credentials(self, storage: StorageUnderTest) -> None:
        """After the deletion of the account, the passkey can be added to another account."""
        self.with_passkeys(storage, SecondFactors())
        storage.accounts.register(OF_SOMEBODY, state_with(MINE_LIVE, account=SOMEBODY_ELSE))
        add = AddPasskey(PASSKEY)
        assert storage.factors.change_factors(ACTOR, add, remember=None, now=NOW) == Done()
        for _ in range(2):
            storage.accounts.forget(ACCOUNT, USER.email_index, now=NOW)
        assert storage.factors.change_factors(ACTOR_OF_SOMEBODY, add, remember=None, now=NOW) == Done()

    def test_a_passkey_that_is_removed_leaves_a_credential_of_another_account(self, storage: StorageUnderTest) -> None:
        """Scenario: two users list the same passkey, and its credential id is stored for the second user.

        If the first user removes the passkey or deletes the account, the second user keeps the passkey.
        """
        self.with_passkeys(storage)
        storage.accounts.register(OF_SOMEBODY, state_with(MINE_LIVE, account=SOMEBODY_ELSE))
        change = storage.factors.change_factors
        assert change(ACTOR_OF_SOMEBODY, AddPasskey(PASSKEY), remember=None, now=NOW) == Done()
        assert change(ACTOR, RemovePasskey(PASSKEY, last=True), remember=None, now=NOW) == Moved()
        storage.accounts.forget(ACCOUNT, USER.email_index, now=NOW)
        storage.accounts.register(replace(USER, factors=SecondFactors()), state_with(MINE_LIVE))
        user = storage.accounts.get(SOMEBODY_ELSE)
        assert user is not None
        assert user.factors.passkeys == by_id(PASSKEY)
