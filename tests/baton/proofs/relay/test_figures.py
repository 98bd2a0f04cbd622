"""The picture shows the numbers, and the numbers are what the simulation counts."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.baton.proofs.relay import figures
from tests.baton.proofs.relay.simulation import Deal


@pytest.fixture(scope="module")
def rows() -> list[figures.Row]:
    """Read the numbers that are kept."""
    return figures.counted()


def test_the_picture_is_drawn_from_the_numbers(rows: list[figures.Row], tmp_path: Path) -> None:
    """Byte by byte; another number gives another picture."""
    drawn = tmp_path / "relay.svg"
    figures.draw(rows, drawn)
    assert drawn.read_bytes() == figures.PICTURE.read_bytes(), "run: make figures"
    figures.draw([replace(rows[0], lost_answers=0.01), *rows[1:]], drawn)
    assert drawn.read_bytes() != figures.PICTURE.read_bytes()


def test_what_the_picture_says(rows: list[figures.Row]) -> None:
    """The claims of the README: none, a third, and who ends a thief."""
    by = {Deal(row.deal): row for row in rows}
    assert tuple(by) == figures.ORDER
    assert by[Deal.EXCHANGE].lost_answers == by[Deal.EXCHANGE].all_of_it == 0
    assert 0.25 < by[Deal.ROTATION].lost_answers < 0.35
    assert by[Deal.EXCHANGE].thieves_s["token"] == by[Deal.EXCHANGE].thieves_s["storage"] == 0


@pytest.mark.prove
@pytest.mark.parametrize("deal", figures.ORDER)
def test_the_numbers_are_what_the_simulation_counts(rows: list[figures.Row], deal: Deal) -> None:
    """Counted again, to the second."""
    (kept,) = [row for row in rows if row.deal == deal]
    assert asdict(figures.count(deal)) == asdict(kept)
