"""Read every account within a budget of read units: scan `users`, then read the account states of each page."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.factors.model import User
from chalicelib.baton.federation.model import Identity
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState, Status
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.accounts import user_of
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.storage.dynamodb.identities import identity_of
from chalicelib.baton.storage.dynamodb.identity_items import identity_key
from chalicelib.baton.storage.dynamodb.items import of_account, state_of
from chalicelib.baton.storage.dynamodb.values import Item

SEGMENTS = 4
PAGE_ITEMS = 500
BATCH_KEYS = 100
SHARE = 0.25
"""The share of the given read units that the scan uses: the deployment needs the rest."""


class Stored(Struct, frozen=True):
    """An account as it is stored. ``identities``: `Identity.index` -> the identity."""

    user: User
    account_state: AccountState
    identities: Mapping[str, Identity] = {}


class Scan(Struct, frozen=True, kw_only=True):
    """Read every account that is not deleted. ``read_units``: the read units per second that the tables can serve."""

    dynamodb: AwsClient
    tables: Tables
    read_units: float
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def __call__(self) -> Iterator[Stored]:
        """Read page by page, several segments at the same time.

        Each account is read once, even if it changes meanwhile.
        """
        begun, used = self.monotonic(), 0.0
        places: dict[int, dict[str, Any]] = {segment: {} for segment in range(SEGMENTS)}
        with ThreadPoolExecutor(SEGMENTS) as threads:
            while places:
                for segment, page in zip(tuple(places), threads.map(self._page, places.items()), strict=True):
                    users, units, place = page
                    used += units
                    if place is None:
                        del places[segment]
                    else:
                        places[segment] = {"ExclusiveStartKey": place}
                    states, more = self._states([user.account for user in users])
                    identities, most = self._identities(users)
                    used += more + most
                    yield from self._joined(users, states, identities)
                early = begun + used / (self.read_units * SHARE) - self.monotonic()
                if early > 0:
                    self.pause(early)

    def _joined(
        self, users: list[User], states: dict[AccountId, AccountState], identities: dict[str, Identity]
    ) -> Iterator[Stored]:
        for user in users:
            account_state = states.get(user.account)
            if account_state is None:
                raise errors.Unavailable(f"inconsistent account {user.account}: its account state is missing")
            if account_state.status is not Status.DELETED:
                indexes = [linked.index for linked in user.identities.values()]
                own = {one: identities[one] for one in indexes if one in identities}
                yield Stored(user, account_state, own)

    def _page(self, segment: tuple[int, dict[str, Any]]) -> tuple[list[User], float, dict[str, Any] | None]:
        number, place = segment
        answer = self.dynamodb.call(
            "scan",
            TableName=self.tables.users,
            ConsistentRead=True,
            FilterExpression="begins_with(pk, :user)",
            ExpressionAttributeValues={":user": {"S": "U#"}},
            Limit=PAGE_ITEMS,
            Segment=number,
            TotalSegments=SEGMENTS,
            ReturnConsumedCapacity="TOTAL",
            **place,
        )
        users = [user_of(item) for item in answer["Items"]]
        return users, _units(answer.get("ConsumedCapacity")), answer.get("LastEvaluatedKey")

    def _states(self, accounts: list[AccountId]) -> tuple[dict[AccountId, AccountState], float]:
        items, units = self._items(self.tables.lineages, [of_account(account) for account in accounts])
        states = map(state_of, items)
        return {account_state.account: account_state for account_state in states}, units

    def _identities(self, users: list[User]) -> tuple[dict[str, Identity], float]:
        keys = [identity_key(linked.index) for user in users for linked in user.identities.values()]
        items, units = self._items(self.tables.users, keys)
        return {identity.index: identity for identity in map(identity_of, items)}, units

    def _items(self, table: str, keys: list[Item]) -> tuple[list[Item], float]:
        """Return the items that exist under these keys, and the read units that this used."""
        found: list[Item] = []
        units = 0.0
        for first in range(0, len(keys), BATCH_KEYS):
            asked: dict[str, Any] = {table: {"Keys": keys[first : first + BATCH_KEYS], "ConsistentRead": True}}
            while asked:
                answer = self.dynamodb.call("batch_get_item", RequestItems=asked, ReturnConsumedCapacity="TOTAL")
                found += answer.get("Responses", {}).get(table, ())
                units += sum(_units(one) for one in answer.get("ConsumedCapacity", ()))
                asked = answer.get("UnprocessedKeys") or {}
        return found, units


def _units(consumed: Any) -> float:  # noqa: ANN401 - botocore's own
    return float((consumed or {}).get("CapacityUnits", 0.0))
