"""The engine itself, raced before Baton is: a calibration, so that a race we pass means something."""

import threading
import time
from collections.abc import Callable

import pytest
from moto.dynamodb.parsing.validators import UpdateExpressionValidator

from chalicelib.stores.engine import Tables
from tools.dev import engine as embedded_engine
from tools.dev.engine import client, create_tables

ROUNDS, RACERS = 60, 8


def winners(tables: Tables, key: str) -> int:
    """Race conditional writes of one item, and count those that were told they won."""
    client().put_item(TableName=tables.gates, Item={"pk": {"S": key}, "n": {"N": "0"}})
    barrier, won = threading.Barrier(RACERS), list[int]()

    def race(number: int) -> None:
        barrier.wait()
        try:
            client().update_item(
                TableName=tables.gates,
                Key={"pk": {"S": key}},
                UpdateExpression="SET n = :n",
                ConditionExpression="n = :zero",
                ExpressionAttributeValues={":n": {"N": str(number)}, ":zero": {"N": "0"}},
            )
        except client().exceptions.ConditionalCheckFailedException:
            return
        won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(1, RACERS + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(won)


@pytest.fixture
def slow_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widen the gap between moto's check of a condition and its write."""
    validate: Callable[..., object] = UpdateExpressionValidator.validate

    def dawdling(validator: UpdateExpressionValidator) -> object:
        time.sleep(0.001)
        return validate(validator)

    monkeypatch.setattr(UpdateExpressionValidator, "validate", dawdling)


def test_serialised_a_conditional_write_has_one_winner(tables: Tables, slow_put: None) -> None:
    """The engine that all races of Baton run on lets exactly one caller win, every time."""
    assert [winners(tables, f"serialised{number}") for number in range(ROUNDS)] == [1] * ROUNDS


def test_stock_moto_is_seen_to_let_two_win(tables: Tables, slow_put: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock the same race finds two winners: the test above can fail."""

    class NoLock:
        """A lock that locks nothing."""

        def __enter__(self) -> None:
            """Let everybody in."""

        def __exit__(self, *_: object) -> None:
            """Let everybody out."""

    monkeypatch.setattr(embedded_engine, "_LOCK", NoLock())
    assert any(winners(tables, f"stock{number}") > 1 for number in range(ROUNDS))


def test_the_tables_are_those_of_the_design(tables: Tables) -> None:
    """Four tables, on demand; the two that pass are swept by ``expires``; making them again changes nothing."""
    create_tables(tables)
    for name, keys, swept in (
        (tables.users, ["pk"], False),
        (tables.gates, ["pk"], False),
        (tables.ephemeral, ["pk"], True),
        (tables.audit, ["pk", "sk"], True),
    ):
        described = client().describe_table(TableName=name)["Table"]
        assert [key["AttributeName"] for key in described["KeySchema"]] == keys
        assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        ttl = client().describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert (ttl["TimeToLiveStatus"] == "ENABLED", ttl.get("AttributeName")) == (swept, "expires" if swept else None)
