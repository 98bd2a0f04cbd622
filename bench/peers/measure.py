"""What is measured: CPU per rotation, what a thousand rotations leave behind, and what sixteen at once do."""

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.peers.contestants import Contestant
from bench.peers.doors import Connection, Login
from bench.peers.stores import Kept
from bench.programs import spent

GROWN = 1000
"""Rotations after which rows and bytes are counted again."""
TURNS, ROUNDS, ROTATIONS = 2, 30, 120
"""Each has so many turns, of so many rounds without a pause. While the others have theirs, it rests."""
RESTED, BUSY = 3, 5
"""The first and the last rounds of a turn, which are what is told. V8 forgets what it compiled when a program rests for
a minute or so, and takes some three thousand requests to be fast again."""
PARALLEL, RACES = 16, 10
THEFTS = 3

LOGINS = 1 + 2 * RACES + THEFTS
"""What everybody needs: one to rotate, one for each race of either kind, one for each theft."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of one rotation, microseconds: of the server, of that its HTTP alone, and of the engine.

    Baton's server is the Lambda function, and its HTTP is Lambda's runtime client.
    """

    whole_us: float
    floor_us: float
    engine_us: float

    @property
    def net_us(self) -> float:
        """What the product costs, behind its HTTP server."""
        return self.whole_us - self.floor_us


@dataclass(frozen=True, slots=True)
class Race:
    """What came of one token refreshed many times at once."""

    winners: int
    """Answers that held a child."""
    children: int
    """Different children among them."""
    alive: int
    """Children that could be refreshed afterwards."""
    failures: int
    """Answers 5xx."""


@dataclass(slots=True)
class Result:
    """All about one contestant."""

    name: str
    store_name: str
    rested: list[Cost] = field(default_factory=list)
    """After a pause."""
    busy: list[Cost] = field(default_factory=list)
    """Kept busy."""
    kept: Kept = field(default_factory=lambda: Kept(0, 0))
    races: list[Race] = field(default_factory=list)
    retries: list[Race] = field(default_factory=list)
    """The same bytes' worth of attempt sixteen times: one app, repeating itself."""
    thefts_noticed: list[bool] = field(default_factory=list)

    def add_turn(self, costs: Sequence[Cost]) -> None:
        """Keep of a turn's rounds the first and the last."""
        self.rested += costs[:RESTED]
        self.busy += costs[-BUSY:]


def measure(contestants: Sequence[Contestant], progress: Progress) -> list[Result]:
    """Measure everybody: grow each, then rounds in turn, then races."""
    results = [Result(one.name, one.store_name) for one in contestants]
    rotating = [one.spares.pop() for one in contestants]
    for contestant, login, result in zip(contestants, rotating, results, strict=True):
        progress(f"{GROWN} rotations: {contestant.title}")
        before = contestant.store.kept()
        with contestant.connected() as connection:
            _rotate(contestant, connection, login, GROWN)
        result.kept = contestant.store.kept() - before
    for number in range(TURNS):
        for contestant, login, result in zip(contestants, rotating, results, strict=True):
            progress(f"turn {number + 1} of {TURNS}: {contestant.title}")
            result.add_turn([_cost(contestant, login) for _ in range(ROUNDS)])
    for contestant, result in zip(contestants, results, strict=True):
        progress(f"{PARALLEL} at once: {contestant.title}")
        result.races = [_race(contestant, contestant.spares.pop(), attempt=None) for _ in range(RACES)]
        if contestant.knows_attempts:
            result.retries = [
                _race(contestant, contestant.spares.pop(), attempt=secrets.token_urlsafe(16)) for _ in range(RACES)
            ]
        result.thefts_noticed = [_theft_is_noticed(contestant, contestant.spares.pop()) for _ in range(THEFTS)]
    return results


def _rotate(contestant: Contestant, connection: Connection, login: Login, times: int) -> int:
    """Rotate so many times, and give the bytes of the last answer."""
    for _ in range(times):
        said = connection.ask(contestant.door.refresh(login))
        child = contestant.door.child(said)
        if child is None:
            raise AssertionError(f"{contestant.title}: {said}")
        login.token = child
    return len(said.body)


def _cost(contestant: Contestant, login: Login) -> Cost:
    engine = contestant.store.program
    with contestant.connected() as connection:
        nothing = contestant.door.nothing(login, answer_bytes=_rotate(contestant, connection, login, 1))

        def idle() -> None:
            for _ in range(ROTATIONS):
                connection.ask(nothing)

        floor_s = spent(contestant.charged, idle)
        engine_before = engine.cpu_s() if engine else 0.0
        whole_s = spent(contestant.charged, lambda: _rotate(contestant, connection, login, ROTATIONS))
        engine_s = (engine.cpu_s() if engine else 0.0) - engine_before
    return Cost(*(seconds / ROTATIONS * 1e6 for seconds in (whole_s, floor_s, engine_s)))


def _race(contestant: Contestant, login: Login, *, attempt: str | None) -> Race:
    """Refresh one token on many connections at once, then try every child once."""
    door = contestant.door
    with contextlib.ExitStack() as open_ones:
        connections = [open_ones.enter_context(contestant.connected()) for _ in range(PARALLEL)]
        requests = [door.refresh(login, attempt=attempt) for _ in connections]
        for connection, request in zip(connections, requests, strict=True):
            connection.send(request[:-1])
        # All but the last byte is there: the last bytes go out within a fraction of a millisecond.
        for connection, request in zip(connections, requests, strict=True):
            connection.send(request[-1:])
        answers = [connection.answer() for connection in connections]
        born = [child for answer in answers if (child := door.child(answer))]
        children = list(dict.fromkeys(born))
        later = [connections[0].ask(door.refresh(Login(child, login.key))) for child in children]
    alive = sum(door.child(answer) is not None for answer in later)
    return Race(len(born), len(children), alive, sum(answer.status >= 500 for answer in answers))


def _theft_is_noticed(contestant: Contestant, login: Login) -> bool:
    """Tell whether the owner's login ends when a thief shows the copy he made before the owner's refresh."""
    copy = Login(login.token, login.key)
    with contestant.connected() as connection:
        _rotate(contestant, connection, login, 1)
        thief = connection.ask(contestant.door.refresh(copy))
        if contestant.door.child(thief):
            return False
        return contestant.door.child(connection.ask(contestant.door.refresh(login))) is None
