"""Reload for ``make dev``: when ``app.py`` or ``chalicelib/`` changes, load the environments again.

An environment is one loaded copy of ``app.py``. The data is kept, because the database is outside the environments.
If the new code does not load, the error is printed, and the server continues with the previous code.
"""

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tools.dev.gateway import ROOT, Gateway

POLL_S: Final = 0.5
PACKAGE: Final = "chalicelib"

Seen = Mapping[Path, tuple[int, int]]


def look(root: Path = ROOT) -> Seen:
    """Return every file that an environment loads, with its modification time (ns) and its size (bytes)."""
    seen = {}
    for file in (root / "app.py", *(root / PACKAGE).rglob("*")):
        # A file may be deleted at this moment: editors save by replacing.
        with contextlib.suppress(OSError):
            if "__pycache__" not in file.parts and file.is_file():
                found = file.stat()
                seen[file] = (found.st_mtime_ns, found.st_size)
    return seen


def load_anew(load: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """Load environments with newly imported modules of ``chalicelib``. After a failure the old modules are kept."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE}
    for name in before:
        del sys.modules[name]
    writes, sys.dont_write_bytecode = (
        sys.dont_write_bytecode,
        True,
    )  # bytecode has the time of its source in whole seconds: Python would not see a second change in one second
    try:
        return load()
    except BaseException:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.modules.update(before)
        raise
    finally:
        sys.dont_write_bytecode = writes


def reload(gateway: Gateway, load: Callable[[], Sequence[Any]], changed: Sequence[Path], root: Path = ROOT) -> None:
    """Load the environments again. Print the changed files and, if the new code does not load, the error."""
    names = ", ".join(str(file.relative_to(root)) for file in changed[:3]) + (", ..." if len(changed) > 3 else "")
    try:
        gateway.replace(lambda: load_anew(load))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - unfinished code may raise any exception
        print(f"error: {names}: {described(error, root)}", file=sys.stderr)
        print("The server still runs the previous code. remedy: correct the file and save it", file=sys.stderr)
    else:
        print(f"{time.strftime('%H:%M:%S')}  reloaded: {names}", flush=True)


def described(error: BaseException, root: Path = ROOT) -> str:
    """Describe an error: file and line of the last traceback entry in the project's code, if any, then the message."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if file.is_relative_to(root / PACKAGE) or file == root / "app.py":
            where = f"{file.relative_to(root)}, line {frame.lineno}: "
    return where + "".join(traceback.format_exception_only(error)).rstrip()


@contextlib.contextmanager
def reloading(
    gateway: Gateway, load: Callable[[], Sequence[Any]], *, root: Path = ROOT, poll_s: float = POLL_S
) -> Iterator[None]:
    """While this context is open, watch the files and load the environments again when a file changes."""
    ended = threading.Event()

    def watch() -> None:
        loaded = before = look(root)
        while not ended.wait(poll_s):
            now = look(root)
            # After two equal results, an editor that saves several files, or git, has finished.
            if now == before != loaded:
                changed = sorted(file for file in now.keys() | loaded.keys() if now.get(file) != loaded.get(file))
                loaded = now
                reload(gateway, load, changed, root)
            before = now

    watching = threading.Thread(target=watch, name="reload", daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
