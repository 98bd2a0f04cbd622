"""Remove each guard of the Kotlin client once, and check that a test fails: ``python -m tools.kotlin_mutants``.

A guard is code of the client that enforces a rule. A mutant is the client without one guard, or with a changed guard.
``clients/kotlin/mutants.toml`` lists the mutants. A word as argument selects the mutants with the word in file or name.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parents[1] / "clients" / "kotlin"
LATE: Final = 300
SHORT_JVM: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options of a short Java process: no second compiler, and garbage collection in one thread."""
MODULES: Final = {"core": "core", "jvm": "core,jvm", "android": "core,android-stubs,android"}


class Mutant(NamedTuple):
    """A mutant of a guard: the text of the guard, its replacement, and the tests. At least one test must fail."""

    file: str
    name: str
    text: str
    replacement: str
    tests: str


def listed() -> list[Mutant]:
    """Read the mutants of ``clients/kotlin/mutants.toml``."""
    return [Mutant(**given) for given in tomllib.loads((HERE / "mutants.toml").read_text("utf-8"))["mutant"]]


def maven(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Maven in a copy of the client, offline: the local repository of Maven already has the packages."""
    command = ["mvn", "-q", "-B", "-o", "-T1", f"-DargLine={SHORT_JVM}", *arguments]
    environment = {"MAVEN_OPTS": f"-Xmx1g {SHORT_JVM}", **os.environ}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=LATE)


def path_of(copy: Path, file: str) -> Path:
    """Return the path of a source file in ``copy``. ``file`` begins with the module: ``core/flows/Exchange.kt``."""
    module, name = file.split("/", 1)
    return copy / module / "src/main/kotlin" / name


def fate(copy: Path, mutant: Mutant) -> str | None:
    """Run the compiled tests with a mutant. Return the problem, or ``None`` if a test fails, as it must."""
    path = path_of(copy, mutant.file)
    source = path.read_text("utf-8")
    if source.count(mutant.text) != 1:
        return f"its text occurs {source.count(mutant.text)} times"
    path.write_text(source.replace(mutant.text, mutant.replacement), "utf-8")
    modules = MODULES[mutant.file.partition("/")[0]]
    only = (f"-Dtest={mutant.tests}", "-Dsurefire.failIfNoSpecifiedTests=false")
    try:
        done = maven(copy, "-pl", modules, "compile", "surefire:test@default-test", *only)
    except subprocess.TimeoutExpired:
        return None  # A test that never ends has failed too.
    finally:
        path.write_text(source, "utf-8")
    if done.returncode == 0:
        return "survived"
    return None if "surefire-reports" in done.stdout else f"it does not compile: {done.stdout[-600:]}"


def main(words: list[str]) -> int:
    """Try the mutants that ``words`` select, or all without words. Print the problems, and return the exit code."""
    chosen = [
        mutant for mutant in listed() if not words or any(word in f"{mutant.file} {mutant.name}" for word in words)
    ]
    with tempfile.TemporaryDirectory(prefix="baton-mutants-") as folder:
        copy = Path(folder) / "clients" / "kotlin"
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("target"))
        for read in ("clients/vectors", "docs/baton"):  # The tests read these.
            shutil.copytree(HERE.parents[1] / read, Path(folder) / read)
        pom = copy / "pom.xml"
        pom.write_text(
            pom.read_text("utf-8").replace("<arg>-Werror</arg>", ""), "utf-8"
        )  # A mutant may leave unused code. With -Werror, the warning about this code would be an error.
        whole = maven(copy, "test", "-pl", "!agent")
        if whole.returncode != 0:
            print(f"The tests fail without a mutant:\n{whole.stdout[-4000:]}")
            return 1
        wrong = 0
        for mutant in chosen:
            if (why := fate(copy, mutant)) is not None:
                wrong += 1
                print(f"{mutant.file}: {mutant.name}: {why}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} mutants of the Kotlin client killed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
