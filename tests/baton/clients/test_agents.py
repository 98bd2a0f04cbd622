"""How the conformance suite finds, builds and starts its agents."""

import os
import sys
import time
from pathlib import Path

import pytest

from tests.baton.clients.conformance.agents import AGENTS, QUICK, build, chosen, tools


@pytest.mark.parametrize(
    ("named", "clients"), [("", QUICK), ("quick", QUICK), ("all", tuple(AGENTS)), ("kotlin", ("kotlin",))]
)
def test_the_clients_of_a_run(named: str, clients: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """`make check LONG=1` runs the clients of ``QUICK``, and `make conformance` runs all clients or one."""
    monkeypatch.setenv("CONFORMANCE", named)
    assert chosen() == clients


def test_an_unknown_client_is_no_empty_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name is an error, which lists the clients."""
    monkeypatch.setenv("CONFORMANCE", "cobol")
    with pytest.raises(pytest.UsageError, match="python, javascript, kotlin"):
        chosen()


def test_a_missing_tool_skips_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the tool exists, the test runs."""
    monkeypatch.delenv("CI", raising=False)
    tools("sh")
    with pytest.raises(pytest.skip.Exception, match="no such-tool"):
        tools("sh", "such-tool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such-tool"):
        tools("sh", "such-tool")


def test_an_agent_is_built_once_and_after_a_change(tmp_path: Path) -> None:
    """After a failed build, the next run builds again."""
    source, result, log = tmp_path / "source", tmp_path / "result", tmp_path / "log"
    source.touch()
    program = f"open({str(log)!r}, 'a').write('x'); open({str(result)!r}, 'w').close()"
    command = [sys.executable, "-c", program]

    def built() -> int:
        build(command, [source], result)
        return len(log.read_text("utf-8"))

    assert [built(), built()] == [1, 1]
    os.utime(source, (time.time() + 5, time.time() + 5))
    assert built() == 2
    result.unlink()
    with pytest.raises(AssertionError, match="broken"):
        build([sys.executable, "-c", "import sys; sys.exit('broken')"], [source], result)
    os.utime(source, (1, 1))
    assert built() == 3
