"""The pytest plugin of the test kit: ``pytest_plugins = ["chalicelib.baton.testing.plugin"]`` in your conftest.py."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from chalicelib.baton.testing.world import World

MARKERS: Final = ("guarantee(*numbers): the guarantees of Baton's README that a test proves",)
"""The markers of the tests in ``contract/``: with ``--strict-markers`` pytest refuses a marker it does not have."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def world() -> "World":
    """Return your app in two environments, over a storage in memory. See docs/baton/testing.md."""
    from chalicelib.baton.testing.world import World  # noqa: PLC0415 - only for tests that use it

    return World()


@pytest.fixture
def moto_world() -> "Iterator[World]":
    """Return your app in two environments, over DynamoDB by moto. boto3 reaches it too, for your own tables."""
    from chalicelib.baton.testing.world import World  # noqa: PLC0415 - only for tests that use it

    with World(storage="moto") as made:
        yield made
