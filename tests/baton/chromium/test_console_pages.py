"""The console in Chromium, against a development server. A page error or a violation of its policy fails any test."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.baton.chromium.chromium import Chromium
from tests.baton.chromium.conftest import browser_or_skip
from tests.baton.chromium.console import Served, Tab, served
from tests.baton.wire.conversation import PASSWORD

Open = Callable[..., Tab]

PAGES = ("stories", "wire", "accounts", "phones", "mail", "api", "setup")
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """Start one development server for all tests of this module."""
    browser_or_skip()
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def driver() -> Iterator[Chromium]:
    """Start the browser."""
    browser_or_skip()
    with Chromium("console.mjs") as browser:
        yield browser


@pytest.fixture
def console(driver: Chromium, server: Served) -> Iterator[Open]:
    """Open pages in browsers of their own. Afterwards, no page had an error or broke its policy."""
    server.dev("reset", "POST", {})
    tabs: list[Tab] = []

    def open_tab(*parts: str, person: int | None = None, **options: object) -> Tab:
        person = driver.ask("person", **options) if person is None else person
        tabs.append(Tab(driver, person, f"{server.url}/#/{'/'.join(parts)}"))
        return tabs[-1]

    yield open_tab
    try:
        for tab in tabs:
            assert tab.troubles() == []
    finally:
        for person in {tab.person for tab in tabs}:
            driver.ask("leave", person=person)


def registered(tab: Tab) -> Tab:
    """Add a phone, and register an account on it."""
    tab.go("phones")
    tab.click("button", "+ add phone")
    tab.click("button", "register")
    tab.wait(".told", "registered")
    return tab


def play(tab: Tab, story: str) -> None:
    """Play a story to its end, or to the step at which it stops."""
    tab.go("stories", story)
    tab.click("button", "play all")
    tab.wait(".moral, .failing")
    assert tab.texts(".failing") == []


STEPS = {"lost-answer": 5, "theft": 8, "restored-phone": 7, "wrong-clock": 4, "step-up": 4}


@pytest.mark.parametrize("story", STEPS)
def test_each_story_ends_as_it_says(console: Open, story: str) -> None:
    """Every step is compared with its expectation by the page."""
    tab = console("stories")
    play(tab, story)
    assert len(tab.texts(".step.done")) == STEPS[story]
    assert tab.texts(".tag.bad:has-text('✗')") == []


def test_a_story_stops_when_an_expectation_fails(console: Open, server: Served) -> None:
    """A fault breaks the second step of a story that expects no fault. The page says what it found, and goes no further."""
    tab = console("stories", "wrong-clock")
    tab.click("button", "begin")
    tab.wait(".step.done")
    server.dev("faults", "POST", {"name": "request_lost", "match": {"route": "/oauth/token"}, "times": 1000})
    tab.click("button", "next")
    tab.wait(".step.done:nth-of-type(2)")
    tab.click("button", "next")
    tab.wait(".failing", "Expected: the app gets ok. Found: offline.")
    tab.run("document.querySelector('.bar .primary').focus()")
    tab.ask("press", key="Enter")
    assert len(tab.texts(".step:is(.done, .wrong)")) == 3


def test_the_theft_is_read_in_the_picture(console: Open, server: Served) -> None:
    """The labels say who exchanged which token with which attempt, and why the login ended."""
    tab = console("stories")
    play(tab, "theft")
    (account,) = server.dev("accounts?q=theft-")["accounts"]
    tab.go("accounts", account["account"])
    tab.wait(".lineage .box.theft")
    (fork,) = tab.labels(".lineage .box.theft a")
    assert re.fullmatch(
        r"Generation 1 again, presented at [\d:]+ by owner, attempt [0-9a-f]{8}: reuse: login ended\. .* two parties .*",
        fork,
    )
    (same,) = tab.labels(".lineage .box.again a")
    assert "same attempt, same child" in same
    whole = next(label for label in tab.labels("svg.lineage") if "two attempts" in label)
    assert re.search(r"first by thief with [0-9a-f]{8}, then by owner with [0-9a-f]{8}\. It ended at", whole)
    listed = [text for text in tab.run("return [...document.querySelectorAll('.as-text li')].map((one) => one.textContent)")]
    assert fork in listed
    tab.run("document.querySelector('.lineage .box.theft a').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    tab.wait(".reuse", "One token, two attempts")
    assert {"by\nthief", "by\nowner"} <= set(tab.texts(".reuse .facts > div"))


def test_the_theft_story_by_keyboard_alone(console: Open) -> None:
    """From the first page to the request that ended the login, with Tab and Enter."""
    tab = console("wire")

    def reach(wanted: str) -> None:
        for _ in range(90):
            tab.ask("press", key="Tab")
            if wanted in tab.ask("focus")["name"]:
                return
        raise AssertionError(f"Tab does not reach {wanted!r}")

    for wanted in ("Stories", "The theft"):
        reach(wanted)
        tab.ask("press", key="Enter")
        tab.wait("h1", "What Baton does" if wanted == "Stories" else "The theft")
    reach("begin")
    for done in range(1, STEPS["theft"] + 1):
        tab.ask("press", key="Enter")
        tab.wait(".bar .note", f"step {done} of")
        assert tab.ask("focus")["name"] in {"begin", "next"}, "the button kept the focus"
    tab.wait(".moral")
    tab.wait(".lineage .box.theft")
    reach("reuse: login ended")
    tab.ask("press", key="Enter")
    tab.wait(".reuse", "One token, two attempts")
    assert tab.texts(".failing") == []


def test_a_copy_of_a_phone_is_shown_as_a_fork(console: Open, server: Served) -> None:
    """By the buttons of the phones, without a story."""
    tab = registered(console("phones"))
    tab.click("button", "clone", within="[aria-label='phone 1']")
    for phone in (1, 2, 1, 2):
        tab.click("button", "exchange", within=f"[aria-label='phone {phone}']")
        tab.wait(f"[aria-label='phone {phone}'] .told", "exchanged" if phone == 1 or not tab_has_two(tab) else "")
    tab.wait("[aria-label='phone 2'] .tag.bad", "two parties used one token")
    tab.click("button", "call", within="[aria-label='phone 1']")
    tab.wait("[aria-label='phone 1'] .tag.bad", "two parties used one token")
    (account,) = server.dev("accounts?q=phone-1@")["accounts"]
    tab.go("accounts", account["account"])
    tab.wait(".lineage .box.theft")
    assert "by phone 2" in tab.labels(".lineage .box.theft a")[0]


def tab_has_two(tab: Tab) -> bool:
    """Whether phone 1 has exchanged twice."""
    return "generation 1 → 2" in "".join(tab.texts("[aria-label='phone 1'] .told"))


def test_what_may_happen_to_a_phone(console: Open) -> None:
    """A stolen token without its key, a second process, a killed app, no network, a wrong clock: the login goes on."""
    tab = registered(console("phones"))
    phone = "[aria-label='phone 1']"
    for button, told in (
        ("steal token", "a thief without the key: call 401"),
        ("second process", "two processes exchanged: one child"),
        ("kill app", "started again"),
        ("clock +1 h", "clock changed"),
        ("exchange", "exchanged: generation 1 → 2"),
        ("right clock", "clock changed"),
        ("offline", "offline"),
        ("online", "online"),
        ("backup", "backup made"),
        ("call", "GET /me: 200"),
    ):
        tab.click("button", button, within=phone)
        tab.wait(f"{phone} .told", told)
    assert tab.texts(f"{phone} header .tag") == ["generation 2"]
    tab.ask("reload")
    assert tab.texts(f"{phone} header .tag") == ["generation 2"], "a reload keeps the phones"


def test_a_fault_button_loses_an_answer(console: Open) -> None:
    """The phone repeats its exchange with the same attempt, and gets the same child. The wire log shows both."""
    tab = registered(console("phones"))
    tab.click("button", "lose next answer", within="[aria-label='phone 1']")
    tab.wait(".faults", "answer_lost ×1, phone 1")
    tab.click("button", "exchange", within="[aria-label='phone 1']")
    tab.wait("[aria-label='phone 1'] .told", "exchanged: generation 0 → 1")
    tab.ask("gone", selector=".faults")
    tab.go("wire")
    tab.wait(".row .tag", "lost")
    tab.wait(".row .tag", "same attempt, same child")


def test_the_wire_log_is_live_and_has_every_part(console: Open, server: Served) -> None:
    """A request of another program appears without a reload. Its parts are shown, and secrets are not."""
    tab = console("wire")
    server.api("/login", {"email": "demo@example.com", "password": PASSWORD_OF_DEMO, "client_id": "simple"})
    tab.wait(".row .path", "/login")
    tab.click("button", "only refusals")
    tab.wait(".empty", "No request passes the filter.")
    tab.click("button", "only refusals")
    tab.run("document.querySelector('.row').click()")
    tab.wait(".detail h2", "/login")
    for part in ("Headers", "Body", "DynamoDB", "curl", "Signature base"):
        tab.click("button", part)
        tab.wait(".pane")
        assert PASSWORD_OF_DEMO not in "".join(tab.texts(".pane"))
    tab.click("button", "DynamoDB")
    tab.wait(".pane td", "lineages")
    tab.click("button", "curl")
    tab.click("button", "copy curl command")
    assert tab.run("return navigator.clipboard.readText()").startswith("curl -X POST 'http://localhost:")


def test_a_request_is_compared_line_by_line_and_sent_again(console: Open) -> None:
    """The phone's signature base is beside the server's. "again" signs anew: the same attempt gets the same child."""
    tab = registered(console("phones"))
    tab.click("button", "exchange")
    tab.wait(".told", "exchanged")
    tab.run("location.hash = '#/wire'")
    tab.wait(".row", "gen 0 → 1")
    tab.run("[...document.querySelectorAll('.row')].find((row) => row.textContent.includes('gen 0')).click()")
    tab.wait(".detail h2", "/oauth/token")
    tab.click("button", "Signature base")
    tab.wait(".pane", "The phone and the server built the same base.")
    assert len(tab.texts(".bases tbody tr")) > 4
    tab.click("button", "curl")
    tab.click("button", "again")
    tab.wait(".status", "Sent again: 200.")
    tab.wait(".row .tag", "same attempt, same child")


UNTIL_ROWS = """
const end = Date.now() + 20000;
const count = () => document.querySelectorAll(".row").length;
while (count() !== given.rows && Date.now() < end) await new Promise((done) => setTimeout(done, 50));
if (count() !== given.rows) throw new Error(`${count()} rows, expected ${given.rows}`);
"""


def test_a_tab_that_opens_later_shows_what_happened_before(console: Open, server: Served) -> None:
    """Each row once, in the tab that leads and in the one that gets the events from it."""
    for _ in range(3):
        server.api("/login", {"email": "demo@example.com", "password": PASSWORD_OF_DEMO, "client_id": "simple"})
    first = console("wire")
    tabs = (first, console("wire", person=first.person))
    for tab in tabs:
        tab.run(UNTIL_ROWS, rows=3)
    rows = [tab.run("return [...document.querySelectorAll('.row')].map((one) => one.hash)") for tab in tabs]
    assert rows[0] == rows[1]
    assert len(set(rows[0])) == len(rows[0]) == 3


def test_nine_tabs_share_one_stream(console: Open, server: Served) -> None:
    """A browser opens six connections to one origin. One tab leads; when it closes, the next one resumes without a gap."""
    first = console("wire")
    tabs = [first, *(console("wire", person=first.person) for _ in range(8))]
    login = {"email": "demo@example.com", "password": PASSWORD_OF_DEMO, "client_id": "simple"}
    server.api("/login", login)
    for tab in tabs:
        tab.run(UNTIL_ROWS, rows=1)
    first.close()
    server.api("/login", login)
    for tab in tabs[1:]:
        tab.run(UNTIL_ROWS, rows=2)


PASSWORD_OF_DEMO = "copper lantern drifting sideways"  # noqa: S105 - printed by make dev


def test_the_search_finds_requests_accounts_and_devices(console: Open, server: Served) -> None:
    """One box, and the key ``/`` for it."""
    made = server.api("/register", {"email": "eve@example.com", "password": PASSWORD, "client_id": "simple"})
    tab = console("wire")
    tab.wait(".row", "/register")
    (row,) = tab.run("return [...document.querySelectorAll('.row')].map((one) => one.hash.split('/').at(-1))")

    def search(text: str) -> None:
        tab.ask("press", key="/")
        tab.run("document.activeElement.value = ''")
        tab.ask("type", text=text)
        tab.ask("press", key="Enter")

    search(row)
    tab.wait(".detail h2", "/register")
    tab.ask("press", key="Escape")  # leaves the search box
    search("eve@example.com")
    tab.wait("h1", "eve@example.com")
    tab.ask("press", key="Escape")
    search(made["device_id"])
    tab.wait(".card-link", "eve@example.com")
    tab.ask("press", key="Escape")
    search("nobody@example.com")
    tab.wait(".empty", "Nothing was found.")


def test_markup_is_text(console: Open, server: Served) -> None:
    """T37. In a device name, an address and a mail. Nothing runs, and the policy is not even asked."""
    device = {"name": MARKUP}
    server.api("/register", {"email": "a'<b>x</b>@example.com".replace("<b>x</b>", "b"), "password": PASSWORD, "client_id": "simple", "device": device})
    (account,) = [one for one in server.dev("accounts")["accounts"] if one["email"].startswith("a'b")]
    tab = console("accounts", account["account"])
    tab.wait(".login h3", MARKUP)
    tab.go("search", "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    tab.wait("h1", f"Search: {MARKUP}")
    assert tab.run("return document.querySelectorAll('img').length") == 0


def test_try_it_signs_with_a_phone(console: Open) -> None:
    """The reference is drawn from openapi.json. A call and a refusal are shown, with a link to the wire."""
    tab = registered(console("phones"))
    tab.go("api", "get%20%2Fme")
    tab.click("button", "sign and send")
    tab.wait(".answer .tag", "200")
    assert '"email": "phone-1@example.com"' in "".join(tab.texts(".answer pre"))
    tab.click("link", "see it on the wire")
    tab.wait(".detail h2", "/me")
    tab.go("api", "delete%20%2Fme")
    tab.click("button", "sign and send")
    tab.wait(".answer .tag", "401 step_up_required")
    tab.run("document.querySelector('.try input[type=checkbox]').click()")
    tab.click("button", "sign and send")
    tab.wait(".answer .tag", "204")


def test_accounts_are_ended_after_their_address_is_typed(console: Open, server: Served) -> None:
    """The button waits for the whole address, and the server checks it."""
    server.api("/register", {"email": "eve@example.com", "password": PASSWORD, "client_id": "simple"})
    (account,) = server.dev("accounts?q=eve@example.com")["accounts"]
    tab = console("accounts", account["account"])
    tab.click("button", "disable")
    assert tab.run("return document.querySelector('.confirm button').disabled") is True
    tab.ask("fill", label="type the address", text="eve@example.com")
    tab.click("button", "disable", within=".confirm")
    tab.wait("h1 .tag.bad", "disabled")


def test_the_clock_moves_and_returns(console: Open, server: Served) -> None:
    """The frame shows how far ahead the clock of the server is."""
    tab = console("wire")
    tab.click("button", "Move the clock +16 min")
    tab.wait(".clock output", "+00:16:00")
    assert server.dev("clock")["skipped"] == 960
    tab.wait(".machine", "clock moved")
    tab.click("button", "now: back to the true time")
    tab.wait(".clock output", "+00:00:00")


def test_the_mails_have_their_codes(console: Open, server: Served) -> None:
    """A code is beside a button that copies it."""
    server.api("/password/forgot", {"email": "demo@example.com", "client_id": "simple"})
    tab = console("mail")
    tab.wait(".mail-code code")
    assert re.fullmatch(r"\d{4} \d{4}", tab.texts(".mail-code code")[0])


def test_reset_deletes_all(console: Open, server: Served) -> None:
    """Two clicks. The phones of the page go too."""
    tab = registered(console("phones"))
    tab.go("setup")
    tab.wait("section h2", "Settings")
    tab.click("button", "reset")
    tab.click("button", "delete all data")
    tab.wait(".status", "All data is deleted.")
    assert [one["email"] for one in server.dev("accounts")["accounts"]] == ["demo@example.com"]
    tab.go("phones")
    tab.wait(".empty", "No phones yet.")


def test_a_server_that_is_away_is_said_with_the_remedy(driver: Chromium) -> None:
    """The page waits for it, and says what to start."""
    with served() as away:
        person = driver.ask("person")
        tab = Tab(driver, person, f"{away.url}/#/wire")
        tab.wait(".connection", "live")
    tab.wait(".banner", "Start it with make dev")
    port = int(away.url.rpartition(":")[2])
    with served(port):
        tab.ask("gone", selector=".banner")
        tab.wait(".connection", "live")
    driver.ask("leave", person=person)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_accessible_and_whole(console: Open, server: Served, width: int, scheme: str) -> None:
    """axe finds nothing, and nothing is cut, on each page with data: with a theft, a phone, a fault and a mail."""
    tab = console("stories", width=width, scheme=scheme)
    found: dict[str, Any] = {}

    def look(name: str) -> None:
        found[name] = tab.ask("axe"), tab.ask("cut")

    look("stories")
    for name in PAGES[1:]:
        tab.go(name)
        look(f"{name}, empty")
    play(tab, "theft")
    tab.wait(".lineage .box.theft")
    look("story")
    server.dev("faults", "POST", {"name": "slow", "ms": 1, "times": 9})
    server.api("/password/forgot", {"email": "demo@example.com", "client_id": "simple"})
    (account,) = server.dev("accounts?q=theft-")["accounts"]
    (reuse,) = [one for one in server.dev("requests?q=token_reused")["requests"] if one["code"] == "token_reused"]
    for name, parts, shown in (
        ("account", ("accounts", account["account"]), ".lineage .box"),
        ("phones", ("phones",), ".phone-card"),
        ("mail", ("mail",), ".mail"),
        ("route", ("api", "post%20%2Foauth%2Ftoken"), ".answers dt"),
        ("search", ("search", "theft-"), ".cards"),
        ("request", ("wire", reuse["request_id"]), ".reuse"),
    ):
        tab.go(*parts)
        tab.wait(shown)
        look(name)
    for part in ("Headers", "Signature base", "Body", "DynamoDB", "curl"):
        tab.click("button", part)
        look(f"request, {part}")
    assert {name: one for name, one in found.items() if one != ([], 0)} == {}
