"""The database: one client per AWS service, made late; its failures told apart; the names of the tables.

Two failures mean something: a condition that did not hold, and a transaction of which one did not. Everything else
is our own trouble, ``errors.Unavailable``, whose reason names the operation and the database's code, never a value.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.aws.service import AwsClient, TransactionFailed

if TYPE_CHECKING:
    from chalicelib.baton.storage.dynamodb.items import Item


HELD_PER_PAGE: Final = 100
"""How many items one page of ``DynamoDB.holds`` reads: what is sought is among the first, if it exists."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("pk",),
    "lineages": ("pk",),
    "ephemeral": ("pk",),
    "audit": ("pk", "sk"),
}
"""The key of each table: its partition key, then its sort key, all strings."""

EXPIRY: Final = "expires"
"""The attribute DynamoDB sweeps by (TTL), of the tables in ``SWEPT``. It only sweeps: conditions decide."""

SWEPT: Final = frozenset({"ephemeral", "audit"})


class Tables(Struct, frozen=True):
    """The four tables of a deployment: ``<prefix>-users`` and so on."""

    prefix: str

    def name(self, table: str) -> str:
        """Name a table of ``KEYS`` in full."""
        return f"{self.prefix}-{table}"

    @property
    def users(self) -> str:
        """Claims, users and the key ring."""
        return self.name("users")

    @property
    def lineages(self) -> str:
        """One account state per account."""
        return self.name("lineages")

    @property
    def ephemeral(self) -> str:
        """Nonces, grants, throttle windows."""
        return self.name("ephemeral")

    @property
    def audit(self) -> str:
        """What happened."""
        return self.name("audit")


class DynamoDB:
    """DynamoDB, and the tables of this deployment in it."""

    def __init__(self, tables: Tables, dynamodb: AwsClient | None = None) -> None:
        """Name the tables."""
        self.tables = tables
        self._dynamodb = dynamodb or AwsClient("dynamodb")

    def read(self, table: str, key: "Item") -> "Item | None":
        """Read an item, strongly consistent."""
        item: Item | None = self._dynamodb.call("get_item", TableName=table, Key=key, ConsistentRead=True).get("Item")
        return item

    def holds(self, table: str, condition: str, values: Mapping[str, object]) -> bool:
        """Tell whether any item of a table meets a condition. For operators: it may read the whole table."""
        asked: dict[str, object] = {"TableName": table, "ConsistentRead": True, "Limit": HELD_PER_PAGE}
        asked |= {"FilterExpression": condition, "ExpressionAttributeValues": values}
        while True:
            page = self._dynamodb.call("scan", **asked)
            if page["Items"]:
                return True
            if "LastEvaluatedKey" not in page:
                return False
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def transact(self, *writes: Mapping[str, Mapping[str, object]]) -> None:
        """Write all or none. Raises ``TransactionFailed`` with what stood in the way."""
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
        """Carry out one conditional write and give the item as it is now, where the operation tells.

        Raises ``ConditionFailed`` with the item as it was at that moment: never a second read.
        """
        answer = self._dynamodb.call(operation, **request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        item: Item = answer.get("Attributes", {})
        return item
