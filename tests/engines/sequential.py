"""The rule, one operation at a time: the memory store's verbs, which are ``core.lineage``, on values."""

from typing import Any

from tests.engines.history import Operation, State
from tests.memory import MemoryGates, MemoryUsers, Tables


def apply(state: State, operation: Operation) -> tuple[State, object]:
    """Say what the operation answers when nothing runs beside it, and what it leaves."""
    account = state.gate.account
    tables = Tables(users={account: state.user}, gates={account: state.gate})
    store: Any = MemoryUsers(tables) if operation.verb == "change_password" else MemoryGates(tables)
    answer = getattr(store, operation.verb)(**operation.arguments)
    return State(tables.users[account], tables.gates[account]), answer
