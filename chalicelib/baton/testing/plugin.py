"""The pytest plugin of the test kit: ``pytest_plugins = ["chalicelib.baton.testing.plugin"]`` in your conftest.py."""

from typing import Final

import pytest

MARKERS: Final = ("guarantee(*numbers): the guarantees of Baton's README that a test stands for",)
"""The markers of the tests in ``contract/``: with ``--strict-markers`` pytest refuses a marker it does not have."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
