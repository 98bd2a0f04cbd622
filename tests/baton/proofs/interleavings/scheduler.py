"""Every interleaving of a few presenters: real synchronous code, one at a time, switched at port calls alone.

Each presenter runs in a thread of its own and exactly one of them is ever awake. At a port call it hands back the
baton, and the course says who goes on. A course is the list of all decisions, those about faults included: it is
walked depth first, each time from the start, until every decision has been taken every way.

Two calls that do not meet (other places, or neither changes anything) give the same in either order, so one order
stands for both: a presenter that was tried at a fork sleeps in the later branches until somebody makes a call that
meets its own (sleep sets: Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996,
chapter 5). A conditional write that was refused has changed nothing, and counts as the read it was.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Call:
    """A call about to be made: the places it touches, and whether it writes there."""

    name: str
    places: frozenset[str]
    writes: bool

    def meets(self, other: "Call") -> bool:
        """Tell whether the order of the two could matter."""
        return (self.writes or other.writes) and not self.places.isdisjoint(other.places)


class Asleep(BaseException):
    """Whoever could go on has been tried before: what follows is another course in another order."""


class Stopped(BaseException):
    """The schedule is over, and so is this presenter."""


class Refuted(AssertionError):
    """A course breaks an invariant. Its text says which, step by step, and how to walk it again."""

    def __init__(self, why: str, course: tuple[int, ...], steps: list[str]) -> None:
        """Keep the decisions and the steps."""
        self.why, self.course, self.steps = why, course, steps
        lines = [f"{number:>4}  {step}" for number, step in enumerate(steps, 1)]
        super().__init__("\n".join([why, *lines, f"walk it again: course={course}"]))


@dataclass(slots=True)
class Fork:
    """A decision, and the ways it can go. ``asleep`` are those of them that would bring nothing new."""

    ways: tuple[str, ...]
    taken: int
    asleep: dict[str, Call]
    calls: dict[str, Call]
    """What each way would call; once it was made, with what it turned out to be."""
    made: set[str] = field(default_factory=set)

    def next_way(self, after: int) -> int | None:
        """Find the next way that is awake."""
        return next((way for way in range(after + 1, len(self.ways)) if self.ways[way] not in self.asleep), None)


class Course:
    """All decisions of one schedule, and the way to the next one. ``sleeping=False`` walks every order there is."""

    def __init__(self, *, sleeping: bool = True, given: tuple[int, ...] = ()) -> None:
        """Begin at the first schedule, or walk the one that is given."""
        self.sleeping, self.given = sleeping, given
        self.forks: list[Fork] = []
        self.begin()

    def begin(self) -> None:
        """Go back to the start."""
        self.depth = 0
        self.asleep: dict[str, Call] = {}
        self.turned: Fork | None = None

    @property
    def decisions(self) -> tuple[int, ...]:
        """Give the decisions taken so far."""
        return tuple(fork.taken for fork in self.forks[: self.depth])

    def decide(self, ways: tuple[str, ...]) -> int:
        """Decide which way a fault goes: the first is that there is none."""
        return self._fork(ways, {}, {}).taken

    def whose_turn(self, calls: dict[str, Call]) -> str:
        """Decide who makes their call."""
        if self.turned and self.sleeping:
            self.asleep = self._still_asleep(self.turned)
        self.turned = fork = self._fork(tuple(calls), self.asleep, calls)
        return fork.ways[fork.taken]

    def made(self, call: Call, *, changed: bool) -> None:
        """Learn whether the call whose turn it was has changed anything, this time or another."""
        if self.turned:
            name, turned = self.turned.ways[self.turned.taken], self.turned
            before = name in turned.made and turned.calls[name].writes
            turned.calls[name] = replace(call, writes=changed or before)
            turned.made.add(name)

    def _still_asleep(self, fork: Fork) -> dict[str, Call]:
        """Wake whoever's call meets the one made last; those tried before it have fallen asleep."""
        made = fork.calls[fork.ways[fork.taken]]
        tried = {way: fork.calls[way] for way in fork.ways[: fork.taken] if way not in fork.asleep}
        return {name: call for name, call in (fork.asleep | tried).items() if not call.meets(made)}

    def advance(self) -> bool:
        """Turn at the last fork that has a way left; tell whether there is one."""
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


class _Hand(threading.Thread):
    """A thread that carries one presenter after another: making a thread costs more than a schedule."""

    idle: "list[_Hand]" = []  # noqa: RUF012 - shared on purpose; only the thread that explores takes and returns

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.go = threading.Lock()
        self.go.acquire()
        self.act: Callable[[], object] = object
        self.start()

    def run(self) -> None:
        while True:
            self.go.acquire()
            self.act()


@dataclass(eq=False, slots=True)
class Presenter:
    """Somebody who acts: their thread, and the call they wait to make."""

    name: str
    place: int
    act: Callable[[], object]
    hand: _Hand
    call: Call = field(default_factory=lambda: Call("", frozenset(), writes=False))
    over: bool = False
    failure: BaseException | None = None
    born: int = 0
    """How many others this one has begun, so that those have names of their own."""


@dataclass(eq=False)
class Scheduler:
    """One schedule. Whoever is named ``holder`` is awake; everybody else waits."""

    course: Course
    faults_left: int
    turn: Callable[[Presenter], None] = lambda _: None
    """Called before a presenter wakes: sets its server's clock."""
    steps: list[str] = field(default_factory=list)
    presenters: list[Presenter] = field(default_factory=list)
    holder: Presenter | None = None

    def __post_init__(self) -> None:
        """Begin with nobody."""
        self._back = threading.Lock()
        self._back.acquire()
        self._stopped = False
        self._begun = 0
        self._chosen: Presenter | None = None

    def enter(self, name: str, act: Callable[[], object]) -> None:
        """Let somebody take part, from the next decision on."""
        hand = _Hand.idle.pop() if _Hand.idle else _Hand()
        if self.holder:
            self.holder.born += 1
            name = f"{self.holder.name}'s {name} {self.holder.born}"
        presenter = Presenter(name, len(self.presenters), act, hand)
        hand.act = lambda: self._carry(presenter)
        self.presenters.append(presenter)

    def run(self) -> None:
        """Let all act to their end, in the order of the course."""
        try:
            while True:
                while self._begun < len(self.presenters):  # Whoever is woken may let others enter.
                    self._wake(self.presenters[self._begun])  # To a first call: before it nothing is shared.
                    self._begun += 1
                chosen = self._chosen or self._choose()
                if chosen is None:
                    break
                self._chosen = None
                self._wake(chosen)
        finally:
            self._stopped = True
            for presenter in self.presenters:
                while not presenter.over:
                    presenter.hand.go.release()
                    self._back.acquire()
            _Hand.idle += (presenter.hand for presenter in self.presenters)
            self.holder = None

    def step(self, call: Call) -> None:
        """Wait for the turn to make this call. Outside a schedule it is made at once."""
        presenter = self.holder
        if presenter is None:
            return
        presenter.call = call
        if self._begun == len(self.presenters):
            self._chosen = self._choose()
        if self._chosen is not presenter:  # Else it goes on by itself: waking threads is what costs.
            self._back.release()
            presenter.hand.go.acquire()
            if self._stopped:
                raise Stopped
        self._chosen = None
        self.note(call.name)

    def fault(self, *kinds: str) -> str | None:
        """Decide whether one of these faults happens, while the budget lasts."""
        if self.holder is None or not self.faults_left or not kinds:
            return None
        decided = self.course.decide(("none", *kinds))
        if not decided:
            return None
        self.faults_left -= 1
        self.note(f"FAULT: {kinds[decided - 1]}")
        return kinds[decided - 1]

    def note(self, what: str) -> None:
        """Write down a step, for whoever reads the schedule."""
        self.steps.append(f"{self.holder.name if self.holder else 'afterwards':<24}  {what}")

    def _choose(self) -> Presenter | None:
        """Ask the course who goes on; nobody when all are done.

        Whoever acted last comes first: the first schedules are those with the fewest changes.
        """
        waiting = [presenter for presenter in self.presenters if not presenter.over]
        waiting.sort(key=lambda presenter: presenter is not self.holder)
        if not waiting:
            return None
        name = self.course.whose_turn({presenter.name: presenter.call for presenter in waiting})
        return next(presenter for presenter in waiting if presenter.name == name)

    def _wake(self, presenter: Presenter) -> None:
        self.holder = presenter
        self.turn(presenter)
        presenter.hand.go.release()
        self._back.acquire()
        if presenter.failure:
            raise presenter.failure

    def _carry(self, presenter: Presenter) -> None:
        try:
            if not self._stopped:
                presenter.act()
        except Stopped:
            pass
        except BaseException as failure:  # noqa: BLE001 - raised again where the schedule was begun
            presenter.failure = failure
        presenter.over = True
        self._back.release()


@dataclass(frozen=True, slots=True)
class Explored:
    """How many schedules there are, and how many more were given up as another's order."""

    schedules: int
    asleep: int


def explore(scene: Callable[[Course], None], *, sleeping: bool = True) -> Explored:
    """Walk every course of a scene, which runs one schedule and raises ``Refuted`` where an invariant breaks."""
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
