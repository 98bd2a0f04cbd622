"""What the stores must do with the identities of an account that ends, is claimed, or whose changes are undone."""

from typing import Final

from msgspec.structs import replace

from chalicelib.baton.effects import Done
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.model import Identity
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.testing.contract.addresses import BACK
from chalicelib.baton.testing.contract.under_test import LineagesUnderTest, StorageUnderTest
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    MARK,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NOW,
    OTHER,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    USER,
    state_with,
)

GOOGLE: Final = Identity("2#ada-at-google", ACCOUNT, linked_at=NOW, sealed_sub=b"sealed subject")
ACME: Final = Identity("3#ada-at-acme", ACCOUNT, linked_at=NOW, sealed_sub=b"another subject")
LINKED: Final = {
    2: LinkedIdentity(GOOGLE.index, NOW, "ada@gmail.com", by_new_key=True),
    3: LinkedIdentity(ACME.index, NOW),
}
BOTH: Final = replace(USER, identities=LINKED)
"""An account whose address is not proved, with a password and two identities."""


class LinkedIdentitiesContract(LineagesUnderTest):
    """The stores ``identities`` and ``accounts``: identities beside other credentials."""

    def registered_with_both(self, storage: StorageUnderTest, user: User = BOTH) -> User:
        """Register a person with two devices and the two identities."""
        account_state = state_with(MINE_LIVE, OTHER_LIVE)
        for _ in range(2):
            assert storage.identities.sign_up(user, account_state, GOOGLE, ACME) == Done()
        assert storage.accounts.get(ACCOUNT) == user
        return user

    def test_a_claim_removes_every_identity(self, storage: StorageUnderTest) -> None:
        """A stranger who registered the address of another person linked them. A repetition is done."""
        user = self.registered_with_both(storage)
        for _ in range(2):
            claimed = storage.accounts.reset_password(user, NEW_PASSWORD_HASH, mark=MARK, claim=True, now=NOW)
            assert claimed == Done()
        stored = storage.accounts.get(ACCOUNT)
        assert stored is not None
        assert stored.identities == {}
        assert storage.identities.get(GOOGLE.index) is None
        assert storage.identities.get(ACME.index) is None

    def test_a_reset_keeps_every_identity(self, storage: StorageUnderTest) -> None:
        """The person proved the address before."""
        user = self.registered_with_both(storage, replace(BOTH, verified_at=NOW))
        reset = storage.accounts.reset_password(user, NEW_PASSWORD_HASH, mark=MARK, claim=False, now=NOW)
        assert reset == Done()
        stored = storage.accounts.get(ACCOUNT)
        assert stored is not None
        assert stored.identities == LINKED
        assert storage.identities.get(GOOGLE.index) == GOOGLE
        assert storage.identities.get(ACME.index) == ACME

    def test_an_undo_removes_some_identities(self, storage: StorageUnderTest) -> None:
        """The others stay, in the item of the user too."""
        user = self.registered_with_both(storage)
        stays = {3: LINKED[3]}
        undo = replace(BACK, address=None, freed=(), identities=stays)
        assert storage.accounts.undo_changes(user, undo, now=NOW) == Done()
        stored = storage.accounts.get(ACCOUNT)
        assert stored is not None
        assert stored.identities == stays
        assert storage.identities.get(GOOGLE.index) is None
        assert storage.identities.get(ACME.index) == ACME

    def test_an_undo_may_remove_the_last_identity(self, storage: StorageUnderTest) -> None:
        """The account has a random password then, and its owner resets it."""
        user = self.registered_with_both(storage)
        undo = replace(BACK, address=None, freed=(), identities={})
        assert storage.accounts.undo_changes(user, undo, now=NOW) == Done()
        stored = storage.accounts.get(ACCOUNT)
        assert stored is not None
        assert stored.identities == {}
        assert storage.identities.get(ACME.index) is None

    def test_deleting_an_account_that_was_never_proved_frees_its_identities(self, storage: StorageUnderTest) -> None:
        """By the link in the mail of its code. A repetition is done."""
        user = self.registered_with_both(storage)
        for _ in range(2):
            assert storage.accounts.delete_unproved(user, mark=OTHER, now=NOW) == Done()
        assert self.account_state(storage).status is Status.DELETED
        assert storage.identities.get(GOOGLE.index) is None
        assert storage.identities.get(ACME.index) is None

    def test_deleting_an_account_leaves_the_identities_of_others(self, storage: StorageUnderTest) -> None:
        """A deletion stopped half-way. Another account has linked the identity since."""
        user = self.registered_with_both(storage)
        storage.identities.forget(GOOGLE.index, ACCOUNT, now=NOW)
        of_other = replace(GOOGLE, account=SOMEBODY_ELSE)
        other = replace(USER, account=SOMEBODY_ELSE, email="", email_index=EmailIndex(""))
        assert storage.identities.sign_up(other, state_with(account=SOMEBODY_ELSE), of_other) == Done()
        storage.accounts.forget(ACCOUNT, user.email_index, now=NOW)
        assert storage.identities.get(GOOGLE.index) == of_other
        assert storage.identities.get(ACME.index) is None
        assert storage.accounts.get(ACCOUNT) is None
