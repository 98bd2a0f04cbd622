"""The shortcuts of the tests have the same results as the code that they replace."""

import gc
import secrets
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from moto.core.serialize import ResponseSerializer
from moto.dynamodb.comparisons import ConditionExpressionParser

from chalicelib.baton.factors import password_hash
from chalicelib.baton.factors.hashes import argon2_hash
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from tests.baton.shortcuts import CHEAP
from tools.dev.engine import client, create_tables

COMPARED: Final = ("KeySchema", "AttributeDefinitions", "BillingModeSummary", "TableStatus", "ItemCount")
ITEM: Final[dict[str, Any]] = {
    "pk": {"S": "x"},
    "n": {"N": "1"},
    "b": {"B": b"\0\xff"},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2"]},
    "bs": {"BS": [b"a"]},
    "m": {"M": {"S": {"S": "s"}, "l": {"L": [{"NULL": True}, {"BOOL": False}]}}},
}
CONDITIONS: Final = ("n = :n AND attribute_exists(m)", "NOT (n = :n)", "n BETWEEN :n AND :n OR n IN (:n)")


def described(tables: Tables) -> list[object]:
    """Describe the tables and their TTL, without names and times."""
    found: list[object] = []
    for table in KEYS:
        one: Any = client().describe_table(TableName=tables.name(table))["Table"]
        ttl = client().describe_time_to_live(TableName=tables.name(table))["TimeToLiveDescription"]
        found.append(({name: one.get(name) for name in COMPARED if name != "BillingModeSummary"}, ttl))
        found.append(one["BillingModeSummary"]["BillingMode"])
    return found


def test_the_tables_of_a_test_are_those_that_requests_create(tables: Tables) -> None:
    """Keys, billing and TTL are equal."""
    created = Tables(f"baton-{secrets.token_hex(4)}")
    create_tables(created)
    assert described(tables) == described(created)
    for table in KEYS:
        client().delete_table(TableName=created.name(table))


def test_moto_answers_with_and_without_its_shortcuts_alike(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test has values of every type, and conditions that are true and false."""

    def answers() -> list[object]:
        dynamodb: Any = client()
        dynamodb.put_item(TableName=tables.users, Item=ITEM)
        found: list[object] = [dynamodb.get_item(TableName=tables.users, Key={"pk": ITEM["pk"]})["Item"]]
        for condition in CONDITIONS:
            for number in ("1", "2"):
                try:
                    dynamodb.put_item(
                        TableName=tables.users,
                        Item=ITEM,
                        ConditionExpression=condition,
                        ExpressionAttributeValues={":n": {"N": number}},
                    )
                except ClientError as error:
                    found.append(error.response["Error"]["Code"])
                else:
                    found.append("written")
        return found

    short = answers()
    assert short[0] == ITEM
    assert set(map(str, short[1:])) == {"written", "ConditionalCheckFailedException"}
    for owner, name in ((ResponseSerializer, "get_value"), (ConditionExpressionParser, "_lex_condition_expression")):
        monkeypatch.setattr(owner, name, getattr(owner, name).__wrapped__)
    assert answers() == short


def test_passwords_are_cheap_in_tests() -> None:
    """An unknown account costs the same as a known account."""
    assert password_hash._CURRENT == CHEAP
    assert argon2_hash.read(password_hash._NOBODYS_PASSWORD_HASH).cost == CHEAP


@pytest.mark.usefixtures("dear_passwords")
def test_passwords_cost_what_the_policy_says_where_a_test_asks_for_it() -> None:
    """An unknown account costs the same as a known one here too."""
    cost = argon2_hash.read(password_hash._NOBODYS_PASSWORD_HASH).cost
    assert cost == password_hash._CURRENT != CHEAP


def test_garbage_is_collected_while_the_tests_run() -> None:
    """Objects from before the tests are not visited again."""
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
