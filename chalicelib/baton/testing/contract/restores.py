"""What a storage must do with restore keys and restored logins (``factors/ports.py``, ``lineages/ports.py``)."""

from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.restore_model import RestoreKey
from chalicelib.baton.lineages.assurance import RESTORED
from chalicelib.baton.lineages.model import AccountState, Ended, EndReason, KeyBinding, Status
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    MARK,
    MINE,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NEWBORN,
    NOW,
    OTHER_KEY,
    OTHER_LIVE,
    USER,
    VERSION,
    state_with,
)

KEY: Final = RestoreKey(b"credential of a restore key", b"COSE key", made_at=NOW - 60)
NEW_KEY: Final = RestoreKey(b"a newer credential", b"another COSE key", made_at=NOW)
NEW_PHONE: Final = replace(
    NEWBORN,
    binding=KeyBinding(b"n" * 32),
    assurance=RESTORED,
    expires_at=MINE_LIVE.expires_at,
    parent=MINE,
    label="Ada's new phone",
)
PARENT_GONE: Final = [
    pytest.param(state_with(OTHER_LIVE), id="removed"),
    pytest.param(state_with(replace(MINE_LIVE, ended=Ended(NOW - 1, EndReason.LOGOUT)), OTHER_LIVE), id="ended"),
    pytest.param(state_with(replace(MINE_LIVE, epoch=EPOCH - 1), OTHER_LIVE), id="of an earlier epoch"),
    pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW), OTHER_LIVE), id="expired"),
    pytest.param(state_with(replace(MINE_LIVE, binding=OTHER_KEY), OTHER_LIVE), id="of another key"),
    pytest.param(state_with(MINE_LIVE, OTHER_LIVE, status=Status.DISABLED), id="account disabled"),
]
"""Account states in which the login of the old phone is not live, or is not as it was read."""


class RestoresContract(Contract):
    """The tests of restore keys (``keep_restore_key``) and of restored logins (``add_lineage``)."""

    def with_keys(self, storage: StorageUnderTest, **keys: RestoreKey) -> None:
        """Register a person who has two logins, and the restore keys ``keys`` (name of the device -> key)."""
        user = replace(USER, restore=keys)
        assert storage.accounts.register(user, state_with(MINE_LIVE, OTHER_LIVE)) == Done()

    def stored_user(self, storage: StorageUnderTest) -> User:
        """Read the user."""
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        return user

    def restore_login(self, storage: StorageUnderTest, expected: AccountState) -> Done | Moved:
        """Add the login of the new phone."""
        return storage.lineages.add_lineage(NEW_PHONE, expected=expected, replaced=(), removed=(), lineages_max=6)

    def test_a_restore_key_is_kept_and_replaced(self, storage: StorageUnderTest) -> None:
        """A new restore key replaces only the restore key of its device. A repeated call returns ``Done``."""
        self.with_keys(storage, tablet=KEY)
        for key in (KEY, NEW_KEY, NEW_KEY):
            assert storage.factors.keep_restore_key(ACTOR, "phone", key, now=NOW) == Done()
            assert self.stored_user(storage) == replace(USER, restore={"tablet": KEY, "phone": key})
        assert storage.lineages.get(ACCOUNT) == state_with(MINE_LIVE, OTHER_LIVE)

    def test_a_restore_key_is_deleted(self, storage: StorageUnderTest) -> None:
        """Only the restore key of the device is deleted. A repetition is safe."""
        self.with_keys(storage, tablet=KEY, phone=NEW_KEY)
        for _ in range(2):
            assert storage.factors.keep_restore_key(ACTOR, "phone", None, now=NOW) == Done()
            assert self.stored_user(storage).restore == {"tablet": KEY}

    @pytest.mark.parametrize("key", [KEY, None], ids=["kept", "deleted"])
    def test_keys_without_a_login_are_forgotten_in_the_same_write(
        self, storage: StorageUnderTest, key: RestoreKey | None
    ) -> None:
        """The write also deletes the restore keys of the devices ``forgotten``.

        One of these devices may have no restore key, or may be the device whose key is written.
        """
        self.with_keys(storage, tablet=KEY, watch=KEY, phone=NEW_KEY)
        forgotten = ("car", "phone", "watch")
        assert storage.factors.keep_restore_key(ACTOR, "phone", key, forgotten=forgotten, now=NOW) == Done()
        assert self.stored_user(storage).restore == {"tablet": KEY} | ({"phone": key} if key else {})

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_restore_key_is_changed_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, inactive: AccountState, verdict: object
    ) -> None:
        """The login ended, or a credential changed, between the read and the write. Nothing is written."""
        del verdict
        self.with_keys(storage, phone=KEY)
        storage.seed(inactive)
        for key in (NEW_KEY, None):
            assert storage.factors.keep_restore_key(ACTOR, "phone", key, now=NOW) == Moved()
        assert self.stored_user(storage).restore == {"phone": KEY}

    def test_no_restore_key_of_other_credentials_is_changed(self, storage: StorageUnderTest) -> None:
        """The write requires the actor's credentials version, both in the user's item and in the account state."""
        user = replace(USER, credentials_version=VERSION + 2, restore={"phone": KEY})
        assert storage.accounts.register(user, state_with(MINE_LIVE)) == Done()
        for key in (NEW_KEY, None):
            assert storage.factors.keep_restore_key(ACTOR, "phone", key, now=NOW) == Moved()
        assert self.stored_user(storage) == user

    @pytest.mark.parametrize("claim", [False, True], ids=["reset", "claim"])
    def test_a_reset_forgets_every_restore_key(self, storage: StorageUnderTest, claim: bool) -> None:  # noqa: FBT001 - pytest calls it
        """All restore keys are deleted. Otherwise, a stranger who registered the address could use a restore key."""
        self.with_keys(storage, phone=KEY)
        reset = storage.accounts.reset_password
        outcome = reset(USER, NEW_PASSWORD_HASH, mark=MARK, claim=claim, now=NOW)
        assert outcome == Done()
        assert self.stored_user(storage).restore == {}

    @pytest.mark.guarantee(7)
    def test_a_login_is_restored_beside_its_parent(self, storage: StorageUnderTest) -> None:
        """The login of the old phone stays live: during a move, both phones are in use. A repetition is ``Done``."""
        state = state_with(MINE_LIVE, OTHER_LIVE)
        storage.seed(state)
        for _ in range(2):
            assert self.restore_login(storage, state) == Done()
            assert storage.lineages.get(ACCOUNT) == state_with(MINE_LIVE, OTHER_LIVE, NEW_PHONE)

    @pytest.mark.guarantee(7)
    @pytest.mark.parametrize("meanwhile", PARENT_GONE)
    def test_no_login_is_restored_from_one_that_is_not_live(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """The login of the old phone ended between the read and the write. Nothing is written."""
        storage.seed(meanwhile)
        before = storage.lineages.get(ACCOUNT)
        assert self.restore_login(storage, state_with(MINE_LIVE, OTHER_LIVE)) == Moved()
        assert storage.lineages.get(ACCOUNT) == before

    @pytest.mark.guarantee(7)
    def test_a_restore_and_the_end_of_its_parent_race(self, storage: StorageUnderTest) -> None:
        """If the parent ends first, the restored login is not added. Otherwise the restored login stays."""
        for _ in range(RACERS):
            state = state_with(MINE_LIVE, OTHER_LIVE)
            storage.seed(state)
            racers: list[Callable[[], Done | Moved | Refused]] = [
                partial(self.restore_login, storage, state),
                lambda: storage.lineages.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW),
            ]
            restored, ended = race(racers)
            after = storage.lineages.get(ACCOUNT)
            assert ended == Done()
            assert after is not None
            assert (NEW_PHONE.id in after.lineages) == (restored == Done())
