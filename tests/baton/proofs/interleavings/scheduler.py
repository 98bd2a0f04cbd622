"""Explore every interleaving of a few presenters. They run real synchronous code, and switch only at port calls.

A presenter is a client, an operator or a thief. Each one runs in its own greenlet, and exactly one runs at a time. At a
port call it switches to the scheduler, and the course selects the next presenter. A course is the list of all decisions
of one schedule, with those about faults. The courses are explored depth first, each from the start, until each decision
has been taken in every way.

Two calls are independent if they touch different places, or if neither changes anything. Both orders of independent
calls give the same result, so one order is enough. A presenter that was tried at a fork sleeps in the later branches
until another presenter makes a dependent call (sleep sets). A conditional write that failed has changed nothing, and
counts as a read.

Source: Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems" (1996), chapter 5.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from greenlet import getcurrent, greenlet


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a presenter is about to make: the places it touches, and whether it writes."""

    name: str
    places: frozenset[str]
    writes: bool

    def meets(self, other: "Call") -> bool:
        """Return whether the order of the two calls can matter."""
        return (self.writes or other.writes) and not self.places.isdisjoint(other.places)


class Asleep(BaseException):
    """Every presenter that could continue sleeps: another order of this course was explored before."""


class Refuted(AssertionError):
    """A course breaks an invariant. The message has the reason, the steps, and the decisions to repeat it."""

    def __init__(self, why: str, course: tuple[int, ...], steps: list[str]) -> None:
        """Store the decisions and the steps."""
        self.why, self.course, self.steps = why, course, steps
        lines = [f"{number:>4}  {step}" for number, step in enumerate(steps, 1)]
        super().__init__("\n".join([why, *lines, f"walk it again: course={course}"]))


@dataclass(slots=True)
class Fork:
    """A decision, and its ways. ``asleep`` are the ways that lead to no new result."""

    ways: tuple[str, ...]
    taken: int
    asleep: dict[str, Call]
    calls: dict[str, Call]
    """The call of each way; after it was made, with its true effect."""
    made: set[str] = field(default_factory=set)

    def next_way(self, after: int) -> int | None:
        """Return the next way that is not asleep."""
        return next((way for way in range(after + 1, len(self.ways)) if self.ways[way] not in self.asleep), None)


class Course:
    """All decisions of one schedule, and the step to the next schedule. ``sleeping=False`` explores every order."""

    def __init__(self, *, sleeping: bool = True, given: tuple[int, ...] = ()) -> None:
        """Start with the first schedule, or with the given schedule."""
        self.sleeping, self.given = sleeping, given
        self.forks: list[Fork] = []
        self.begin()

    def begin(self) -> None:
        """Return to the start of the schedule."""
        self.depth = 0
        self.asleep: dict[str, Call] = {}
        self.turned: Fork | None = None

    @property
    def decisions(self) -> tuple[int, ...]:
        """Return the decisions so far."""
        return tuple(fork.taken for fork in self.forks[: self.depth])

    def decide(self, ways: tuple[str, ...]) -> int:
        """Decide which fault happens. The first way is no fault."""
        return self._fork(ways, {}, {}).taken

    def whose_turn(self, calls: dict[str, Call]) -> str:
        """Decide which presenter makes its call."""
        if self.turned and self.sleeping:
            self.asleep = self._still_asleep(self.turned)
        self.turned = fork = self._fork(tuple(calls), self.asleep, calls)
        return fork.ways[fork.taken]

    def made(self, call: Call, *, changed: bool) -> None:
        """Record whether the call had an effect, in this schedule or in an earlier schedule."""
        if self.turned:
            name, turned = self.turned.ways[self.turned.taken], self.turned
            before = name in turned.made and turned.calls[name].writes
            turned.calls[name] = replace(call, writes=changed or before)
            turned.made.add(name)

    def _still_asleep(self, fork: Fork) -> dict[str, Call]:
        """Return the presenters that sleep after this fork.

        They slept before the fork, or were tried at it. A call that depends on theirs wakes them.
        """
        made = fork.calls[fork.ways[fork.taken]]
        tried = {way: fork.calls[way] for way in fork.ways[: fork.taken] if way not in fork.asleep}
        return {name: call for name, call in (fork.asleep | tried).items() if not call.meets(made)}

    def advance(self) -> bool:
        """Change the last fork that has another way. Return whether such a fork exists."""
        while self.forks:
            way = self.forks[-1].next_way(self.forks[-1].taken)
            if way is not None:
                self.forks[-1].taken = way
                self.begin()
                return True
            self.forks.pop()
        return False

    def _fork(self, ways: tuple[str, ...], asleep: dict[str, Call], calls: dict[str, Call]) -> Fork:
        if self.depth == len(self.forks):
            fork = Fork(ways, -1, asleep, dict(calls))
            way = self.given[self.depth] if self.depth < len(self.given) else fork.next_way(-1)
            if way is None:
                raise Asleep
            fork.taken = way
            self.forks.append(fork)
        fork = self.forks[self.depth]
        assert fork.ways == ways, f"the same decisions led elsewhere: {fork.ways}, then {ways}"
        self.depth += 1
        return fork


@dataclass(eq=False, slots=True)
class Presenter:
    """A running role: its greenlet, and the call that it waits to make."""

    name: str
    place: int
    flow: greenlet
    call: Call = field(default_factory=lambda: Call("", frozenset(), writes=False))
    born: int = 0
    """How many other presenters this presenter has started: part of their names."""


@dataclass(eq=False)
class Scheduler:
    """One schedule. Only the presenter ``holder`` runs; all others wait."""

    course: Course
    faults_left: int
    turn: Callable[[Presenter], None] = lambda _: None
    """Called before a presenter continues: it sets the clock of the presenter's server."""
    steps: list[str] = field(default_factory=list)
    presenters: list[Presenter] = field(default_factory=list)
    holder: Presenter | None = None

    def __post_init__(self) -> None:
        """Start without presenters."""
        self._explorer = getcurrent()

    def enter(self, name: str, act: Callable[[], object]) -> None:
        """Add a presenter. It takes part from the next decision on."""
        if self.holder:
            self.holder.born += 1
            name = f"{self.holder.name}'s {name} {self.holder.born}"
        self.presenters.append(Presenter(name, len(self.presenters), greenlet(act, self._explorer)))

    def run(self) -> None:
        """Run all presenters to their end, in the order of the course. A failure of a presenter is raised here."""
        begun = 0
        try:
            while True:
                while begun < len(self.presenters):  # A running presenter may add others.
                    self._wake(self.presenters[begun])  # Run to the first call: nothing before it is shared.
                    begun += 1
                chosen = self._choose()
                if chosen is None:
                    break
                self._wake(chosen)
        finally:
            for presenter in self.presenters:
                while not presenter.flow.dead:  # A presenter may make a call while it ends.
                    presenter.flow.throw()
            self.holder = None

    def step(self, call: Call) -> None:
        """Wait until the scheduler selects this call. Outside a schedule, return immediately."""
        if self.holder is None:
            return
        self.holder.call = call
        self._explorer.switch()
        self.note(call.name)

    def fault(self, *kinds: str) -> str | None:
        """Decide whether one of these faults happens, while the fault budget lasts."""
        if self.holder is None or not self.faults_left or not kinds:
            return None
        decided = self.course.decide(("none", *kinds))
        if not decided:
            return None
        self.faults_left -= 1
        self.note(f"FAULT: {kinds[decided - 1]}")
        return kinds[decided - 1]

    def note(self, what: str) -> None:
        """Record a step for the report."""
        self.steps.append(f"{self.holder.name if self.holder else 'afterwards':<24}  {what}")

    def _choose(self) -> Presenter | None:
        """Return the presenter that continues, as the course decides; ``None`` when all have ended.

        The presenter that acted last is first in the list, so the first schedules have the fewest switches.
        """
        waiting = [presenter for presenter in self.presenters if not presenter.flow.dead]
        waiting.sort(key=lambda presenter: presenter is not self.holder)
        if not waiting:
            return None
        name = self.course.whose_turn({presenter.name: presenter.call for presenter in waiting})
        return next(presenter for presenter in waiting if presenter.name == name)

    def _wake(self, presenter: Presenter) -> None:
        self.holder = presenter
        self.turn(presenter)
        presenter.flow.switch()


@dataclass(frozen=True, slots=True)
class Explored:
    """The number of explored schedules, and the number that was skipped as another order of an explored schedule."""

    schedules: int
    asleep: int


def explore(scene: Callable[[Course], None], *, sleeping: bool = True) -> Explored:
    """Explore every course of a scene. The scene runs one schedule, and raises ``Refuted`` if an invariant fails."""
    course = Course(sleeping=sleeping)
    schedules = asleep = 0
    while True:
        try:
            scene(course)
            schedules += 1
        except Asleep:
            asleep += 1
        if not course.advance():
            return Explored(schedules, asleep)
