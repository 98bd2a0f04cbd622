"""What the store ``suppressions`` must do (``mail/ports.py``)."""

from collections.abc import Callable

import pytest

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.mail.ports import Suppression
from chalicelib.baton.policy import BOUNCE_SUPPRESSED_S
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import NOW, USER

INDEX = USER.email_index
BOUNCE = Suppression(why="bounce", at=NOW, until=NOW + BOUNCE_SUPPRESSED_S)
LATER_BOUNCE = Suppression(why="bounce", at=NOW + 9, until=NOW + 9 + BOUNCE_SUPPRESSED_S)
COMPLAINT = Suppression(why="complaint", at=NOW, until=None)
LATER_COMPLAINT = Suppression(why="complaint", at=NOW + 9, until=None)


class SuppressionsContract(Contract):
    """The tests of the store ``suppressions``: `mail.ports.Suppressions`."""

    def test_an_address_without_a_suppression_has_none(self, storage: StorageUnderTest) -> None:
        """The result is ``None``, even if another address has a suppression."""
        assert storage.suppressions.get(INDEX) is None
        storage.suppressions.suppress(INDEX, BOUNCE)
        assert storage.suppressions.get(EmailIndex("of-another-address")) is None

    @pytest.mark.parametrize(
        ("stored", "reported", "kept"),
        [
            pytest.param(BOUNCE, BOUNCE, BOUNCE, id="the same again"),
            pytest.param(BOUNCE, LATER_BOUNCE, LATER_BOUNCE, id="a later bounce"),
            pytest.param(LATER_BOUNCE, BOUNCE, LATER_BOUNCE, id="an earlier bounce that is reported late"),
            pytest.param(BOUNCE, COMPLAINT, COMPLAINT, id="a complaint after a bounce"),
            pytest.param(LATER_BOUNCE, COMPLAINT, COMPLAINT, id="a complaint before a bounce, reported late"),
            pytest.param(COMPLAINT, LATER_BOUNCE, COMPLAINT, id="a bounce after a complaint"),
            pytest.param(COMPLAINT, LATER_COMPLAINT, COMPLAINT, id="a second complaint"),
        ],
    )
    def test_the_stricter_suppression_stays(
        self, storage: StorageUnderTest, stored: Suppression, reported: Suppression, kept: Suppression
    ) -> None:
        """A complaint or a later bounce replaces a bounce. Nothing replaces a complaint. Reports come in any order."""
        storage.suppressions.suppress(INDEX, stored)
        storage.suppressions.suppress(INDEX, reported)
        assert storage.suppressions.get(INDEX) == kept

    def test_many_reports_at_the_same_time_leave_the_complaint(self, storage: StorageUnderTest) -> None:
        """The write itself compares the stored and the new suppression. So no bounce replaces the complaint."""
        reports = [COMPLAINT if number == RACERS // 2 else BOUNCE for number in range(RACERS)]

        def reporting(one: Suppression) -> Callable[[], None]:
            return lambda: storage.suppressions.suppress(INDEX, one)

        race([reporting(one) for one in reports])
        assert storage.suppressions.get(INDEX) == COMPLAINT

    @pytest.mark.parametrize("stored", [BOUNCE, COMPLAINT], ids=["bounce", "complaint"])
    def test_a_lifted_suppression_is_gone(self, storage: StorageUnderTest, stored: Suppression) -> None:
        """A second ``lift`` is refused. The next bounce stores a suppression again."""
        storage.suppressions.suppress(INDEX, stored)
        assert storage.suppressions.lift(INDEX) == Done()
        assert storage.suppressions.get(INDEX) is None
        assert storage.suppressions.lift(INDEX) == Refused()
        storage.suppressions.suppress(INDEX, BOUNCE)
        assert storage.suppressions.get(INDEX) == BOUNCE

    def test_only_a_bounce_is_lifted(self, storage: StorageUnderTest) -> None:
        """With ``only_bounce``, ``lift`` does not remove a complaint. A complaint stays until an operator lifts it."""
        assert storage.suppressions.lift(INDEX, only_bounce=True) == Refused()
        storage.suppressions.suppress(INDEX, BOUNCE)
        assert storage.suppressions.lift(INDEX, only_bounce=True) == Done()
        storage.suppressions.suppress(INDEX, COMPLAINT)
        assert storage.suppressions.lift(INDEX, only_bounce=True) == Refused()
        assert storage.suppressions.get(INDEX) == COMPLAINT

    def test_a_suppression_is_no_account(self, storage: StorageUnderTest) -> None:
        """A suppressed address stays free for registration, and no user has it."""
        storage.suppressions.suppress(INDEX, BOUNCE)
        assert storage.accounts.find(INDEX) is None
