"""The measurements: CPU time per rotation, stored data after a thousand rotations, and sixteen parallel refreshes."""

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.peers.contestants import Contestant
from bench.peers.doors import Connection, Login
from bench.peers.stores import Kept
from bench.programs import spent

GROWN = 1000
"""The number of rotations after which rows and bytes are counted again."""
TURNS, ROUNDS, ROTATIONS = 2, 30, 120
"""The number of turns, of rounds in a turn (without a pause), and of rotations in a round.

A server rests during the turns of the other servers.
"""
RESTED, BUSY = 3, 5
"""The reported rounds of a turn: the first and the last. V8 discards compiled code when a program rests for about a
minute, and needs about three thousand requests to be fast again."""
PARALLEL, RACES = 16, 10
THEFTS = 3

LOGINS = 1 + 2 * RACES + THEFTS
"""The number of logins of each product: one to rotate, one for each race of both kinds, and one for each theft."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """The CPU time of one rotation in microseconds: of the whole server, of only its HTTP server, and of the database.

    Baton's server is the Lambda function, and its HTTP server is Lambda's runtime client.
    """

    whole_us: float
    floor_us: float
    engine_us: float

    @property
    def net_us(self) -> float:
        """The cost of the product without its HTTP server."""
        return self.whole_us - self.floor_us


@dataclass(frozen=True, slots=True)
class Race:
    """The result of several parallel refreshes of one token."""

    winners: int
    """The number of answers with a new token."""
    children: int
    """The number of different new tokens in these answers."""
    alive: int
    """The number of new tokens that could be refreshed afterwards."""
    failures: int
    """The number of answers with status 5xx."""


@dataclass(slots=True)
class Result:
    """All results of one product."""

    name: str
    store_name: str
    rested: list[Cost] = field(default_factory=list)
    """The costs in the first rounds of a turn, after a pause."""
    busy: list[Cost] = field(default_factory=list)
    """The costs in the last rounds of a turn, without a pause before."""
    kept: Kept = field(default_factory=lambda: Kept(0, 0))
    races: list[Race] = field(default_factory=list)
    retries: list[Race] = field(default_factory=list)
    """Sixteen requests with the same attempt: one app that repeats itself."""
    thefts_noticed: list[bool] = field(default_factory=list)

    def add_turn(self, costs: Sequence[Cost]) -> None:
        """Store the first and the last rounds of a turn."""
        self.rested += costs[:RESTED]
        self.busy += costs[-BUSY:]


def measure(contestants: Sequence[Contestant], progress: Progress) -> list[Result]:
    """Measure all products: first the growth of each, then rounds in turn, then races."""
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
    """Rotate this number of times, and return the size of the last answer in bytes."""
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
    """Refresh one token on many connections in parallel, then try every child once."""
    door = contestant.door
    with contextlib.ExitStack() as open_ones:
        connections = [open_ones.enter_context(contestant.connected()) for _ in range(PARALLEL)]
        requests = [door.refresh(login, attempt=attempt) for _ in connections]
        for connection, request in zip(connections, requests, strict=True):
            connection.send(request[:-1])
        # Everything but the last byte is sent first. The last bytes then follow within a fraction of a millisecond.
        for connection, request in zip(connections, requests, strict=True):
            connection.send(request[-1:])
        answers = [connection.answer() for connection in connections]
        born = [child for answer in answers if (child := door.child(answer))]
        children = list(dict.fromkeys(born))
        later = [connections[0].ask(door.refresh(Login(child, login.key))) for child in children]
    alive = sum(door.child(answer) is not None for answer in later)
    return Race(len(born), len(children), alive, sum(answer.status >= 500 for answer in answers))


def _theft_is_noticed(contestant: Contestant, login: Login) -> bool:
    """Return whether the owner's login ends when a thief uses a copy from before the owner's refresh."""
    copy = Login(login.token, login.key)
    with contestant.connected() as connection:
        _rotate(contestant, connection, login, 1)
        thief = connection.ask(contestant.door.refresh(copy))
        if contestant.door.child(thief):
            return False
        return contestant.door.child(connection.ask(contestant.door.refresh(login))) is None
