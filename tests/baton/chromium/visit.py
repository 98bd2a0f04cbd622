"""A page of a person's browser, for tests."""

import json
from dataclasses import dataclass
from typing import Any

from tests.baton.chromium.chromium import Chromium
from tests.baton.wire.conversation import PASSWORD

EMAIL = "ada@example.com"
ENTRY = {"email": EMAIL, "password": PASSWORD, "client_id": "web"}
SEND = """
const answer = await fetch(given.url, {method: given.method ?? "GET", credentials: "include", ...given.more});
return {status: answer.status, type: answer.type, body: await answer.text(), page: document.cookie};
"""
JSON = {"content-type": "application/json"}


@dataclass
class Visit:
    """A page of a person's browser."""

    browser: Chromium
    page: int

    def run(self, source: str, **given: object) -> Any:
        """Run a script in the page."""
        return self.browser.ask("run", page=self.page, source=source, given=given)

    def send(self, url: str, method: str = "GET", members: object = None, **more: object) -> Any:
        """Send a request from a script of the page, with cookies."""
        if members is not None:
            more = {"headers": JSON, "body": json.dumps(members), **more}
        return self.run(SEND, url=url, method=method, more=more)

    def submit(self, url: str, method: str = "POST", name: str = "a", value: str = "b") -> Any:
        """Submit a form, as a page can without a script of its own."""
        source = (
            f"const f = document.createElement('form'); f.method = {method!r}; f.action = {url!r};"
            f"f.enctype = 'text/plain'; const i = document.createElement('input'); i.name = {name!r};"
            f"i.value = {value!r}; f.append(i); document.body.append(f); f.submit();"
        )
        return self.browser.ask("leave", page=self.page, source=source)

    def go(self, url: str) -> Any:
        """Open an address, as a person types it."""
        return self.browser.ask("go", page=self.page, url=url)
