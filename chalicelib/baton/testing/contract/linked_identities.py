"""What the stores must do with the identities of an account: at a link, unlink, claim, undo and deletion."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import Remember, RemovePasskey, SecondFactors, User
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.model import IDENTITIES_MAX, Identity, NewIdentity
from chalicelib.baton.federation.ports import IdentityTaken
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.lineages.model import AccountState, Actor, Ended, EndReason, Status
from chalicelib.baton.testing.contract.addresses import BACK
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.factor_values import PASSKEY
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    MARK,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NOW,
    OTHER,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    USER,
    VERSION,
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


NEW_GOOGLE: Final = NewIdentity(GOOGLE, LINKED[2])
NEW_ACME: Final = NewIdentity(ACME, LINKED[3])
WITH_PASSKEY: Final = SecondFactors(passkeys={PASSKEY.id: PASSKEY})
PHONE: Final = Remember("phone", at=NOW)
WITHOUT_PASSWORD: Final = replace(BOTH, password_hash=None)


class LinkedIdentitiesContract(LineagesUnderTest):
    """The tests of the identities of an account, in the stores ``identities`` and ``accounts``."""

    def registered_without(self, storage: StorageUnderTest, **user: object) -> User:
        """Register a person without identities, with two devices."""
        registered = replace(USER, **user)
        assert storage.accounts.register(registered, state_with(MINE_LIVE, OTHER_LIVE)) == Done()
        return registered

    def link(
        self,
        storage: StorageUnderTest,
        user: User = USER,
        new: NewIdentity = NEW_GOOGLE,
        *,
        actor: Actor = ACTOR,
        remember: Remember | None = None,
    ) -> Done | Moved | IdentityTaken:
        """Link an identity on behalf of a login."""
        return storage.identities.link(actor, user, new, remember=remember, now=NOW)

    def unlink(
        self,
        storage: StorageUnderTest,
        user: User = BOTH,
        provider: int = 2,
        *,
        actor: Actor = ACTOR,
        remember: Remember | None = None,
    ) -> Done | Moved:
        """Unlink an identity on behalf of a login."""
        expected = state_with(MINE_LIVE, OTHER_LIVE)
        return storage.identities.unlink(actor, user, provider, expected=expected, remember=remember, now=NOW)

    def stored_user(self, storage: StorageUnderTest) -> User:
        """Read the user, who must exist."""
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        return user

    def test_a_linked_identity_is_stored_twice(self, storage: StorageUnderTest) -> None:
        """The identity is in its own item and in the user. The credentials versions rise. A repetition is ``Done``."""
        self.registered_without(storage, factors=replace(WITH_PASSKEY, remembered={"phone": 1, "tablet": 2}))
        for _ in range(2):
            assert self.link(storage, remember=PHONE) == Done()
        user = self.stored_user(storage)
        assert storage.identities.get(GOOGLE.index) == GOOGLE
        assert (user.identities, user.credentials_version, user.verified_at) == ({2: LINKED[2]}, VERSION + 1, None)
        assert user.factors == replace(WITH_PASSKEY, remembered={"phone": NOW})
        state = self.account_state(storage)
        assert state == replace(state_with(MINE_LIVE, OTHER_LIVE), credentials_version=VERSION + 1)

    def test_the_link_of_another_request_is_not_ours(self, storage: StorageUnderTest) -> None:
        """Two devices of the account link the same identity. The second device gets ``Moved``, and must read again."""
        user = self.registered_without(storage)
        assert self.link(storage) == Done()
        later = replace(NEW_GOOGLE, identity=replace(GOOGLE, sealed_sub=b"sealed again"))
        assert self.link(storage, user, later) == Moved()
        assert storage.identities.get(GOOGLE.index) == GOOGLE

    def test_a_second_identity_joins_the_first(self, storage: StorageUnderTest) -> None:
        """Both identities are stored. A link without a proof of a second factor forgets every remembered device."""
        self.registered_without(storage, factors=replace(WITH_PASSKEY, remembered={"phone": 1}))
        assert self.link(storage) == Done()
        user = self.stored_user(storage)
        actor = replace(ACTOR, credentials_version=VERSION + 1)
        assert self.link(storage, user, NEW_ACME, actor=actor) == Done()
        assert self.stored_user(storage).identities == LINKED
        assert self.stored_user(storage).factors.remembered == {}
        assert storage.identities.get(ACME.index) == ACME

    @pytest.mark.parametrize("before", [None, NOW - 9])
    def test_an_identity_may_prove_the_address(self, storage: StorageUnderTest, before: int | None) -> None:
        """A link with ``verified`` stores ``now`` as the time of proof of the address. An earlier time stays."""
        user = self.registered_without(storage, verified_at=before)
        assert self.link(storage, user, replace(NEW_GOOGLE, verified=True)) == Done()
        assert self.stored_user(storage).verified_at == (before or NOW)

    def test_an_identity_of_another_account_is_not_linked(self, storage: StorageUnderTest) -> None:
        """Nothing is written, and the caller gets the id of the other account."""
        user = self.registered_without(storage)
        other = replace(USER, account=SOMEBODY_ELSE, email="", email_index=EmailIndex(""))
        of_other = replace(GOOGLE, account=SOMEBODY_ELSE)
        assert storage.identities.sign_up(other, state_with(account=SOMEBODY_ELSE), of_other) == Done()
        assert self.link(storage) == IdentityTaken(SOMEBODY_ELSE)
        assert storage.identities.get(GOOGLE.index) == of_other
        assert self.stored_user(storage) == user
        assert self.account_state(storage) == state_with(MINE_LIVE, OTHER_LIVE)

    @pytest.mark.parametrize(
        ("had", "linked"),
        [
            ({code: LinkedIdentity(f"{code}#x", NOW) for code in range(3, 3 + IDENTITIES_MAX)}, False),
            ({code: LinkedIdentity(f"{code}#x", NOW) for code in range(3, 2 + IDENTITIES_MAX)}, True),
            ({2: LinkedIdentity("2#x", NOW)}, False),
        ],
        ids=["eight", "seven", "one of this provider"],
    )
    def test_how_many_identities_an_account_has(
        self, storage: StorageUnderTest, had: dict[int, LinkedIdentity], *, linked: bool
    ) -> None:
        """An account has at most one identity of each provider, and eight in all."""
        user = self.registered_without(storage, identities=had)
        assert self.link(storage) == (Done() if linked else Moved())
        assert (storage.identities.get(GOOGLE.index) is not None) is linked
        assert self.stored_user(storage).credentials_version == user.credentials_version + linked

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("verb", ["link", "unlink"])
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_identity_is_changed_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, verb: str, inactive: AccountState, verdict: object
    ) -> None:
        """The login ended, or a credential changed, between the read and the write. Nothing is written."""
        del verdict
        user = self.registered_with_both(storage) if verb == "unlink" else self.registered_without(storage)
        storage.seed(inactive)
        assert (self.unlink(storage) if verb == "unlink" else self.link(storage)) == Moved()
        assert self.stored_user(storage) == user
        assert self.account_state(storage) == inactive
        assert (storage.identities.get(GOOGLE.index) is not None) is (verb == "unlink")

    @pytest.mark.parametrize("verb", ["link", "unlink"])
    def test_credentials_that_moved_change_nothing(self, storage: StorageUnderTest, verb: str) -> None:
        """The write requires the actor's credentials version, both in the user's item and in the account state."""
        moved = VERSION + 2
        if verb == "unlink":
            self.registered_with_both(storage, replace(BOTH, credentials_version=moved))
            assert self.unlink(storage) == Moved()
        else:
            self.registered_without(storage, credentials_version=moved)
            assert self.link(storage) == Moved()
        assert self.stored_user(storage).credentials_version == moved

    def test_one_of_many_accounts_gets_an_identity(self, storage: StorageUnderTest) -> None:
        """Eight accounts link one identity at the same time. One account gets the identity."""
        accounts = [AccountId(f"AQAAAAAAAAAAAAB{number}") for number in range(RACERS)]
        for account in accounts:
            user = replace(USER, account=account, email_index=EmailIndex(account))
            assert storage.accounts.register(user, replace(state_with(MINE_LIVE), account=account)) == Done()

        def linking(account: AccountId) -> Callable[[], Done | Moved | IdentityTaken]:
            new = replace(NEW_GOOGLE, identity=replace(GOOGLE, account=account))
            user, actor = replace(USER, account=account), replace(ACTOR, account=account)
            return lambda: self.link(storage, user, new, actor=actor)

        outcomes = race([linking(account) for account in accounts])
        owner = storage.identities.get(GOOGLE.index)
        assert owner is not None
        assert outcomes.count(Done()) == 1
        assert outcomes.count(IdentityTaken(owner.account)) == RACERS - 1

    def test_an_unlinked_identity_is_gone(self, storage: StorageUnderTest) -> None:
        """All logins except the caller's login end with reason ``identity_unlinked``. A repetition is ``Done``."""
        self.registered_with_both(storage)
        for _ in range(2):
            assert self.unlink(storage, remember=PHONE) == Done()
        user = self.stored_user(storage)
        assert (user.identities, user.credentials_version) == ({3: LINKED[3]}, VERSION + 1)
        assert user.factors.remembered == {"phone": NOW}
        assert storage.identities.get(GOOGLE.index) is None
        assert storage.identities.get(ACME.index) == ACME
        state = self.account_state(storage)
        assert (state.epoch, state.credentials_version) == (EPOCH + 1, VERSION + 1)
        assert state.raised == Ended(at=NOW, reason=EndReason.IDENTITY_UNLINKED)
        assert {one.id: one.epoch for one in state.lineages.values()} == {
            MINE_LIVE.id: EPOCH + 1,
            OTHER_LIVE.id: EPOCH,
        }
        assert state.lineages[MINE_LIVE.id].generation == MINE_LIVE.generation

    def test_an_unlink_raises_the_generation_of_cookies(self, storage: StorageUnderTest) -> None:
        """If the actor's tokens are in cookies, the generation of the lineage rises, so earlier cookies are refused."""
        self.registered_with_both(storage)
        assert self.unlink(storage, actor=replace(ACTOR, in_cookies=True)) == Done()
        after = self.account_state(storage).lineages[MINE_LIVE.id]
        assert after == replace(MINE_LIVE, epoch=EPOCH + 1, generation=MINE_LIVE.generation + 1)

    @pytest.mark.parametrize(
        ("user", "unlinked"),
        [
            pytest.param(replace(BOTH, identities={2: LINKED[2]}), True, id="password"),
            pytest.param(
                replace(WITHOUT_PASSWORD, identities={2: LINKED[2]}, factors=WITH_PASSKEY), True, id="passkey"
            ),
            pytest.param(WITHOUT_PASSWORD, True, id="another identity"),
            pytest.param(replace(WITHOUT_PASSWORD, identities={2: LINKED[2]}), False, id="nothing"),
        ],
    )
    def test_the_last_credential_is_not_unlinked(
        self, storage: StorageUnderTest, user: User, *, unlinked: bool
    ) -> None:
        """An identity is unlinked only if the account also has a password, a passkey or another identity."""
        account_state = state_with(MINE_LIVE, OTHER_LIVE)
        assert storage.identities.sign_up(user, account_state, GOOGLE) == Done()
        assert self.unlink(storage, user) == (Done() if unlinked else Moved())
        assert (2 not in self.stored_user(storage).identities) is unlinked
        assert (storage.identities.get(GOOGLE.index) is None) is unlinked

    @pytest.mark.parametrize(
        ("user", "removed"),
        [
            pytest.param(replace(USER, factors=WITH_PASSKEY), True, id="password"),
            pytest.param(replace(WITHOUT_PASSWORD, factors=WITH_PASSKEY), True, id="identities"),
            pytest.param(replace(WITHOUT_PASSWORD, identities={}, factors=WITH_PASSKEY), False, id="nothing"),
        ],
    )
    def test_the_last_credential_is_no_removed_passkey(
        self, storage: StorageUnderTest, user: User, *, removed: bool
    ) -> None:
        """If an account has only one passkey, and no password or identity, the passkey is not removed."""
        assert storage.identities.sign_up(user, state_with(MINE_LIVE)) == Done()
        change = RemovePasskey(PASSKEY, last=True)
        outcome = storage.factors.change_factors(ACTOR, change, remember=None, now=NOW)
        assert outcome == (Done() if removed else Moved())
        assert (not self.stored_user(storage).factors.passkeys) is removed

    def test_one_of_the_last_two_identities_stays(self, storage: StorageUnderTest) -> None:
        """The account has no other credential. Two devices unlink one identity each at the same time: one succeeds."""
        user = self.registered_with_both(storage, WITHOUT_PASSWORD)
        outcomes = race([lambda: self.unlink(storage, user, 2), lambda: self.unlink(storage, user, 3)])
        assert sorted(map(str, outcomes)) == sorted(map(str, (Done(), Moved())))
        assert len(self.stored_user(storage).identities) == 1

    def registered_with_both(self, storage: StorageUnderTest, user: User = BOTH) -> User:
        """Register a person with two devices and the two identities."""
        account_state = state_with(MINE_LIVE, OTHER_LIVE)
        for _ in range(2):
            assert storage.identities.sign_up(user, account_state, GOOGLE, ACME) == Done()
        assert storage.accounts.get(ACCOUNT) == user
        return user

    def test_a_claim_removes_every_identity(self, storage: StorageUnderTest) -> None:
        """A stranger registered the address and linked identities. The claim removes them. A repetition is ``Done``."""
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
        """The person proved the address before, so the identities belong to this person."""
        user = self.registered_with_both(storage, replace(BOTH, verified_at=NOW))
        reset = storage.accounts.reset_password(user, NEW_PASSWORD_HASH, mark=MARK, claim=False, now=NOW)
        assert reset == Done()
        stored = storage.accounts.get(ACCOUNT)
        assert stored is not None
        assert stored.identities == LINKED
        assert storage.identities.get(GOOGLE.index) == GOOGLE
        assert storage.identities.get(ACME.index) == ACME

    def test_an_undo_removes_some_identities(self, storage: StorageUnderTest) -> None:
        """The undo removes each identity that the call does not list. The other identities stay."""
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
        """After the undo the account has a random password, and its owner resets this password."""
        user = self.registered_with_both(storage)
        undo = replace(BACK, address=None, freed=(), identities={})
        assert storage.accounts.undo_changes(user, undo, now=NOW) == Done()
        stored = storage.accounts.get(ACCOUNT)
        assert stored is not None
        assert stored.identities == {}
        assert storage.identities.get(ACME.index) is None

    def test_deleting_an_account_that_was_never_proved_frees_its_identities(self, storage: StorageUnderTest) -> None:
        """The owner of the mailbox deletes the account with the link in a mail. A repetition is ``Done``."""
        user = self.registered_with_both(storage)
        for _ in range(2):
            assert storage.accounts.delete_unproved(user, mark=OTHER, now=NOW) == Done()
        assert self.account_state(storage).status is Status.DELETED
        assert storage.identities.get(GOOGLE.index) is None
        assert storage.identities.get(ACME.index) is None

    def test_deleting_an_account_leaves_the_identities_of_others(self, storage: StorageUnderTest) -> None:
        """A deletion was interrupted. Meanwhile another account has got the identity, and keeps it."""
        user = self.registered_with_both(storage)
        storage.identities.forget(GOOGLE.index, ACCOUNT, now=NOW)
        of_other = replace(GOOGLE, account=SOMEBODY_ELSE)
        other = replace(USER, account=SOMEBODY_ELSE, email="", email_index=EmailIndex(""))
        assert storage.identities.sign_up(other, state_with(account=SOMEBODY_ELSE), of_other) == Done()
        storage.accounts.forget(ACCOUNT, user.email_index, now=NOW)
        assert storage.identities.get(GOOGLE.index) == of_other
        assert storage.identities.get(ACME.index) is None
        assert storage.accounts.get(ACCOUNT) is None
