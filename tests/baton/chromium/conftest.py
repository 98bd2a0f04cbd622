"""An account, the reference client over the gateway, and a real browser as its platform."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.chromium.bound import FEATURES, trusting_home
from tests.baton.chromium.chromium import Chromium, Platform, missing, missing_certutil
from tests.baton.chromium.console import Open, Served, Tab, served
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
    """Skip, except in `make browser`: the browser tests take minutes.

    `make browser` fails if the browser or its driver is missing.
    """
    if os.environ.get("BROWSER") != "required":
        pytest.skip(f"{NO_BROWSER}: only `make browser` runs them")
    if reason := missing():
        skip_or_fail(reason)


def skip_or_fail(reason: str) -> None:
    """Skip with a reason, which pytest prints at the end of the run. `make browser` fails instead."""
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


@pytest.fixture(scope="session")
def pages_driver() -> Iterator[Chromium]:
    """Start the browser for pages and their cookies."""
    browser_or_skip()
    with Chromium("pages.mjs") as browser:
        yield browser


@pytest.fixture(scope="session")
def tabs_driver() -> Iterator[Chromium]:
    """Start the browser for the tabs of clients."""
    browser_or_skip()
    with Chromium("pages.mjs", light=True) as browser:
        yield browser


@pytest.fixture(scope="session")
def bound_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate, and a home folder whose browser trusts it."""
    browser_or_skip()
    if reason := missing_certutil():
        skip_or_fail(reason)
    return trusting_home(tmp_path_factory.mktemp("secure"))


@pytest.fixture(scope="session")
def bound_browser(bound_home: Path) -> Iterator[Chromium]:
    """Start the browser that binds cookies."""
    with Chromium("pages.mjs", home=bound_home, arguments=[FEATURES]) as browser:
        yield browser


@pytest.fixture(scope="session")
def console_server() -> Iterator[Served]:
    """Start one development server for the tests of the console."""
    browser_or_skip()
    with served() as server:
        yield server


@pytest.fixture(scope="session")
def console_driver() -> Iterator[Chromium]:
    """Start the browser for the console."""
    browser_or_skip()
    with Chromium("console.mjs", light=True) as browser:
        yield browser


@pytest.fixture
def console(console_driver: Chromium, console_server: Served) -> Iterator[Open]:
    """Open pages, each in a browser of its own. At the end, check that no page had an error or broke its policy."""
    console_server.dev("reset", "POST", {})
    tabs: list[Tab] = []

    def open_tab(*parts: str, person: int | None = None, **options: object) -> Tab:
        person = console_driver.ask("person", **options) if person is None else person
        tabs.append(Tab(console_driver, person, f"{console_server.url}/#/{'/'.join(parts)}"))
        return tabs[-1]

    yield open_tab
    try:
        for tab in tabs:
            assert tab.troubles() == []
    finally:
        for person in {tab.person for tab in tabs}:
            console_driver.ask("leave", person=person)
