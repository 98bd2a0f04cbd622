"""The events of the development server: the last 2,000, and the streams that send them (server-sent events)."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from msgspec import Struct

from tools.dev.api.answers import DevRefusal

KEPT: Final = 2_000
STREAMS_MAX: Final = 8
COMMENT_EVERY_S: Final = 15
"""How often a stream without an event sends a comment. A write shows whether the reader is still there."""

GONE_EVERY_S: Final = 0.5
"""How often a quiet stream checks whether its reader has closed the connection."""

Event = dict[str, Any]


class Source(Protocol):
    """An object that has the members of a `Kept` event.

    It must not refer to its `Kept`: the garbage collector does not track a `Kept` (``gc=False``), and would never free
    a cycle of the two.
    """

    def members(self) -> dict[str, Any]:
        """Return the members of the event, without its number, time and kind."""


class Given(Struct, frozen=True, gc=False):
    """Members that are known when the event is published."""

    given: dict[str, Any]

    def members(self) -> dict[str, Any]:
        """Return the members."""
        return self.given


class Kept(Struct, frozen=True, gc=False):
    """An event that the server keeps. ``source`` has the members of the event, or computes them at the first read."""

    n: int
    at: float
    kind: str
    source: Source

    def event(self) -> Event:
        """Return the event as a JSON object: its number, time, kind and members."""
        return {"n": self.n, "at": round(self.at, 3), "kind": self.kind, **self.source.members()}


class Events:
    """The last 2,000 events, and the streams that send them. The first event has number 1. The numbers rise by 1."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin without an event. ``clock`` is the clock of the server."""
        self._clock = clock
        self._events: deque[Kept] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._last = 0
        self._streams = 0
        self._closed = False

    def publish(self, kind: str, /, **members: object) -> Event:
        """Keep an event, and wake the streams."""
        return self.publish_later(kind, Given(members)).event()

    def publish_later(self, kind: str, source: Source) -> Kept:
        """Keep an event whose members are computed when it is read. Wake the streams."""
        at = self._clock()
        with self._lock:
            self._last += 1
            kept = Kept(self._last, at, kind, source)
            self._events.append(kept)
            if self._streams:
                self._changed.notify_all()
        return kept

    def clear(self) -> None:
        """Delete the events. The numbers do not restart: the next event gets the next number."""
        with self._changed:
            self._events.clear()

    def close(self) -> None:
        """End the streams, after their remaining events. A stream that is opened later ends in the same way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def after(self, number: int) -> tuple[int, list[Event]]:
        """Return how many events after ``number`` are no longer kept, and a list of the kept events after it."""
        with self._changed:
            missed, found = self._after(number)
        return missed, [kept.event() for kept in found]

    def _after(self, number: int) -> tuple[int, list[Kept]]:
        found: list[Kept] = []
        for kept in reversed(self._events):
            if kept.n <= number:
                break
            found.append(kept)
        found.reverse()
        return max(0, self._last - number - len(found)), found

    def stream(self, after: int | None, *, gone: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
        """Yield the events after the number ``after``, then each new event. ``None``: only the new events.

        The stream ends when the reader or the server closes it. Raises ``DevRefusal`` if 8 streams are open.
        """
        with self._changed:
            if self._streams >= STREAMS_MAX:
                raise DevRefusal(503, "too_many_streams", f"{STREAMS_MAX} streams are open. Close a tab.")
            self._streams += 1
            seen = self._last if after is None else min(after, self._last)
        return self._sent(seen, gone)

    def _sent(self, seen: int, gone: Callable[[], bool]) -> Iterator[bytes]:
        with contextlib.ExitStack() as at_end:
            at_end.callback(self._leave)
            yield b": connected\n\n"
            while True:
                with self._changed:
                    missed, found = self._after(seen)
                    if not found and not missed and not self._closed:
                        self._wait(gone)
                        missed, found = self._after(seen)
                    seen = max(seen, self._last)
                    closed = self._closed
                if missed:
                    yield f'event: missed\ndata: {{"missed": {missed}}}\n\n'.encode()
                if found:
                    yield b"".join(_line(kept.event()) for kept in found)
                elif closed or gone():
                    return
                elif not missed:
                    yield b": still here\n\n"

    def _wait(self, gone: Callable[[], bool]) -> None:
        """Wait for an event or for ``close``, at most ``COMMENT_EVERY_S`` seconds. Return early if the reader has gone.

        A stream without a reader must end soon: only 8 may be open, and a page that reloads opens another stream.
        """
        waited = 0.0
        while not self._changed.wait(min(GONE_EVERY_S, COMMENT_EVERY_S)):
            waited += min(GONE_EVERY_S, COMMENT_EVERY_S)
            if waited >= COMMENT_EVERY_S or gone():
                return

    def _leave(self) -> None:
        with self._changed:
            self._streams -= 1


def _line(event: Event) -> bytes:
    return f"id: {event['n']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
