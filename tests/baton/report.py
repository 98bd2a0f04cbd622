"""The pytest plugin that observes a run of Baton's tests and prints the evidence at its end: `-p tests.baton.report`.

The run ends with a line for each guarantee and one for the policies, and fails if one of them does not hold. With
several processes, the command line must name the plugin, as `make test` does: the process that prints imports no test.
"""

from typing import Any

import pytest

from tests.baton.progress import Progress
from tests.baton.promises import PROMISES, Ledger, promised
from tests.baton.repository import OURS, REASON
from tests.baton.witness import Use, Witness, verdict

NO_DYNOXIDE = "dynoxide is not here"
NO_BROWSER = "no browser test runs"
NO_OTHER_PYTHON = "no other Python is here"
NO_NODE = "Node.js 20 is not here"

ledger, seen = Ledger(PROMISES), Witness()


MARKERS = (
    "prove(ci): a long test, run by `make prove`. With `ci=True`, `make check LONG=1` and CI run it too",
    "guarantee(*numbers): the guarantees of the README that a test proves",
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers. Keep ledger and progress in the process that receives the reports."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ledger, "promises")
        config.pluginmanager.register(Progress(config), "progress")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the numbers of its guarantees to the report of each test."""
    for item in items:
        if numbers := promised(item):
            item.user_properties.append(("guarantee", numbers))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the observations of another process."""
    seen.used |= {Use(*use) for use in getattr(node, "workeroutput", {}).get("used", ())}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the observations to the main process. In the main process, fail the run if a guarantee or a policy fails."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["used"] = [tuple(use) for use in seen.used]  # xdist transfers only plain values
    elif whole(session.config) and (ledger.broken() or any(judged(session.config).values())):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def whole(config: pytest.Config) -> bool:
    """Return whether all tests run: only a complete run can prove all guarantees and policies."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword


def has_every_test(config: pytest.Config) -> bool:
    """Return whether the run includes the tests that prove no guarantee. `make prove` excludes them."""
    return "guarantee" not in config.option.markexpr


def judged(config: pytest.Config) -> dict[str, list[str]]:
    """Compare the used permissions with every policy."""
    return verdict(seen.used, every_test=has_every_test(config))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the evidence, and the parts without evidence."""
    say_what_was_missed(terminalreporter)
    if not whole(config):
        return
    terminalreporter.section("guarantees")
    for line, holds in ledger.lines(PROMISES):
        terminalreporter.write_line(line, green=holds, red=not holds)
    for name, complaints in judged(config).items():
        good = f"{'exactly' if has_every_test(config) else 'at least'} the {len(seen.used)} rights that were used"
        told = f"{name}: {'; '.join(complaints) or good}"
        terminalreporter.write_line(told, green=not complaints, red=bool(complaints))
    if not OURS:
        terminalreporter.write_line(f"policies: skipped: {REASON}", yellow=True)
    terminalreporter.write_line("what this proves, and what not: docs/baton/proof.md; the long form: make prove")


def say_what_was_missed(terminalreporter: Any) -> None:
    """At the end, print which tests were skipped, because a skip is easily overlooked."""
    skipped = terminalreporter.stats.get("skipped", [])
    if missed := sum(NO_DYNOXIDE in str(report.longrepr) for report in skipped):
        told = (
            f"{NO_DYNOXIDE}: {missed} tests of processes racing and of capacity did not run. To run them: make dynoxide"
        )
        terminalreporter.write_line(told, yellow=True)
    if missed := sum(NO_BROWSER in str(report.longrepr) for report in skipped):
        told = f"{NO_BROWSER}: {missed} tests need Node.js and chromium. To run them: make browser"
        terminalreporter.write_line(told, yellow=True)
    if any(NO_OTHER_PYTHON in str(report.longrepr) for report in skipped):
        told = f"{NO_OTHER_PYTHON}: stored passwords and addresses were not compared. Install a second Python >= 3.11"
        terminalreporter.write_line(told, yellow=True)
    if missed := sum(NO_NODE in str(report.longrepr) for report in skipped):
        told = f"{NO_NODE}: {missed} tests of the TypeScript client did not run. Install Node.js >= 20"
        terminalreporter.write_line(told, yellow=True)
