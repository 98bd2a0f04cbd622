"""A deployment with mail, in memory, and devices that sign requests without a login."""

from collections.abc import Callable

import pytest

from chalicelib.baton import settings
from chalicelib.baton.policy import DAY_S
from chalicelib.baton.testing.world import World
from tests.baton.fixture import APP, FOLDER
from tests.baton.mail.town import Town


@pytest.fixture
def make_town() -> Callable[..., Town]:
    """Make deployments with these settings."""

    def make(**named: str) -> Town:
        chosen = {f"BATON_{name.upper()}": value for name, value in named.items()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "_FOLDER", FOLDER)
            town = Town(World(APP, settings=chosen))
        town.world.clock.skip(seconds=DAY_S - town.world.clock.now % DAY_S)  # a day begins: some limits are for a day
        return town

    return make


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """Make a deployment with the settings of the test kit."""
    return make_town()


@pytest.fixture
def linked(make_town: Callable[..., Town]) -> Town:
    """Make a deployment whose mails have links to the app."""
    return make_town(clients="clients-mail.toml")
