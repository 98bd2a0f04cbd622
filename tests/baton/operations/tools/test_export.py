"""`operate export`: the file is encrypted, and the export is reported.

An import into an empty deployment keeps every hash, byte for byte.
"""

import json
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyrage  # type: ignore[import-untyped]
import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import KEYS, DynamoDB, Tables
from tests.baton.memory import MemoryLog
from tests.baton.operations.tools.test_import import HASH, bring, line, results, stored_hash
from tests.baton.wire.conversation import Device
from tools.dev.engine import client, create_tables
from tools.moving import scan
from tools.moving.export import Exported, export, recipients_of
from tools.moving.line import Line
from tools.operate import Operator, main

__all__ = ["bring", "results"]

FB = (
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSD"
    "zZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRu"
    "id5lQ=="
)


@pytest.fixture
def identity() -> Any:
    """Make a key pair of age."""
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def empty(tables: Tables) -> Iterator[Tables]:
    """Make the tables of another, empty deployment."""
    target = Tables(f"{tables.prefix}-2")
    create_tables(target)
    yield target
    for table in KEYS:
        client().delete_table(TableName=target.name(table))


def take(identity: Any, file: Path, *options: str) -> int:
    """Export."""
    return main(["export", "--to", str(file), "--recipient", str(identity.to_public()), *options])


def opened(identity: Any, file: Path) -> list[dict[str, Any]]:
    """Decrypt an export."""
    return [json.loads(text) for text in pyrage.decrypt(file.read_bytes(), [identity]).splitlines()]


@pytest.mark.guarantee(10)
def test_an_export_that_is_imported_into_an_empty_deployment_has_the_same_hashes(
    bring: Callable[..., int],
    make_device: Callable[..., Device],
    empty: Tables,
    identity: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Baton's own hashes and all others are equal byte for byte. Address, status, factor and time are the same too."""
    make_device().register("own@example.com")
    totp = {"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
    assert (
        bring(
            line("ada@example.com", password={"hash": HASH}, email_verified=True, created_at=1_500_000_000, totp=totp),
            line("bob@example.com", password={"hash": FB}, disabled=True),
            line("eve@example.com", migrate=True),
            line("grace@example.com"),
            line("gone@example.com", password={"hash": HASH}),
        )
        == 0
    )
    assert main(["delete", "gone@example.com"]) == 0
    emails = ["own@example.com", "ada@example.com", "bob@example.com"]
    before = {email: stored_hash(email) for email in emails}
    file = tmp_path / "everyone.age"
    assert take(identity, file) == 0
    lines = {one["email"]: one for one in opened(identity, file)}
    assert set(lines) == {*emails, "eve@example.com", "grace@example.com"}
    assert lines["ada@example.com"] == {
        "v": 1,
        "source_id": lines["ada@example.com"]["source_id"],
        "email": "ada@example.com",
        "email_verified": True,
        "password": {"hash": HASH},
        "created_at": 1_500_000_000,
        "totp": {"digits": 6, "period": 30, **totp},
    }
    assert lines["bob@example.com"]["disabled"] is True
    assert lines["eve@example.com"]["migrate"] is True
    assert "password" not in lines["grace@example.com"]
    monkeypatch.setenv("BATON_TABLE_PREFIX", empty.prefix)
    assert bring(*lines.values(), name="moved.jsonl") == 0
    assert {email: stored_hash(email) for email in emails} == before
    again = tmp_path / "again.age"
    assert take(identity, again) == 0
    drop = {"source_id"}
    assert [
        {name: value for name, value in one.items() if name not in drop}
        for one in sorted(opened(identity, again), key=lambda one: one["email"])
    ] == [{name: value for name, value in lines[email].items() if name not in drop} for email in sorted(lines)]


def test_an_export_is_told_before_it_begins_and_its_count_after_it(
    make_device: Callable[..., Device],
    tables: Tables,
    identity: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The metric raises an alarm. The audit row has the count and the caller. A failed export is reported too."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    make_device().register("ada@example.com")
    assert take(identity, tmp_path / "one.age") == 0
    out = capsys.readouterr().out
    assert re.search(r"ok: .*one.age has 1 account, encrypted to 1 recipient; the event .* names arn:aws:", out)
    monkeypatch.setattr(scan, "user_of", lambda _: pytest.fail("no account is read"))
    with monkeypatch.context() as patch:
        patch.setattr(AwsClient, "call", _without("put_metric_data", AwsClient.call))
        assert take(identity, tmp_path / "two.age") == 1
    metrics = boto3.client("cloudwatch").list_metrics(Namespace="Baton", MetricName="exported")["Metrics"]
    assert [{"Name": "service", "Value": tables.prefix}] in [metric["Dimensions"] for metric in metrics]
    audit = Audit(DynamoDB(tables), MemoryLog())
    (row,) = audit.newest(AccountId("operator"), before=None, limit=9, now=0)
    assert (row.event.event, row.event.details["count"]) == ("exported", "1")
    assert row.event.details["caller"].startswith("arn:aws:")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.age"]


def _without(operation: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def called(self: AwsClient, name: str, **request: object) -> Any:
        if name == operation:
            raise Unavailable(f"{operation}: AccessDenied")
        return call(self, name, **request)

    return called


def test_a_file_is_for_its_owner_alone_and_never_replaced(
    make_device: Callable[..., Device],
    tables: Tables,
    identity: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only the owner of the file can read it, and no address is readable in it.

    Without a recipient there is no export.
    """
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    make_device().register("ada@example.com")
    file = tmp_path / "one.age"
    assert take(identity, file) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_bytes()
    assert content.startswith(b"age-encryption.org/v1\n")
    assert b"ada@" not in content
    assert take(identity, file) == 1
    assert "exists: name a new file" in capsys.readouterr().err
    assert file.read_bytes() == content
    assert take(identity, tmp_path / "nowhere" / "two.age") == 1
    assert "nowhere is no folder: make it first" in capsys.readouterr().err
    assert main(["import", "--from", "baton", str(tmp_path)]) == 1
    assert "Is a directory" in capsys.readouterr().err
    assert main(["export", "--to", str(tmp_path / "two.age"), "--recipient", "age1wrong"]) == 1
    assert "is a public key of age" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", "--to", str(tmp_path / "two.age")])
    assert not (tmp_path / "two.age").exists()


def test_an_unfinished_export_leaves_no_file(tmp_path: Path, identity: Any) -> None:
    """The reported count is the number of accounts that were read."""
    exported = Exported()

    def lines() -> Iterator[Line]:
        yield Line(v=1, email="a@example.com")
        raise KeyboardInterrupt

    with pytest.raises(BaseException):  # noqa: B017, PT011 - the library may wrap it
        export(tmp_path / "one.age", recipients_of([str(identity.to_public())]), lines(), exported)
    assert list(tmp_path.iterdir()) == []


def test_many_accounts_are_read_within_the_budget(bring: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and batches are joined. The scan uses a quarter of the given read units."""
    monkeypatch.setattr(scan, "PAGE_ITEMS", 7)
    monkeypatch.setattr(scan, "BATCH_KEYS", 3)
    people = [f"person{number}@example.com" for number in range(40)]
    assert bring(*map(line, people)) == 0
    pauses: list[float] = []
    place = Operator().place()
    monkeypatch.setattr(scan, "_units", lambda _: 5.0)
    read = scan.Scan(
        dynamodb=AwsClient("dynamodb"),
        tables=place.database.tables,
        read_units=100.0,
        monotonic=lambda: 0.0,
        pause=pauses.append,
    )
    assert sorted(stored.user.email for stored in read()) == sorted(people)
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 40 / 7 * 5.0 / 25
