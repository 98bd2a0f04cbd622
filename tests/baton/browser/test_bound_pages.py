"""A team's own pages, for callers whose cookies are bound to a browser. T25: docs/baton/attacks.md."""

from pathlib import Path

import pytest

from chalicelib.baton import settings
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import SAME_ORIGIN
from tests.baton.browser.dbsc import BoundBrowser
from tests.baton.fixture import FOLDER

APP = Path(__file__).with_name("pages_app.py")
NAVIGATES = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture
def browser() -> BoundBrowser:
    """Open a browser that has bound its cookies, and whose proof has expired."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        world = World(APP, settings={"BATON_CLIENTS": "clients-web.toml"})
    browser = BoundBrowser(world)
    browser.log_in_bound()
    world.clock.skip(seconds=700)
    return browser


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_link_from_elsewhere_gets_a_page_that_reloads_itself(browser: BoundBrowser, site: str) -> None:
    """T25. The browser renews no proof for such a link.

    The reload is of the same origin, so the browser renews the proof for it.
    """
    answer = browser.request("GET", "/home", page={"sec-fetch-site": site, **NAVIGATES})
    assert (answer.status, answer.set_cookies, answer.headers["cache-control"]) == (200, [], "no-store")
    assert b'<meta http-equiv="refresh" content="0">' in answer.body
    assert answer.headers["vary"] == "Cookie, Origin"
    assert "script-src" not in answer.headers["content-security-policy"]
    browser.refresh()
    again = browser.request("GET", "/home", page={"sec-fetch-site": "same-origin", **NAVIGATES})
    assert b"refresh" not in again.body


@pytest.mark.parametrize("page", [{"sec-fetch-site": "same-origin", **NAVIGATES}, {}], ids=["reload", "old browser"])
def test_a_second_refusal_leads_to_the_login(browser: BoundBrowser, page: dict[str, str]) -> None:
    """A page reloads itself only once.

    Without the header that names the origin of a request, a browser would reload forever.
    """
    answer = browser.request("GET", "/home", page=page)
    assert (answer.status, answer.headers["location"]) == (303, "/api/login-page?next=%2Fapi%2Fhome")
    assert answer.set_cookies == []


def test_a_script_and_a_change_get_the_error(browser: BoundBrowser) -> None:
    """A request that changes something must not be repeated."""
    script = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert browser.request("GET", "/home", page=script).code == "device_proof_required"
    assert browser.request("POST", "/home", page={**SAME_ORIGIN, **NAVIGATES}).code == "device_proof_required"
    assert browser.request("GET", "/busy", page={"sec-fetch-site": "none", **NAVIGATES}).code == "device_proof_required"
