"""Run the mutants: ``python -m tools.mutants [--short] [WORDS OF THEIR NAMES ...]``.

For each mutant, the fast tests of its file run in a temporary copy of the tree, and must fail. Two mutants run at the
same time. The tests run first without a mutant, because tests that always fail prove nothing.
"""

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tools.mutants.generated import EQUIVALENT, FILES, generated
from tools.mutants.listed import LISTED, SHORT
from tools.mutants.mutant import ROOT, TESTS, Mutant, Stale
from tools.printed import counted, roughly

AT_ONCE: Final = 2
CPU_MAX_S: Final = 120
"""The CPU time limit of a mutant, in seconds: a mutant with an endless loop counts as killed."""
SHOWN_MAX: Final = 4_000
"""The maximum number of characters of a failure that are printed."""
MUTANT_S: Final = 1.5
"""The estimated seconds for one mutant while two run at the same time, measured with the dozen mutants of SHORT=1."""
TREE: Final = (
    "app.py",
    "pyproject.toml",
    "README.md",
    "chalicelib",
    "clients",
    "docs",
    "infra",
    "tests",
    "tools",
    ".chalice",
)

_PASSED, _FAILED, _INTERRUPTED = 0, 1, 2


def all_mutants() -> list[Mutant]:
    """Return the listed mutants, and the generated mutants that change behaviour."""
    made = [mutant for file in FILES for mutant in generated(file)]
    unknown = EQUIVALENT.keys() - {str(mutant) for mutant in made}
    if unknown:
        raise Stale(f"EQUIVALENT has mutants that are not generated: {', '.join(sorted(unknown))}")
    return [*LISTED, *(mutant for mutant in made if str(mutant) not in EQUIVALENT)]


GENERATED: Final = shutil.ignore_patterns("__pycache__", "target", "node_modules")


def copied(to: Path) -> Path:
    """Copy the files of ``TREE`` to a new folder, without generated files, and return the folder."""
    to.mkdir()
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=GENERATED)
        else:
            shutil.copy2(ROOT / name, to / name)
    return to


def run_tests(tree: Path, tests: Sequence[str], output: str = os.devnull, cpu_max_s: int = CPU_MAX_S) -> None:
    """Run tests in a tree, and end this process with the exit code of pytest.

    Call this only in a forked child, because it also removes modules from ``sys.modules``.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_max_s, cpu_max_s))
    os.chdir(tree)
    sys.path[:] = [
        str(tree),
        str(tree / "clients" / "python"),
        *(path for path in sys.path if path not in {"", str(ROOT)}),
    ]
    for name in [
        name for name in sys.modules if name.split(".")[0] in {"chalicelib", "tests", "tools", "baton_client"}
    ]:
        del sys.modules[name]
    with (
        Path(output).open("w") as printed,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        import pytest  # noqa: PLC0415 - only in the child
        from hypothesis import Phase, settings  # noqa: PLC0415 - only in the child

        # The first failing example is enough. The profile of the tests would go on to simplify it. The examples are
        # the same in each run, so no random example decides whether a mutant survives.
        phases = [Phase.explicit, Phase.generate]
        settings.register_profile("mutants", deadline=None, phases=phases, database=None, derandomize=True)
        settings.load_profile("mutants")
        type.__setattr__(settings, "load_profile", staticmethod(lambda _: None))
        # The parent process imported the shared modules before pytest could rewrite their assertions.
        calm = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
        code = pytest.main(["-x", "-n", "0", "-p", "no:cacheprovider", *calm, *tests])
    os._exit(int(code))


class Laboratory:
    """Copies of the tree. Each copy runs one mutant at a time, and all copies run at the same time."""

    def __init__(self, trees: Sequence[Path]) -> None:
        """Store the trees."""
        self._free = list(trees)
        self._running: dict[int, tuple[multiprocessing.Process, Mutant, Path]] = {}
        self._fork = multiprocessing.get_context("fork")
        self._numbers = itertools.count(1)

    def survivors(self, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, bool]]:
        """Run the tests of each mutant. Yield each mutant when its tests end, and whether it survived."""
        waiting = list(mutants)
        while waiting or self._running:
            while waiting and self._free:
                self._begin(waiting.pop(0), self._free.pop())
            yield from self._ended()

    def _begin(self, mutant: Mutant, tree: Path) -> None:
        file = tree / mutant.file
        # Python uses the bytecode of a file if it has the time (in seconds) and the size of the file. With a time of
        # its own, a mutant cannot run with the bytecode of an earlier mutant.
        changed_at = file.stat().st_mtime + next(self._numbers)
        file.write_text(mutant.applied(file.read_text("utf-8")), "utf-8")
        os.utime(file, (changed_at, changed_at))
        process = self._fork.Process(target=run_tests, args=(tree, mutant.tests))
        process.start()
        assert process.pid is not None
        self._running[process.pid] = (process, mutant, tree)  # type: ignore[assignment]

    def _ended(self) -> Iterator[tuple[Mutant, bool]]:
        multiprocessing.connection.wait([process.sentinel for process, _, _ in self._running.values()])
        for pid, (process, mutant, tree) in list(self._running.items()):
            if process.exitcode is None:
                continue
            del self._running[pid]
            shutil.copy2(ROOT / mutant.file, tree / mutant.file)
            self._free.append(tree)
            if process.exitcode not in {_PASSED, _FAILED, _INTERRUPTED} and process.exitcode >= 0:
                sys.exit(f"{mutant}: its tests did not run (pytest exit {process.exitcode})")
            yield mutant, process.exitcode == _PASSED


def unchanged(tree: Path, tests: Sequence[str]) -> bool:
    """Run the tests in an unchanged tree, print the failures, and return whether the tests pass.

    The tree keeps the bytecode of this run, so the mutants start faster.
    """
    output = tree.parent / "unchanged.txt"
    context = multiprocessing.get_context("fork")
    process = context.Process(target=run_tests, args=(tree, tests, str(output), len(tests) * CPU_MAX_S))
    process.start()
    process.join()
    if process.exitcode != _PASSED:
        print(output.read_text("utf-8")[-SHOWN_MAX:], file=sys.stderr)
    return process.exitcode == _PASSED


def main(arguments: Sequence[str]) -> int:
    """Run all mutants, or with ``--short`` a dozen. Other arguments select mutants by a part of their name.

    Return 1 if a mutant survives, or if the tests fail without a mutant.
    """
    words = [word for word in arguments if word != "--short"]
    mutants = SHORT if "--short" in arguments else all_mutants()
    mutants = [mutant for mutant in mutants if not words or any(word in str(mutant) for word in words)]
    import argon2  # noqa: F401, PLC0415 - imported once for all children
    import botocore.session  # noqa: F401, PLC0415
    import cryptography.hazmat.primitives.asymmetric.ec  # noqa: F401, PLC0415
    import hypothesis  # noqa: F401, PLC0415
    import moto.dynamodb.responses  # noqa: F401, PLC0415

    began, live = time.monotonic(), sys.stdout.isatty()
    sources = {file: (ROOT / file).read_text("utf-8") for file in TESTS}
    for mutant in mutants:
        mutant.applied(sources[mutant.file])
    with tempfile.TemporaryDirectory(prefix="baton-mutants-") as folder:
        first = copied(Path(folder) / "first")
        tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
        print(
            f"{counted(len(mutants), 'mutant')} of {counted(len({mutant.file for mutant in mutants}), 'file')}, about "
            f"{roughly(len(mutants) * MUTANT_S)} on two idle cores. First their tests, unchanged",
            flush=True,
        )
        if not unchanged(first, tests):
            print("The tests fail without any mutant. Next: make test", file=sys.stderr)
            return 1
        others = [Path(shutil.copytree(first, Path(folder) / str(number))) for number in range(1, AT_ONCE)]
        survivors = []
        for done, (mutant, survived) in enumerate(Laboratory([first, *others]).survivors(mutants), start=1):
            survivors += [mutant] if survived else []
            if survived or live or done % 25 == 0 or done == len(mutants):
                verdict = "SURVIVED" if survived else "killed  "
                print(f"{done:>{len(str(len(mutants)))}}/{len(mutants)} {verdict} {mutant}", flush=True)
    took = time.monotonic() - began
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants killed in {took:.0f} s")
    for mutant in survivors:
        print(f"  survived: {mutant}\n      {mutant.old!r} -> {mutant.new!r}")
    if survivors:
        print("next: write a test that fails, or add it with a reason to EQUIVALENT in tools/mutants/generated.py")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
