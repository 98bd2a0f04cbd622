"""Every alarm has a runbook, and everything that a runbook names exists."""

import re
from pathlib import Path

import pytest

from chalicelib.baton.events.log import FACTS
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.policy import (
    FAILURES_PER_ACCOUNT_MAX,
    FAILURES_PER_KNOWN_DEVICE_MAX,
    FAILURES_PER_SOURCE_MAX,
    MINUTE_S,
    THROTTLE_WINDOW_S,
)
from tools import operate, template
from tools.errors_page import leaves
from tools.moving import commands as moving

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "baton" / "runbooks").glob("*.md"))
ASKED_FOR = {
    "kms-key-lost",
    "lock-out-complaints",
    "restore-from-backup",
    "rollback",
    "signing-key-leak",
    "throttling",
    "token-theft-wave",
    "apple",
    "attestation",
    "daily-jobs",
    "mail",
    "accounts-exported",
}


def test_every_required_runbook_exists() -> None:
    """Seven runbooks, and one each for Apple, attestation, the daily jobs, mail and an export."""
    assert {page.stem for page in PAGES} == ASKED_FOR


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_that_a_page_names_exists(page: Path) -> None:
    """Events and facts of queries, commands of the operator, settings, files and other pages."""
    text = page.read_text("utf-8")
    for query in re.findall(r"filter [^`\n]+", text):
        assert set(re.findall(r"message (?:=|in) \[?\"([a-z_]+)\"", query)) <= EVENTS.keys()
        assert set(re.findall(r"by ([a-z_]+)", query)) <= FACTS.keys() | {"bin", "count"}
    for command in re.findall(r"tools\.operate ([a-z-]+)", text):
        assert command in operate.CHANGES.keys() | operate.STATUSES.keys() | {
            "attestation",
            "provider-key",
            "make-ring",
            "forget",
            "factors",
            "after-restore",
            *moving.COMMANDS,
        }
    known = (ROOT / "chalicelib" / "baton" / "settings.py").read_text("utf-8")
    assert [name for name in re.findall(r"BATON_[A-Z_]+", text) if f'"{name}"' not in known] == []
    assert [link for link in re.findall(r"\]\(([a-z-]+\.md)\)", text) if not (page.parent / link).exists()] == []
    for module in re.findall(r"python -m (tools\.[a-z]+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_runbook_names_the_alarms_that_name_it(page: Path) -> None:
    """An operator opens the page and finds the alarm in its first lines."""
    alarms = template.of_type(template.read(template.EDGE), "AWS::CloudWatch::Alarm").values()
    naming = {
        alarm["AlarmName"]["Fn::Sub"].removeprefix("${Prefix}-")
        for alarm in alarms
        if f"docs/baton/runbooks/{page.name}" in alarm["AlarmDescription"]
    }
    (head,) = re.findall(r"^.*\*\*Alarm.*$", page.read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"`([a-z-]+)`", head)) == naming


def test_the_table_of_complaints_matches_the_code() -> None:
    """The codes exist, and the numbers are those of the policy."""
    text = (ROOT / "docs" / "baton" / "runbooks" / "lock-out-complaints.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z_]+)`", text, re.MULTILINE)) <= {leaf.code for leaf in leaves()}
    assert (FAILURES_PER_KNOWN_DEVICE_MAX, FAILURES_PER_ACCOUNT_MAX, FAILURES_PER_SOURCE_MAX) == (10, 10, 100)
    assert THROTTLE_WINDOW_S == 15 * MINUTE_S
