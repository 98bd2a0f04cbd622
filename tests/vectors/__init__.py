"""Vectors made by others. Where each comes from, and under which licence: README.md beside this file."""

import json
from pathlib import Path
from typing import Any


def load(name: str) -> Any:
    """Read ``name``.json."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
