"""What the store ``accounts`` must do when a person changes the address or undoes changes (``mail/ports.py``)."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import AddPasskey, SecondFactors, User
from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.factors.user_parts import KeptAddress
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.lineages.model import AccountState, Actor, Ended, EndReason, Status
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.mail.ports import Address, Undo
from chalicelib.baton.policy import ADDRESS_KEPT_S
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.factor_values import FACTORS, PASSKEY, SYNCED, TOTP, by_id
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NOW,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    TICKET_ID,
    USER,
    VERSION,
    state_with,
)

NEW: Final = Address("ada@example.net", EmailIndex("new"))
NEWER: Final = Address("ada@example.com", EmailIndex("newer"))
PROVED: Final = replace(USER, verified_at=NOW - 5)
KEPT: Final = (KeptAddress(USER.email_index, at=NOW, returns=True),)
OLD: Final = Address(USER.email, USER.email_index)
BACK: Final = Undo(
    password_hash=NEW_PASSWORD_HASH,
    factors=SecondFactors(),
    address=OLD,
    kept=(),
    freed=(NEW.index,),
    identities={},
    mark=TICKET_ID,
    used_until=NOW + 60,
)
SOMEBODY: Final = replace(USER, account=SOMEBODY_ELSE, email="eve@example.org", created_at=NOW)


class AddressesContract(LineagesUnderTest):
    """The tests of the store ``accounts``: the methods of `mail.ports.MailUsers` that change an address."""

    def registered_as(self, storage: StorageUnderTest, user: User = PROVED) -> AccountState:
        """Register a person with two devices, and return the account state."""
        account_state = state_with(MINE_LIVE, OTHER_LIVE)
        assert storage.accounts.register(user, account_state) == Done()
        return account_state

    def move(
        self,
        storage: StorageUnderTest,
        new: Address = NEW,
        *,
        user: User = PROVED,
        actor: Actor = ACTOR,
        kept: tuple[KeptAddress, ...] = KEPT,
        language: str = "",
        now: int = NOW,
    ) -> Done | Moved | AddressTaken:
        """Change the address."""
        return storage.accounts.move_address(actor, user, new, kept=kept, language=language, now=now)

    def user(self, storage: StorageUnderTest) -> User:
        """Read the user, who must exist."""
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        return user

    def register_somebody(self, storage: StorageUnderTest, address: Address, *, now: int = NOW) -> Done | AddressTaken:
        """Register the address for another account."""
        user = replace(SOMEBODY, email=address.email, email_index=address.index, created_at=now)
        return storage.accounts.register(user, state_with(account=SOMEBODY_ELSE))

    def test_a_proved_address_replaces_the_old_one_and_no_login_ends(self, storage: StorageUnderTest) -> None:
        """The credentials version rises in user and account state. The store finds no account by the old address."""
        before = self.registered_as(storage)
        assert self.move(storage, language="zh") == Done()
        assert self.user(storage) == replace(
            PROVED,
            email=NEW.email,
            email_index=NEW.index,
            verified_at=NOW,
            language="zh",
            credentials_version=VERSION + 1,
            kept=KEPT,
        )
        assert self.account_state(storage) == replace(before, credentials_version=VERSION + 1)
        assert storage.accounts.find(NEW.index) == ACCOUNT
        assert storage.accounts.find(OLD.index) is None

    def test_the_old_address_is_not_free_for_seven_days(self, storage: StorageUnderTest) -> None:
        """For seven days, the old address is taken. After that, another account can register it."""
        self.registered_as(storage)
        assert self.move(storage) == Done()
        for now in (NOW, NOW + ADDRESS_KEPT_S - 1):
            assert self.register_somebody(storage, OLD, now=now) == AddressTaken(ACCOUNT)
        assert self.register_somebody(storage, OLD, now=NOW + ADDRESS_KEPT_S) == Done()
        assert storage.accounts.find(OLD.index) == SOMEBODY_ELSE

    def test_an_old_address_that_was_never_proved_is_free_immediately(self, storage: StorageUnderTest) -> None:
        """The old address was never proved, so it may belong to another person. The move makes this address free."""
        self.registered_as(storage, USER)
        assert self.move(storage, user=USER, kept=()) == Done()
        assert self.user(storage).kept == ()
        assert self.register_somebody(storage, OLD) == Done()

    def test_an_address_that_was_proved_meanwhile_is_not_freed(self, storage: StorageUnderTest) -> None:
        """When the caller read the address, it was not proved. The write finds the proof, and returns ``Moved``."""
        self.registered_as(storage, PROVED)
        assert self.move(storage, user=USER, kept=()) == Moved()
        assert self.user(storage) == PROVED

    def test_an_account_may_return_to_its_own_old_address(self, storage: StorageUnderTest) -> None:
        """The index entry of the old address still belongs to this account, so the account can get the address back."""
        self.registered_as(storage)
        assert self.move(storage) == Done()
        now_of, actor = self.user(storage), replace(ACTOR, credentials_version=VERSION + 1)
        assert self.move(storage, OLD, user=now_of, actor=actor, kept=()) == Done()
        assert storage.accounts.find(OLD.index) == ACCOUNT
        assert storage.accounts.find(NEW.index) is None

    def test_a_taken_address_changes_nothing(self, storage: StorageUnderTest) -> None:
        """Nothing is written, and the result has the id of the account that has the address."""
        before = self.registered_as(storage)
        assert self.register_somebody(storage, NEW) == Done()
        assert self.move(storage) == AddressTaken(SOMEBODY_ELSE)
        assert self.user(storage) == PROVED
        assert self.account_state(storage) == before
        assert storage.accounts.find(OLD.index) == ACCOUNT

    def test_an_address_that_another_account_keeps_is_taken_until_then(self, storage: StorageUnderTest) -> None:
        """Another account changed its address. Its old address is taken until exactly seven days have passed."""
        self.registered_as(storage)
        assert self.move(storage) == Done()
        assert self.register_somebody(storage, NEWER) == Done()
        user = replace(SOMEBODY, email=NEWER.email, email_index=NEWER.index)
        storage.seed(state_with(replace(MINE_LIVE, expires_at=NOW + 2 * ADDRESS_KEPT_S), account=SOMEBODY_ELSE))
        actor = replace(ACTOR, account=SOMEBODY_ELSE)
        for now, outcome in ((NOW + ADDRESS_KEPT_S - 1, AddressTaken(ACCOUNT)), (NOW + ADDRESS_KEPT_S, Done())):
            assert self.move(storage, OLD, user=user, actor=actor, kept=(), now=now) == outcome

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_address_is_moved_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, inactive: AccountState, verdict: object
    ) -> None:
        """The transaction checks the login. The result is ``Moved``, and nothing is written."""
        assert may_act(inactive, ACTOR, now=NOW) == verdict
        storage.accounts.register(PROVED, state_with(MINE_LIVE))
        storage.seed(inactive)
        assert self.move(storage) == Moved()
        assert self.user(storage) == PROVED
        assert storage.accounts.find(NEW.index) is None

    def test_other_credentials_of_the_user_stop_a_move(self, storage: StorageUnderTest) -> None:
        """If the user is deleted, or does not have the actor's credentials version, nothing is written: ``Moved``."""
        other = replace(PROVED, credentials_version=VERSION + 1)
        self.registered_as(storage, other)
        assert self.move(storage) == Moved()
        assert self.user(storage) == other
        storage.accounts.forget(ACCOUNT, OLD.index, now=NOW)
        assert self.move(storage) == Moved()
        assert storage.accounts.find(NEW.index) is None

    def test_the_very_same_move_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The credentials versions do not rise a second time."""
        self.registered_as(storage)
        assert self.move(storage) == Done()
        once = self.user(storage), self.account_state(storage)
        assert self.move(storage) == Done()
        assert (self.user(storage), self.account_state(storage)) == once
        assert self.move(storage, NEWER) == Moved()

    @pytest.mark.guarantee(8)
    def test_one_of_many_accounts_gets_an_address(self, storage: StorageUnderTest) -> None:
        """Eight accounts change to one new address at the same time. One succeeds. The others get ``AddressTaken``."""
        accounts = [replace(USER, account=type(ACCOUNT)(f"AQAAAAAAAAAAAAB{number}")) for number in range(RACERS)]
        moving: list[Callable[[], Done | Moved | AddressTaken]] = []
        for number, user in enumerate(accounts):
            own = replace(user, email_index=EmailIndex(f"own {number}"), verified_at=NOW)
            assert storage.accounts.register(own, state_with(MINE_LIVE, account=own.account)) == Done()
            actor = replace(ACTOR, account=own.account)
            moving.append(lambda own=own, actor=actor: self.move(storage, user=own, actor=actor))  # type: ignore[misc] # bound early
        outcomes = race(moving)
        assert outcomes.count(Done()) == 1
        assert {type(outcome) for outcome in outcomes} == {Done, AddressTaken}

    def test_a_forgotten_account_frees_its_old_addresses(self, storage: StorageUnderTest) -> None:
        """``forget`` deletes the user. Another account can then register the old address."""
        self.registered_as(storage)
        assert self.move(storage) == Done()
        storage.accounts.forget(ACCOUNT, NEW.index, now=NOW)
        assert storage.accounts.get(ACCOUNT) is None
        assert self.register_somebody(storage, OLD) == Done()

    def test_old_addresses_are_stored(self, storage: StorageUnderTest) -> None:
        """For each old address, the store keeps the time of its replacement, and whether an undo may restore it."""
        kept = (*KEPT, KeptAddress(EmailIndex("older"), at=NOW - 60, returns=False))
        self.registered_as(storage, replace(PROVED, kept=kept))
        assert self.user(storage).kept == kept

    # --- Undo ---

    def moved(self, storage: StorageUnderTest, **of_user: object) -> User:
        """Register, change the address, and return the user."""
        self.registered_as(storage, replace(PROVED, **of_user))
        assert self.move(storage, user=replace(PROVED, **of_user)) == Done()
        return self.user(storage)

    @pytest.mark.guarantee(6)
    def test_an_undo_gives_the_address_back_and_ends_every_login(self, storage: StorageUnderTest) -> None:
        """The undo replaces the password, forgets remembered devices and restore keys, and frees the newer address."""
        user = self.moved(storage, factors=FACTORS, restore={"phone": RestoreKey(b"credential", b"COSE key", NOW)})
        undo = replace(BACK, factors=replace(FACTORS, remembered={}))
        before = self.account_state(storage)
        assert storage.accounts.undo_changes(user, undo, now=NOW) == Done()
        assert self.user(storage) == replace(
            PROVED,
            password_hash=NEW_PASSWORD_HASH,
            credentials_version=VERSION + 2,
            verified_at=NOW,
            reset_mark=TICKET_ID,
            factors=replace(FACTORS, remembered={}),
        )
        assert self.account_state(storage) == replace(
            before, epoch=EPOCH + 1, credentials_version=VERSION + 2, raised=Ended(at=NOW, reason=EndReason.UNDONE)
        )
        assert storage.accounts.find(OLD.index) == ACCOUNT
        assert self.register_somebody(storage, NEW) == Done()

    def test_an_undo_removes_factors(self, storage: StorageUnderTest) -> None:
        """The undo removes each factor that the call does not list, and stores the ``SecondFactors.on`` of the call."""
        user = self.moved(storage, factors=FACTORS)
        assert storage.accounts.undo_changes(user, BACK, now=NOW) == Done()
        assert self.user(storage).factors == SecondFactors()

    def test_an_undo_removes_passkeys_and_frees_their_credentials(self, storage: StorageUnderTest) -> None:
        """The passkeys that the call does not list are removed. Another account may then add their credentials."""
        self.registered_as(storage, USER)
        for number, passkey in enumerate((PASSKEY, SYNCED)):
            actor = replace(ACTOR, credentials_version=VERSION + number)
            assert storage.factors.change_factors(actor, AddPasskey(passkey), remember=None, now=NOW) == Done()
        user = self.user(storage)
        undo = replace(BACK, address=None, freed=(), factors=SecondFactors(passkeys=by_id(PASSKEY)))
        assert storage.accounts.undo_changes(user, undo, now=NOW) == Done()
        assert self.user(storage).factors == SecondFactors(passkeys=by_id(PASSKEY))
        assert self.register_somebody(storage, NEW) == Done()
        storage.seed(state_with(MINE_LIVE, account=SOMEBODY_ELSE))
        somebody = replace(ACTOR, account=SOMEBODY_ELSE)
        for passkey, outcome in ((PASSKEY, Refused()), (SYNCED, Done())):
            added = storage.factors.change_factors(somebody, AddPasskey(passkey), remember=None, now=NOW)
            assert added == outcome

    def test_an_undo_without_a_change_of_address_leaves_the_address(self, storage: StorageUnderTest) -> None:
        """An address that was never proved stays unproved. The factors that the call lists do not change."""
        user = replace(USER, factors=FACTORS)
        self.registered_as(storage, user)
        undo = replace(BACK, address=None, freed=(), factors=SecondFactors(on=True, totp=TOTP))
        assert storage.accounts.undo_changes(user, undo, now=NOW) == Done()
        after = self.user(storage)
        assert (after.email, after.verified_at) == (USER.email, None)
        assert after.factors == SecondFactors(on=True, totp=TOTP)

    def test_a_link_is_used_once(self, storage: StorageUnderTest) -> None:
        """The same call sent again is ``Done``. Until the link expires, another call with this ``mark`` is refused."""
        user = self.moved(storage)
        assert storage.accounts.undo_changes(user, BACK, now=NOW) == Done()
        once = self.user(storage)
        assert storage.accounts.undo_changes(user, BACK, now=NOW) == Done()
        again = replace(BACK, address=None, freed=(), password_hash=b"another")
        assert storage.accounts.undo_changes(once, again, now=NOW) == Refused()
        assert self.user(storage) == once

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(replace(state_with(MINE_LIVE), status=Status.DISABLED), id="disabled"),
            pytest.param(replace(state_with(), status=Status.DELETED), id="deleted"),
            pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 2), id="credentials version"),
        ],
    )
    def test_an_account_state_that_moved_stops_an_undo(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """The result is ``Moved``, and nothing is written. So the link can be used later."""
        user = self.moved(storage)
        moved = self.account_state(storage)
        storage.seed(meanwhile)
        assert storage.accounts.undo_changes(user, BACK, now=NOW) == Moved()
        assert self.user(storage) == user
        storage.seed(moved)
        assert storage.accounts.undo_changes(user, BACK, now=NOW) == Done()

    def test_other_credentials_of_the_user_stop_an_undo(self, storage: StorageUnderTest) -> None:
        """The caller chose the factors for the credentials version that was read, so another version stops the undo."""
        user = self.moved(storage)
        older = replace(user, credentials_version=VERSION)
        assert storage.accounts.undo_changes(older, BACK, now=NOW) == Moved()
        assert self.user(storage) == user

    def test_an_address_that_is_no_longer_kept_does_not_return(self, storage: StorageUnderTest) -> None:
        """After seven days, the undo writes nothing, because another person may already have the address."""
        user = self.moved(storage)
        assert storage.accounts.undo_changes(user, BACK, now=NOW + ADDRESS_KEPT_S) == Moved()
        assert self.register_somebody(storage, OLD, now=NOW + ADDRESS_KEPT_S) == Done()
        assert storage.accounts.undo_changes(user, BACK, now=NOW + ADDRESS_KEPT_S) == Moved()
        assert self.user(storage) == user

    @pytest.mark.guarantee(8)
    def test_one_of_many_undos_at_the_same_time_wins(self, storage: StorageUnderTest) -> None:
        """Eight requests use one link at the same time: one of them undoes the change."""
        user = self.moved(storage)

        def undoing(number: int) -> Callable[[], Done | Moved | Refused]:
            undo = replace(BACK, password_hash=bytes([number]) * 40)
            return lambda: storage.accounts.undo_changes(user, undo, now=NOW)

        assert race([undoing(number) for number in range(RACERS)]).count(Done()) == 1
        assert self.account_state(storage).epoch == EPOCH + 1
