"""The key ring in DynamoDB: one encrypted item in the table ``users``. The ring is cached for five minutes."""

from typing import Final

from msgspec import Struct

from chalicelib.baton.effects import Done, Entropy, Moved
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.ring_format import RingUnreadable, ring_from_bytes, ring_to_bytes
from chalicelib.baton.keys.rotation import make_ring
from chalicelib.baton.policy import KEY_RING_REFRESH_S, KEY_RING_UNKNOWN_KID_S
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.key_wrapping import Wrapper
from chalicelib.baton.storage.dynamodb.values import Item, number, reading, text

IS_NEW: Final = "attribute_not_exists(pk)"
REVISION_AS_READ: Final = "revision = :revision"
RING_KEY: Final[Item] = {"pk": text("K#ring")}

IS_ACCOUNT: Final = "begins_with(pk, :account)"
"""The condition that an item is a user (table ``users``) or an account state (table ``lineages``).

An active or disabled account has both items. Of a deleted account, only the account state stays.
"""


class AccountsWithoutRing(Unavailable):
    """The tables have accounts and no key ring. A new ring would end every login and could decrypt no password hash."""


class _Cached(Struct, frozen=True):
    """A ring, its item, and the time at which the item was last read (seconds since the epoch)."""

    ring: Ring
    item: Item
    read_at: int


class KeyRing:
    """``keys.ports.ChangingKeyRing`` on DynamoDB."""

    def __init__(self, database: DynamoDB, wrapper: Wrapper, entropy: Entropy) -> None:
        """Begin with an empty cache, and do not read the ring. ``entropy`` is for the secrets of a new ring."""
        self._database = database
        self._wrapper = wrapper
        self._entropy = entropy
        self._cached: _Cached | None = None
        self._asked_at: int | None = None

    def current(self, *, now: int) -> Ring:
        """Return the cached ring. If it was read five minutes ago or earlier, read the ring again.

        Raises ``Unavailable`` if this read fails.
        """
        cached = self._cached
        if cached is not None and _within(KEY_RING_REFRESH_S, since=cached.read_at, now=now):
            return cached.ring
        return self._read(now=now)

    def refreshed(self, *, now: int) -> Ring:
        """Read the ring again for a request with an unknown ``kid`` or root version, at most once a minute.

        In the minute after a read, this method returns the result of ``current``.
        """
        asked_at = self._asked_at
        if asked_at is not None and _within(KEY_RING_UNKNOWN_KID_S, since=asked_at, now=now):
            return self.current(now=now)
        return self._read(now=now)

    def create(self, *, now: int, over_accounts: bool = False) -> Done | Moved:
        """Make the ring if there is none: at deployment, or at first use in development.

        ``Moved``: a ring exists already.

        If the tables have accounts but no ring, raises ``AccountsWithoutRing``. ``over_accounts`` omits this check.
        """
        if not over_accounts and self._accounts_exist():
            if self._stored() is not None:
                return Moved()
            raise AccountsWithoutRing(
                f"the tables {self._database.tables.prefix}-* hold accounts, and no key ring: the ring was lost, "
                "or the tables were restored without it. docs/baton/runbooks/kms-key-lost.md describes what to do"
            )
        return self._put(make_ring(self._entropy, now=now), IS_NEW)

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Replace the ring, if the stored ring has ``expected_revision``. Otherwise return ``Moved``."""
        return self._put(ring, REVISION_AS_READ, expected_revision=expected_revision)

    def _read(self, *, now: int) -> Ring:
        self._asked_at = now
        item = self._stored()
        if item is None and self._wrapper.makes_absent_ring:
            self.create(now=now)
            item = self._stored()
        if item is None:  # `tools.doctor` finds the word "absent" in this reason
            raise Unavailable("the key ring is absent: `make deploy` makes it, once")
        cached = self._cached
        # An unchanged item need not be decrypted again.
        ring = cached.ring if cached is not None and cached.item == item else self._open(item)
        self._cached = _Cached(ring, item, now)
        return ring

    def _open(self, item: Item) -> Ring:
        try:
            with reading("key ring"):
                ring, revision = ring_from_bytes(self._wrapper.unwrap(item)), int(item["revision"]["N"])
        except RingUnreadable as error:
            raise Unavailable(f"the key ring cannot be read: {error}") from None
        if ring.revision != revision:
            raise Unavailable("the key ring and its item have different revisions")
        return ring

    def _put(self, ring: Ring, condition: str, *, expected_revision: int = 0) -> Done | Moved:
        item = {**RING_KEY, "revision": number(ring.revision), **self._wrapper.wrap(ring_to_bytes(ring))}
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.users,
                Item=item,
                **expression({":revision": number(expected_revision)}, condition=condition),
            )
        except ConditionFailed as failed:
            return Done() if failed.item == item else Moved()
        return Done()

    def _accounts_exist(self) -> bool:
        tables, values = self._database.tables, {":account": text("U#")}
        return any(self._database.holds(table, IS_ACCOUNT, values) for table in (tables.users, tables.lineages))

    def _stored(self) -> Item | None:
        return self._database.read(self._database.tables.users, RING_KEY)


def _within(span_s: int, *, since: int, now: int) -> bool:
    """Check whether ``now`` is 0 to ``span_s`` - 1 seconds after ``since``. A time before ``since`` is not within."""
    return 0 <= now - since < span_s
