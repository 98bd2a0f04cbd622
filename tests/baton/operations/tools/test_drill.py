"""The restore drill proves what it says, and notices each step that is left out."""

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
"""A step of the restore, what stands in for it, and words of the claim that then does not hold."""


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """Give the drill an environment of its own, and the tests theirs back."""
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("BATON_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(kept)


def test_the_drill_proves_everything(embedded_engine: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Over the embedded engine: old tokens, grants and deletions stay dead, and logins work."""
    assert drill.main(None) == 0
    said = capsys.readouterr().out
    assert said.count("    proved  ") >= 25
    assert "claims proved" in said
    dynamodb = boto3.client("dynamodb")
    live = [name for name in dynamodb.list_tables()["TableNames"] if name.endswith("-ephemeral")]
    left = {item["pk"]["S"] for name in live for item in dynamodb.scan(TableName=name)["Items"]}
    assert live
    assert not [key for key in left if key.startswith("M#")], "what the drill planted is gone again"


@pytest.mark.parametrize("step", STEPS)
def test_a_restore_without_a_step_is_not_proved(
    embedded_engine: None, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of these was forgotten by somebody once."""
    function, stand_in, words = STEPS[step]
    stock = getattr(restore, function)
    if step in {"protection", "encryption"}:  # the live tables are made by the same hands: those stay good
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


@pytest.mark.parametrize(
    ("purposes", "words"),
    [
        ("N", "the nonce is not in the restored table"),
        ("G", "the grant is not in the restored table"),
        ("M", "the item under a mail token's key is not in the restored table"),
        ("T", "the restored table has no other one-time value"),
    ],
)
def test_a_one_time_thing_that_came_along_is_noticed(
    embedded_engine: None,
    purposes: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As if somebody had restored that table too: what was spent or asked for could be used again."""
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


def test_a_one_time_thing_that_was_never_there_proves_nothing(
    embedded_engine: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it is gone from the restored table says something of what was in the live one alone."""
    monkeypatch.setattr(Ephemeral, "consume_nonce", lambda *_, **__: None)
    assert drill.main(None) == 1
    assert "error: not proved: the nonce is in the live table" in capsys.readouterr().err


def test_a_stage_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is touched."""
    assert drill.main("production") == 1
    assert "STAGE is one of local, dev, prod" in capsys.readouterr().err
