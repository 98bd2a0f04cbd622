"""Worlds over both storages."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.testing.world import World
from tests.baton.testing.placed import ORDERS

APP = Path(__file__).parent / "orders_app.py"
ROLES = "\n[roles]\nadmin = { code = 1 }\nsupport = { code = 2 }\n"

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorld]:
    """Make worlds of the fixture app, whose registry has roles."""
    text = Clients.from_toml
    monkeypatch.setattr(Clients, "from_toml", lambda words, file="": text(words + ROLES, file))
    ORDERS.clear()
    made: list[World] = []

    def make(**named: Any) -> World:
        made.append(World(APP, **named))
        return made[-1]

    yield make
    for world in reversed(made):
        world.close()


@pytest.fixture(params=["memory", "moto"])
def world(request: pytest.FixtureRequest, make_world: MakeWorld) -> World:
    """Create a world over each storage, so that each test runs with both."""
    return make_world(storage=request.param)
