"""What the store ``lineages`` must do when it records that a login was used (``record_use``, ``lineages/ports.py``)."""

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.lineages.model import (
    AccountState,
    Ended,
    EndReason,
    Lineage,
    Status,
)
from chalicelib.baton.testing.contract.under_test import LineagesUnderTest, StorageUnderTest
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    EPOCH,
    MINE_LIVE,
    NOT_BEFORE,
    NOW,
    OTHER_LIVE,
    state_with,
)


class UsesContract(LineagesUnderTest):
    """The tests of the method ``record_use``."""

    session = replace(MINE_LIVE, generation=0, in_use_since=NOW - 100)
    slid = replace(session, issued_at=NOW)

    def record(self, storage: StorageUnderTest, lineage: Lineage, *, expected: Lineage | None = None) -> Done | Moved:
        """Record a use."""
        return storage.lineages.record_use(
            lineage, account=ACCOUNT, expected=expected or self.session, now=NOW, not_before=NOT_BEFORE
        )

    def test_a_use_is_stored(self, storage: StorageUnderTest) -> None:
        """The ``issued_at`` of the lineage changes. No other part of the account state changes."""
        storage.seed(state_with(self.session, OTHER_LIVE))
        assert self.record(storage, self.slid) == Done()
        assert self.account_state(storage) == state_with(self.slid, OTHER_LIVE)

    def test_a_use_after_a_gap_moves_in_use_since(self, storage: StorageUnderTest) -> None:
        """The write also stores ``in_use_since``: after a gap of ``access_s`` or more, the time of this use."""
        resumed = replace(self.slid, in_use_since=NOW)
        storage.seed(state_with(self.session))
        assert self.record(storage, resumed) == Done()
        assert self.account_state(storage) == state_with(resumed)

    def test_a_day_of_use_is_stored(self, storage: StorageUnderTest) -> None:
        """The day of use is stored for a login whose ``issued_at`` never changes."""
        used = replace(self.session, last_used_day=NOW // 86_400)
        storage.seed(state_with(self.session))
        assert self.record(storage, used) == Done()
        assert self.account_state(storage) == state_with(used)

    def test_the_very_same_use_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The store recognises its own earlier write."""
        storage.seed(state_with(self.session))
        for _ in range(2):
            assert self.record(storage, self.slid) == Done()

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(state_with(session, status=Status.DISABLED), id="disabled"),
            pytest.param(replace(state_with(session), epoch=EPOCH + 1), id="older epoch"),
            pytest.param(state_with(replace(session, ended=Ended(NOW, EndReason.LOGOUT))), id="ended"),
            pytest.param(state_with(replace(session, issued_at=NOW - 50)), id="used by another call"),
            pytest.param(state_with(replace(session, in_use_since=NOW - 50)), id="resumed by another call"),
            pytest.param(state_with(OTHER_LIVE), id="gone"),
        ],
    )
    def test_a_lineage_that_moved_or_ended_does_not_slide(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """If the lineage is not as it was read, or has ended, the result is ``Moved`` and nothing is written."""
        storage.seed(meanwhile)
        before = self.account_state(storage)
        assert self.record(storage, self.slid) == Moved()
        assert self.account_state(storage) == before

    @pytest.mark.parametrize(
        "over",
        [
            pytest.param(replace(session, expires_at=NOW), id="expired"),
            pytest.param(replace(session, auth_time=NOT_BEFORE - 1), id="before the not-before time"),
            pytest.param(replace(session, ended=Ended(NOW, EndReason.LOGOUT), attempts=(bytes(8),) * 4), id="ended"),
        ],
    )
    def test_an_ended_lineage_does_not_slide_even_as_read(self, storage: StorageUnderTest, over: Lineage) -> None:
        """An ended or expired lineage does not slide, even if the stored lineage is as it was read."""
        storage.seed(state_with(over))
        slid = replace(over, issued_at=NOW, ended=None)
        assert self.record(storage, slid, expected=over) == Moved()
        assert self.account_state(storage) == state_with(over)

    def test_a_use_of_an_unknown_account_is_moved(self, storage: StorageUnderTest) -> None:
        """A use does not create a missing account state."""
        assert self.record(storage, self.slid) == Moved()
        assert storage.lineages.get(ACCOUNT) is None
