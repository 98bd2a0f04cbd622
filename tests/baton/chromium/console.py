"""The console of a development server, and its pages in Chromium, for tests and for the pictures of the documents."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.baton.chromium.chromium import Chromium
from tests.baton.operations.tools.test_serve import environment, free_port, until_healthy
from tests.baton.repository import ROOT


@dataclass
class Served:
    """A development server in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def dev(self, path: str, method: str = "GET", members: object = None) -> Any:
        """Send a request to ``/_dev``."""
        body = None if members is None else json.dumps(members).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/_dev/{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def api(self, path: str, members: object) -> Any:
        """Send JSON to a route of the API, with POST."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api{path}", json.dumps(members).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())


@contextmanager
def served(port: int | None = None) -> Iterator[Served]:
    """Start a development server on a port, and end it."""
    port = port or free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tools.dev.serve"],
        cwd=ROOT,
        env=environment(PORT=str(port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until_healthy(f"http://localhost:{port}/api", process)
            yield Served(f"http://localhost:{port}", process)
        finally:
            process.kill()


class Tab:
    """A page of the console."""

    def __init__(self, browser: Chromium, person: int, url: str) -> None:
        """Open it."""
        self._browser, self._url = browser, url
        self.person = person
        self._troubles: list[str] | None = None
        self.page = browser.ask("open", person=person, url=url)

    def ask(self, command: str, **members: object) -> Any:
        """Send a command to the page."""
        return self._browser.ask(command, page=self.page, **members)

    def troubles(self) -> list[str]:
        """Return errors, violations of the policy and requests to other servers, up to the end of the page."""
        return list(self.ask("troubles")) if self._troubles is None else self._troubles

    def close(self) -> None:
        """Close the page."""
        self._troubles = self.troubles()
        self.ask("close")

    def go(self, *parts: str) -> None:
        """Open a page of the console by its address."""
        self.ask("go", url=f"{self._url.split('#')[0]}#/{'/'.join(parts)}")

    def click(self, role: str, name: str, **members: object) -> None:
        """Click the element with this accessible name."""
        self.ask("click", role=role, name=name, **members)

    def wait(self, selector: str, text: str = "") -> None:
        """Wait until the page shows a text."""
        self.ask("wait", selector=selector, text=text)

    def texts(self, selector: str) -> list[str]:
        """Return the texts that a reader sees."""
        return list(self.ask("texts", selector=selector))

    def labels(self, selector: str) -> list[str]:
        """Return the labels for a screen reader."""
        return list(self.ask("labels", selector=selector))

    def run(self, source: str, **given: object) -> Any:
        """Run a script in the page."""
        return self.ask("run", source=source, given=given)


def registered(tab: Tab) -> Tab:
    """Add a phone, and register an account on it."""
    tab.go("phones")
    tab.click("button", "+ add phone")
    tab.click("button", "register")
    tab.wait(".told", "registered")
    return tab


STEP: Final = """
const end = Date.now() + 30000;
const told = () => document.querySelector(".moral, .failing");
const bar = () => document.querySelector(".story-bar .primary");
while (!told() && Date.now() < end) {
  if (bar()?.ariaDisabled !== "true") bar()?.click();
  await new Promise((done) => setTimeout(done, 20));
}
"""


def play(tab: Tab, story: str) -> None:
    """Play a story to its end, or to the step at which it stops. "play all" would pause after each step."""
    tab.go("stories", story)
    tab.run(STEP)
    tab.wait(".moral, .failing")
    assert tab.texts(".failing") == []


Open = Callable[..., Tab]
"""Open a page of the console: its address in parts, and the browser of a person, or its width and colours."""

DEMO = {"email": "demo@example.com", "password": "copper lantern drifting sideways", "client_id": "simple"}
"""The login that `make dev` prints."""
