"""Agents of the conformance suite in tabs: each polls the driver for its next line. A profile is a folder of agents."""

import contextlib
import itertools
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from chalicelib.baton.testing.world import World
from tests.baton.chromium.chromium import Chromium
from tests.baton.clients.conformance.line import Line
from tests.baton.clients.conformance.scene import ANSWER_S, Agent, Scene
from tests.baton.repository import ROOT

SERVED: Final = ("clients/typescript/", "tests/baton/clients/conformance/")
PAGE: Final = (
    b"<!doctype html><title>An agent</title><script type=module src=/tests/baton/clients/conformance/page.js></script>"
)
POLICY: Final = "default-src 'none'; script-src 'self'; connect-src 'self' http://*:*"
"""A page with the client needs only its own scripts and connections. Scenarios connect to hosts of all kinds."""
KINDS: Final = {".js": "javascript", ".html": "html"}
POLL_S: Final = 5.0
_numbers = itertools.count(1)


class Pages:
    """The server of the pages. Its origin is not that of the API, as for most apps."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.tabs: dict[str, Tab] = {}
        self.replaced: dict[str, str] = {}
        """Words of the pages, such as the address of an API, and their replacements here."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.origin = f"http://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            """Serves the scripts, and carries lines between the driver and the tabs."""

            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Print nothing."""

            def do_GET(self) -> None:
                """Send a script, or the page."""
                name = urlsplit(self.path).path.removeprefix("/")
                file = (ROOT / name).resolve()
                if name.startswith(SERVED) and file.is_file() and file.is_relative_to(ROOT):
                    text = file.read_text("utf-8")
                    for word, instead in pages.replaced.items():
                        text = text.replace(word, instead)
                    self._send(200, f"text/{KINDS[file.suffix]}; charset=utf-8", text.encode())
                else:
                    self._send(200, "text/html", PAGE)

            def do_POST(self) -> None:
                """Accept a message of a tab, or answer with the next line for the tab."""
                url = urlsplit(self.path)
                tab = pages.tabs[parse_qs(url.query)["id"][0]]
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                line = b""
                if url.path == "/poll":
                    line = tab.next_line()
                elif url.path == "/said":
                    tab.said(json.loads(body))
                else:
                    tab.left()
                self._send(200 if line else 204, "application/json", line)

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response_only(status)
                self.send_header("content-type", kind)
                self.send_header("content-security-policy", POLICY)
                if status != 204:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # The tab is gone.
                    self.wfile.write(body)

        return Handler


class Tab(Agent):
    """One tab. It has the methods of an agent that is a process."""

    def __init__(self, browser: Chromium, pages: Pages, person: int, opening: dict[str, Any]) -> None:
        """Open the page and make its client."""
        self.browser, self.opening = browser, opening
        self.answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self.errors, self.texts = "", list[str]()
        self._ids, self._ended = itertools.count(1), threading.Event()
        self._lines: queue.Queue[bytes] = queue.Queue()
        name = str(next(_numbers))
        pages.tabs[name] = self
        self.number = browser.ask("open", person=person, url=f"{pages.origin}/agent?id={name}")
        self("open", **opening)

    def begin(self, do: str, **named: Any) -> int:
        """Send a line. ``wait`` has the answer."""
        number = next(self._ids)
        self.answers[number] = queue.Queue()
        self._lines.put(json.dumps({"id": number, "do": do, **named}).encode())
        return number

    def next_line(self) -> bytes:
        """Wait for a line of the driver for a limited time. Then the tab asks again."""
        try:
            return self._lines.get(timeout=POLL_S)
        except queue.Empty:
            return b""

    def said(self, members: dict[str, Any]) -> None:
        """Take a message of the tab."""
        if "event" in members:
            self.events.append(members)
            return
        self.texts += [members["error"]["text"]] if "error" in members else []
        self.answers[members["id"]].put(members)

    def left(self) -> None:
        """Note that the page has been left."""
        self._ended.set()

    def dies(self, do: str, **named: Any) -> None:
        """Send a line that ends the page."""
        self.begin(do, **named)
        assert self._ended.wait(ANSWER_S), f"{do} did not end the page"
        self.kill()

    def kill(self) -> None:
        """Close the tab without a word to the page."""
        self._ended.set()
        self.browser.ask("shut", page=self.number)

    def close(self) -> None:
        """Close the tab, unless it is closed already."""
        if not self._ended.is_set():
            self.kill()

    def freeze(self, *, on: bool = True) -> None:
        """Freeze the page as the browser freezes a tab in the background, or unfreeze it."""
        self.browser.ask("freeze", page=self.number, on=on)


class BrowserScene(Scene):
    """A scenario of the client in a browser. Agents on one folder are tabs of one profile."""

    def __init__(
        self, browser: Chromium, pages: Pages, line: Line, world: World, folder: Path, *, copies: bool
    ) -> None:
        """Begin without tabs. With ``copies``, a profile is a folder that can be copied, which takes longer to open."""
        super().__init__("browser", line, world, folder)
        self.browser, self.pages, self.copies = browser, pages, copies
        self.persons: dict[str, int] = {}
        self.resends = True  # Chromium repeats lost requests. The server refuses a used nonce.
        exposed = "Baton-Request-Id, Baton-Time, Retry-After, Age"
        line.readable = [("Access-Control-Allow-Origin", pages.origin), ("Access-Control-Expose-Headers", exposed)]
        line.arrived = lambda _: None  # The tabs themselves note which tokens their record had.

    def agent(self, store: str = "a", **named: Any) -> Agent:
        """Open a tab in the profile of a folder."""
        folder = self.folder / store
        folder.mkdir(exist_ok=True)
        if store not in self.persons:
            self.persons[store] = self.browser.ask("person", **({"folder": str(folder)} if self.copies else {}))
        made = Tab(self.browser, self.pages, self.persons[store], self.opening(folder, named))
        self.agents.append(made)
        return made

    def copied(self, of: str, to: str) -> None:
        """Copy a profile. The copy is another browser."""
        if to in self.persons:
            self.browser.ask("close", person=self.persons.pop(to))
        super().copied(of, to)

    def close(self) -> None:
        """Close the tabs and the profiles."""
        super().close()
        for person in self.persons.values():
            self.browser.ask("close", person=person)

    def check(self) -> None:
        """Check the guarantees, and the problems that the tabs have noted."""
        super().check()
        noted = [one for agent in self.agents for one in agent.events if one["event"] != "state"]
        assert noted == [], noted


@contextmanager
def pages_served() -> Iterator[Pages]:
    """Serve the pages within this context."""
    pages = Pages()
    try:
        yield pages
    finally:
        pages.server.shutdown()
        pages.server.server_close()
