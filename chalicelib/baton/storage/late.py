"""A store whose module is imported when it is first used: a cold start does without it."""

from collections.abc import Callable
from functools import cached_property


class LateStore:
    """Hand on each verb to the store, which ``make`` imports and makes."""

    def __init__(self, make: Callable[[], object]) -> None:
        """Keep the function."""
        self._make = make

    @cached_property
    def _store(self) -> object:
        return self._make()

    def __getattr__(self, name: str) -> object:
        """Return a verb of the store."""
        return getattr(self._store, name)
