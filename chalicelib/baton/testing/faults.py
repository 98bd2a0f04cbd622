"""Faults of the storage: the next calls of a store fail, before or after they take effect."""

from collections.abc import Callable
from typing import Final, Literal, cast

from msgspec.structs import replace

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.ports import Storage

STORES: Final = ("accounts", "factors", "lineages", "one_time", "once", "suppressions", "identities", "provider_tokens")
"""The stores that can fail.

The test kit plans no faults for ``attestations``, and none for ``key_ring`` and ``audit``: Baton caches the key ring,
and a write of the audit never raises.
"""


class Faults:
    """The planned faults of a World's storage."""

    def __init__(self) -> None:
        """Plan no fault."""
        self._left = 0
        self._when: Literal["before", "after"] = "before"
        self._verb: str | None = None
        self._verbs: set[str] = set()

    def fail(
        self,
        next: int = 1,  # noqa: A002 - the call reads well: fail(next=1)
        when: Literal["before", "after"] = "before",
        *,
        verb: str | None = None,
    ) -> None:
        """Make the next calls of the storage fail, as if DynamoDB were unavailable.

        Args:
            next: the number of calls that fail. 0 ends the faults.
            when: ``before``: the call has no effect. ``after``: the call takes effect, and its answer is lost.
            verb: fail only the calls of this method, such as ``LineageStore.exchange``. Default: every method.

        Raises:
            ValueError: no store in ``STORES`` has the method ``verb``.

        """
        if verb is not None and verb not in self._verbs:
            raise ValueError(f"no store has {verb!r}. Its methods are: {', '.join(sorted(self._verbs))}")
        self._left, self._when, self._verb = next, when, verb

    def around(self, storage: Storage) -> Storage:
        """Return a copy of the storage. In the copy, calls of the stores in ``STORES`` fail as `fail` has planned."""
        stores = {name: getattr(storage, name) for name in STORES}
        for store in stores.values():
            self._verbs.update(name for name in dir(store) if name[0] != "_" and callable(getattr(store, name)))
        return replace(storage, **{name: _Failing(store, self) for name, store in stores.items()})

    def call(self, name: str, verb: Callable[..., object], *arguments: object, **named: object) -> object:
        """Call a method of a store, or fail as planned."""
        if self._left < 1 or self._verb not in {None, name}:
            return verb(*arguments, **named)
        self._left -= 1
        if self._when == "after":
            verb(*arguments, **named)
        raise Unavailable(f"planned by the test: {name} fails {self._when} its effect")


class _Failing:
    """A wrapper of a store. It makes the planned calls fail."""

    def __init__(self, store: object, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    def __getattr__(self, name: str) -> object:
        member = getattr(self._store, name)
        if not callable(member):
            return member
        verb = cast("Callable[..., object]", member)
        return lambda *arguments, **named: self._faults.call(name, verb, *arguments, **named)
