"""What an environment of Baton takes from outside: the time, random bytes, settings, storage, and a place for lines."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar

from msgspec import Struct

from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.log import write_line
from chalicelib.baton.factors.ports import Fetch
from chalicelib.baton.storage.ports import Storage


class Effects(Struct, frozen=True):
    """What one environment takes from outside."""

    clock: Clock
    entropy: Entropy
    settings: Mapping[str, str] | None = None
    """The variables to read the settings from. ``None``: those of the process."""
    storage: Callable[[Storage], Storage] = lambda storage: storage
    """Return the storage to use in place of the one that the settings select."""
    write: Callable[[Mapping[str, object]], None] = write_line
    """Write one log line."""
    fetch: Fetch | None = None
    """Send the requests to services of others. ``None``: over HTTPS."""


EFFECTS: ContextVar[Effects | None] = ContextVar("EFFECTS", default=None)
"""The effects of the environments that are made in this context. Only the test kit, the tools and tests set it."""
