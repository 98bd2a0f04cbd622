"""Node.js, where it is installed. The tests of the TypeScript client need nothing else."""

import re
import shutil
import subprocess
from functools import cache

import pytest

from tests.baton.report import NO_NODE


@cache
def node() -> str:
    """Return the path of Node.js 20 or later, or skip the test with a reason that the end of a run repeats."""
    found = shutil.which("node")
    if found:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"v(\d+)\.", told)
        if version and int(version[1]) >= 20:
            return found
    pytest.skip(NO_NODE)
