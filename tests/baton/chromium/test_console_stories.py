"""Stories, phones and pictures of the console in Chromium. A page error or a violation of its policy fails any test."""

import re

import pytest

from tests.baton.chromium.console import Open, Served, play, registered

STEPS = {"lost-answer": 5, "theft": 8, "restored-phone": 7, "wrong-clock": 4, "step-up": 4}


@pytest.mark.parametrize("story", STEPS)
def test_each_story_ends_as_it_says(console: Open, story: str) -> None:
    """Every step is compared with its expectation by the page."""
    tab = console("stories")
    play(tab, story)
    assert len(tab.texts(".step.done")) == STEPS[story]
    assert tab.texts(".tag.bad:has-text('✗')") == []


def test_a_story_plays_without_further_clicks(console: Open) -> None:
    """The button "play all" carries out each step."""
    tab = console("stories", "wrong-clock")
    tab.click("button", "play all")
    tab.wait(".moral")
    assert len(tab.texts(".step.done")) == STEPS["wrong-clock"]


def test_a_story_stops_when_an_expectation_fails(console: Open, console_server: Served) -> None:
    """A fault breaks the third step, which expects success. The page shows the outcome, and stops."""
    tab = console("stories", "wrong-clock")
    tab.click("button", "begin")
    tab.wait(".step.done")
    console_server.dev("faults", "POST", {"name": "request_lost", "match": {"route": "/oauth/token"}, "times": 1000})
    tab.click("button", "next")
    tab.wait(".step.done:nth-of-type(2)")
    tab.click("button", "next")
    tab.wait(".failing", "Expected: the app reports ok. Found: offline.")
    tab.run("document.querySelector('.bar .primary').focus()")
    tab.ask("press", key="Enter")
    assert len(tab.texts(".step:is(.done, .wrong)")) == 3


def test_the_theft_is_read_in_the_picture(console: Open, console_server: Served) -> None:
    """The labels name who exchanged which token with which attempt, and why the login ended."""
    tab = console("stories")
    play(tab, "theft")
    (account,) = console_server.dev("accounts?q=theft-")["accounts"]
    tab.go("accounts", account["account"])
    tab.wait(".lineage .box.theft")
    (fork,) = tab.labels(".lineage .box.theft a")
    assert re.fullmatch(
        r"Generation 1 again, presented at [\d:]+ by owner, attempt \w{8}: reuse: login ended\. .* two parties .*",
        fork,
    )
    (same,) = tab.labels(".lineage .box.again a")
    assert "same attempt, same child" in same
    whole = next(label for label in tab.labels("svg.lineage") if "two attempts" in label)
    assert re.search(r"first by thief with [0-9a-f]{8}, then by owner with [0-9a-f]{8}\. It ended at", whole)
    listed = tab.run("return [...document.querySelectorAll('.as-text li')].map((one) => one.textContent)")
    assert fork in listed
    tab.run("document.querySelector('.lineage .box.theft a').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    tab.wait(".reuse", "One token, two attempts")
    assert {"by\nthief", "by\nowner"} <= set(tab.texts(".reuse .facts > div"))


def test_the_theft_story_by_keyboard_alone(console: Open) -> None:
    """The keys Tab and Enter lead from the first page to the request that ended the login."""
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


def test_a_copy_of_a_phone_is_shown_as_a_fork(console: Open, console_server: Served) -> None:
    """The test uses the buttons of the phones, without a story."""
    tab = registered(console("phones"))
    tab.click("button", "clone", within="[aria-label='phone 1']")
    for phone, told in ((1, "generation 0 → 1"), (2, "generation 0 → 1"), (1, "generation 1 → 2"), (2, "reuse")):
        tab.click("button", "exchange", within=f"[aria-label='phone {phone}']")
        tab.wait(f"[aria-label='phone {phone}'] .told", told)
    tab.click("button", "call", within="[aria-label='phone 1']")
    tab.wait("[aria-label='phone 1'] .tag.bad", "two parties used one token")
    (account,) = console_server.dev("accounts?q=phone-1@")["accounts"]
    tab.go("accounts", account["account"])
    tab.wait(".lineage .box.theft")
    assert "by phone 2" in tab.labels(".lineage .box.theft a")[0]


def test_the_server_exchanges_as_a_copy_of_a_device(console: Open, console_server: Served) -> None:
    """Then the exchange of the phone is the second exchange of the same token, and ends the login."""
    tab = registered(console("phones"))
    (account,) = console_server.dev("accounts?q=phone-1@")["accounts"]
    tab.go("accounts", account["account"])
    tab.click("button", "exchange as a copy")
    tab.wait(".status", "A copy has exchanged the newest login.")
    tab.go("phones")
    tab.click("button", "exchange", within="[aria-label='phone 1']")
    tab.wait("[aria-label='phone 1'] .tag.bad", "two parties used one token")


def test_what_may_happen_to_a_phone(console: Open) -> None:
    """The login survives a token theft without the key, a second process, a killed app, no network, a wrong clock."""
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
    tab.wait(".faults", "answer_lost \N{MULTIPLICATION SIGN}1, phone 1")
    tab.click("button", "exchange", within="[aria-label='phone 1']")
    tab.wait("[aria-label='phone 1'] .told", "exchanged: generation 0 → 1")
    tab.ask("gone", selector=".faults")
    tab.go("wire")
    tab.wait(".row .tag", "lost")
    tab.wait(".row .tag", "same attempt, same child")
