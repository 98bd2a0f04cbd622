"""``make dev`` reloads changed code, keeps its data, and continues after an error."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.baton.operations.tools.test_serve import asked, environment, free_port, until_healthy
from tests.baton.repository import ours_only
from tools.dev import reload
from tools.dev.gateway import ROOT, Gateway
from tools.dev.serve import DEMO_EMAIL, DEMO_PASSWORD

pytestmark = ours_only

PATIENCE_S = 30
ROUTE = '''

from chalicelib.baton import Answer


@app.route("/hello", methods=["GET"])
@baton.public()
def hello(_: object) -> Answer:
    """Say a word."""
    return Answer(200, {"said": "WORD"})
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy the files that `make dev` runs."""
    copy = tmp_path / "baton"
    for name in ("chalicelib", "tools", "clients", "infra", ".chalice"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", copy)
    return copy


@pytest.fixture
def served(tree: Path) -> Iterator[str]:
    """Serve the copy with `make dev`, and return its URL."""
    port = free_port()
    with (
        (tree / "out").open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "tools.dev.serve"],
            cwd=tree,
            env=environment(PORT=str(port), PYTHONPATH=""),
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        url = f"http://localhost:{port}/api"
        try:
            until_healthy(url, process)
            yield url
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE_S) == 0
        finally:
            process.kill()  # otherwise the end of this block waits for a server that did not stop


def status_of(url: str, token: str = "") -> int:
    """Request a URL, and return the status."""
    try:
        with urlopen(Request(url, headers={"Authorization": f"Bearer {token}"} if token else {}), timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def until(holds: Callable[[], bool], tree: Path) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, (tree / "out").read_text("utf-8")
        time.sleep(0.1)


@pytest.mark.prove(ci=True)
def test_make_dev_reloads_changed_code_and_keeps_its_data(served: str, tree: Path) -> None:
    """The changes are a new route, an error, its correction, and a changed package. An earlier login still works."""
    login = {"email": DEMO_EMAIL, "password": DEMO_PASSWORD, "client_id": "simple"}
    token = str(asked(f"{served}/login", login)["access_token"])
    app, out = tree / "app.py", tree / "out"
    until(lambda: "reload" in out.read_text("utf-8"), tree)
    before = app.read_text("utf-8")

    app.write_text(before + ROUTE.replace("WORD", "one"), "utf-8")
    until(lambda: status_of(f"{served}/hello") == 200, tree)
    assert asked(f"{served}/hello") == {"said": "one"}
    assert "reloaded: app.py" in out.read_text("utf-8")

    # The same length and the same second: bytecode could not show the difference.
    app.write_text(before + ROUTE.replace("WORD", "two"), "utf-8")
    until(lambda: asked(f"{served}/hello") == {"said": "two"}, tree)

    app.write_text(before + "\ndef (\n", "utf-8")
    until(lambda: "SyntaxError" in out.read_text("utf-8"), tree)
    assert "The server still runs the previous code" in out.read_text("utf-8")
    assert "Traceback" not in out.read_text("utf-8")
    assert asked(f"{served}/hello") == {"said": "two"}

    refusal = tree / "chalicelib" / "baton" / "accounts" / "email.py"
    right = refusal.read_text("utf-8")
    refusal.write_text("raise RuntimeError('half a thought')\n" + right, "utf-8")
    app.write_text(before, "utf-8")
    until(lambda: "email.py, line 1: RuntimeError: half a thought" in out.read_text("utf-8"), tree)
    assert asked(f"{served}/hello") == {"said": "two"}
    refusal.write_text(right, "utf-8")
    until(lambda: status_of(f"{served}/hello") == 404, tree)

    assert status_of(f"{served}/me", token) == 200
    assert str(asked(f"{served}/login", login)["access_token"])


def app_of(name: str, *, routes: dict[str, tuple[str, ...]] | None = None) -> Any:
    """Make an app that answers with its name."""

    def app(event: Any, context: Any) -> dict[str, object]:
        del event, context
        return {"statusCode": 200, "body": name}

    app.api = SimpleNamespace(binary_types=[])  # type: ignore[attr-defined]
    app.routes = routes or {"/": ("GET",)}  # type: ignore[attr-defined]
    return app


def test_apps_are_replaced_together_with_their_routes() -> None:
    """The number of apps may change too."""
    gateway = Gateway([app_of("old")])
    gateway.replace(lambda: [app_of("new", routes={"/more": ("GET",)}) for _ in range(2)])
    assert gateway.call("GET", "/api/more").body == b"new"
    assert gateway.call("GET", "/api/").status == 404
    gateway.replace(lambda: [app_of("last")])
    assert gateway.call("GET", "/api/").body == b"last"
    assert gateway._free.qsize() == 1


def test_a_failed_load_does_not_change_the_apps() -> None:
    """The last working apps still answer."""
    gateway = Gateway([app_of("old"), app_of("old")])

    def broken() -> list[Any]:
        raise SyntaxError("half a thought")

    with pytest.raises(SyntaxError):
        gateway.replace(broken)
    assert [gateway.call("GET", "/api/").body for _ in range(3)] == [b"old"] * 3


def test_apps_are_replaced_only_between_requests() -> None:
    """A running request ends with the old code. A later request gets the new code."""
    entered, leave, answers = threading.Event(), threading.Event(), queue.Queue[bytes]()
    slow = app_of("old")

    def waiting(event: Any, context: Any) -> Any:
        entered.set()
        leave.wait(PATIENCE_S)
        return slow(event, context)

    waiting.api, waiting.routes = slow.api, slow.routes  # type: ignore[attr-defined]
    gateway, loading = Gateway([waiting]), threading.Event()

    def load() -> list[Any]:
        assert leave.is_set()
        loading.set()
        return [app_of("new")]

    def call() -> None:
        answers.put(gateway.call("GET", "/api/").body)

    first, replacing = threading.Thread(target=call), threading.Thread(target=lambda: gateway.replace(load))
    first.start()
    assert entered.wait(PATIENCE_S)
    replacing.start()
    assert not loading.wait(0.2)
    leave.set()
    for thread in (first, replacing):
        thread.join(PATIENCE_S)
    call()
    assert [answers.get(), answers.get()] == [b"old", b"new"]


def test_old_modules_are_restored_after_a_failed_load() -> None:
    """So a late import in a running environment gets the code of that environment."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "chalicelib"}

    def broken() -> list[Any]:
        import chalicelib.baton.settings

        assert sys.modules["chalicelib.baton.settings"] is not before["chalicelib.baton.settings"]
        del chalicelib
        raise RuntimeError("half a thought")

    with pytest.raises(RuntimeError):
        reload.load_anew(broken)
    after = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "chalicelib"}
    assert after == before


def test_every_loaded_file_is_watched(tree: Path) -> None:
    """Code and registries, new and deleted files are watched. Bytecode is not."""
    seen = reload.look(tree)
    assert {
        tree / "app.py",
        tree / "chalicelib" / "clients.toml",
        tree / "chalicelib" / "baton" / "lineages" / "model.py",
    } <= seen.keys()
    (tree / "chalicelib" / "__pycache__").mkdir()
    (tree / "chalicelib" / "__pycache__" / "settings.pyc").write_bytes(b"")
    assert reload.look(tree) == seen
    (tree / "chalicelib" / "mine.py").write_text("", "utf-8")
    assert reload.look(tree) != seen
    (tree / "chalicelib" / "mine.py").unlink()
    assert reload.look(tree) == seen
    os.utime(tree / "app.py", (1, 1))
    assert reload.look(tree) != seen
