"""The agents: one program for each client, with its build and its command. A new client needs a function and a row.

``make check LONG=1`` runs the agents of ``QUICK``, and ``make test`` the first one. ``make conformance`` sets
``CONFORMANCE`` to the name of a client, or to ``all``. A client whose tools are missing is skipped with a reason, or
fails in CI.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.baton.clients.node import node

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[3]
QUICK: Final = ("python", "javascript")
KOTLIN: Final = ROOT / "clients" / "kotlin"
SWIFT_CLIENT: Final = ROOT / "clients" / "swift"
SWIFT: Final = str(ROOT / "tools" / "swift.sh")


def _python() -> list[str]:
    return [sys.executable, str(HERE / "agent.py")]


def _javascript() -> list[str]:
    return [node(), str(HERE / "agent.js")]


def _kotlin() -> list[str]:
    tools("java", "javac", "mvn")
    arguments = KOTLIN / "agent" / "target" / "classes" / "arguments"
    sources = [path for path in (*KOTLIN.rglob("pom.xml"), *KOTLIN.glob("*/src/main/**/*")) if path.is_file()]
    command = ["mvn", "-q", "-B", "-o", "-T1", "-f", str(KOTLIN), "-pl", "agent", "-am", "compile"]
    build(command, sources, arguments)
    faster = ROOT / "build" / "kotlin-agent" / "arguments"
    archive = HERE / "kotlin_archive.py"
    build([sys.executable, str(archive), str(arguments)], [archive, built(arguments)], faster)
    return ["java", f"@{faster}"]


def _swift() -> list[str]:
    if subprocess.run([SWIFT, "have"], check=False).returncode != 0:
        pytest.skip("no swift (make swift-toolchain installs one)")
    place = ROOT / "build" / "swift"
    agent = place / "debug" / "BatonAgent"
    sources = [SWIFT_CLIENT / "Package.swift", *(SWIFT_CLIENT / "Sources").rglob("*.*")]
    command = ["swift", "build", "--product", "BatonAgent", "--scratch-path", str(place)]
    build([SWIFT, "run", str(SWIFT_CLIENT), *command], sources, agent)
    return [SWIFT, "run", str(ROOT), str(agent)]


AGENTS: Final[dict[str, Callable[[], list[str]]]] = {
    "python": _python,
    "javascript": _javascript,
    "kotlin": _kotlin,
    "swift": _swift,
}


def chosen() -> tuple[str, ...]:
    """Return the clients of this run."""
    named = os.environ.get("CONFORMANCE") or "quick"
    if named in {"all", "quick"}:
        return tuple(AGENTS) if named == "all" else QUICK
    if named not in AGENTS:
        raise pytest.UsageError(f"There is no client {named}. CLIENT is one of {', '.join(AGENTS)}.")
    return (named,)


def parameters() -> list[object]:
    """Return the clients of this run, as parameters of a test. Without a name, only the first is a fast test."""
    slow = () if os.environ.get("CONFORMANCE") else QUICK[1:]
    return [pytest.param(name, marks=[pytest.mark.prove(ci=True)] if name in slow else []) for name in chosen()]


@cache
def command_of(client: str) -> tuple[str, ...]:
    """Build an agent and return its command, or skip the test."""
    return tuple(AGENTS[client]())


def tools(*names: str) -> None:
    """Skip the test if one of the programs is missing. In CI, it fails."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {missing[0]}")


def built(result: Path) -> Path:
    """Return the empty file whose time is that of the last build of ``result``."""
    return result.with_name(result.name + ".built")


def build(command: list[str], sources: list[Path], result: Path) -> None:
    """Build once for all processes of a run, and again only after a source has changed."""
    stamp = built(result)
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "agents.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(path.stat().st_mtime for path in sources)
        if result.exists() and stamp.exists() and stamp.stat().st_mtime > newest:
            return
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
        told = done.stdout[-4000:] + done.stderr[-4000:]
        assert done.returncode == 0, f"{told}\nremedy: run make clients. It downloads what a build needs."
        stamp.touch()
