"""Make the golden values, and write them to ``recorded.json``: ``python -m tests.baton.golden.record``.

Run the command only in a commit that changes a format on purpose. A commit that moves code must not change the values.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from chalicelib.baton import settings
from tests.baton.fixture import FOLDER
from tests.baton.golden.scenario import conversation
from tests.baton.golden.values import values
from tools.dev.engine import embedded

RECORDED = Path(__file__).with_name("recorded.json")
COMMAND = "python -m tests.baton.golden.record"

Golden = Mapping[str, list[str]]


def made() -> Golden:
    """Make every value. The embedded engine must be running."""
    golden: dict[str, list[str]] = {}
    for name, lines in [*values(), *conversation()]:
        assert name not in golden, name
        golden[name] = lines
    return golden


def recorded() -> Golden:
    """Read the recorded values."""
    golden: dict[str, list[str]] = json.loads(RECORDED.read_text("utf-8"))
    return golden


def main() -> int:
    """Write the file. The values are those of ``fixture_app/``, as in the tests."""
    with pytest.MonkeyPatch.context() as patch, embedded():
        patch.setattr(settings, "_FOLDER", FOLDER)
        golden = made()
    RECORDED.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"ok: {len(golden)} golden values in {RECORDED.name}")  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
