"""The same work in several threads, or in several processes, that set off together."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

PATIENCE_S = 120
"""Nobody is that late on a busy machine; beyond it somebody has died."""

Part = TypeVar("Part")
Told = TypeVar("Told")

Meet = Callable[[], object]
"""Wait until all have come to this point."""


class Team(Protocol):
    """So many hands; each plays one part, and tells."""

    def __call__(self, play: Callable[[Part, Meet], Told], parts: Sequence[Part], /) -> list[Told]:
        """Play all parts at once, one hand each, and give what each told, in order."""


@contextmanager
def threads(size: int) -> Iterator[Team]:
    """Let so many threads of this process play."""
    barrier = threading.Barrier(size, timeout=PATIENCE_S)
    with ThreadPoolExecutor(size) as pool:
        yield lambda play, parts: _told([pool.submit(_played, part, play, barrier) for part in parts])


@contextmanager
def processes(size: int) -> Iterator[Team]:
    """Let so many processes play: each a fresh Python, with this one's environment. ``play`` must be importable."""
    fresh = multiprocessing.get_context("spawn")
    barrier = fresh.Barrier(size, timeout=PATIENCE_S)
    with ProcessPoolExecutor(size, mp_context=fresh, initializer=_inherit, initargs=(barrier,)) as pool:
        yield lambda play, parts: _told([pool.submit(_played, part, play) for part in parts])


def _told(futures: Sequence[Future[Any]]) -> list[Any]:
    """Collect what was told. Of those who fell, name the one that fell first: the others only waited for it."""
    fallen = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(fallen, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


_inherited: Any = None


def _inherit(barrier: object) -> None:
    """Keep what can only be handed to a process at its birth."""
    global _inherited  # noqa: PLW0603 - one process, one team
    _inherited = barrier


def _played(part: Any, play: Callable[[Any, Meet], Any], barrier: Any = None) -> Any:
    """Play a part. Whoever falls does not leave the others waiting."""
    barrier = barrier or _inherited
    barrier.wait()  # one hand, one part: nobody is done before all have begun
    try:
        return play(part, barrier.wait)
    except BaseException:
        barrier.abort()
        raise
