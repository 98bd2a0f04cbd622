"""Check linearizability: search for a sequential order that explains a history (Wing and Gong, with a memo of states).

An order explains a history under two conditions. Each operation comes after all operations that ended before it was
sent. The rule, applied in this order, gives exactly the recorded answers. An operation without an answer may be left
out.

Source: J. M. Wing, C. Gong, "Testing and Verifying Concurrent Objects" (1993); G. Lowe, "Testing for linearizability"
(2017).
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tests.baton.proofs.engines.history import FOREVER, UNANSWERED, History, Operation, State

CONSIDERED_MAX = 500_000
"""The limit of search states. Above it the check fails without a result; that is not a fault of the engine."""

S = TypeVar("S", bound=Hashable)
Rule = Callable[[S, Operation], tuple[S, object]]
"""A function from a state and an operation to the next state and the answer."""


@dataclass(frozen=True, slots=True)
class Explained:
    """An order that explains the history. An operation outside the order had no effect."""

    order: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An operation that could come next, and the answer of the rule to it."""

    operation: Operation
    expected: object


@dataclass(frozen=True, slots=True)
class Refuted:
    """No order explains the history. ``order`` is the longest partial order.

    After it, each next operation contradicts.
    """

    order: tuple[Operation, ...]
    next: tuple[Contradiction, ...]


@dataclass(frozen=True, slots=True)
class _Point(Generic[S]):
    """A state of the search: the completed operations (one bit each), the resulting state, and the path to it."""

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
    """Search depth first for an order that explains the operations. Equal search states are visited once."""
    operations = sorted(told, key=lambda operation: operation.sent)
    heard = sum(1 << number for number, operation in enumerate(operations) if operation.answer != UNANSWERED)
    furthest = point = _Point(0, start)
    points, seen = [point], {(point.done, point.state)}
    while points:
        point = points.pop()
        if point.done & heard == heard:
            return Explained(point.order())
        if (point.done & heard).bit_count() > (furthest.done & heard).bit_count():
            furthest = point
        # The search pops from the end: first the operations with the earliest answers, last those without an answer.
        for number, operation in sorted(_could_be_next(operations, point.done), key=_answered_first, reverse=True):
            state, answer = rule(point.state, operation)
            done = point.done | 1 << number
            if operation.answer not in (answer, UNANSWERED):
                continue
            if operation.answer == UNANSWERED and state == point.state:
                continue  # the same as no effect
            if (done, state) not in seen:
                assert len(seen) < CONSIDERED_MAX, "no verdict: too many orders are possible"
                seen.add((done, state))
                points.append(_Point(done, state, operation, point))
    contradictions = (
        Contradiction(operation, rule(furthest.state, operation)[1])
        for _, operation in _could_be_next(operations, furthest.done)
        if operation.answer != UNANSWERED
    )
    return Refuted(furthest.order(), tuple(contradictions))


def _could_be_next(operations: Sequence[Operation], done: int) -> Iterator[tuple[int, Operation]]:
    """Find the operations that can come next in an order.

    Such an operation was not answered before a completed operation was sent. It was also sent before the earliest
    answer of any open operation: this second condition only saves time.
    """
    last_sent = operations[done.bit_length() - 1].sent if done else 0
    earliest_heard = FOREVER
    for number, operation in enumerate(operations):
        if operation.sent > earliest_heard:
            return
        if not done >> number & 1 and operation.heard >= last_sent:
            yield number, operation
            if operation.answer != UNANSWERED:
                earliest_heard = min(earliest_heard, operation.heard)


def _answered_first(numbered: tuple[int, Operation]) -> tuple[bool, int]:
    _, operation = numbered
    return operation.answer == UNANSWERED, operation.heard
