"""The sample page of the TypeScript client, as a person uses it, with its strict Content-Security-Policy."""

from collections.abc import Callable, Iterator

import pytest

from chalicelib.baton.testing.world import World
from tests.baton.chromium.agents import Pages, pages_served
from tests.baton.chromium.chromium import Chromium
from tests.baton.clients.conformance.conftest import line, make_world
from tests.baton.clients.conformance.line import Line
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, eventually

__all__ = ["line", "make_world"]
SAMPLE = "/clients/typescript/samples/browser"
TYPE = "document.getElementById(given.id).value = given.text;"
PRESS = "document.querySelector(given.button).click();"
SAID = "return document.getElementById('said').textContent;"
HIDDEN = "return document.querySelector(given.part).hidden;"
FOREIGN = "try { return (await fetch(given.url)).status; } catch (error) { return String(error); }"
INLINE = """
const script = document.createElement("script");
script.textContent = "window.ran = true";
document.body.append(script);
return window.ran === true;
"""


@pytest.fixture
def pages(line: Line) -> Iterator[Pages]:
    """Serve the sample. Its policy names the API of this test."""
    with pages_served() as served:
        served.replaced["http://localhost:8000"] = line.url.removesuffix("/api")
        yield served


class Page:
    """The sample in a browser."""

    def __init__(self, browser: Chromium, person: int, url: str) -> None:
        """Open it."""
        self.browser, self.url = browser, url
        self.number = browser.ask("open", person=person, url=url)

    def run(self, source: str, **given: object) -> object:
        """Run a script in the page."""
        return self.browser.ask("run", page=self.number, source=source, given=given)

    def press(self, button: str, **typed: str) -> None:
        """Type into fields, and press a button."""
        for name, text in typed.items():
            self.run(TYPE, id=name, text=text)
        self.run(PRESS, button=button)

    def says(self, text: str) -> None:
        """Wait until the page says something."""
        eventually(lambda: self.run(SAID) == text, f"the page does not say {text}, but {self.run(SAID)}")


def test_the_sample_page(tabs_driver: Chromium, pages: Pages, line: Line, make_world: Callable[..., World]) -> None:
    """Register, call, reload, still logged in, log out; with a wrong password and a step-up."""
    make_world(BATON_ORIGINS=pages.origin)
    url = f"{pages.origin}{SAMPLE}/index.html?api={line.url}"
    page = Page(tabs_driver, tabs_driver.ask("person"), url)
    page.says("Log in, or register.")
    page.press("button[value=register]", email=EMAIL, password=PASSWORD)
    page.says("You are logged in.")
    page.press("#call")
    page.says(f"Hello {EMAIL}")
    page.browser.ask("go", page=page.number, url=url)
    page.says("You are logged in.")
    page.press("#call")
    page.says(f"Hello {EMAIL}")
    page.press("#logout")
    page.says("You are logged out.")
    assert page.run(HIDDEN, part="#inside")
    page.press("button[value=login]", email=EMAIL, password="a wrong password")
    page.says("invalid_credentials")
    page.press("button[value=login]", email=EMAIL, password=PASSWORD)
    page.says("You are logged in.")
    page.press("#everywhere")
    eventually(lambda: page.run("return document.getElementById('demand').open;") is True, "no password is asked for")
    page.press("#demand button", again=PASSWORD)
    page.says("Log in, or register.")


def test_the_policy_of_the_sample_is_strict(
    tabs_driver: Chromium, pages: Pages, line: Line, make_world: Callable[..., World]
) -> None:
    """No inline script runs, and the page can send a request to no other host."""
    make_world(BATON_ORIGINS=pages.origin)
    page = Page(tabs_driver, tabs_driver.ask("person"), f"{pages.origin}{SAMPLE}/index.html?api={line.url}")
    page.says("Log in, or register.")
    assert page.run(INLINE) is False
    assert "Failed to fetch" in str(page.run(FOREIGN, url=f"{pages.origin}/agent"))
    assert page.run(FOREIGN, url=f"{line.url}/time") == 200
