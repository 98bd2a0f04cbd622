"""DynamoDB: reads, conditional writes and transactions, and the names of the tables.

Two exceptions are outcomes that the stores handle: ``ConditionFailed`` and ``TransactionFailed``. Every other failure
is a server error, ``errors.Unavailable``. Its reason contains the operation and the error code, never a value.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.aws.service import AwsClient, TransactionFailed

if TYPE_CHECKING:
    from chalicelib.baton.storage.dynamodb.values import Item


HELD_PER_PAGE: Final = 100
"""The number of items that ``DynamoDB.holds`` reads in one page. A match is usually among the first items."""

BATCHES_MAX: Final = 4
"""The maximum number of times that a batch, or its unprocessed part, is sent."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("pk",),
    "lineages": ("pk",),
    "ephemeral": ("pk",),
    "audit": ("pk", "sk"),
}
"""The key of each table: its partition key, then its sort key, all strings."""

EXPIRY: Final = "expires"
"""The TTL attribute of the tables in ``SWEPT``. Conditions check it, because DynamoDB may delete items days late."""

SWEPT: Final = frozenset({"ephemeral", "audit"})


class Tables(Struct, frozen=True):
    """The names of the four tables of a deployment: ``<prefix>-users`` and so on."""

    prefix: str

    def name(self, table: str) -> str:
        """Return the full name of a table of ``KEYS``."""
        return f"{self.prefix}-{table}"

    @property
    def users(self) -> str:
        """The name of the table of users, index entries, the key ring, and other items that must not be lost."""
        return self.name("users")

    @property
    def lineages(self) -> str:
        """The name of the table with one account state for each account."""
        return self.name("lineages")

    @property
    def ephemeral(self) -> str:
        """The name of the table ``ephemeral``, whose items expire.

        The items are nonces, grants, used tickets, rate limits, exactly-once calls, evidence of device keys, and key
        sets of providers.
        """
        return self.name("ephemeral")

    @property
    def audit(self) -> str:
        """The name of the table of audit events."""
        return self.name("audit")


class DynamoDB:
    """The tables of this deployment in DynamoDB."""

    def __init__(self, tables: Tables, dynamodb: AwsClient | None = None) -> None:
        """Use these tables, by default with a botocore client."""
        self.tables = tables
        self._dynamodb = dynamodb or AwsClient("dynamodb")

    def read(self, table: str, key: "Item") -> "Item | None":
        """Read an item, strongly consistent. Return ``None`` if it does not exist."""
        item: Item | None = self._dynamodb.call("get_item", TableName=table, Key=key, ConsistentRead=True).get("Item")
        return item

    def holds(self, table: str, condition: str, values: Mapping[str, object]) -> bool:
        """Check whether any item of a table satisfies a condition.

        This method may read the whole table, so only commands of operators and the development server use it.
        """
        asked: dict[str, object] = {"TableName": table, "ConsistentRead": True, "Limit": HELD_PER_PAGE}
        asked |= {"FilterExpression": condition, "ExpressionAttributeValues": values}
        while True:
            page = self._dynamodb.call("scan", **asked)
            if page["Items"]:
                return True
            if "LastEvaluatedKey" not in page:
                return False
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def query(self, table: str, condition: str, values: Mapping[str, object], *, limit: int) -> "list[Item]":
        """Read at most ``limit`` items of one partition key, the highest sort key first, strongly consistent.

        DynamoDB returns at most 1 MB in one answer, so this method may send several requests.
        """
        asked: dict[str, object] = {"TableName": table, "ConsistentRead": True, "ScanIndexForward": False}
        asked |= {"KeyConditionExpression": condition, "ExpressionAttributeValues": values}
        items: list[Item] = []
        while len(items) < limit:
            page = self._dynamodb.call("query", **asked, Limit=limit - len(items))
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                break
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return items

    def delete_batch(self, table: str, keys: "Sequence[Item]") -> None:
        """Delete at most 25 items, without a condition. Raises ``Unavailable`` if a part stays unprocessed."""
        left: Mapping[str, object] = {table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for _ in range(BATCHES_MAX):
            left = self._dynamodb.call("batch_write_item", RequestItems=left).get("UnprocessedItems") or {}
            if not left:
                return
        raise Unavailable("dynamodb batch_write_item: items stayed unprocessed")

    def transact(self, *writes: Mapping[str, Mapping[str, object]]) -> None:
        """Send a transaction. Raises ``TransactionFailed`` if a condition failed."""
        told = [
            {verb: {**write, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"} for verb, write in one.items()}
            for one in writes
        ]
        try:
            self._dynamodb.call("transact_write_items", TransactItems=told)
        except TransactionFailed as failed:
            if len(failed.items) != len(writes):
                raise Unavailable("a cancelled transaction does not account for its writes") from None
            raise

    def write(self, operation: str, **request: object) -> "Item":
        """Send one conditional write. Return the item that ``ReturnValues`` requests. By default, the item is empty.

        Raises ``ConditionFailed``, which has the stored item, if the condition failed.
        """
        answer = self._dynamodb.call(operation, **request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        item: Item = answer.get("Attributes", {})
        return item
