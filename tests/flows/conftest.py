"""A deployment in memory for every test."""

import pytest

from tests.flows.world import World


@pytest.fixture
def world() -> World:
    """Give a fresh deployment."""
    return World()
