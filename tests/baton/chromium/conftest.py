"""An account, the reference client over the gateway, and a real browser as its platform."""

import os
from collections.abc import Iterator

import pytest

from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.chromium.chromium import Chromium, Platform, missing
from tests.baton.report import NO_BROWSER
from tests.baton.wire.conftest import make_client
from tests.baton.wire.second_factor import factors_gateway
from tools.dev.gateway import DevelopmentClock, Gateway

__all__ = ["make_client"]


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put the gateway in front of an environment whose registry has passkeys, over tables in DynamoDB."""
    return factors_gateway(tables, clock, monkeypatch)


def browser_or_skip() -> None:
    """Skip where the browser or its driver is missing. `make browser` fails there."""
    if reason := missing():
        skip_or_fail(reason)


def skip_or_fail(reason: str) -> None:
    """Skip for a reason that the end of the run shows. `make browser` fails."""
    if os.environ.get("BROWSER") == "required":
        pytest.fail(f"{reason}: the browser tests cannot run")
    pytest.skip(f"{NO_BROWSER}: {reason}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    """Start the browser for passkeys."""
    browser_or_skip()
    with Chromium() as browser:
        yield browser


@pytest.fixture
def platform(browser: Chromium) -> Iterator[Platform]:
    """Open a page with an empty authenticator."""
    platform = browser.platform()
    yield platform
    platform.close()
