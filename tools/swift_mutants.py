"""Remove each guard of the Swift client once, and check that a test fails: ``python -m tools.swift_mutants``.

A guard is code of the client that enforces a rule. A mutant is the client without one guard, or with a changed guard.
``clients/swift/mutants.toml`` lists the mutants. A word as argument selects the mutants with the word in file or name.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from tools.kotlin_mutants import Mutant

ROOT: Final = Path(__file__).parents[1]
HERE: Final = ROOT / "clients" / "swift"
SWIFT: Final = str(ROOT / "tools" / "swift.sh")
LATE: Final = 300
FIRST: Final = 1200
"""The time limit of the first run, in seconds. The first run compiles all sources."""


def listed() -> list[Mutant]:
    """Read the mutants of ``clients/swift/mutants.toml``."""
    return [Mutant(**given) for given in tomllib.loads((HERE / "mutants.toml").read_text("utf-8"))["mutant"]]


def outcome(copy: Path, *arguments: str, late: int = LATE) -> subprocess.CompletedProcess[str]:
    """Run the tests of a copy of the Swift client. The compiled files are kept for the next run."""
    place = str(copy.parent.parent / "build")
    command = [SWIFT, "run", str(copy), "swift", "test", "--scratch-path", place, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            told, _ = process.communicate(timeout=late)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # The process and its children.
            raise
    return subprocess.CompletedProcess(command, process.returncode, told)


def path_of(copy: Path, file: str) -> Path:
    """Return the path of a source file in ``copy``. ``file`` is relative to ``Sources/Baton``."""
    return copy / "Sources" / "Baton" / file


def fate(copy: Path, mutant: Mutant) -> str | None:
    """Try a mutant. Return ``None`` if a test detects the mutant, or else the problem."""
    path = path_of(copy, mutant.file)
    source = path.read_text("utf-8")
    if source.count(mutant.text) != 1:
        return f"its text occurs {source.count(mutant.text)} times"
    path.write_text(source.replace(mutant.text, mutant.replacement), "utf-8")
    try:
        done = outcome(copy, "--filter", mutant.tests)
    except subprocess.TimeoutExpired:
        return None  # A test that never ends has failed too.
    finally:
        path.write_text(source, "utf-8")
    if done.returncode == 0:
        return "survived"
    return None if "Test run started" in done.stdout else f"it does not compile: {done.stdout[-900:]}"


def main(words: list[str]) -> int:
    """Try the selected mutants. Print each problem and the number of killed mutants. Return the exit code."""
    chosen = [
        mutant for mutant in listed() if not words or any(word in f"{mutant.file} {mutant.name}" for word in words)
    ]
    with tempfile.TemporaryDirectory(prefix="baton-mutants-") as folder:
        copy = Path(folder) / "clients" / "swift"
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns(".build"))
        shutil.copytree(HERE.parent / "vectors", copy.parent / "vectors")
        whole = outcome(copy, late=FIRST)
        if whole.returncode != 0:
            print(f"The tests fail without a mutant:\n{whole.stdout[-4000:]}")
            return 1
        wrong = 0
        for mutant in chosen:
            if (why := fate(copy, mutant)) is not None:
                wrong += 1
                print(f"{mutant.file}: {mutant.name}: {why}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} mutants of the Swift client killed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
