"""A deployment with clients that deliver cookies, in memory, and browsers."""

from collections.abc import Callable

import pytest

from chalicelib.baton import settings
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import Browser
from tests.baton.fixture import APP, FOLDER


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    """Make deployments with these settings."""

    def make(*, environments: int = 2, **named: str) -> World:
        chosen = {"BATON_CLIENTS": "clients-web.toml", **{f"BATON_{key.upper()}": val for key, val in named.items()}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "_FOLDER", FOLDER)
            return World(APP, settings=chosen, environments=environments)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Make a deployment with the settings of the test kit."""
    return make_world()


@pytest.fixture
def browser(world: World) -> Browser:
    """Open a browser without cookies."""
    return Browser(world)


@pytest.fixture(scope="module")
def pages(make_world: Callable[..., World]) -> World:
    """Make a deployment that pages of another origin, which sign with a key, may call."""
    return make_world(origins="https://spa.example.com")
