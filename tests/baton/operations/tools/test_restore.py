"""The restore command: interruptions and continuation, which the drill does not test."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.aws.deployment.required import TABLES
from chalicelib.baton.storage.dynamodb.database import EXPIRY, KEYS, Tables
from tools import restore
from tools.dev.engine import client
from tools.drill import embedded_deployment


@pytest.fixture
def deployed(embedded_engine: None) -> Iterator[Tables]:
    """Deploy with its own settings, and restore the environment of the tests."""
    del embedded_engine
    kept = dict(os.environ)
    with embedded_deployment():
        yield Tables(os.environ["BATON_TABLE_PREFIX"])
    os.environ.clear()
    os.environ.update(kept)


def restored(source: Tables, *, target: str | None = None) -> int:
    """Restore the state of five minutes ago."""
    return restore.main([source.prefix, target or f"{source.prefix}-2", "300"], pause=lambda _: None)


def refusal(code: str) -> ClientError:
    """Return an error of AWS."""
    return ClientError({"Error": {"Code": code, "Message": "planted"}}, "Operation")


def test_an_interrupted_restore_continues(
    deployed: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Credentials may expire before a large table is restored. The next run must accept the tables that exist."""
    with monkeypatch.context() as broken:
        broken.setattr(restore, "raise_not_before_in", lambda *_, **__: (_ for _ in ()).throw(refusal("ExpiredToken")))
        assert restored(deployed) == 1
    assert "ExpiredToken" in (told := capsys.readouterr().err)
    assert "run it again" in told
    assert restored(deployed) == 0
    said = capsys.readouterr().out
    assert "3/5 not-before time raised" in said
    assert "step 4" in said
    target = Tables(f"{deployed.prefix}-2")
    for table, wanted in TABLES.items():
        described = client().describe_table(TableName=target.name(table))["Table"]
        assert bool(described.get("DeletionProtectionEnabled")) is wanted.protection
        assert ("RestoreSummary" in described) is (table in restore.BACKED_UP)
        expiry = client().describe_time_to_live(TableName=target.name(table))["TimeToLiveDescription"]
        assert expiry.get("AttributeName") == (EXPIRY if wanted.swept else None)


def test_a_continued_restore_repeats_every_deletion(deployed: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: hours later, "this many seconds ago" is another time, so deletions in between were lost."""
    assert restored(deployed) == 0
    of_before = restore.described
    since: list[int] = []

    def hours_ago(dynamodb: Any, name: str) -> Any:
        table = dict(of_before(dynamodb, name))
        if "RestoreSummary" in table:
            table["RestoreSummary"] = {"RestoreDateTime": datetime.fromtimestamp(1_700_000_000, UTC)}
        return table

    monkeypatch.setattr(restore, "described", hours_ago)

    def noted(_: Any, __: str, time_: int) -> list[Any]:
        since.append(time_)
        return []

    monkeypatch.setattr(restore, "events_since", noted)
    assert restored(deployed) == 0
    assert since == [1_700_000_000]


def test_every_account_whose_password_changed_is_counted(
    deployed: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: a reset by mail, a claim and an undo were not counted, so the number of owners to inform was too low."""
    events = ["password_changed", "password_reset", "account_claimed", "changes_undone", "factor_added"]
    happened = [restore.Happened(f"{at}", event, AccountId(event)) for at, event in enumerate([*events, events[0]])]
    monkeypatch.setattr(restore, "events_since", lambda *_: happened)
    assert restored(deployed) == 0
    assert "5/5 have an earlier password again: 4 accounts" in capsys.readouterr().out


def test_without_an_old_audit_the_command_prints_the_manual_steps(
    deployed: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    """If all tables were lost, the restore still completes."""
    client().delete_table(TableName=deployed.audit)
    assert restored(deployed) == 0
    assert f"warning: {deployed.audit} does not exist" in capsys.readouterr().out


def test_tables_that_were_not_restored_are_refused(deployed: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    """They may belong to another stage. Its not-before time would be raised, and every user logged out."""
    other = Tables(f"{deployed.prefix}-3")
    for table in KEYS:
        restore.make_table(client(), other, table, key_arn="alias/other")
    assert restored(deployed, target=other.prefix) == 1
    assert "exists and was not restored" in capsys.readouterr().err
    assert restored(deployed, target=deployed.prefix) == 2


def test_a_restored_table_is_not_ready_for_recovery_immediately() -> None:
    """AWS refuses point-in-time recovery for some minutes, but moto never does.

    Bug: the restore ended with a traceback.
    """

    class Beginning:
        """A DynamoDB client whose backups start after some calls."""

        exceptions: Any = type("E", (), {"ContinuousBackupsUnavailableException": ClientError})

        def __init__(self, after: int) -> None:
            self.left = after

        def update_continuous_backups(self, **_: object) -> None:
            if self.left:
                self.left -= 1
                raise refusal("ContinuousBackupsUnavailableException")

    waited: list[float] = []
    restore._let_recover(Beginning(3), "x", pause=waited.append)  # type: ignore[arg-type] # only the needed call
    assert waited == [restore.POLL_S] * 3
    with pytest.raises(ClientError):
        restore._let_recover(Beginning(10**6), "x", pause=waited.append)  # type: ignore[arg-type] # the same
    assert sum(waited[3:]) == restore.BACKUPS_BEGIN_S
