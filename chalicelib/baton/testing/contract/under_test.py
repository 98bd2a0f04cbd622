"""The storage under test, and the functions with which the contract reads and fills it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Final, Self, TypeVar

import pytest
from msgspec.structs import asdict

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import AccountState, Lineage, PresentedToken
from chalicelib.baton.lineages.rules import Ahead, Exchanged, Inactive, Retry, Reused, Superseded
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.testing.contract.values import ACCOUNT, IDLE_S, NEWBORN, NOT_BEFORE, NOW

T = TypeVar("T")

RACERS: Final = 8
"""The number of threads that call a method at the same time."""


class StorageUnderTest(Storage, frozen=True, kw_only=True):
    """A storage with two more functions, only for tests. These functions bypass the methods of the storage."""

    seed: Callable[[AccountState], None]
    """Store this account state, in place of the stored state, without a condition."""
    events: Callable[[AccountId], list[AuditEvent]]
    """Read the audit events of an account, the oldest first."""

    @classmethod
    def of(
        cls, storage: Storage, *, seed: Callable[[AccountState], None], events: Callable[[AccountId], list[AuditEvent]]
    ) -> Self:
        """Combine a storage with the two functions."""
        return cls(**asdict(storage), seed=seed, events=events)


def race(racers: list[Callable[[], T]]) -> list[T]:
    """Start all calls at the same time, each in a thread, and return their answers."""
    start = Barrier(len(racers))

    def run(racer: Callable[[], T]) -> T:
        start.wait()
        return racer()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(run, racers))


class Contract(ABC):
    """The base class of the contracts. A contract is a class of tests, and ``storage`` is the storage under test."""

    @abstractmethod
    @pytest.fixture
    def storage(self) -> StorageUnderTest:
        """Return a storage that is empty except for a key ring."""


class LineagesUnderTest(Contract):
    """The base class of the contracts that exchange tokens, add logins or read an account state."""

    def exchange(
        self, storage: StorageUnderTest, token: PresentedToken
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Exchange a token at the time ``NOW``."""
        return storage.lineages.exchange(token, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)

    def account_state(self, storage: StorageUnderTest) -> AccountState:
        """Read the account state, which must exist."""
        account_state = storage.lineages.get(ACCOUNT)
        assert account_state is not None
        return account_state

    def add_lineage(
        self,
        storage: StorageUnderTest,
        *removed: Lineage,
        replaced: Sequence[Lineage] = (),
        expected: AccountState | None = None,
        lineages_max: int = 6,
    ) -> Done | Moved:
        """Add the login ``NEWBORN``. Without ``expected``, use the stored account state as ``expected``."""
        expected = expected or self.account_state(storage)
        return storage.lineages.add_lineage(
            NEWBORN, expected=expected, replaced=replaced, removed=removed, lineages_max=lineages_max
        )
