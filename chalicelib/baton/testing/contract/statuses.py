"""What the store ``lineages`` must do when it sets status, roles or attributes (``lineages/ports.py``)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.lineages.model import (
    EndReason,
    Rights,
    Status,
)
from chalicelib.baton.lineages.rules import (
    Inactive,
    active_lineage,
    rights_of,
)
from chalicelib.baton.policy import ATTRIBUTES_BYTES_MAX
from chalicelib.baton.testing.contract.ends import full
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    ADMIN,
    ALL_ROLES,
    ATTRIBUTES,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NO_ROLES,
    NOT_BEFORE,
    NOW,
    OTHER,
    OTHER_LIVE,
    SUPPORT,
    USER,
    VERSION,
    presented,
    state_with,
)


class StatusesContract(LineagesUnderTest):
    """The tests of the methods ``set_status``, ``set_roles``, ``set_second_factor`` and ``set_attributes``."""

    @pytest.mark.guarantee(7)
    def test_enabling_again_revives_no_login(self, storage: StorageUnderTest) -> None:
        """Disabling raises the epoch and ends all lineages. After enabling, they stay ended, with the same reason."""
        storage.seed(state_with(MINE_LIVE))
        assert storage.lineages.set_status(ACCOUNT, Status.DISABLED, now=NOW) == Done()
        assert self.account_state(storage).status is Status.DISABLED
        assert isinstance(self.exchange(storage, presented()), Inactive)
        storage.lineages.set_status(ACCOUNT, Status.ACTIVE, now=NOW)
        assert self.account_state(storage).status is Status.ACTIVE
        assert isinstance(
            active_lineage(self.account_state(storage), presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S),
            Inactive,
        )
        assert self.exchange(storage, presented()) == Inactive(EndReason.ACCOUNT_DISABLED)

    def test_enabling_an_active_account_ends_nothing(self, storage: StorageUnderTest) -> None:
        """Enabling an active account returns ``Done``, and changes nothing."""
        storage.seed(state_with(MINE_LIVE))
        assert storage.lineages.set_status(ACCOUNT, Status.ACTIVE, now=NOW) == Done()
        assert self.account_state(storage) == state_with(MINE_LIVE)

    @pytest.mark.guarantee(7)
    @pytest.mark.parametrize("status", Status)
    def test_deleted_is_absorbing(self, storage: StorageUnderTest, status: Status) -> None:
        """A deleted account keeps its status, and its epoch does not change."""
        deleted = state_with(MINE_LIVE, status=Status.DELETED)
        storage.seed(deleted)
        answer = storage.lineages.set_status(ACCOUNT, status, now=NOW)
        assert answer == (Done() if status is Status.DELETED else Refused())
        assert self.account_state(storage) == deleted

    def test_the_status_of_an_unknown_account_makes_no_account(self, storage: StorageUnderTest) -> None:
        """Setting the status of an unknown account creates no account."""
        assert storage.lineages.set_status(ACCOUNT, Status.DISABLED, now=NOW) == Refused()
        assert storage.lineages.get(ACCOUNT) is None

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (NO_ROLES, ADMIN),
            (ADMIN, SUPPORT),
            (SUPPORT, NO_ROLES),
            (NO_ROLES, NO_ROLES),
            (ADMIN, ADMIN),
            (ADMIN, ALL_ROLES),
            (ALL_ROLES, NO_ROLES),
        ],
        ids=lambda roles: str(sorted(roles)),
    )
    def test_the_roles_of_an_account_are_replaced(
        self, storage: StorageUnderTest, before: frozenset[int], after: frozenset[int]
    ) -> None:
        """One write replaces all roles and ends no login. A repetition of the same call is ``Done``."""
        storage.seed(replace(state_with(MINE_LIVE, OTHER_LIVE), roles=before))
        for _ in range(2):
            assert storage.lineages.set_roles(ACCOUNT, after, expected=before) == Done()
            assert self.account_state(storage) == replace(state_with(MINE_LIVE, OTHER_LIVE), roles=after)

    @pytest.mark.parametrize("stored", [NO_ROLES, SUPPORT, ALL_ROLES], ids=lambda roles: str(sorted(roles)))
    @pytest.mark.parametrize("after", [NO_ROLES, ADMIN], ids=lambda roles: str(sorted(roles)))
    def test_roles_that_changed_stop_a_change_of_roles(
        self, storage: StorageUnderTest, stored: frozenset[int], after: frozenset[int]
    ) -> None:
        """Another operator changed the roles after the read. Nothing is written, and the result is ``Moved``.

        If the account already has the new roles, the result is ``Done``.
        """
        moved = replace(state_with(MINE_LIVE), roles=stored)
        storage.seed(moved)
        expected = frozenset({3, 4})
        answer = storage.lineages.set_roles(ACCOUNT, after, expected=expected)
        assert answer == (Done() if after == stored else Moved())
        assert self.account_state(storage) == moved

    def test_one_of_many_changes_of_roles_from_one_reading_is_done(self, storage: StorageUnderTest) -> None:
        """Eight operators change the roles at the same time. One is done, and the other seven get ``Moved``."""
        storage.seed(state_with(MINE_LIVE))

        def setting(code: int) -> Callable[[], Done | Moved | Refused]:
            return lambda: storage.lineages.set_roles(ACCOUNT, frozenset({code}), expected=NO_ROLES)

        answers = race([setting(code) for code in range(1, RACERS + 1)])
        assert answers.count(Done()) == 1
        assert answers.count(Moved()) == RACERS - 1

    @pytest.mark.parametrize("status", [Status.DISABLED, Status.DELETED])
    def test_an_account_that_is_not_active_gets_no_roles(self, storage: StorageUnderTest, status: Status) -> None:
        """Nothing is written. The result is ``Refused``, but ``Done`` if a disabled account already has the roles."""
        inactive = state_with(MINE_LIVE, status=status)
        storage.seed(inactive)
        assert storage.lineages.set_roles(ACCOUNT, ADMIN, expected=NO_ROLES) == Refused()
        none_asked = storage.lineages.set_roles(ACCOUNT, NO_ROLES, expected=NO_ROLES)
        assert none_asked == (Refused() if status is Status.DELETED else Done())
        assert self.account_state(storage) == inactive

    def test_the_roles_of_an_unknown_account_make_no_account(self, storage: StorageUnderTest) -> None:
        """Setting any roles of an unknown account creates no account."""
        for roles in (ADMIN, NO_ROLES):
            assert storage.lineages.set_roles(ACCOUNT, roles, expected=NO_ROLES) == Refused()
        assert storage.lineages.get(ACCOUNT) is None

    def test_roles_stay_with_every_other_write(self, storage: StorageUnderTest) -> None:
        """The writes below keep the roles, the attributes and the required second factor.

        The test exchanges a token, logs in, ends one login, changes the password, and ends all logins. Then it disables
        and enables the account.
        """
        storage.accounts.register(USER, full(MINE_LIVE, OTHER_LIVE))
        self.exchange(storage, presented())
        assert self.add_lineage(storage) == Done()
        storage.lineages.end(ACCOUNT, OTHER, EndReason.LOGOUT, now=NOW)
        actor, expected = replace(ACTOR, lineage=MINE), self.account_state(storage)
        assert storage.accounts.change_password(actor, NEW_PASSWORD_HASH, expected=expected, now=NOW) == Done()
        storage.lineages.end_all(replace(ACTOR, credentials_version=VERSION + 1), now=NOW)
        for status in (Status.DISABLED, Status.ACTIVE):
            assert storage.lineages.set_status(ACCOUNT, status, now=NOW) == Done()
        assert rights_of(self.account_state(storage)) == Rights(SUPPORT, ATTRIBUTES)
        assert self.account_state(storage).second_factor_required

    def test_a_second_factor_is_required_and_released(self, storage: StorageUnderTest) -> None:
        """Each change is safe to repeat, ends no login, and changes nothing else."""
        storage.seed(state_with(MINE_LIVE))
        for required in (True, True, False, False):
            assert storage.lineages.set_second_factor(ACCOUNT, required=required) == Done()
            assert self.account_state(storage) == replace(state_with(MINE_LIVE), second_factor_required=required)

    def test_the_attributes_of_an_account_are_replaced(self, storage: StorageUnderTest) -> None:
        """All attributes are replaced together. Empty bytes remove them. The call is safe to repeat."""
        storage.seed(replace(state_with(MINE_LIVE), roles=SUPPORT))
        for attributes in (ATTRIBUTES, ATTRIBUTES, b"\x80" * ATTRIBUTES_BYTES_MAX, b"", b""):
            assert storage.lineages.set_attributes(ACCOUNT, attributes) == Done()
            assert rights_of(self.account_state(storage)) == Rights(SUPPORT, attributes)
        with pytest.raises(ValueError, match="at most 32 bytes"):
            storage.lineages.set_attributes(ACCOUNT, bytes(ATTRIBUTES_BYTES_MAX + 1))

    @pytest.mark.parametrize("status", [Status.DISABLED, Status.DELETED, None])
    def test_only_an_active_account_gets_attributes_or_a_second_factor(
        self, storage: StorageUnderTest, status: Status | None
    ) -> None:
        """For a disabled, deleted or unknown account, the result is ``Refused``, and nothing is written."""
        if status is not None:
            storage.seed(state_with(MINE_LIVE, status=status))
        before = storage.lineages.get(ACCOUNT)
        assert storage.lineages.set_attributes(ACCOUNT, ATTRIBUTES) == Refused()
        assert storage.lineages.set_attributes(ACCOUNT, b"") == Refused()
        for required in (True, False):
            assert storage.lineages.set_second_factor(ACCOUNT, required=required) == Refused()
        assert storage.lineages.get(ACCOUNT) == before
