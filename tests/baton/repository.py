"""Decide whether this is Baton's own repository: tests of files that a team changes run only there.

A team changes ``README.md``, ``app.py``, ``.chalice/``, its registries, its ``Makefile`` and more. Tests of these files
run in Baton's own repository: its README begins with "# Baton", and its version is between two releases. Elsewhere they
are skipped, with this reason.
"""

from pathlib import Path
from typing import Final

import pytest

from tools import manifest

ROOT: Final = Path(__file__).parents[2]


def is_batons(root: Path) -> bool:
    """Return whether a tree is Baton's own repository."""
    readme = root / "README.md"
    titled = readme.is_file() and readme.read_text("utf-8").startswith("# Baton\n")
    return titled and manifest.in_development(root)


OURS: Final = is_batons(ROOT)
REASON: Final = "a test of files that a team changes: it runs in Baton's own repository only"

ours_only: Final = pytest.mark.skipif(not OURS, reason=REASON)
"""The mark of a test of files that a team changes, or of a module of such tests."""


def ours_alone() -> None:
    """Skip the rest of a module that reads files of Baton's own repository when it is imported."""
    if not OURS:
        pytest.skip(REASON, allow_module_level=True)
