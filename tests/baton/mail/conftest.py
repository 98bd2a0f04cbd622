"""A deployment with mail, in memory, and devices that sign requests without a login."""

from collections.abc import Callable

import pytest

from chalicelib.baton.testing.world import World
from tests.baton.mail.town import Town


@pytest.fixture
def make_town() -> Callable[..., Town]:
    """Make deployments with these settings."""

    def make(**named: str) -> Town:
        settings = {f"BATON_{name.upper()}": value for name, value in named.items()}
        return Town(World("tests/baton/fixture_app/app.py", settings=settings))

    return make


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """Make one with the settings of the test kit."""
    return make_town()
