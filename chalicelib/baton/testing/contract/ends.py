"""What the store ``lineages`` must do at the end of logins (``lineages/ports.py``)."""

from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.lineages.model import (
    NO_RIGHTS,
    AccountState,
    Ended,
    EndReason,
    Lineage,
    NoBinding,
    Status,
)
from chalicelib.baton.lineages.rules import (
    Inactive,
    ProofOutdated,
    may_act,
    rights_of,
)
from chalicelib.baton.testing.contract.under_test import LineagesUnderTest, StorageUnderTest
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    ATTRIBUTES,
    EPOCH,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NEW,
    NEW_PASSWORD_HASH,
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

INACTIVE: Final = [
    pytest.param(state_with(MINE_LIVE, OTHER_LIVE, status=Status.DISABLED), Inactive(), id="disabled"),
    pytest.param(state_with(OTHER_LIVE), Inactive(), id="removed"),
    pytest.param(
        replace(state_with(MINE_LIVE, OTHER_LIVE), epoch=EPOCH + 1, raised=Ended(NOW - 1, EndReason.PASSWORD_CHANGED)),
        Inactive(EndReason.PASSWORD_CHANGED),
        id="older epoch",
    ),
    pytest.param(
        state_with(
            replace(MINE_LIVE, ended=Ended(NOW - 1, EndReason.ENDED_BY_OWNER), attempts=(bytes(8),) * 4), OTHER_LIVE
        ),
        Inactive(EndReason.ENDED_BY_OWNER),
        id="ended",
    ),
    pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW), OTHER_LIVE), Inactive(EndReason.EXPIRED), id="expired"),
    pytest.param(
        state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE - 1), OTHER_LIVE),
        Inactive(EndReason.ENDED_EVERYWHERE),
        id="before the not-before time",
    ),
    pytest.param(
        replace(state_with(MINE_LIVE, OTHER_LIVE), credentials_version=VERSION + 1), ProofOutdated(), id="new password"
    ),
    pytest.param(
        state_with(replace(MINE_LIVE, binding=NoBinding(), parent=OTHER), OTHER_LIVE),
        Inactive(),
        id="handed over, and the actor does not say by which app",
    ),
]
"""Every account state in which a login may not write, with the verdict of `may_act`."""


def full(*lineages: Lineage) -> AccountState:
    """Return an account state with roles, attributes, and a second factor that an operator requires."""
    return replace(state_with(*lineages), roles=SUPPORT, attributes=ATTRIBUTES, second_factor_required=True)


class EndsContract(LineagesUnderTest):
    """The tests of the methods ``end``, ``end_device``, ``end_all``, ``end_every`` and ``delete``."""

    @pytest.mark.guarantee(6)
    def test_ending_one_lineage_leaves_the_others(self, storage: StorageUnderTest) -> None:
        """The ended lineage has the time and reason of its end, and no attempts. The other lineage is still active."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert storage.lineages.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW) == Done()
        over = replace(MINE_LIVE, ended=Ended(NOW, EndReason.REUSE), attempts=(bytes(8),) * 4)
        assert self.account_state(storage) == state_with(over, OTHER_LIVE)
        assert self.exchange(storage, presented()) == Inactive(EndReason.REUSE)

    @pytest.mark.guarantee(7)
    def test_an_ended_lineage_keeps_its_first_reason(self, storage: StorageUnderTest) -> None:
        """A second end by another request changes neither the time nor the reason of the end."""
        storage.seed(state_with(MINE_LIVE))
        storage.lineages.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW)
        once = self.account_state(storage)
        assert storage.lineages.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW) == Refused()
        assert storage.lineages.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW + 1) == Refused()
        assert self.account_state(storage) == once

    def test_the_very_same_end_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The store recognises its own earlier write and returns ``Done``, so the caller writes the audit event."""
        storage.seed(state_with(MINE_LIVE))
        for _ in range(2):
            assert storage.lineages.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW) == Done()

    def test_a_lineage_ended_by_the_epoch_keeps_that_reason(self, storage: StorageUnderTest) -> None:
        """If a rise of the epoch has ended a lineage, the lineage does not get another end reason."""
        storage.seed(state_with(MINE_LIVE))
        storage.lineages.set_status(ACCOUNT, Status.DISABLED, now=NOW)
        assert storage.lineages.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW + 1) == Refused()
        assert self.exchange(storage, presented()) == Inactive(EndReason.ACCOUNT_DISABLED)

    @pytest.mark.parametrize(
        "account_state", [None, state_with(OTHER_LIVE)], ids=["no account state", "no such lineage"]
    )
    def test_ending_an_unknown_lineage_changes_nothing(
        self, storage: StorageUnderTest, account_state: AccountState | None
    ) -> None:
        """Ending an unknown lineage or account creates no item and no lineage."""
        if account_state:
            storage.seed(account_state)
        assert storage.lineages.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW) == Refused()
        assert storage.lineages.get(ACCOUNT) == account_state

    def test_an_operator_ends_every_lineage_of_an_active_account(self, storage: StorageUnderTest) -> None:
        """The epoch rises by one. The same call sent again changes nothing. A later call raises the epoch again."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        raised = Ended(NOW, EndReason.ENDED_BY_OPERATOR)
        for _ in range(2):
            assert storage.lineages.end_every(ACCOUNT, now=NOW) == Done()
            ended = replace(state_with(MINE_LIVE, OTHER_LIVE), epoch=EPOCH + 1, raised=raised)
            assert self.account_state(storage) == ended
        assert self.exchange(storage, presented()) == Inactive(EndReason.ENDED_BY_OPERATOR)
        assert storage.lineages.end_every(ACCOUNT, now=NOW + 1) == Done()
        assert self.account_state(storage).epoch == EPOCH + 2

    @pytest.mark.parametrize("status", [None, Status.DISABLED, Status.DELETED])
    def test_only_the_lineages_of_an_active_account_are_ended(
        self, storage: StorageUnderTest, status: Status | None
    ) -> None:
        """An account that does not exist is not made. A disabled or deleted account keeps its end reason."""
        if status is not None:
            storage.seed(replace(state_with(MINE_LIVE), status=status, raised=Ended(NOW, EndReason.ENDED_BY_OPERATOR)))
        before = storage.lineages.get(ACCOUNT)
        assert storage.lineages.end_every(ACCOUNT, now=NOW) == Refused()
        assert storage.lineages.get(ACCOUNT) == before

    @pytest.mark.guarantee(6)
    def test_ending_all_is_one_step_of_the_epoch(self, storage: StorageUnderTest) -> None:
        """Every lineage ends, with the same time and reason.

        The write ends the caller's lineage, and the raised epoch ends the others.
        """
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert storage.lineages.end_all(ACTOR, now=NOW) == Done()
        raised = Ended(NOW, EndReason.ENDED_EVERYWHERE)
        mine = replace(MINE_LIVE, ended=raised, attempts=(bytes(8),) * 4)
        assert self.account_state(storage) == replace(state_with(mine, OTHER_LIVE), epoch=EPOCH + 1, raised=raised)
        for lineage in (MINE_LIVE, OTHER_LIVE):
            assert self.exchange(storage, presented(lineage=lineage)) == Inactive(EndReason.ENDED_EVERYWHERE)

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("verb", ["end_all", "delete"])
    def test_of_two_devices_that_end_everything_one_does(self, storage: StorageUnderTest, verb: str) -> None:
        """The first call ends the login of the second device, so the call of the second device returns ``Inactive``."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        other = replace(ACTOR, lineage=OTHER)
        assert getattr(storage.lineages, verb)(ACTOR, now=NOW) == Done()
        assert isinstance(getattr(storage.lineages, verb)(other, now=NOW), Inactive)

    def test_ending_all_of_an_unknown_account_makes_no_account(self, storage: StorageUnderTest) -> None:
        """A missing account state is not created."""
        assert storage.lineages.end_all(ACTOR, now=NOW) == Inactive()
        assert storage.lineages.get(ACCOUNT) is None

    def test_ending_all_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The store recognises its own earlier write, and the epoch rises once."""
        storage.seed(state_with(MINE_LIVE))
        for _ in range(2):
            assert storage.lineages.end_all(ACTOR, now=NOW) == Done()
        assert self.account_state(storage).epoch == EPOCH + 1

    @pytest.mark.guarantee(6)
    def test_ending_a_device_is_done_on_behalf_of_a_live_login(self, storage: StorageUnderTest) -> None:
        """The login of the device ends. A repetition of the write is ``Done``. An end at a later time is refused."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        for _ in range(2):
            assert storage.lineages.end_device(ACTOR, OTHER, now=NOW) == Done()
        assert self.account_state(storage).lineages[OTHER].ended == Ended(NOW, EndReason.ENDED_BY_OWNER)
        assert self.account_state(storage).lineages[MINE] == MINE_LIVE
        assert storage.lineages.end_device(ACTOR, OTHER, now=NOW + 1) == Refused()
        assert storage.lineages.end_device(ACTOR, NEW, now=NOW) == Refused()

    def test_a_login_can_end_itself_as_a_device(self, storage: StorageUnderTest) -> None:
        """A login can end itself. A repetition of this write is ``Done``, although the login is no longer live."""
        storage.seed(state_with(MINE_LIVE))
        for _ in range(2):
            assert storage.lineages.end_device(ACTOR, MINE, now=NOW) == Done()

    @pytest.mark.guarantee(6)
    def test_a_deleted_account_keeps_no_lineage(self, storage: StorageUnderTest) -> None:
        """The remaining item has no names of devices, times of logins, roles or attributes: these are personal data."""
        storage.seed(full(MINE_LIVE, OTHER_LIVE))
        for _ in range(2):
            assert storage.lineages.delete(ACTOR, now=NOW) == Done()
        assert self.account_state(storage).status is Status.DELETED
        assert not self.account_state(storage).lineages
        assert rights_of(self.account_state(storage)) == NO_RIGHTS
        assert not self.account_state(storage).second_factor_required
        assert self.exchange(storage, presented()) == Inactive()

    def test_an_account_deleted_by_the_operator_keeps_no_lineage(self, storage: StorageUnderTest) -> None:
        """As after a deletion by the owner, the item has no lineages, roles, attributes or required second factor."""
        storage.seed(full(MINE_LIVE))
        assert storage.lineages.set_status(ACCOUNT, Status.DELETED, now=NOW) == Done()
        assert not self.account_state(storage).lineages
        assert rights_of(self.account_state(storage)) == NO_RIGHTS
        assert not self.account_state(storage).second_factor_required

    @pytest.mark.parametrize(
        "lineage",
        [
            pytest.param(replace(MINE_LIVE, expires_at=NOW + 1), id="a second before it expires"),
            pytest.param(replace(MINE_LIVE, auth_time=NOT_BEFORE), id="of the not-before time"),
            pytest.param(replace(MINE_LIVE, issued_at=NOW - 10 * IDLE_S), id="idle until this call"),
        ],
    )
    @pytest.mark.parametrize("verb", ["end_device", "end_all", "delete"])
    def test_a_login_acts_until_its_last_second(self, storage: StorageUnderTest, verb: str, lineage: Lineage) -> None:
        """The condition of the write and the rule `may_act` accept a login until the same second."""
        storage.seed(state_with(lineage, OTHER_LIVE))
        arguments = (OTHER,) if verb == "end_device" else ()
        assert getattr(storage.lineages, verb)(ACTOR, *arguments, now=NOW) == Done()

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    @pytest.mark.parametrize("verb", ["end_device", "end_all", "delete"])
    def test_no_write_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, verb: str, inactive: AccountState, verdict: object
    ) -> None:
        """The write checks the login (law 2 of ``storage/ports.py``). Nothing changes. The result has the reason."""
        storage.seed(inactive)
        before = self.account_state(storage)
        arguments = (OTHER,) if verb == "end_device" else ()
        assert getattr(storage.lineages, verb)(ACTOR, *arguments, now=NOW) == verdict
        assert self.account_state(storage) == before

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_password_is_changed_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, inactive: AccountState, verdict: object
    ) -> None:
        """The password change checks the login. After ``Moved``, the caller reads the state and calls `may_act`."""
        assert may_act(inactive, ACTOR, now=NOW) == verdict
        storage.accounts.register(USER, state_with(MINE_LIVE))
        storage.seed(inactive)
        assert storage.accounts.change_password(ACTOR, NEW_PASSWORD_HASH, expected=inactive, now=NOW) == Moved()
        assert self.account_state(storage) == inactive
        assert storage.accounts.get(ACCOUNT) == USER
