"""What the store ``identities`` must do (``federation/ports.py``)."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.model import FETCH_EVERY_S, Identity, SealedKeys
from chalicelib.baton.federation.ports import IdentityTaken
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.mail.ports import Address
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    MINE_LIVE,
    NOW,
    SOMEBODY_ELSE,
    USER,
    VERSION,
    state_with,
)

INDEX: Final = "2#ada-at-google"
IDENTITY: Final = Identity(INDEX, ACCOUNT, linked_at=NOW, sealed_sub=b"sealed subject")
PERSON: Final = replace(
    USER, password_hash=None, verified_at=NOW, identities={2: LinkedIdentity(INDEX, NOW, "ada@example.org")}
)
NAMELESS: Final = replace(PERSON, email="", email_index=EmailIndex(""), verified_at=None)
STATE: Final = state_with(replace(MINE_LIVE, provider=2))


def of_other(user: User = PERSON) -> tuple[User, AccountState, Identity]:
    """Return the arguments of a sign-up: another account, with the same identity."""
    other = replace(user, account=SOMEBODY_ELSE)
    return other, state_with(account=SOMEBODY_ELSE), replace(IDENTITY, account=SOMEBODY_ELSE, sealed_sub=b"other")


class IdentitiesContract(Contract):
    """The tests of the store ``identities``: `federation.ports.Identities`."""

    @pytest.mark.parametrize("user", [PERSON, NAMELESS], ids=["with address", "without address"])
    def test_a_sign_up_writes_everything(self, storage: StorageUnderTest, user: User) -> None:
        """A sign-up stores identity, user, account state and, for a user with an address, an e-mail index entry.

        A repetition is ``Done``.
        """
        for _ in range(2):
            assert storage.identities.sign_up(user, STATE, IDENTITY) == Done()
        assert storage.identities.get(INDEX) == IDENTITY
        assert storage.accounts.get(ACCOUNT) == user
        assert storage.lineages.get(ACCOUNT) == STATE
        assert storage.accounts.find(USER.email_index) == (ACCOUNT if user.email else None)

    def test_an_identity_belongs_to_one_account(self, storage: StorageUnderTest) -> None:
        """The second sign-up writes nothing, and gets the id of the account that has the identity."""
        storage.identities.sign_up(NAMELESS, STATE, IDENTITY)
        assert storage.identities.sign_up(*of_other(NAMELESS)) == IdentityTaken(ACCOUNT)
        assert storage.accounts.get(SOMEBODY_ELSE) is None
        assert storage.lineages.get(SOMEBODY_ELSE) is None

    def test_an_address_belongs_to_one_account(self, storage: StorageUnderTest) -> None:
        """A sign-up with a new identity, and with the address of another account, writes nothing."""
        storage.accounts.register(USER, state_with())
        user, account_state, identity = of_other()
        assert storage.identities.sign_up(user, account_state, identity) == AddressTaken(ACCOUNT)
        assert storage.identities.get(INDEX) is None
        assert storage.accounts.get(SOMEBODY_ELSE) is None

    @pytest.mark.parametrize("address", [True, False])
    def test_a_deleted_account_is_not_made_again(self, storage: StorageUnderTest, *, address: bool) -> None:
        """Only the account state of the deleted account is left. A repeated sign-up does not make the account again."""
        storage.seed(state_with())
        user = PERSON if address else NAMELESS
        assert storage.identities.sign_up(user, STATE, IDENTITY) == IdentityTaken(ACCOUNT)
        assert storage.identities.get(INDEX) is None
        assert storage.accounts.find(USER.email_index) is None

    def test_one_of_many_sign_ups_wins(self, storage: StorageUnderTest) -> None:
        """Several accounts sign up with one identity at the same time. One succeeds."""
        made = [
            (
                replace(NAMELESS, account=f"AQAAAAAAAAAAAAB{number}"),
                state_with(account=f"AQAAAAAAAAAAAAB{number}"),  # type: ignore[arg-type] # an id
                replace(IDENTITY, account=f"AQAAAAAAAAAAAAB{number}"),
            )
            for number in range(RACERS)
        ]
        outcomes = race([_of(storage, one) for one in made])
        assert sum(isinstance(one, Done) for one in outcomes) == 1
        winner = storage.identities.get(INDEX)
        assert winner is not None
        assert all(one in (Done(), IdentityTaken(winner.account)) for one in outcomes)

    def test_deleting_the_account_frees_the_identity(self, storage: StorageUnderTest) -> None:
        """Another account can then sign up with the identity.

        A later ``forget`` of the first account does not delete the identity of the other account.
        """
        storage.identities.sign_up(NAMELESS, STATE, IDENTITY)
        for _ in range(2):
            storage.accounts.forget(ACCOUNT, NAMELESS.email_index, now=NOW)
        assert storage.identities.get(INDEX) is None
        assert storage.accounts.get(ACCOUNT) is None
        assert storage.identities.sign_up(*of_other(NAMELESS)) == Done()
        storage.accounts.register(PERSON, replace(STATE, account=ACCOUNT))
        storage.accounts.forget(ACCOUNT, PERSON.email_index, now=NOW)
        assert storage.identities.get(INDEX) is not None

    def test_only_the_own_identity_is_forgotten(self, storage: StorageUnderTest) -> None:
        """``forget`` deletes an identity only if it belongs to the given account. A repetition is safe."""
        storage.identities.sign_up(NAMELESS, STATE, IDENTITY)
        storage.identities.forget(INDEX, SOMEBODY_ELSE, now=NOW)
        assert storage.identities.get(INDEX) == IDENTITY
        for _ in range(2):
            storage.identities.forget(INDEX, ACCOUNT, now=NOW)
        assert storage.identities.get(INDEX) is None

    def test_an_account_without_an_address_gets_one(self, storage: StorageUnderTest) -> None:
        """A repetition is ``Done``. A change to another address, from the same earlier state, returns ``Moved``."""
        storage.identities.sign_up(replace(NAMELESS, credentials_version=VERSION), STATE, IDENTITY)
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        for _ in range(2):
            moved = storage.accounts.move_address(
                ACTOR, user, Address("new@example.org", EmailIndex("new")), kept=(), language="", now=NOW
            )
            assert moved == Done()
        again = storage.accounts.move_address(
            ACTOR, user, Address("newer@example.org", EmailIndex("newer")), kept=(), language="", now=NOW
        )
        assert again == Moved()
        assert storage.accounts.find(EmailIndex("new")) == ACCOUNT
        stored = storage.accounts.get(ACCOUNT)
        assert stored is not None
        assert (stored.email, stored.verified_at, stored.identities) == ("new@example.org", NOW, NAMELESS.identities)

    def test_keys_are_fetched_once_a_minute(self, storage: StorageUnderTest) -> None:
        """All servers together fetch the keys of a provider at most once a minute.

        If the stored time of the last fetch is more than a minute after ``now``, this time is ignored.
        """
        store = storage.identities
        assert store.key_set(2) == SealedKeys()
        outcomes = race([lambda: store.claim_fetch(2, now=NOW)] * RACERS)
        assert sum(isinstance(one, Done) for one in outcomes) == 1
        assert store.claim_fetch(2, now=NOW + FETCH_EVERY_S - 1) == Refused()
        assert store.claim_fetch(3, now=NOW) == Done()
        assert store.claim_fetch(2, now=NOW + FETCH_EVERY_S) == Done()
        assert store.claim_fetch(2, now=NOW - FETCH_EVERY_S) == Done()

    def test_a_newer_key_set_replaces_an_older_one(self, storage: StorageUnderTest) -> None:
        """An older key set replaces a newer one only if the newer one has a fetch time over a minute after ``now``."""
        store = storage.identities
        store.keep_key_set(2, b"first", now=NOW)
        store.keep_key_set(2, b"same time", now=NOW)
        store.keep_key_set(2, b"older", now=NOW - 1)
        assert store.key_set(2) == SealedKeys(0, b"first")
        store.claim_fetch(2, now=NOW + 1)
        store.keep_key_set(2, b"newer", now=NOW + 1)
        assert store.key_set(2) == SealedKeys(NOW + 1, b"newer")
        store.keep_key_set(2, b"a minute older", now=NOW + 1 - FETCH_EVERY_S)
        assert store.key_set(2) == SealedKeys(NOW + 1, b"newer")
        store.keep_key_set(2, b"the clock was set back", now=NOW - FETCH_EVERY_S)
        assert store.key_set(2) == SealedKeys(NOW + 1, b"the clock was set back")
        assert store.key_set(3) == SealedKeys()


def _of(
    storage: StorageUnderTest, one: tuple[User, AccountState, Identity]
) -> Callable[[], Done | IdentityTaken | AddressTaken]:
    return lambda: storage.identities.sign_up(*one)
