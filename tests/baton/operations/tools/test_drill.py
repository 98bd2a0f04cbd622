"""The restore drill proves each of its claims, and notices each step that is left out."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral
from tools import drill, restore

STEPS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "the not-before time": ("raise_not_before_in", lambda *_, **__: 0, "used before the backup is refused on a call"),
    "deletions since": ("apply_since", lambda *_, **__: 0, "deleted after the backup"),
    "protection": ("protect", lambda *_, **__: None, "protection and TTL"),
    "encryption": (
        "encryption",
        lambda _: {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/aws/dynamodb"},
        "required encryption",
    ),
}
"""A step of the restore, the function that replaces it, and words of the claim that fails without the step."""


@pytest.mark.parametrize("length", [1, 9, 51, 52, 63, 64])
def test_the_restored_tables_never_have_the_prefix_of_the_deployment(length: int) -> None:
    """Bug: with a prefix of 64 characters they had, so a drill in AWS deleted the deployed tables at its end."""
    prefix = "p" * length
    targets = {drill.target_of(prefix) for _ in range(3)}
    assert len(targets) == 3
    assert prefix not in targets
    assert all(len(target) <= 64 for target in targets)


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """Run the drill with its own environment, and restore that of the tests."""
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("BATON_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(kept)


def test_the_drill_proves_every_claim(embedded_engine: None, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs on the embedded database: old tokens, grants and deletions stay invalid, and logins work."""
    assert drill.main(None) == 0
    said = capsys.readouterr().out
    assert said.count("    proved  ") >= 25
    assert "claims proved" in said
    dynamodb = boto3.client("dynamodb")
    live = [name for name in dynamodb.list_tables()["TableNames"] if name.endswith("-ephemeral")]
    left = {item["pk"]["S"] for name in live for item in dynamodb.scan(TableName=name)["Items"]}
    assert live
    assert not [key for key in left if key.startswith("M#")], "the drill has deleted the items that it wrote"


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize("step", STEPS)
def test_a_restore_without_a_step_is_not_proved(
    embedded_engine: None, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of these steps was once forgotten."""
    function, stand_in, words = STEPS[step]
    stock = getattr(restore, function)
    if step in {
        "protection",
        "encryption",
    }:  # the live tables are created by the same function, which must work for them
        backed_up: list[bool] = []

        def spoiled_afterwards(*arguments: Any, **named: Any) -> Any:
            return (stand_in if backed_up else stock)(*arguments, **named)

        def back_up(*arguments: Any, **named: Any) -> Any:
            backed_up.append(True)
            return stock_back_up(*arguments, **named)

        stock_back_up = restore.back_up
        monkeypatch.setattr(restore, function, spoiled_afterwards)
        monkeypatch.setattr(restore, "back_up", back_up)
    else:
        monkeypatch.setattr(restore, function, stand_in)
    assert drill.main(None) == 1
    said = capsys.readouterr().err
    assert "error: not proved: " in said
    assert words in said


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize(
    ("purposes", "words"),
    [
        ("N", "the nonce is not in the restored table"),
        ("G", "the grant is not in the restored table"),
        ("M", "an item that Baton does not use is not in the restored table"),
        ("T", "the restored table has no other one-time value"),
    ],
)
def test_a_restored_one_time_value_is_noticed(
    embedded_engine: None,
    purposes: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The test acts as if that table had been restored too: a consumed value could be used again."""
    stock = restore.protect

    def brought_along(dynamodb: Any, tables: Tables) -> None:
        stock(dynamodb, tables)
        source, restored, _ = tables.prefix.partition("-drill-")
        for item in dynamodb.scan(TableName=Tables(source).ephemeral)["Items"] if restored else []:
            if item["pk"]["S"].startswith(f"{purposes}#"):
                dynamodb.put_item(TableName=tables.ephemeral, Item=item)

    monkeypatch.setattr(restore, "protect", brought_along)
    assert drill.main(None) == 1
    assert f"error: not proved: {words}" in capsys.readouterr().err


def test_the_drill_requires_one_time_values_in_the_live_tables(
    embedded_engine: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If they did not exist before, their absence in the restored tables would prove nothing."""
    monkeypatch.setattr(Ephemeral, "consume_nonce", lambda *_, **__: None)
    assert drill.main(None) == 1
    assert "error: not proved: the nonce is in the live table" in capsys.readouterr().err


def test_an_unknown_stage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The command changes nothing."""
    assert drill.main("production") == 1
    assert "STAGE is one of local, dev, prod" in capsys.readouterr().err
