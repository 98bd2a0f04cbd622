"""The first line of a long run: the number of tests, and the estimated duration."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final

import pytest

from tools.printed import counted, roughly

TEST_S: Final = 0.04
"""The average duration of a test on one core, in seconds: 430 s for 10,850 tests."""
PROOF_S: Final = 1.0
"""The same for a run with the long proofs: 3,273 s for 9,220 tests in three processes."""
SPOKEN_OF_FROM: Final = 200
"""The smallest number of tests for which the line is printed: a shorter run ends before a person can read it."""


class Progress:
    """Prints the line, and stores the duration of the run for the next run."""

    def __init__(self, config: pytest.Config) -> None:
        """Start to measure."""
        self._config, self._begun, self._told = config, time.monotonic(), False
        self._tests = 0

    @property
    def _key(self) -> str:
        """Return the cache key of the run, which depends on its marks, keywords and paths."""
        asked = self._config.option
        said = " ".join([asked.markexpr, asked.keyword, *self._config.args])
        return f"baton/seconds/{hashlib.sha256(said.encode()).hexdigest()[:32]}"

    def said(self, tests: int, processes: int) -> str:
        """Return the number of tests, and the duration of the last run or an estimate from the number of tests."""
        cache = getattr(self._config, "cache", None)
        known = cache.get(self._key, None) if cache is not None else None
        many = f"{counted(tests, 'test')} in {counted(processes, 'process', 'processes')}"
        if known is not None:
            return f"{many}; the last run took {roughly(known)}"
        test_s = PROOF_S if self._config.option.markexpr.endswith("or prove") else TEST_S
        return f"{many}; about {roughly(tests * test_s / processes)}, if no other program needs the processors"

    def _tell(self, tests: int, processes: int) -> None:
        self._tests = tests
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if not self._told and tests >= SPOKEN_OF_FROM and reporter is not None:
            reporter.write_line(self.said(tests, processes))
        self._told = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Print the line when the first of several processes has collected the tests."""
        del node
        self._tell(len(ids), int(self._config.getvalue("numprocesses") or 1))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Print the line if one process runs all tests."""
        if session.items:
            self._tell(len(session.items), 1)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Store the duration if the run was complete."""
        cache = getattr(self._config, "cache", None)
        if cache is not None and self._tests >= SPOKEN_OF_FROM and exitstatus in {0, 1}:
            cache.set(self._key, round(time.monotonic() - self._begun))
