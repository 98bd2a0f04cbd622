"""The figure shows the stored numbers, and the numbers are the results of the simulation."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.baton.proofs.relay import figures
from tests.baton.proofs.relay.simulation import Deal


@pytest.fixture(scope="module")
def rows() -> list[figures.Row]:
    """Read the stored numbers."""
    return figures.counted()


def test_the_figure_is_drawn_from_the_numbers(rows: list[figures.Row], tmp_path: Path) -> None:
    """The bytes are equal. Another number gives another figure."""
    drawn = tmp_path / "relay.svg"
    figures.draw(rows, drawn)
    assert drawn.read_bytes() == figures.PICTURE.read_bytes(), "run: make figures"
    figures.draw([replace(rows[0], lost_answers=0.01), *rows[1:]], drawn)
    assert drawn.read_bytes() != figures.PICTURE.read_bytes()


def test_the_claims_about_the_figure_are_true(rows: list[figures.Row]) -> None:
    """Baton logs out no user, and strict rotation about a third. A thief without the key is never accepted."""
    by = {Deal(row.deal): row for row in rows}
    assert tuple(by) == figures.ORDER
    assert by[Deal.EXCHANGE].lost_answers == by[Deal.EXCHANGE].all_of_it == 0
    assert 0.25 < by[Deal.ROTATION].lost_answers < 0.4
    assert by[Deal.EXCHANGE].thieves_s["token"] == by[Deal.EXCHANGE].thieves_s["storage"] == 0


@pytest.mark.prove
@pytest.mark.parametrize("deal", figures.ORDER)
def test_the_numbers_are_the_results_of_the_simulation(rows: list[figures.Row], deal: Deal) -> None:
    """The simulation runs again, and the results are equal to the second."""
    (kept,) = [row for row in rows if row.deal == deal]
    assert asdict(figures.count(deal)) == asdict(kept)
