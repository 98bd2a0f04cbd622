"""Fetching dynoxide: only the pinned package is accepted, and the last lines of a run say if it is missing."""

import base64
import hashlib
import io
import stat
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.baton.report import NO_BROWSER, NO_DYNOXIDE, NO_NODE, say_what_was_missed
from tools.dev import dynoxide
from tools.dev.dynoxide import MEMBER, Unfetchable, fetch, find, unpack

PROGRAM = b"#!/bin/sh\n"


@pytest.fixture
def package() -> bytes:
    """Pack a program as npm does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as members:
        member = tarfile.TarInfo(MEMBER)
        member.size = len(PROGRAM)
        members.addfile(member, io.BytesIO(PROGRAM))
    return packed.getvalue()


@pytest.fixture
def npm(package: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an npm on the PATH that serves a package other than the pinned package."""
    (tmp_path / "served.tgz").write_bytes(package)
    script = tmp_path / "npm"
    script.write_text(f'#!/bin/sh\n/bin/cp "{tmp_path}/served.tgz" .\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")


def test_the_pinned_package_is_unpacked(package: bytes, tmp_path: Path) -> None:
    """The unpacked program can run."""
    integrity = base64.b64encode(hashlib.sha512(package).digest()).decode()
    unpack(package, integrity, tmp_path / "dynoxide")
    assert (tmp_path / "dynoxide").read_bytes() == PROGRAM
    assert (tmp_path / "dynoxide").stat().st_mode & stat.S_IXUSR


def test_another_package_than_the_pinned_one_is_not_kept(npm: None, tmp_path: Path) -> None:
    """The other package comes from npm under the pinned name and version."""
    kept = tmp_path / "engines" / "dynoxide"
    with pytest.raises(Unfetchable, match="not the pinned package"):
        fetch(kept)
    assert list(kept.parent.iterdir()) == []


def test_the_error_of_npm_is_printed(npm: None, tmp_path: Path) -> None:
    """It is the only hint that a registry is unreachable."""
    (tmp_path / "npm").write_text("#!/bin/sh\necho no route >&2\nexit 1\n")
    with pytest.raises(Unfetchable, match="no route"):
        fetch(tmp_path / "engines" / "dynoxide")


def test_without_npm_the_command_fails_with_the_reason(
    npm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine has no pinned package either."""
    monkeypatch.setattr(dynoxide, "FETCHED", tmp_path / "absent")
    (tmp_path / "npm").unlink()
    assert dynoxide.main() == 1
    assert "npm is not on the PATH" in capsys.readouterr().err
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert dynoxide.main() == 1
    assert "x86_64 Linux" in capsys.readouterr().err


def test_the_configured_dynoxide_is_used_first_then_the_fetched_then_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any of these, none is found."""
    named, fetched, on_path = tmp_path / "named", tmp_path / "fetched", tmp_path / "dynoxide"
    monkeypatch.delenv("DYNOXIDE", raising=False)
    monkeypatch.setattr(dynoxide, "FETCHED", fetched)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find() is None
    on_path.write_bytes(PROGRAM)
    on_path.chmod(0o755)
    assert find() == on_path
    fetched.write_bytes(PROGRAM)
    assert find() == fetched
    monkeypatch.setenv("DYNOXIDE", str(named))
    assert find() == named


def test_a_dynoxide_that_does_not_start_is_a_failure(tmp_path: Path) -> None:
    """The test fails with the output of the program. It is not skipped."""
    program = tmp_path / "dynoxide"
    program.write_text("#!/bin/sh\necho broken\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(RuntimeError, match="broken"), dynoxide.running(program, tmp_path / "log"):
        pass


def test_a_dynoxide_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process remains after a test."""
    started: list[subprocess.Popen[Any]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg] # any parameter
        """Records the started program."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            started.append(self)

    program = tmp_path / "dynoxide"
    program.write_text("#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.1; done\n")
    program.chmod(0o755)
    monkeypatch.setattr(subprocess, "Popen", Noted)
    monkeypatch.setattr(dynoxide, "START_S", 0.3)
    with pytest.raises(RuntimeError, match="did not start"), dynoxide.running(program, tmp_path / "log"):
        pass
    assert started[0].poll() is not None


def test_the_last_lines_name_the_skipped_tests() -> None:
    """Without skipped tests there is no line."""
    lines: list[str] = []

    def closing(*reasons: str) -> None:
        skipped = [SimpleNamespace(longrepr=("test.py", 1, reason)) for reason in reasons]
        reporter: Any = SimpleNamespace(stats={"skipped": skipped}, write_line=lambda line, **_: lines.append(line))
        say_what_was_missed(reporter)

    closing("Skipped: no IPv6 here")
    assert lines == []
    closing(f"Skipped: {NO_DYNOXIDE}", "Skipped: no IPv6 here", f"Skipped: {NO_DYNOXIDE}")
    (line,) = lines
    assert NO_DYNOXIDE in line
    assert " 2 tests" in line
    assert "make dynoxide" in line
    lines.clear()
    closing(f"Skipped: {NO_BROWSER}: node is not installed")
    (line,) = lines
    assert " 1 tests" in line
    assert "make browser" in line
    lines.clear()
    closing(f"Skipped: {NO_NODE}")
    assert NO_NODE in lines[0]
