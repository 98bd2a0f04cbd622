"""The tests of the TypeScript client, where Node.js is installed. They need no package, unlike `make clients`."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from chalicelib.baton.testing import gateway
from tests.baton.clients.node import node
from tests.baton.repository import ROOT, ours_only
from tools.dev.serve import development

FOLDER = Path(__file__).parents[3] / "clients" / "typescript"


def test_the_typescript_client() -> None:
    """The tests cover vectors, flows, storages and the quick start. The output of a failed test is shown."""
    command = [node(), "--test", "--test-reporter=spec", "tests/"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@ours_only
def test_the_lines_to_try_run_against_make_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs the lines of the README as a person would copy them.

    It replaces only the address and the folder.
    """
    (lines,) = re.findall(
        r"^```js\n(import .*?)^```$", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    before = dict(os.environ)
    monkeypatch.setattr(gateway, "APP", ROOT / "app.py")
    try:
        with development(0) as running:
            text = lines.replace("http://localhost:8000/api", running.url)
            text = text.replace('"baton-try"', f'"{tmp_path}/record"')
            text = text.replace('"./clients', f'"{ROOT}/clients')
            (tmp_path / "try.mjs").write_text(text, "utf-8")
            command = [node(), str(tmp_path / "try.mjs")]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert done.returncode == 0, done.stderr
    assert "@example.com" in done.stdout
    assert "{ confirmed: true }" in done.stdout
