"""The tables of the embedded DynamoDB. ``tests/baton/proofs/engines`` tests it with parallel writes."""

from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from tools.dev.engine import client, create_tables


def test_the_tables_are_those_of_the_design(tables: Tables) -> None:
    """Four tables, on demand. Items of the two temporary tables expire by ``expires``.

    Creating the tables again changes nothing.
    """
    create_tables(tables)
    for name, keys, swept in (
        (tables.users, ["pk"], False),
        (tables.lineages, ["pk"], False),
        (tables.ephemeral, ["pk"], True),
        (tables.audit, ["pk", "sk"], True),
    ):
        described = client().describe_table(TableName=name)["Table"]
        assert [key["AttributeName"] for key in described["KeySchema"]] == keys
        assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        ttl = client().describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert (ttl["TimeToLiveStatus"] == "ENABLED", ttl.get("AttributeName")) == (swept, "expires" if swept else None)


def test_tables_are_found_beside_a_hundred_others(embedded_engine: None) -> None:
    """Bug: the engine lists a hundred tables at a time. The tables after these were created again, which failed."""
    del embedded_engine
    others = [f"baton-other-{number:03}" for number in range(100)]
    for name in others:
        client().create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    tables = Tables("baton-the-last")
    create_tables(tables)
    create_tables(tables)
    for name in [*others, *map(tables.name, KEYS)]:
        client().delete_table(TableName=name)
