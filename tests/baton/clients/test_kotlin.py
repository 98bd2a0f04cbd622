"""The Kotlin client. `make clients` runs its tests and `make mutants` its mutants: both need Maven and a JDK."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.kotlin_mutants import HERE, Mutant, listed, path_of


@pytest.mark.parametrize("mutant", listed(), ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_kotlin_client_can_be_made(mutant: Mutant) -> None:
    """The text of each mutant is in the source exactly once, and its tests exist.

    So a change of the source cannot lose a mutant.
    """
    assert path_of(HERE, mutant.file).read_text("utf-8").count(mutant.text) == 1
    assert mutant.text != mutant.replacement
    assert list(HERE.glob(f"*/src/test/kotlin/{mutant.tests}.kt"))


@pytest.mark.parametrize("ci", [True, False], ids=["in CI", "elsewhere"])
def test_a_missing_tool_is_one_line_and_fails_in_ci(ci: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    """`make clients` needs npm, Maven and a JDK. Without them nothing is tested, so CI must fail."""
    make = shutil.which("make")
    assert make
    environment = {"PATH": str(tmp_path), **({"CI": "true"} if ci else {})}
    done = subprocess.run(
        [make, "--keep-going", "clients"],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("skipped: no ")]
    assert len(lines) == (1 if ci else 3)
    assert (done.returncode != 0) == ci
