"""Code that a team copies from a page passes `make check`: it follows Baton's lint and format rules."""

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
    """Return the Python blocks of a page."""
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
def test_code_of_the_pages_passes_the_lint_rules(name: str, code: str) -> None:
    """The rules for files of a team apply. A block may use a name that an earlier block of its page imports."""
    for words in (["check", "--ignore", "F821"], ["format", "--check"]):
        status, printed = ruff(code, name, *words)
        assert status == 0, printed


def test_a_team_has_fewer_lint_rules_than_baton() -> None:
    """An unused argument is allowed in a feature, and is an error in Baton's code."""
    code = '"""M."""\n\n\ndef view(caller: int) -> int:\n    """V."""\n    return 1\n'
    assert ruff(code, "chalicelib/notes.py", "check")[0] == 0
    assert "ARG001" in ruff(code, "chalicelib/baton/notes.py", "check")[1]
