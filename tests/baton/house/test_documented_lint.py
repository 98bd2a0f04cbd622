"""A team that copies a feature or a test from a page passes `make check`: Baton's lint and format rules hold there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baton.repository import ours_only

pytestmark = ours_only
ROOT = Path(__file__).parents[3]
RUFF = Path(sys.executable).parent / "ruff"


def blocks(page: str) -> list[str]:
    """Take the Python of a page."""
    text = (ROOT / "docs" / "baton" / page).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


COPIED = [
    ("chalicelib/notes.py", blocks("routes.md")[0]),
    ("chalicelib/orders.py", blocks("tables.md")[0]),
    ("tests/test_orders.py", blocks("tables.md")[2]),
    ("chalicelib/orders.py", blocks("testing.md")[1]),
    *(("tests/test_kit.py", block) for block in blocks("testing.md")[2:]),
]


def ruff(code: str, name: str, *words: str) -> tuple[int, str]:
    """Check code as if it were a file of the repository."""
    command = [str(RUFF), *words, "--stdin-filename", str(ROOT / name), "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "code"), COPIED)
def test_code_of_the_pages_passes_our_rules(name: str, code: str) -> None:
    """As a file of a team. A block may use a name that an earlier block of its page imports."""
    for words in (["check", "--ignore", "F821"], ["format", "--check"]):
        status, printed = ruff(code, name, *words)
        assert status == 0, printed


def test_the_rules_of_a_team_are_not_those_of_baton() -> None:
    """An argument that is not used passes in a feature, and is a finding in Baton."""
    code = '"""M."""\n\n\ndef view(caller: int) -> int:\n    """V."""\n    return 1\n'
    assert ruff(code, "chalicelib/notes.py", "check")[0] == 0
    assert "ARG001" in ruff(code, "chalicelib/baton/notes.py", "check")[1]
