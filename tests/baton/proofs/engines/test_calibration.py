"""Races on the databases without Baton. They show that a race of Baton on these databases can find an error."""

import pytest
from botocore.exceptions import ClientError

from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.proofs.engines.racing import RACERS, Attempt, faults, race, transaction, update
from tests.baton.proofs.engines.together import processes, threads

ROUNDS = 40
"""The long form has 500 rounds."""

KINDS = pytest.mark.parametrize("attempt", [update, transaction], ids=lambda attempt: attempt.__name__)
LENGTHS = pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(500, marks=pytest.mark.prove)])


@KINDS
@LENGTHS
def test_the_embedded_engine_has_one_winner(
    tables: Tables, attempt: Attempt, rounds: int, wide_gap: None, eager_switching: None
) -> None:
    """Eight threads, and moto with a lock: each round has one winner, every win is stored, and no loser writes."""
    with threads(RACERS) as team:
        assert race(team, attempt, tables, rounds) == []


@KINDS
@pytest.mark.xfail(
    strict=True,
    raises=(AssertionError, ClientError),  # a 500: moto copies all tables, and fails if another thread writes
    reason="stock moto has no lock: two win one conditional write",
)
def test_stock_moto_has_one_winner(
    tables: Tables, attempt: Attempt, stock: None, wide_gap: None, eager_switching: None
) -> None:
    """A control of the test above: without the lock, the same race fails."""
    with threads(RACERS) as team:
        assert race(team, attempt, tables, ROUNDS) == []


@pytest.mark.parametrize(
    "rounds", [pytest.param(ROUNDS, marks=pytest.mark.prove(ci=True)), pytest.param(500, marks=pytest.mark.prove)]
)
def test_dynoxide_has_one_winner(shared_tables: Tables, rounds: int) -> None:
    """Eight processes race on dynoxide, with updates and with transactions."""
    with processes(RACERS) as team:
        assert race(team, update, shared_tables, rounds) == []
        assert race(team, transaction, shared_tables, rounds) == []


def test_every_fault_of_a_race_is_reported() -> None:
    """The faults are two winners, no winner, a lost win, and a win that a loser wrote."""
    assert faults([[0], [1]], [1, 1], 2) == []
    assert faults([[0], [0]], [1, 1], 1) == ["round 0 had 2 winners"]
    assert faults([[], []], [0, 0], 1) == ["round 0 had 0 winners"]
    assert faults([[0], []], [0, 0], 1) == ["racer 0 was told of 1 wins, and 0 were kept"]
    assert faults([[0], []], [1, 1], 1) == ["racer 1 was told of 0 wins, and 1 were kept"]
