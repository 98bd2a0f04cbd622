"""``make pictures``: the pictures of the documents. Data and times are recorded, so only the pages change a picture.

``python -m tests.baton.chromium.pictures --record`` plays the theft story on a development server, and records the
answers of the development API and the phones of the browser.
"""

import argparse
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.baton.chromium.chromium import Chromium, missing
from tests.baton.chromium.console import Served, Tab, served
from tests.baton.chromium.png import smaller
from tests.baton.repository import ROOT
from tools.dev.api import static

RECORDING: Final = ROOT / "tests/baton/chromium/recorded.json"
FOLDER: Final = ROOT / "docs/baton/pictures"
BYTES_MAX: Final = 150_000
PORT: Final = 8000
AT: Final = int(datetime(2027, 3, 1, 9, tzinfo=UTC).timestamp())
"""The time in the pictures. The clock of a development server moves forward only."""

SHOWN: Final = {"wire": ".reuse", "lineage": ".lineage .box.theft", "phones": ".phone-card .facts code:not(:empty)"}
"""The pictures, and what each one waits for."""


def record(browser: Chromium) -> dict[str, Any]:
    """Play the theft on a real server."""
    with served(PORT) as server:
        server.dev("clock", "POST", {"skip": AT - server.dev("clock")["server_time"]})
        tab = Tab(browser, browser.ask("person"), f"{server.url}/#/stories/theft")
        tab.click("button", "play all")
        tab.wait(".moral, .failing")
        if tab.texts(".failing"):
            raise SystemExit(f"error: the story failed: {tab.texts('.failing')}. Nothing was recorded")
        recorded: dict[str, Any] = {
            "answers": answers(server),
            "storage": harmless(tab.run("return {...localStorage}")),
            "events": events(server),
        }
        recorded["answers"]["clock"]["skipped"] = 0  # In the pictures, this is the true time.
        return recorded


def harmless(storage: dict[str, str]) -> dict[str, str]:
    """Return the storage of the browser without keys and signatures. The pages show neither."""
    found = dict(storage)
    for name, text in storage.items():
        if name.startswith("baton.console.record."):
            record = json.loads(text)
            if record["key"]:
                record["key"]["data"] = "AA"
            if record["session"]:
                record["session"]["access_token"] = record["session"]["access_token"].rpartition(".")[0] + ".AA"
            found[name] = json.dumps({**record, "revocations": []})
    return found


def answers(server: Served) -> dict[str, Any]:
    """Return all answers that the pages read."""
    (account,) = server.dev("accounts?q=theft-")["accounts"]
    reuse = next(one for one in server.dev("requests")["requests"] if one["code"] == "token_reused")
    paths = ("mode", "clock", "faults", "accounts", f"requests/{reuse['request_id']}")
    of_account = (f"accounts/{account['account']}", f"accounts/{account['account']}/lineages")
    return {path: server.dev(path) for path in (*paths, *of_account)}


def events(server: Served) -> list[dict[str, Any]]:
    """Read the stream of events up to the newest one."""
    newest = server.dev("requests?limit=1")["requests"][0]["n"]
    found: list[dict[str, Any]] = []
    with urllib.request.urlopen(f"{server.url}/_dev/events?after=0", timeout=30) as stream:
        while not found or found[-1]["n"] < newest:
            line = stream.readline().decode()
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
    return [event for event in found if event["at"] > AT and event["kind"] != "clock"]


@contextmanager
def replayed(recording: dict[str, Any]) -> Iterator[str]:
    """Serve the pages of the console over a recording, on the port of the recording. Its texts contain this port."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        """Answers as the development server did."""

        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            """Answer from the recording, or with a file."""
            path = self.path.partition("?")[0]
            if path == "/_dev/events":
                self._send(200, {"Content-Type": "text/event-stream"}, b"", more=True)
                for event in recording["events"]:
                    self.wfile.write(f"id: {event['n']}\ndata: {json.dumps(event)}\n\n".encode())
                ended.wait()
            elif path.startswith("/_dev/"):
                found = recording["answers"].get(path.removeprefix("/_dev/"))
                self._send(200 if found else 404, {"Content-Type": "application/json"}, json.dumps(found).encode())
            elif page := static.page(path):
                self._send(200, dict(page.headers), page.body)
            else:
                self._send(404, {}, b"")

        def _send(self, status: int, headers: dict[str, str], body: bytes, *, more: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not more:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{PORT}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


def take(browser: Chromium, recording: dict[str, Any]) -> list[str]:
    """Take all pictures, light and dark. Return the problems."""
    FOLDER.mkdir(exist_ok=True)
    (detail,) = [path for path in recording["answers"] if path.startswith("requests/")]
    (account,) = [path for path in recording["answers"] if path.startswith("accounts/") and "lineages" not in path]
    ended = next(one for one in recording["answers"][f"{account}/lineages"]["lineages"] if one["ended"])
    addresses = {
        "wire": detail.replace("requests/", "wire/"),
        "lineage": f"{account}/{ended['lineage']}",
        "phones": "phones",
    }
    wrong = []
    with replayed(recording) as url:
        for scheme in ("light", "dark"):
            tab = Tab(browser, browser.ask("person", scheme=scheme), f"{url}/#/wire")
            tab.run(
                "for (const [name, text] of Object.entries(given.all)) localStorage.setItem(name, text)",
                all=recording["storage"],
            )
            for name, selector in SHOWN.items():
                tab.go(addresses[name])
                tab.ask("reload")
                tab.wait(selector)
                file = FOLDER / f"{name}-{scheme}.png"
                tab.ask("picture", path=str(file))
                file.write_bytes(smaller(file.read_bytes()))
                size = file.stat().st_size
                wrong += [f"{file.name} has {size} bytes, more than {BYTES_MAX}"] if size > BYTES_MAX else []
            wrong += tab.troubles()
    return wrong


def main(arguments: list[str]) -> int:
    """Take the pictures."""
    reader = argparse.ArgumentParser(prog="python -m tests.baton.chromium.pictures", description=__doc__)
    reader.add_argument("--record", action="store_true", help="record new data first")
    given = reader.parse_args(arguments)
    if reason := missing():
        sys.stderr.write(f"error: {reason}\n")
        return 1
    with Chromium("console.mjs") as browser:
        if given.record:
            RECORDING.write_text(json.dumps(record(browser), indent=1, ensure_ascii=False) + "\n", "utf-8")
        wrong = take(browser, json.loads(RECORDING.read_text("utf-8")))
    sys.stdout.write(
        f"error: {wrong}\n" if wrong else f"ok: {FOLDER.relative_to(ROOT)} has the pictures. next: look at each one\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
