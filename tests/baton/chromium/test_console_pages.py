"""The pages of the console in Chromium. A page error or a violation of its policy fails any test."""

import re
from typing import Any

import pytest

from tests.baton.chromium.chromium import Chromium
from tests.baton.chromium.console import DEMO, Open, Served, Tab, play, registered, served
from tests.baton.wire.conversation import PASSWORD

PAGES = ("stories", "wire", "accounts", "phones", "mail", "api", "setup")
MARKUP = "<img src=x onerror=alert(1)>"


def test_the_wire_log_is_live_and_has_every_part(console: Open, console_server: Served) -> None:
    """A request of another program appears without a reload. All its parts are shown, but no secret."""
    tab = console("wire")
    console_server.api("/login", DEMO)
    tab.wait(".row .path", "/login")
    tab.click("button", "only refusals")
    tab.wait(".empty", "No request passes the filter.")
    tab.click("button", "only refusals")
    tab.run("document.querySelector('.row').click()")
    tab.wait(".detail h2", "/login")
    for part in ("Headers", "Body", "DynamoDB", "curl", "Signature base"):
        tab.click("button", part)
        tab.wait(".pane")
        assert DEMO["password"] not in "".join(tab.texts(".pane"))
    tab.click("button", "DynamoDB")
    tab.wait(".pane td", "lineages")
    tab.click("button", "curl")
    tab.click("button", "copy curl command")
    assert tab.run("return navigator.clipboard.readText()").startswith("curl -X POST 'http://localhost:")


def test_a_request_is_compared_line_by_line_and_sent_again(console: Open) -> None:
    """The phone's signature base is beside the server's. "again" signs anew: same attempt, same child."""
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


def test_a_tab_that_opens_later_shows_what_happened_before(console: Open, console_server: Served) -> None:
    """Each row appears once: in the tab that leads, and in the tab that gets the events from it."""
    for _ in range(3):
        console_server.api("/login", DEMO)
    first = console("wire")
    tabs = (first, console("wire", person=first.person))
    for tab in tabs:
        tab.run(UNTIL_ROWS, rows=3)
    rows = [tab.run("return [...document.querySelectorAll('.row')].map((one) => one.hash)") for tab in tabs]
    assert rows[0] == rows[1]
    assert len(set(rows[0])) == len(rows[0]) == 3


def test_nine_tabs_share_one_stream(console: Open, console_server: Served) -> None:
    """A browser opens at most six connections to one origin, so one tab leads. When it closes, the next tab resumes."""
    first = console("wire")
    tabs = [first, *(console("wire", person=first.person) for _ in range(8))]
    console_server.api("/login", DEMO)
    for tab in tabs:
        tab.run(UNTIL_ROWS, rows=1)
    first.close()
    console_server.api("/login", DEMO)
    for tab in tabs[1:]:
        tab.run(UNTIL_ROWS, rows=2)


def test_the_search_finds_requests_accounts_and_devices(console: Open, console_server: Served) -> None:
    """One search box finds all of them. The key ``/`` moves the focus to the box."""
    made = console_server.api("/register", {"email": "eve@example.com", "password": PASSWORD, "client_id": "simple"})
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
    tab.wait(".login h3")  # the page of the search has the same text in its heading, but shows no login
    tab.ask("press", key="Escape")
    search(made["device_id"])
    tab.wait(".card-link", "eve@example.com")
    tab.ask("press", key="Escape")
    search("nobody@example.com")
    tab.wait(".empty", "Nothing was found.")


EARLIER_RESULT_AFTER_A_NEW_SEARCH = """
const kept = window.setTimeout;
window.setTimeout = (act, ms, ...given) => {
  if (ms || !document.querySelector(".card-link")) return kept(act, ms, ...given);  // the result has not arrived
  location.hash = "#/search/a-later-text";  // the page gets the event `hashchange` after this function
  act(...given);
};
location.hash = "#/search/eve%40example.com";
"""


def test_the_result_of_an_earlier_search_does_not_replace_a_later_search(console: Open, console_server: Served) -> None:
    """Scenario: the person searches again when the first result arrives, which would open the page of the account."""
    console_server.api("/register", {"email": "eve@example.com", "password": PASSWORD, "client_id": "simple"})
    tab = console("wire")
    tab.run(EARLIER_RESULT_AFTER_A_NEW_SEARCH)
    tab.wait(".empty", "Nothing was found.")
    assert tab.texts("h1") == ["Search: a-later-text"]


def test_markup_is_text(console: Open, console_server: Served) -> None:
    """T37. Markup in a device name, an address and a mail is shown as text. The policy has nothing to block."""
    device = {"name": MARKUP}
    console_server.api(
        "/register",
        {
            "email": "a'<b>x</b>@example.com".replace("<b>x</b>", "b"),
            "password": PASSWORD,
            "client_id": "simple",
            "device": device,
        },
    )
    (account,) = [one for one in console_server.dev("accounts")["accounts"] if one["email"].startswith("a'b")]
    tab = console("accounts", account["account"])
    tab.wait(".login h3", MARKUP)
    tab.go("search", "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    tab.wait("h1", f"Search: {MARKUP}")
    assert tab.run("return document.querySelectorAll('img').length") == 0


def test_try_it_signs_with_a_phone(console: Open) -> None:
    """The reference is made from openapi.json. A call and a refusal are shown, with a link to the wire log."""
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


def test_accounts_are_ended_after_their_address_is_typed(console: Open, console_server: Served) -> None:
    """The button waits for the whole address, and the server checks it."""
    console_server.api("/register", {"email": "eve@example.com", "password": PASSWORD, "client_id": "simple"})
    (account,) = console_server.dev("accounts?q=eve@example.com")["accounts"]
    tab = console("accounts", account["account"])
    tab.click("button", "disable")
    assert tab.run("return document.querySelector('.confirm button').disabled") is True
    tab.ask("fill", label="type the address", text="eve@example.com")
    tab.click("button", "disable", within=".confirm")
    tab.wait("h1 .tag.bad", "disabled")


def test_the_clock_moves_and_returns(console: Open, console_server: Served) -> None:
    """The frame shows how far ahead the clock of the server is."""
    tab = console("wire")
    tab.click("button", "Move the clock +16 min")
    tab.wait(".clock output", "+00:16:00")
    assert console_server.dev("clock")["skipped"] == 960
    tab.wait(".machine", "clock moved")
    tab.click("button", "now: back to the true time")
    tab.wait(".clock output", "+00:00:00")


def test_the_mails_have_their_codes(console: Open, console_server: Served) -> None:
    """A code is beside a button that copies it."""
    console_server.api("/password/forgot", {"email": "demo@example.com", "client_id": "simple"})
    tab = console("mail")
    tab.wait(".mail-code code")
    assert re.fullmatch(r"\d{4} \d{4}", tab.texts(".mail-code code")[0])


def test_reset_deletes_all(console: Open, console_server: Served) -> None:
    """The reset takes two clicks. The phones of the page are deleted too."""
    tab = registered(console("phones"))
    tab.go("setup")
    tab.wait("section h2", "Settings")
    tab.click("button", "reset")
    tab.click("button", "delete all data")
    tab.wait(".status", "All data is deleted.")
    assert [one["email"] for one in console_server.dev("accounts")["accounts"]] == ["demo@example.com"]
    tab.go("phones")
    tab.wait(".empty", "No phones yet.")


def test_a_server_that_is_away_is_said_with_the_remedy(console_driver: Chromium) -> None:
    """The page shows which command starts the server, and waits for the server."""
    with served() as away:
        person = console_driver.ask("person")
        tab = Tab(console_driver, person, f"{away.url}/#/wire")
        tab.wait(".connection", "live")
    tab.wait(".banner", "Start it with make dev")
    port = int(away.url.rpartition(":")[2])
    with served(port):
        tab.ask("gone", selector=".banner")
        tab.wait(".connection", "live")
    console_driver.ask("leave", person=person)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_accessible_and_whole(console: Open, console_server: Served, width: int, scheme: str) -> None:
    """Axe finds no problem, and no content is cut. Each page has data: a theft, a phone, a fault and a mail."""
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
    console_server.dev("faults", "POST", {"name": "slow", "ms": 1, "times": 9})
    console_server.api("/password/forgot", {"email": "demo@example.com", "client_id": "simple"})
    (account,) = console_server.dev("accounts?q=theft-")["accounts"]
    (reuse,) = [
        one for one in console_server.dev("requests?q=token_reused")["requests"] if one["code"] == "token_reused"
    ]
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
