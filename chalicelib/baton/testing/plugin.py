"""The pytest plugin of the test kit: ``pytest_plugins = ["chalicelib.baton.testing.plugin"]`` in your conftest.py."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from chalicelib.baton.testing.world import World

MARKERS: Final = ("guarantee(*numbers): the guarantees of Baton's README that a test proves",)
"""The markers of the tests in ``contract/``. With ``--strict-markers``, pytest refuses unregistered markers."""


def pytest_configure(config: pytest.Config) -> None:
    """Register ``MARKERS`` with pytest."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def world() -> "World":
    """Return a ``World``: your app in two Lambda environments, over a storage in memory. See docs/baton/testing.md."""
    from chalicelib.baton.testing.world import World  # noqa: PLC0415 - only for tests that use it

    return World()


@pytest.fixture
def moto_world() -> "Iterator[World]":
    """Return a ``World`` over moto's DynamoDB. Your own boto3 clients use this DynamoDB too."""
    from chalicelib.baton.testing.world import World  # noqa: PLC0415 - only for tests that use it

    with World(storage="moto") as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """If a test fails, add the log lines of its ``World`` fixtures to its report.

    The log lines contain the reason of each refusal.
    """
    report = yield
    if report.when == "call" and report.failed:
        for lines in _lines(getattr(item, "funcargs", {})):
            report.sections.append(("Log of the world", "\n".join(json.dumps(line, default=str) for line in lines)))
    return report


def _lines(arguments: Mapping[str, object]) -> list[Sequence[Mapping[str, object]]]:
    """Return the log lines of each ``World`` among the arguments of a test: one list for each ``World``."""
    from chalicelib.baton.testing.world import World  # noqa: PLC0415 - only for tests that failed

    worlds = {id(one): one for one in arguments.values() if isinstance(one, World)}
    return [one.lines for one in worlds.values() if one.lines]
