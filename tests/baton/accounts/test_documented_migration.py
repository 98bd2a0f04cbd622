"""The Python of docs/baton/moving.md works as documented."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.baton import Baton, Migrated
from tests.baton.fixture import load_environment

PAGE = Path(__file__).parents[3] / "docs" / "baton" / "moving.md"
HOOK, OWN = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_lines_of_app_py_register_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date of the page is a date within a year. Nothing is sent before the first login."""
    environment = load_environment()
    monkeypatch.setattr(Baton, "from_environment", lambda: environment.baton)
    soon = datetime.fromtimestamp(environment.baton.clock(), tz=UTC).date() + timedelta(days=200)
    text = re.sub(r"date\(2\d{3}, \d+, \d+\)", f"date({soon.year}, {soon.month}, {soon.day})", HOOK)
    assert text.count(f"date({soon.year}") == 1
    exec(compile(text, str(PAGE), "exec"), {})  # noqa: S102 - the page is ours
    assert environment.baton._migration is not None


def test_a_function_of_your_own() -> None:
    """The function returns the record of the old system, or ``None``."""
    people = {("ada@example.com", "right"): SimpleNamespace(verified=True, id="17")}
    given: dict[str, Any] = {
        "Migrated": Migrated,
        "old_system": SimpleNamespace(log_in=lambda email, password: people.get((email, password))),
    }
    exec(compile(OWN, str(PAGE), "exec"), given)  # noqa: S102 - the page is ours
    ask = given["ask_the_old_system"]
    assert ask("ada@example.com", "right") == Migrated(email_verified=True, source_id="17")
    assert ask("ada@example.com", "wrong") is None
