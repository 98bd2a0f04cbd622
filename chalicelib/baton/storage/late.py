"""A store whose module is imported at the first use, so that a cold start does not import the module."""

from collections.abc import Callable
from functools import cached_property


class LateStore:
    """A store that passes each call to the real store. ``make`` imports and builds the real store at the first call."""

    def __init__(self, make: Callable[[], object]) -> None:
        """Keep the function that makes the real store."""
        self._make = make

    @cached_property
    def _store(self) -> object:
        return self._make()

    def __getattr__(self, name: str) -> object:
        """Return a method of the real store."""
        return getattr(self._store, name)
