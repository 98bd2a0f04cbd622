"""The generations of each login, as the server saw them: who exchanged which token, and who presented it again."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from tools.dev.api.seen import ExchangeSeen

LINEAGES_KEPT: Final = 1_000
GENERATIONS_KEPT: Final = 50
AGAIN_KEPT: Final = 20


class Presentation(Struct, frozen=True):
    """One presentation of a token at an exchange. ``attempt``: 8 hexadecimal digits of the attempt's digest."""

    at: float
    phone: str | None
    attempt: str | None
    request_id: str
    outcome: str


class Generation(Struct):
    """The token of one generation: the presentation that exchanged it, and up to 20 other presentations."""

    first: Presentation | None = None
    again: list[Presentation] = []

    def shown(self, g: int, *, stored: str | None) -> dict[str, object]:
        """Return generation ``g`` as the development API shows it.

        ``stored``: the attempt that exchanged this generation, if the account state still has it.
        """
        first = self.first
        return {
            "g": g,
            "at": first.at if first else None,
            "attempt": first.attempt if first else stored,
            "phone": first.phone if first else None,
            "request_id": first.request_id if first else None,
            "again": [asdict(one) for one in self.again],
        }


class Noted(Struct, frozen=True):
    """What an exchange adds to the `Record` of its request (``records.py``).

    ``retry_of`` is the id of the earlier request that this request repeats. ``reuse`` has both presentations of a
    reused token.
    """

    retry_of: str | None = None
    reuse: dict[str, object] | None = None


class History:
    """The last 50 generations of each of the last 1,000 logins."""

    def __init__(self) -> None:
        """Begin without a login."""
        self._lineages: OrderedDict[str, dict[int, Generation]] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget every login."""
        with self._lock:
            self._lineages.clear()

    def note(self, lineage: str, exchange: ExchangeSeen, *, at: float, phone: str | None, request_id: str) -> Noted:
        """Add an exchange. Return the request that this exchange repeats, or both presentations of a reuse.

        The result is empty for a first exchange. For a login that has ended, nothing is added, and the result is empty.
        """
        if exchange.outcome == "inactive":
            return Noted()
        shown = Presentation(at, phone, exchange.attempt, request_id, exchange.outcome)
        with self._lock:
            generations = self._lineages.setdefault(lineage, {})
            self._lineages.move_to_end(lineage)
            generation = generations.setdefault(exchange.generation, Generation())
            earlier = generation.first
            if exchange.outcome == "exchanged":
                generation.first = shown
            elif len(generation.again) < AGAIN_KEPT:
                generation.again.append(shown)
            while len(generations) > GENERATIONS_KEPT:
                del generations[min(generations)]
            while len(self._lineages) > LINEAGES_KEPT:
                self._lineages.popitem(last=False)
        if exchange.outcome == "reuse":
            return Noted(reuse={"first": _side(earlier), "second": _side(shown)})
        repeats = exchange.outcome in {"same_child", "superseded"} and earlier is not None
        return Noted(retry_of=earlier.request_id if repeats and earlier else None)

    def of(self, lineage: str) -> dict[int, Generation]:
        """Return those generations of a login that the server saw, each by its number."""
        with self._lock:
            return dict(self._lineages.get(lineage, {}))


def _side(one: Presentation | None) -> dict[str, object] | None:
    return {"at": one.at, "phone": one.phone, "attempt": one.attempt, "request_id": one.request_id} if one else None


def pictured(shown: Mapping[str, Any], seen: dict[int, Generation]) -> dict[str, object]:
    """Return a login with its generations, as the development API shows it.

    ``shown`` is the login as ``accounts/operate.py`` returns it. ``seen`` are the generations from the history.
    """
    stored = {int(g): attempt for g, attempt in shown["attempts"].items()}
    return {
        "lineage": shown["lineage"],
        "client": shown["client"],
        "device": shown["device"],
        "bound": shown["bound"],
        "current": shown["generation"],
        "ended": shown["ended"],
        "generations": list(generations(seen, shown["generation"], stored)),
    }


def generations(seen: dict[int, Generation], current: int, stored: dict[int, str]) -> Iterator[dict[str, object]]:
    """Yield the generations of a login as the development API shows them, in order.

    They are the generations that the server saw, the generations with a stored attempt, and the current generation.
    """
    for g in sorted({*seen, *stored, current}):
        yield seen.get(g, Generation()).shown(g, stored=stored.get(g))
