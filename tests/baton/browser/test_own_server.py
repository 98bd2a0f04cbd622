"""Your own server as the client: the code of docs/baton/web.md for Django and for Node works."""

import contextlib
import copy
import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from chalicelib.baton import settings
from chalicelib.baton.testing.phone import PHONE_PASSWORD
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import EMAIL
from tests.baton.chromium.site import served
from tests.baton.clients.node import node
from tests.baton.fixture import FOLDER
from tests.baton.repository import ROOT
from tests.baton.wire.conftest import BASE_URL, Line

HERE = Path(__file__).parent
PERSON = "203.0.113.7"


class Rows:
    """The table of Django's sessions, with a lock as that of the database."""

    def __init__(self) -> None:
        """Begin without sessions."""
        self.stored: dict[str, str] = {}
        self.lock = threading.RLock()

    def get(self, *, session_key: str) -> Any:
        """Read a row."""
        row = SimpleNamespace(session_data=self.stored[session_key])
        row.get_decoded = lambda: json.loads(row.session_data)
        row.save = lambda: self.stored.__setitem__(session_key, row.session_data)
        return row

    def select_for_update(self) -> "Rows":
        """Read the next row with a lock, which the transaction holds."""
        return self

    def encode(self, held: dict[str, object]) -> str:
        """Encode the data of a session."""
        return json.dumps(held)

    @contextlib.contextmanager
    def atomic(self) -> Iterator[None]:
        """Run a transaction."""
        with self.lock:
            yield

    def store(self) -> Any:
        """Make a session, as ``SessionStore``."""
        made = SimpleNamespace(session_key=f"row {len(self.stored)}")
        made.create = lambda: self.stored.__setitem__(made.session_key, "{}")
        return made


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    """Install a stand-in for Django's sessions, in the place where the code imports them."""
    rows = Rows()
    sessions = "django.contrib.sessions"
    for name in ("django", "django.contrib", sessions, f"{sessions}.backends", "django.db"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in (f"{sessions}.models", f"{sessions}.backends.db"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    vars(sys.modules["django.contrib.sessions.backends.db"])["SessionStore"] = rows.store
    vars(sys.modules["django.contrib.sessions.models"])["Session"] = SimpleNamespace(objects=rows)
    vars(sys.modules["django.db"])["transaction"] = rows
    return rows


def documented(language: str) -> str:
    """Return the code of the section about your own server."""
    page = (ROOT / "docs/baton/web.md").read_text("utf-8").partition("## Your own server")[2]
    (code,) = (block.partition("\n```")[0] for block in page.split(f"```{language}\n")[1:])
    assert len(code.splitlines()) <= 45
    return code


def test_a_django_server_is_the_client(rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers need no lock while they call, because the attempt is stored. The person's address is the source."""
    (tmp_path / "documented_django.py").write_text(documented("python"), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("documented_django")
    with monkeypatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        world = World(HERE / "pages_app.py", settings={"BATON_CLIENTS": "clients-web.toml"})
    monkeypatch.setattr(module, "send", Line(world.gateway))

    session: dict[str, str] = {}

    def client() -> Any:
        request = SimpleNamespace(session=session, META={"REMOTE_ADDR": PERSON})
        made = module.baton(request, BASE_URL)
        made._clock = made._sleep = lambda *_: float(world.clock.now)
        return made

    client().register(EMAIL, PHONE_PASSWORD, "a server")
    assert client().call("GET", "/whence").json() == {"source": PERSON}
    before = copy.deepcopy(rows.stored)
    for _ in range(3):
        world.clock.skip(minutes=16)
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: client().call("GET", "/whence").status, range(4)))
        assert statuses == [200] * 4
    assert rows.stored != before
    told = [line["message"] for line in world.lines if str(line["message"]).startswith(("exchange", "token_reused"))]
    assert told.count("exchanged") == 3
    assert "token_reused" not in told


SCRIPT = """
import { baton } from "./node_login.mjs";
const rows = new Map();
const session = { cookie: { maxAge: 3600 } };
const sessionStore = {
  get: (id, end) => setImmediate(end, null, rows.has(id) ? JSON.parse(rows.get(id)) : null),
  set: (id, row, end) => setImmediate(() => (rows.set(id, JSON.stringify(row)), end(null))),
};
const options = { baseUrl: process.argv[2], plainHttp: true, clock: () => Date.now() / 1000 + Number(process.argv[3]) };
const client = () => baton({ ip: "203.0.113.7", session, sessionStore }, options);
await client().register("ada@example.com", "copper lantern drifting sideways", { deviceName: "a server" });
const all = await Promise.all([1, 2, 3, 4].map(() => client().me()));
if (rows.size !== 1 || Object.keys(session).length !== 2) throw new Error("the record is in another place");
console.log(JSON.stringify(all.map((one) => one.email)));
"""


def test_a_node_server_is_the_client(tmp_path: Path) -> None:
    """Four requests of one session run at the same time."""
    installed = tmp_path / "node_modules/baton-client"
    installed.parent.mkdir()
    installed.symlink_to(ROOT / "clients/typescript")
    (tmp_path / "node_login.mjs").write_text(documented("js"), "utf-8")
    (tmp_path / "script.mjs").write_text(SCRIPT, "utf-8")
    with served(tmp_path) as (site, _, _):
        done = subprocess.run(
            [node(), "--preserve-symlinks", "script.mjs", f"{site.url}/api", "0"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [EMAIL] * 4
        assert {fields["baton-client-address"] for _, _, fields in site.seen} == {PERSON}
