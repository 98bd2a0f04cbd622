"""The rule, one operation at a time: the verbs of the memory store, which apply ``lineages/rules.py`` to values."""

from typing import Any

from chalicelib.baton.storage.memory.accounts import MemoryUsers
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.storage.memory.tables import MemoryTables
from tests.baton.proofs.engines.history import Operation, State


def apply(state: State, operation: Operation) -> tuple[State, object]:
    """Return the answer of an operation without concurrency, and the state after it."""
    account = state.account_state.account
    tables = MemoryTables(users={account: state.user}, lineages={account: state.account_state})
    store: Any = MemoryUsers(tables) if operation.verb == "change_password" else MemoryLineageStore(tables)
    answer = getattr(store, operation.verb)(**operation.arguments)
    return State(tables.users[account], tables.lineages[account]), answer
