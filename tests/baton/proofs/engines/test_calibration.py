"""The engines themselves, raced before Baton is: so that a race Baton passes means something."""

import pytest
from botocore.exceptions import ClientError

from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.proofs.engines.racing import RACERS, Attempt, faults, race, transaction, update
from tests.baton.proofs.engines.together import processes, threads

ROUNDS = 40
"""The long form races 500."""

KINDS = pytest.mark.parametrize("attempt", [update, transaction], ids=lambda attempt: attempt.__name__)
LENGTHS = pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(500, marks=pytest.mark.prove)])


@KINDS
@LENGTHS
def test_the_embedded_engine_has_one_winner(
    tables: Tables, attempt: Attempt, rounds: int, wide_gap: None, eager_switching: None
) -> None:
    """Eight threads, and moto serialised: one winner a round, every win is kept, no loser leaves a trace."""
    with threads(RACERS) as team:
        assert race(team, attempt, tables, rounds) == []


@KINDS
@pytest.mark.xfail(
    strict=True,
    raises=(AssertionError, ClientError),  # a 500: it copies all tables, and stumbles over a write beside it
    reason="stock moto has no lock: two win one conditional write",
)
def test_stock_moto_has_one_winner(
    tables: Tables, attempt: Attempt, stock: None, wide_gap: None, eager_switching: None
) -> None:
    """The same race without the lock is lost: the test above can fail."""
    with threads(RACERS) as team:
        assert race(team, attempt, tables, ROUNDS) == []


@LENGTHS
def test_dynoxide_has_one_winner(shared_tables: Tables, rounds: int) -> None:
    """Eight processes, and dynoxide: the same, of both kinds."""
    with processes(RACERS) as team:
        assert race(team, update, shared_tables, rounds) == []
        assert race(team, transaction, shared_tables, rounds) == []


def test_every_fault_of_a_race_is_told() -> None:
    """Two winners, no winner, a win that was wiped, and one that a loser left behind."""
    assert faults([[0], [1]], [1, 1], 2) == []
    assert faults([[0], [0]], [1, 1], 1) == ["round 0 had 2 winners"]
    assert faults([[], []], [0, 0], 1) == ["round 0 had 0 winners"]
    assert faults([[0], []], [0, 0], 1) == ["racer 0 was told of 1 wins, and 0 were kept"]
    assert faults([[0], []], [1, 1], 1) == ["racer 1 was told of 0 wins, and 1 were kept"]
