"""The memory store keeps the contract: what is tested against it is tested against the real thing's promises."""

import pytest

from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState
from tests.baton.memory import MemoryStores
from tests.baton.storage.contract import Stores, StoresContract


class TestMemory(StoresContract):
    """The contract, in memory."""

    @pytest.fixture
    def stores(self) -> Stores:
        """Give the memory stores, empty."""
        memory = MemoryStores()

        def seed(account_state: AccountState) -> None:
            memory.tables.lineages[account_state.account] = account_state

        def events(account: AccountId) -> list[AuditEvent]:
            return [event for event in memory.audit.events if event.account == account]

        return Stores(memory.users, memory.lineage_store, memory.ephemeral, memory.audit, seed, events)
