"""What the store ``lineages`` must do at reads and exchanges (``lineages/ports.py``).

E4 to E9 are rules of docs/baton/exchange.md.
"""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done
from chalicelib.baton.lineages.model import (
    AccountState,
    Ended,
    EndReason,
    Lineage,
    NoBinding,
    Rights,
    SecretBinding,
    Status,
)
from chalicelib.baton.lineages.rules import (
    Ahead,
    Exchanged,
    Inactive,
    Retry,
    Reused,
    Superseded,
    exchange,
)
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ADMIN,
    ALL_ROLES,
    ATTEMPT,
    ATTRIBUTES,
    EPOCH,
    HISTORY,
    IDLE_S,
    MINE_LIVE,
    NOT_BEFORE,
    NOW,
    OTHER_ATTEMPT,
    OTHER_KEY,
    OTHER_LIVE,
    SUPPORT,
    presented,
    state_with,
)


class ExchangeContract(LineagesUnderTest):
    """The tests of the methods ``get`` and ``exchange``."""

    @pytest.mark.parametrize(
        "account_state",
        [
            pytest.param(state_with(), id="empty"),
            pytest.param(state_with(MINE_LIVE, OTHER_LIVE), id="two"),
            pytest.param(state_with(replace(MINE_LIVE, binding=SecretBinding())), id="by secret"),
            pytest.param(state_with(replace(MINE_LIVE, binding=NoBinding())), id="by nothing"),
            pytest.param(state_with(replace(MINE_LIVE, in_use_since=NOW - 7)), id="session"),
            pytest.param(state_with(replace(MINE_LIVE, label="Ünï 電話")), id="label"),
            pytest.param(state_with(replace(MINE_LIVE, label="")), id="no label"),
            *(
                pytest.param(replace(state_with(MINE_LIVE), roles=frozenset(roles)), id=f"roles {sorted(roles)}")
                for roles in ({1}, {32}, {2, 3, 31}, ALL_ROLES)
            ),
            *(pytest.param(state_with(status=status), id=status.name) for status in Status),
            *(pytest.param(replace(state_with(), raised=Ended(NOW, reason)), id=reason) for reason in EndReason),
        ],
    )
    def test_an_account_state_is_read_as_it_was_written(
        self, storage: StorageUnderTest, account_state: AccountState
    ) -> None:
        """Every member of an account state is read as it was written."""
        storage.seed(account_state)
        assert storage.lineages.get(ACCOUNT) == account_state

    def test_an_unknown_account_state_is_absent(self, storage: StorageUnderTest) -> None:
        """For an unknown account the store returns ``None``, not an error."""
        assert storage.lineages.get(ACCOUNT) is None

    @pytest.mark.parametrize("generation", range(7, 12))
    def test_the_current_generation_is_exchanged(self, storage: StorageUnderTest, generation: int) -> None:
        """E5: the store writes the lineage that `rules.exchange` returns. No other part of the state changes.

        The tested generations use every slot of ``Lineage.attempts``.
        """
        before = replace(MINE_LIVE, generation=generation)
        storage.seed(state_with(before, OTHER_LIVE))
        token = presented(lineage=before)
        child = exchange(before, token, now=NOW)
        assert self.exchange(storage, token) == Exchanged(child)
        assert self.account_state(storage) == state_with(child, OTHER_LIVE)

    def test_an_exchange_and_its_retry_return_the_rights_of_the_account(self, storage: StorageUnderTest) -> None:
        """The write returns the rights without a further read. A retry returns the rights at the time of the retry."""
        storage.seed(replace(state_with(MINE_LIVE), roles=SUPPORT, attributes=ATTRIBUTES))
        child = exchange(MINE_LIVE, presented(), now=NOW)
        assert self.exchange(storage, presented()) == Exchanged(child, Rights(SUPPORT, ATTRIBUTES))
        assert storage.lineages.set_roles(ACCOUNT, ADMIN, expected=SUPPORT) == Done()
        assert self.exchange(storage, presented()) == Retry(child, Rights(ADMIN, ATTRIBUTES))
        assert storage.lineages.set_attributes(ACCOUNT, b"") == Done()
        assert self.exchange(storage, presented()) == Retry(child, Rights(ADMIN))

    def test_a_child_is_never_older_than_its_parent(self, storage: StorageUnderTest) -> None:
        """If the clock of this server is behind the ``iat`` of the parent, the child gets the ``iat`` of the parent."""
        ahead = replace(MINE_LIVE, issued_at=NOW + 30)
        storage.seed(state_with(ahead))
        answer = self.exchange(storage, presented(lineage=ahead))
        assert isinstance(answer, Exchanged)
        assert answer.lineage.issued_at == NOW + 30

    @pytest.mark.parametrize(
        ("behind", "attempt", "verdict"),
        [
            pytest.param(1, HISTORY[2], Retry(MINE_LIVE), id="E6 the one before, its attempt"),
            pytest.param(2, HISTORY[1], Superseded(), id="E7 older, its attempt"),
            pytest.param(4, HISTORY[3], Superseded(), id="E7 the oldest remembered"),
            pytest.param(1, OTHER_ATTEMPT, Reused(MINE_LIVE), id="E8 the one before, another attempt"),
            pytest.param(3, OTHER_ATTEMPT, Reused(MINE_LIVE), id="E8 older, another attempt"),
            pytest.param(5, HISTORY[2], Reused(MINE_LIVE), id="E8 forgotten"),
            pytest.param(-1, ATTEMPT, Ahead(), id="E9 newer than stored"),
        ],
    )
    def test_any_other_generation_is_judged_and_writes_nothing(
        self, storage: StorageUnderTest, behind: int, attempt: bytes, verdict: object
    ) -> None:
        """E6 to E9: the store returns the verdict of `judge` for the stored account state, and writes nothing."""
        storage.seed(state_with(MINE_LIVE))
        assert self.exchange(storage, presented(behind, attempt=attempt)) == verdict
        assert self.account_state(storage) == state_with(MINE_LIVE)

    @pytest.mark.guarantee(7)
    @pytest.mark.parametrize(
        ("account_state", "reason"),
        [
            pytest.param(state_with(MINE_LIVE, status=Status.DISABLED), None, id="disabled"),
            pytest.param(state_with(MINE_LIVE, status=Status.DELETED), None, id="deleted"),
            pytest.param(
                replace(state_with(MINE_LIVE), epoch=EPOCH + 1, raised=Ended(NOW, EndReason.PASSWORD_CHANGED)),
                EndReason.PASSWORD_CHANGED,
                id="older epoch",
            ),
            pytest.param(
                state_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.LOGOUT))), EndReason.LOGOUT, id="ended"
            ),
            pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW)), EndReason.EXPIRED, id="expired"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - IDLE_S - 1)), EndReason.IDLE, id="idle"),
            pytest.param(
                state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE - 1)),
                EndReason.ENDED_EVERYWHERE,
                id="before the not-before time",
            ),
            pytest.param(state_with(replace(MINE_LIVE, client=2)), None, id="of another client"),
            pytest.param(state_with(replace(MINE_LIVE, binding=OTHER_KEY)), None, id="bound to another key"),
            pytest.param(state_with(replace(MINE_LIVE, auth_time=NOW, issued_at=NOW)), None, id="begun since"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - 99)), None, id="issued later than its token"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - 101)), None, id="issued earlier than its token"),
            pytest.param(state_with(OTHER_LIVE), None, id="lineage unknown"),
        ],
    )
    def test_a_dead_lineage_is_not_exchanged(
        self, storage: StorageUnderTest, account_state: AccountState, reason: EndReason | None
    ) -> None:
        """E4: the login has ended, or the token does not match the stored login.

        Nothing is written. The result is ``Inactive``, with the end reason of an ended login.
        """
        storage.seed(account_state)
        before = self.account_state(storage)
        assert self.exchange(storage, presented()) == Inactive(reason)
        assert self.account_state(storage) == before

    @pytest.mark.parametrize(
        "lineage",
        [
            pytest.param(replace(MINE_LIVE, expires_at=NOW + 1), id="a second before it expires"),
            pytest.param(replace(MINE_LIVE, issued_at=NOW - IDLE_S), id="at the idle limit"),
            pytest.param(replace(MINE_LIVE, auth_time=NOT_BEFORE), id="at the not-before time"),
            pytest.param(replace(MINE_LIVE, auth_time=MINE_LIVE.issued_at), id="issued when it began"),
        ],
    )
    def test_the_last_second_is_valid(self, storage: StorageUnderTest, lineage: Lineage) -> None:
        """The condition of the write and the rule `judge` accept a token until the same second."""
        storage.seed(state_with(lineage))
        assert isinstance(self.exchange(storage, presented(lineage=lineage)), Exchanged)

    def test_an_unknown_account_is_dead_and_stays_unknown(self, storage: StorageUnderTest) -> None:
        """A genuine token of a missing account creates no account state."""
        assert self.exchange(storage, presented()) == Inactive()
        assert storage.lineages.get(ACCOUNT) is None

    @pytest.mark.guarantee(1)
    def test_one_of_many_attempts_has_the_child(self, storage: StorageUnderTest) -> None:
        """Guarantee 1: eight exchanges of one token with eight attempts give one child and seven cases of reuse."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))

        def exchanging(attempt: bytes) -> Callable[[], object]:
            return lambda: self.exchange(storage, presented(attempt=attempt))

        attempts = [b"racer %02d" % number for number in range(RACERS)]
        answers = race([exchanging(attempt) for attempt in attempts])
        assert sum(isinstance(answer, Reused) for answer in answers) == RACERS - 1
        [winner] = [place for place, answer in enumerate(answers) if isinstance(answer, Exchanged)]
        child = exchange(MINE_LIVE, presented(attempt=attempts[winner]), now=NOW)
        assert self.account_state(storage) == state_with(child, OTHER_LIVE)

    @pytest.mark.guarantee(1)
    def test_one_attempt_many_times_gets_one_and_the_same_child(self, storage: StorageUnderTest) -> None:
        """An exchange that is sent eight times advances the lineage once. All eight calls get the same child."""
        storage.seed(state_with(MINE_LIVE))
        answers = race([lambda: self.exchange(storage, presented())] * RACERS)
        child = exchange(MINE_LIVE, presented(), now=NOW)
        assert answers.count(Exchanged(child)) == 1
        assert answers.count(Retry(child)) == RACERS - 1
        assert self.account_state(storage) == state_with(child)
