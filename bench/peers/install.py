"""Install the compared products at their locked versions in ``build/peers``. The repository has none of their code."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILT = ROOT / "build" / "peers"
PYTHON = BUILT / "venv" / "bin" / "python"
NODE = BUILT / "node"


class Missing(Exception):
    """A kind of product cannot run here. The message has the missing part and the remedy."""


def python_peers() -> Path:
    """Return the Python in which the Django products are installed. Raises ``Missing``."""
    locked = HERE / "requirements.txt"
    if not _fresh(BUILT / "venv", locked):
        print("installing the Django peers, pinned and hashed (once)", file=sys.stderr, flush=True)
        shutil.rmtree(BUILT / "venv", ignore_errors=True)
        _run([sys.executable, "-m", "venv", BUILT / "venv"], ROOT)
        pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", locked], ROOT)
        _note(BUILT / "venv", locked)
    return PYTHON


def node_peers() -> tuple[str, Path]:
    """Return the path of Node.js, and the folder in which the Node products are installed. Raises ``Missing``."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Missing("Node.js with npm is not installed: apt-get update && apt-get install nodejs npm")
    locked = HERE / "package-lock.json"
    if not _fresh(NODE, locked):
        print("installing the Node peers, as locked (once; minutes where SQLite must be compiled)", file=sys.stderr)
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, NODE / name)
        _run([npm, "ci", "--no-fund", "--no-audit", "--loglevel=error"], NODE)
        _note(NODE, locked)
    return node, NODE


def _run(command: Sequence[str | Path], cwd: Path) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"{' '.join(map(str, command[:4]))} failed:\n{done.stderr.strip()[-1000:]}")


def _fresh(folder: Path, locked: Path) -> bool:
    note = folder / "installed"
    return note.exists() and note.read_text("utf-8") == _digest(locked)


def _note(folder: Path, locked: Path) -> None:
    (folder / "installed").write_text(_digest(locked), "utf-8")


def _digest(locked: Path) -> str:
    return hashlib.sha256(locked.read_bytes()).hexdigest() + os.linesep
