"""Run the same work in several threads or processes that start at the same time."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

PATIENCE_S = 120
"""The time limit in seconds, for a busy machine. A worker that takes longer has crashed."""

Part = TypeVar("Part")
Told = TypeVar("Told")

Meet = Callable[[], object]
"""Wait until all workers have reached this point."""


class Team(Protocol):
    """A group of workers. Each runs one part and returns a result."""

    def __call__(self, play: Callable[[Part, Meet], Told], parts: Sequence[Part], /) -> list[Told]:
        """Run all parts in parallel, one worker each, and return the results in order."""


@contextmanager
def threads(size: int) -> Iterator[Team]:
    """Run the parts in threads of this process."""
    barrier = threading.Barrier(size, timeout=PATIENCE_S)
    with ThreadPoolExecutor(size) as pool:
        yield lambda play, parts: _told([pool.submit(_played, part, play, barrier) for part in parts])


@contextmanager
def processes(size: int) -> Iterator[Team]:
    """Run the parts in new Python processes, with the environment variables of this process.

    ``play`` must be importable.
    """
    fresh = multiprocessing.get_context("spawn")
    barrier = fresh.Barrier(size, timeout=PATIENCE_S)
    with ProcessPoolExecutor(size, mp_context=fresh, initializer=_inherit, initargs=(barrier,)) as pool:
        yield lambda play, parts: _told([pool.submit(_played, part, play) for part in parts])


def _told(futures: Sequence[Future[Any]]) -> list[Any]:
    """Collect the results. If several workers failed, raise the first cause: the others only waited for that worker."""
    fallen = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(fallen, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


_inherited: Any = None


def _inherit(barrier: object) -> None:
    """Keep an object that a process can receive only when it starts."""
    global _inherited  # noqa: PLW0603 - one process, one team
    _inherited = barrier


def _played(part: Any, play: Callable[[Any, Meet], Any], barrier: Any = None) -> Any:
    """Run a part. If it fails, release the workers that wait at the barrier."""
    barrier = barrier or _inherited
    barrier.wait()  # one worker for each part: no part ends before all have begun
    try:
        return play(part, barrier.wait)
    except BaseException:
        barrier.abort()
        raise
