"""Tabs of the TypeScript client in Chromium: locks, and scenarios of the conformance suite."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chalicelib.baton.testing.world import World
from tests.baton.chromium.agents import BrowserScene, Pages, pages_served
from tests.baton.chromium.chromium import Chromium
from tests.baton.chromium.conftest import browser_or_skip
from tests.baton.clients.conformance import (
    test_a_lost_answers as lost,
)
from tests.baton.clients.conformance import (
    test_b_together as together,
)
from tests.baton.clients.conformance import (
    test_c_clocks as clocks,
)
from tests.baton.clients.conformance import (
    test_d_foreign as foreign,
)
from tests.baton.clients.conformance import (
    test_f_ends as ends,
)
from tests.baton.clients.conformance.conftest import line, make_world, pytest_runtest_makereport
from tests.baton.clients.conformance.line import Line
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, eventually, scenarios

__all__ = ["line", "make_world", "pytest_runtest_makereport"]
SCENARIOS = (
    lost.test_01_the_answer_to_a_registration_is_lost,
    lost.test_02_the_answer_to_a_login_is_lost_and_the_app_killed,
    lost.test_04_the_answer_to_an_exchange_is_lost_thrice,
    lost.test_07_a_crash_in_an_exchange,
    lost.test_11_a_crash_in_a_login,
    lost.test_12_killed_while_the_answer_is_held,
    lost.test_13_the_answer_to_a_call_is_lost,
    lost.test_14_the_answer_to_a_call_with_a_key_is_lost,
    lost.test_16_a_grant_is_spent_by_a_lost_answer,
    together.test_19_fifty_callers,
    together.test_23_a_logout_beside_an_exchange,
    together.test_24_another_person_logs_in_beside_an_exchange,
    together.test_25_the_first_caller_cancels,
    clocks.test_28_and_29_a_day_ahead_or_behind,
    clocks.test_30_the_clock_is_set_back_later,
    clocks.test_31_to_33_a_time_that_does_not_count,
    foreign.test_36_a_portal,
    foreign.test_37_to_48_an_answer_that_is_none,
    foreign.test_39_a_redirect,
    foreign.test_42_and_45_an_answer_of_the_wrong_length,
    foreign.test_50_a_short_limit,
    ends.test_57_logout_and_again,
    ends.test_58_logout_offline,
    ends.test_59_killed_during_a_logout,
    ends.test_60_logout_everywhere,
    ends.test_60_the_answer_to_a_logout_everywhere_is_lost,
    ends.test_60_a_logout_everywhere_after_that_of_another_device,
    ends.test_61_ended_elsewhere,
    ends.test_62_the_password_is_changed_elsewhere,
    ends.test_63_the_account_is_deleted_elsewhere,
    ends.test_65_a_clone_exchanges_twice,
    ends.test_68_to_70_a_backup,
    ends.test_71_the_key_is_lost,
)
"""The tests that the other clients run too, here with tabs in the place of processes."""
COPIES = (ends.test_65_a_clone_exchanges_twice.__name__, ends.test_68_to_70_a_backup.__name__)
globals().update({one.__name__: one for one in SCENARIOS})


@pytest.fixture(scope="module")
def driver(request: pytest.FixtureRequest) -> Chromium:
    """Return the browser."""
    browser_or_skip()
    browser: Chromium = request.getfixturevalue("tabs_driver")
    return browser


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """Serve the agents."""
    with pages_served() as served:
        yield served


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    driver: Chromium,
    pages: Pages,
    line: Line,
    make_world: Callable[..., World],
    tmp_path: Path,
) -> Iterator[BrowserScene]:
    """Begin a scenario. The pages have another origin than the API, so the browser sends preflights."""
    world = make_world(BATON_ORIGINS=pages.origin)
    copies = request.function.__name__ in COPIES
    with BrowserScene(driver, pages, line, world, tmp_path, copies=copies) as made:
        yield made
        assert driver.ask("troubles") == [], "an error of a page, or a violation of its policy"


@scenarios(26)
def test_26_two_tabs_with_an_expired_token(scene: BrowserScene) -> None:
    """The tabs get 50 answers, and the lock of the browser allows only one exchange."""
    tabs = [scene.registered(), scene.agent(), scene.agent()]
    tabs[0]("expire")
    numbers = [tab.begin("parallel", n=n, of={"do": "me"}) for tab, n in zip(tabs, (17, 17, 16), strict=True)]
    answers = [one for tab, number in zip(tabs, numbers, strict=True) for one in tab.wait(number)]
    assert [("ok" in one) for one in answers] == [True] * 50
    assert len(scene.line.sent("/oauth/token")) == 1
    assert len({tab("record")["token"] for tab in tabs}) == 1


@scenarios(26)
def test_26_a_logout_is_seen_in_the_other_tab(scene: BrowserScene) -> None:
    """The other tab gets the reason, without a request."""
    first, second = scene.registered(), scene.agent()
    assert second("state")["signed_in"]
    first("logout")
    eventually(lambda: any(one["reason"] == "logout" for one in second.events), "the other tab was not told")
    assert second.fails("me").kind == "not_logged_in"


@scenarios(27)
def test_27_the_holder_of_the_lock_is_frozen(scene: BrowserScene) -> None:
    """The other tab waits five seconds, then exchanges with the same attempt. Both have the same child."""
    frozen, other = scene.registered(), scene.agent()
    frozen("expire")
    held = scene.line.fault("POST", "/oauth/token", "hold")
    number = frozen.begin("me")
    assert held.held.wait(10)
    frozen.freeze()
    held.release.set()
    begun = time.monotonic()
    other("me")
    assert time.monotonic() - begun > 4, "it waits for the lock"
    assert not frozen.answers[number].qsize(), "the tab is not frozen"
    token = other("record")["token"]
    frozen.freeze(on=False)
    frozen.wait(number)
    assert frozen("record")["token"] == token
    first, second = scene.line.sent("/oauth/token")
    assert first.header("idempotency-key") == second.header("idempotency-key")
    assert scene.reasons(other) == [None]


def test_a_key_that_no_script_can_export(scene: BrowserScene) -> None:
    """A login in one tab is also a login in another tab, and after a restart of the first tab."""
    tab = scene.registered()
    tab.kill()
    again = scene.agent()
    assert again("me")["email"] == EMAIL
    again("logout")
    again("login", email=EMAIL, password=PASSWORD)
    again("me")
