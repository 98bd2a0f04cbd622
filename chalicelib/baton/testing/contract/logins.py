"""What the store ``lineages`` must do at a login (``lineages/ports.py``)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import PROVIDERS_MAX
from chalicelib.baton.lineages.model import (
    AccountState,
    Attestation,
    Ended,
    EndReason,
    KeyBinding,
    NoBinding,
    Status,
)
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import Exchanged, Inactive
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NEW,
    NEWBORN,
    NEXT,
    NOW,
    OTHER_LIVE,
    SUPPORT,
    VERSION,
    presented,
    state_with,
)


class LoginsContract(LineagesUnderTest):
    """The tests of the method ``add_lineage``."""

    def test_a_login_adds_its_lineage(self, storage: StorageUnderTest) -> None:
        """The new lineage is added. The other lineage does not change."""
        storage.seed(state_with(MINE_LIVE))
        assert self.add_lineage(storage) == Done()
        assert self.account_state(storage) == state_with(MINE_LIVE, NEWBORN)

    @pytest.mark.parametrize("attestation", Attestation)
    @pytest.mark.parametrize("provider", [0, 1, PROVIDERS_MAX])
    def test_a_login_keeps_what_its_device_attested_and_its_provider(
        self, storage: StorageUnderTest, attestation: Attestation, provider: int
    ) -> None:
        """The store keeps the attestation and the provider of a login. An exchange does not change them."""
        newborn = replace(NEWBORN, attestation=attestation, provider=provider)
        storage.seed(state_with(newborn))
        assert self.account_state(storage) == state_with(newborn)
        exchanged = storage.lineages.exchange(
            presented(lineage=newborn), now=NOW + 1, not_before=NOW - 1, idle_s=IDLE_S
        )
        assert isinstance(exchanged, Exchanged)
        assert (exchanged.lineage.attestation, exchanged.lineage.provider) == (attestation, provider)

    def test_a_login_takes_the_place_of_the_removed_lineages(self, storage: StorageUnderTest) -> None:
        """The write removes the lineages ``removed``. Afterwards, the account has at most ``lineages_max`` lineages."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert self.add_lineage(storage, MINE_LIVE, OTHER_LIVE, lineages_max=1) == Done()
        assert self.account_state(storage) == state_with(NEWBORN)

    @pytest.mark.parametrize(
        "end",
        [
            pytest.param(lambda lineages, _: lineages.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW), id="end"),
            pytest.param(lambda lineages, _: lineages.end_device(ACTOR, MINE, now=NOW), id="end_device"),
            pytest.param(lambda lineages, _: lineages.end_all(ACTOR, now=NOW), id="end_all"),
            pytest.param(
                lambda lineages, account_state: lineages.add_lineage(
                    replace(NEWBORN, id=NEXT), expected=account_state, replaced=(MINE_LIVE,), removed=(), lineages_max=2
                ),
                id="replaced",
            ),
        ],
    )
    def test_an_ended_lineage_can_be_removed(
        self, storage: StorageUnderTest, end: Callable[[LineageStore, AccountState], Done | Moved | Refused]
    ) -> None:
        """A login can remove an ended lineage, if the stored lineage still equals the lineage that was read.

        The test ends the lineage in four different ways.
        """
        storage.seed(state_with(MINE_LIVE))
        assert end(storage.lineages, self.account_state(storage)) == Done()
        standing = self.account_state(storage)
        newborn = replace(NEWBORN, epoch=standing.epoch)
        kept = len(standing.lineages)
        removed = (standing.lineages[MINE],)
        assert (
            storage.lineages.add_lineage(newborn, expected=standing, replaced=(), removed=removed, lineages_max=kept)
            == Done()
        )
        assert self.account_state(storage).lineages.keys() == (standing.lineages.keys() | {NEW}) - {MINE}

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(state_with(MINE_LIVE, status=Status.DISABLED), id="disabled"),
            pytest.param(replace(state_with(MINE_LIVE), epoch=EPOCH + 1), id="epoch"),
            pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), id="credentials version"),
            pytest.param(replace(state_with(MINE_LIVE), roles=SUPPORT), id="roles"),
            pytest.param(state_with(MINE_LIVE, replace(NEWBORN, generation=1)), id="already there and moved on"),
            pytest.param(state_with(replace(MINE_LIVE, generation=8)), id="removed one exchanged"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - 1)), id="removed one used"),
            pytest.param(state_with(OTHER_LIVE), id="removed one gone, another there"),
            pytest.param(state_with(MINE_LIVE, OTHER_LIVE, replace(OTHER_LIVE, id=NEXT)), id="no room"),
        ],
    )
    def test_an_account_state_that_moved_stops_a_login(
        self, storage: StorageUnderTest, meanwhile: AccountState
    ) -> None:
        """If a condition of `LineageStore.add_lineage` is false, the result is ``Moved``, and nothing is written."""
        storage.seed(meanwhile)
        before = self.account_state(storage)
        assert self.add_lineage(storage, MINE_LIVE, expected=state_with(MINE_LIVE), lineages_max=2) == Moved()
        assert self.account_state(storage) == before

    def test_a_login_to_an_unknown_account_is_moved(self, storage: StorageUnderTest) -> None:
        """A login does not create a missing account state."""
        assert self.add_lineage(storage, expected=state_with()) == Moved()
        assert storage.lineages.get(ACCOUNT) is None

    def test_the_very_same_login_sent_again_is_done(self, storage: StorageUnderTest) -> None:
        """The store recognises its own earlier write, although the lineage to remove no longer exists."""
        expected = state_with(MINE_LIVE)
        storage.seed(expected)
        for _ in range(2):
            assert self.add_lineage(storage, MINE_LIVE, expected=expected, lineages_max=1) == Done()
            assert self.account_state(storage) == state_with(NEWBORN)

    @pytest.mark.guarantee(5)
    def test_a_login_ends_the_earlier_login_of_its_key(self, storage: StorageUnderTest) -> None:
        """The write of the login ends the earlier login, with reason `replaced`. Other devices stay logged in."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert self.add_lineage(storage, replaced=(MINE_LIVE,)) == Done()
        over = replace(MINE_LIVE, ended=Ended(NOW, EndReason.REPLACED), attempts=(bytes(8),) * 4)
        assert self.account_state(storage) == state_with(over, OTHER_LIVE, NEWBORN)
        assert self.exchange(storage, presented()) == Inactive(EndReason.REPLACED)
        assert self.add_lineage(storage, replaced=(MINE_LIVE,), expected=state_with(MINE_LIVE, OTHER_LIVE)) == Done()

    @pytest.mark.guarantee(5)
    def test_an_exchange_in_between_does_not_keep_the_replaced_login(self, storage: StorageUnderTest) -> None:
        """An exchange between the read and the write does not stop the login.

        Otherwise, a copy of the device could stop the owner's login by constant exchanges.
        """
        storage.seed(state_with(MINE_LIVE))
        expected = self.account_state(storage)
        self.exchange(storage, presented())
        assert self.add_lineage(storage, replaced=(MINE_LIVE,), expected=expected) == Done()
        ended = self.account_state(storage).lineages[MINE]
        assert (ended.generation, ended.ended) == (8, Ended(NOW, EndReason.REPLACED))

    def test_a_lineage_that_ended_keeps_its_reason_when_its_key_logs_in(self, storage: StorageUnderTest) -> None:
        """The lineage ended between the read and the write, so the result is ``Moved``."""
        storage.seed(state_with(MINE_LIVE))
        expected = self.account_state(storage)
        storage.lineages.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW)
        assert self.add_lineage(storage, replaced=(MINE_LIVE,), expected=expected) == Moved()
        assert self.account_state(storage).lineages.keys() == {MINE}

    def test_a_replaced_lineage_that_was_removed_stops_a_login(self, storage: StorageUnderTest) -> None:
        """Another login removed the lineage meanwhile, so the result is ``Moved``."""
        storage.seed(state_with(OTHER_LIVE))
        assert self.add_lineage(storage, replaced=(MINE_LIVE,), expected=state_with(MINE_LIVE)) == Moved()

    def test_a_login_removes_the_earlier_login_of_its_key_at_the_cap(self, storage: StorageUnderTest) -> None:
        """A lineage that is in both ``replaced`` and ``removed`` is removed."""
        storage.seed(state_with(MINE_LIVE))
        assert self.add_lineage(storage, MINE_LIVE, replaced=(MINE_LIVE,), lineages_max=1) == Done()
        assert self.account_state(storage) == state_with(NEWBORN)

    @pytest.mark.guarantee(5)
    def test_of_racing_logins_by_one_key_each_sees_the_one_before(self, storage: StorageUnderTest) -> None:
        """Eight logins by one key read the same state. One is added. The others get ``Moved``, and must read again."""
        expected = state_with(OTHER_LIVE)
        storage.seed(expected)

        def admitting(number: int) -> Callable[[], Done | Moved]:
            newborn = replace(NEWBORN, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"))
            return lambda: storage.lineages.add_lineage(
                newborn, expected=expected, replaced=(), removed=(), lineages_max=24
            )

        assert race([admitting(number) for number in range(RACERS)]).count(Done()) == 1

    @pytest.mark.guarantee(5)
    def test_a_login_by_the_same_key_does_not_hide_behind_a_removal(self, storage: StorageUnderTest) -> None:
        """After the read, another login added one lineage and removed one, so the number of lineages is the same.

        The result must still be ``Moved``, because the added lineage may have the same key.
        """
        third = replace(OTHER_LIVE, id=MINE)
        expected, since = state_with(OTHER_LIVE, third), state_with(OTHER_LIVE, replace(NEWBORN, id=NEXT))
        storage.seed(since)
        assert self.add_lineage(storage, OTHER_LIVE, expected=expected, lineages_max=2) == Moved()
        assert self.account_state(storage) == since

    def test_logins_without_a_key_do_not_hinder_each_other(self, storage: StorageUnderTest) -> None:
        """A login without a key ends no other login, so several such logins from one reading are all added."""
        expected = state_with(OTHER_LIVE)
        storage.seed(expected)
        for number in range(3):
            newborn = replace(NEWBORN, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"), binding=NoBinding())
            assert (
                storage.lineages.add_lineage(newborn, expected=expected, replaced=(), removed=(), lineages_max=6)
                == Done()
            )

    def test_a_login_without_a_key_begins_no_lineage_again(self, storage: StorageUnderTest) -> None:
        """The login is sent again after an exchange of its lineage. The result is ``Moved``, and nothing is written.

        Otherwise, the first token of the lineage would be valid again.
        """
        newborn = replace(NEWBORN, binding=NoBinding())
        storage.seed(state_with(MINE_LIVE, replace(newborn, generation=1)))
        before, expected = self.account_state(storage), state_with(MINE_LIVE)
        assert (
            storage.lineages.add_lineage(newborn, expected=expected, replaced=(), removed=(), lineages_max=6) == Moved()
        )
        assert self.account_state(storage) == before

    @pytest.mark.parametrize("binding", [NEWBORN.binding, NoBinding()], ids=["key", "none"])
    def test_racing_logins_never_exceed_the_cap(
        self, storage: StorageUnderTest, binding: KeyBinding | NoBinding
    ) -> None:
        """Eight logins take the last place at the same time. One is added, and the others get ``Moved``."""
        expected = state_with(MINE_LIVE)
        storage.seed(expected)

        def admitting(number: int) -> Callable[[], Done | Moved]:
            newborn = replace(NEWBORN, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"), binding=binding)
            return lambda: storage.lineages.add_lineage(
                newborn, expected=expected, replaced=(), removed=(), lineages_max=2
            )

        answers = race([admitting(number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Moved()) == RACERS - 1
        assert len(self.account_state(storage).lineages) == 2
