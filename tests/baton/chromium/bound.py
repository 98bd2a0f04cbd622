"""A site over https and browsers that bind their cookies to a key (DBSC), for tests.

`--ignore-certificate-errors` and plain http switch the whole mechanism off without a message. The keys are in software.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.baton.chromium.chromium import Chromium
from tests.baton.chromium.site import SECURE_HOST, Site, served_securely
from tests.baton.chromium.visit import ENTRY, Visit
from tools.dev.certificate import issued_for

FEATURES = "--enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"
SESSION, BOUND = "__Host-baton", "__Host-baton-bound"
PATIENCE_S = 10


@dataclass
class Town:
    """A site over https, and one person's browser."""

    browser: Chromium
    site: Site
    person: int
    others: list[int] = field(default_factory=list)

    @property
    def api(self) -> str:
        """Return the URL of the API."""
        return f"{self.site.url}/api"

    def visit(self, origin: str = "") -> Visit:
        """Open an empty page. Default: at the API's own origin."""
        url = f"{origin or self.site.url}/page"
        return Visit(self.browser, self.browser.ask("open", person=self.person, url=url))

    def cookies(self) -> dict[str, Any]:
        """Return the cookies of the browser."""
        return {one["name"]: one for one in self.browser.ask("cookies", person=self.person)}

    def sent(self, path: str) -> list[dict[str, str]]:
        """Return the header fields of each request to a path."""
        return [fields for _, at, fields in self.site.seen if at == f"/api{path}"]

    def bound(self, **members: object) -> Visit:
        """Register from a script, and wait until the browser has bound its cookies."""
        visit = self.visit()
        with self.binding():
            answer = visit.send(f"{self.api}/register", "POST", ENTRY | members)
            assert answer["status"] == 201, answer
        self.site.world.clock.skip(seconds=61)
        return visit

    @contextmanager
    def binding(self) -> Iterator[None]:
        """Wait at the end until the browser has bound its cookies, that is, until it has a new cookie `BOUND`.

        It is not enough that the request has arrived: its ticket expires if the clock then moves on.
        """
        before = self.cookies().get(BOUND)
        yield
        wait(lambda: self.cookies().get(BOUND, before) != before)

    def stranger(self, *names: str) -> "Town":
        """Open another machine of this site, with copies of these cookies."""
        other = Town(self.browser, self.site, self.browser.ask("person"))
        copied = [one for name, one in self.cookies().items() if name in names]
        self.browser.ask("plant", person=other.person, cookies=copied)
        self.others.append(other.person)
        return other

    def expire(self) -> None:
        """Let the proof expire: the browser no longer has its cookie, and the server accepts no proof of that age."""
        self.site.world.clock.skip(seconds=601)
        self.browser.ask("forget", person=self.person, name=BOUND)


def wait(until: Callable[[], bool]) -> None:
    """Wait for a condition that the browser fulfils without a request of the test."""
    end = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < end, "the browser did not fulfil the condition in time"
        time.sleep(0.02)


def trusting_home(folder: Path) -> Path:
    """Make a certificate, and a home folder. A browser with this folder trusts the authority of the certificate."""
    _, authority = issued_for(folder, (SECURE_HOST, "evil.test"))
    database = folder / ".pki/nssdb"
    database.mkdir(parents=True)
    for arguments in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "test", "-i", str(authority)]):
        subprocess.run(["certutil", "-d", f"sql:{database}", *arguments], check=True)  # noqa: S607 - from the PATH
    return folder


@pytest.fixture
def town(bound_browser: Chromium, bound_home: Path) -> Iterator[Town]:
    """Serve a site, and open a browser without cookies."""
    with served_securely(bound_home / "server.pem") as site:
        person = bound_browser.ask("person")
        made = Town(bound_browser, site, person)
        yield made
        for one in (person, *made.others):
            bound_browser.ask("close", person=one)
        assert bound_browser.ask("troubles") == []
