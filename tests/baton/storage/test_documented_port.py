"""docs/baton/storage-port.md: its two files are a complete port, and its contract runs in a separate project."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.prove(ci=True)

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "baton" / "storage-port.md").read_text("utf-8")
CONFTEST, PORT = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(folder: Path, port: str = PORT) -> tuple[int, str]:
    """Run a port as the page says. Return its exit code and the output of pytest."""
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "test_storage.py").write_text(port, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--strict-markers", "-W", "error", "."],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_port_of_the_page_passes_the_contract(tmp_path: Path) -> None:
    """The run has strict markers, warnings as errors, and the number of cases that the page names."""
    code, printed = run(tmp_path)
    assert code == pytest.ExitCode.OK, printed
    passed = re.search(r"^(\d+) passed", printed, re.MULTILINE)
    said = re.search(r"about (\d+) cases", PAGE)
    assert passed
    assert said
    assert abs(int(passed[1]) - int(said[1])) <= 20


def test_a_port_that_breaks_a_rule_fails_and_the_values_are_shown(tmp_path: Path) -> None:
    """The assertions of the contract are rewritten by pytest, although they are in a package."""
    broken = PORT.replace(
        "class TestMyStorage(",
        "from chalicelib.baton.storage.memory.one_time import MemoryOneTime\n"
        "MemoryOneTime.consume_nonce = lambda self, keyid, nonce, *, now, mark: 'anything'\n\n\n"
        "class TestMyStorage(",
    )
    code, printed = run(tmp_path, broken)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "test_a_nonce_is_consumed_once" in printed
    assert "assert 'anything' == Done()" in printed
