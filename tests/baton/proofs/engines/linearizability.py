"""Is there an order in which all this could have happened one after the other? Wing and Gong, remembering dead ends.

An order explains a history when each operation comes after all that were over before it was sent, and the rule,
asked in this order, gives the very answers that were heard. What nobody heard of may be left out.

J. M. Wing, C. Gong, "Testing and Verifying Concurrent Objects" (1993); G. Lowe, "Testing for linearizability" (2017).
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tests.baton.proofs.engines.history import FOREVER, UNHEARD, History, Operation, State

CONSIDERED_MAX = 500_000
"""Beyond so many points of the search there is no verdict, which is a failure too, and not the engine's."""

S = TypeVar("S", bound=Hashable)
Rule = Callable[[S, Operation], tuple[S, object]]
"""What an operation does to a state, and answers."""


@dataclass(frozen=True, slots=True)
class Explained:
    """An order that explains the history; an operation left out of it never happened."""

    order: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An operation that could come next, and what the rule would answer instead."""

    operation: Operation
    expected: object


@dataclass(frozen=True, slots=True)
class Refuted:
    """No order explains the history. ``order`` is as far as any comes; there, each that could be next contradicts."""

    order: tuple[Operation, ...]
    next: tuple[Contradiction, ...]


@dataclass(frozen=True, slots=True)
class _Point(Generic[S]):
    """A point of the search: which operations are done (one bit each), the state they left, and the way here."""

    done: int
    state: S
    last: Operation | None = None
    before: "_Point[S] | None" = None

    def order(self) -> tuple[Operation, ...]:
        way = []
        point: _Point[S] | None = self
        while point is not None and point.last is not None:
            way.append(point.last)
            point = point.before
        return tuple(reversed(way))


def explain(history: History, rule: Rule[State]) -> Explained | Refuted:
    """Search for an order that explains a history of the stores."""
    return search(history.start, history.operations, rule)


def search(start: S, told: Iterable[Operation], rule: Rule[S]) -> Explained | Refuted:
    """Search for an order that explains what was told, depth first. From one point on, one state has one future."""
    operations = sorted(told, key=lambda operation: operation.sent)
    heard = sum(1 << number for number, operation in enumerate(operations) if operation.answer != UNHEARD)
    furthest = point = _Point(0, start)
    points, seen = [point], {(point.done, point.state)}
    while points:
        point = points.pop()
        if point.done & heard == heard:
            return Explained(point.order())
        if (point.done & heard).bit_count() > (furthest.done & heard).bit_count():
            furthest = point
        # Popped from the end: what was answered first goes first, and what nobody heard happens as late as it can.
        for number, operation in sorted(_could_be_next(operations, point.done), key=_patience, reverse=True):
            state, answer = rule(point.state, operation)
            done = point.done | 1 << number
            if operation.answer not in (answer, UNHEARD):
                continue
            if operation.answer == UNHEARD and state == point.state:
                continue  # as if it never happened
            if (done, state) not in seen:
                assert len(seen) < CONSIDERED_MAX, "no verdict: too many orders are possible"
                seen.add((done, state))
                points.append(_Point(done, state, operation, point))
    contradictions = (
        Contradiction(operation, rule(furthest.state, operation)[1])
        for _, operation in _could_be_next(operations, furthest.done)
        if operation.answer != UNHEARD
    )
    return Refuted(furthest.order(), tuple(contradictions))


def _could_be_next(operations: Sequence[Operation], done: int) -> Iterator[tuple[int, Operation]]:
    """Find the operations sent before any other that is not done was answered, and not over before one that is.

    The second alone would do, for a point that breaks the first is a dead end; the first saves the way there.
    """
    last_sent = operations[done.bit_length() - 1].sent if done else 0
    earliest_heard = FOREVER
    for number, operation in enumerate(operations):
        if operation.sent > earliest_heard:
            return
        if not done >> number & 1 and operation.heard >= last_sent:
            yield number, operation
            if operation.answer != UNHEARD:
                earliest_heard = min(earliest_heard, operation.heard)


def _patience(numbered: tuple[int, Operation]) -> tuple[bool, int]:
    _, operation = numbered
    return operation.answer == UNHEARD, operation.heard
