"""The storage in memory: it fulfils the contract, deletes expired items, and can be shared by environments."""

import secrets
from collections.abc import Callable

import pytest

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.policy import AUDIT_KEPT_S, NONCE_KEPT_S, ONCE_KEPT_S, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.proof.once_rules import OnceKey
from chalicelib.baton.storage.memory.storage import memory_storage
from chalicelib.baton.storage.memory.tables import SWEPT_AFTER_S, MemoryTables
from chalicelib.baton.testing.contract import StorageContract, StorageUnderTest
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    GRANT,
    MARK,
    MINE,
    MINE_LIVE,
    NOW,
    OPERATION,
    OTHER_MARK,
    STEP_UP,
    USER,
    VERSION,
    state_with,
)


def storage_over(tables: MemoryTables) -> StorageUnderTest:
    """Build a storage over these tables, with the two functions that bypass its methods."""

    def seed(account_state: AccountState) -> None:
        tables.lineages[account_state.account] = account_state

    def events(account: AccountId) -> list[AuditEvent]:
        return sorted((event for event in tables.events.values() if event.account == account), key=lambda one: one.at)

    return StorageUnderTest.of(memory_storage(secrets.token_bytes, tables), seed=seed, events=events)


class TestMemory(StorageContract):
    """The contract, in memory."""

    @pytest.fixture
    def storage(self) -> StorageUnderTest:
        """Return an empty storage."""
        return storage_over(MemoryTables())


def test_environments_share_their_tables() -> None:
    """Both environments read the same items, and a nonce is consumed once for both."""
    tables = MemoryTables()
    one, other = storage_over(tables), storage_over(tables)
    assert one.key_ring.current(now=NOW) == other.key_ring.current(now=NOW)
    one.accounts.register(USER, state_with(MINE_LIVE))
    assert other.lineages.get(ACCOUNT) == state_with(MINE_LIVE)
    assert one.one_time.consume_nonce("key", "nonce", now=NOW, mark=MARK) == Done()
    assert other.one_time.consume_nonce("key", "nonce", now=NOW, mark=OTHER_MARK) == Refused()


def test_environments_of_a_process_share_default_tables() -> None:
    """`make dev` relies on this: several environments take turns."""
    one, other = (memory_storage(secrets.token_bytes) for _ in range(2))
    assert one.key_ring.current(now=NOW) == other.key_ring.current(now=NOW)
    assert storage_over(MemoryTables()).key_ring.current(now=NOW) != one.key_ring.current(now=NOW)


EXPIRES = {
    "nonces": NOW + NONCE_KEPT_S,
    "tickets": NOW + 300 + TICKET_CONSUMED_KEPT_S,
    "grants": NOW + 300,
    "windows": (NOW // 900 + 1) * 900,
    "calls": NOW + ONCE_KEPT_S,
    "events": NOW + AUDIT_KEPT_S,
}
"""Table -> the expiry of the item that ``filled`` writes into it."""


def filled() -> MemoryTables:
    """Write one expiring item into each table that has them, and an account, which does not expire."""
    tables = MemoryTables()
    storage = storage_over(tables)
    storage.accounts.register(USER, state_with(MINE_LIVE))
    storage.one_time.consume_nonce("key", "nonce", now=NOW, mark=MARK)
    storage.one_time.consume_ticket(b"ticket", expires_at=NOW + 300, now=NOW, mark=MARK)
    storage.one_time.count("login:ada", limit=3, window_s=900, now=NOW)
    storage.one_time.store_grant(
        GRANT, lineage=MINE, operation=OPERATION, step_up=STEP_UP, credentials_version=VERSION, expires_at=NOW + 300
    )
    storage.once.claim(OnceKey("O#call"), digest=bytes(32), mark=MARK, now=NOW)
    storage.audit.append(AuditEvent(at=NOW, event="logged_in", account=ACCOUNT), event_id="a")
    return tables


@pytest.mark.parametrize("table", EXPIRES)
def test_an_item_is_deleted_after_it_has_expired(table: str) -> None:
    """DynamoDB deletes it by TTL. It is not deleted a second too early, and no account is deleted with it."""
    for late, left in ((-1, 1), (0, 0)):
        tables = filled()
        later = EXPIRES[table] + SWEPT_AFTER_S + late
        storage_over(tables).one_time.consume_nonce("other", "other", now=later, mark=MARK)
        items = [key for key in getattr(tables, table) if key[0] != "other"]
        assert len(items) == left
        assert storage_over(tables).lineages.get(ACCOUNT) == state_with(MINE_LIVE)


@pytest.mark.parametrize("verb", ["consume_nonce", "consume_ticket", "claim", "append"])
def test_each_write_of_an_expiring_item_deletes_expired_items(verb: str) -> None:
    """Therefore the memory of a process does not grow without limit."""
    tables = filled()
    storage, later = storage_over(tables), EXPIRES["grants"] + SWEPT_AFTER_S
    writes: dict[str, Callable[[], object]] = {
        "consume_nonce": lambda: storage.one_time.consume_nonce("key", "other", now=later, mark=MARK),
        "consume_ticket": lambda: storage.one_time.consume_ticket(b"o", expires_at=later, now=later, mark=MARK),
        "claim": lambda: storage.once.claim(OnceKey("O#other"), digest=bytes(32), mark=MARK, now=later),
        "append": lambda: storage.audit.append(AuditEvent(later, "logged_in", ACCOUNT), event_id="b"),
    }
    writes[verb]()
    assert not tables.grants


def test_a_count_in_a_later_window_deletes_nothing() -> None:
    """Bug: a try of a reset link counts in the hour in which the link ends, so it deleted the grants of everybody."""
    tables = filled()
    storage_over(tables).one_time.count("other", limit=1, window_s=3600, now=NOW + 6 * 3600)
    assert all(getattr(tables, table) for table in EXPIRES)
