"""The tests of the TypeScript client, run by Node.js where it is installed. They need no package."""

import subprocess
from pathlib import Path

from tests.baton.clients.node import node

FOLDER = Path(__file__).parents[3] / "clients" / "typescript"


def test_the_typescript_client() -> None:
    """Vectors, flows, storages and quick start. The output of a failed test is shown."""
    command = [node(), "--test", "--test-reporter=spec", "tests/"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
