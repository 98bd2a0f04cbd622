"""The cost of whole exchanges and logins: ``make bench``.

The reference client sends the requests through the development gateway. Only the CPU time of the app counts, from the
event to its answer, with its database calls. An exchange is compared with the same exchange over botocore, and a login
with its Argon2 computation. The database is another process: dynoxide if it is installed, otherwise the embedded
database over HTTP. This process uses only one core after the database has started.
"""

import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import argon2.low_level

from baton_client import Answer, BatonClient, MemoryStorage, Request
from bench.machine import keep_to_one_core, rounds, silenced
from bench.peers.stores import Dynoxide
from bench.programs import Program, free_port
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import Tables
from tools.dev import dynoxide
from tools.dev.engine import ENDPOINT, create_tables, offer_credentials
from tools.dev.gateway import Gateway, load_environment

ROUNDS, EXCHANGES, LOGINS = rounds(9), 100, 6
TRANSPORTS = ("small", "botocore")
BASE_URL = "https://api.example.com/api"
PASSWORD = "copper lantern drifting sideways"  # noqa: S105 - of an account for this measurement
SETTINGS = {
    "BATON_CLIENTS": "clients.toml",
    "BATON_DEVELOPMENT": "1",
    "BATON_ISSUER": BASE_URL,
    "BATON_KEY_RING": "local",
    "BATON_RATE_LIMITS": "off",
    "BATON_LOG_LEVEL": "INFO",
    "BATON_TABLE_PREFIX": "journeys",
}


class Kind(NamedTuple):
    """A kind of login: its token format and its binding."""

    name: str
    client: str
    binding: Literal["key", "hmac", "none"]


KINDS = (
    Kind("HMAC, opaque", "mobile-opaque", "hmac"),
    Kind("unbound, JWT", "simple", "none"),
    Kind("P-256, opaque", "mobile-opaque", "key"),
    Kind("P-256, JWT", "mobile", "key"),
)
EVERYDAY = KINDS[-1]
"""The default kind of login of a phone."""


class Timed:
    """A callable, and the CPU time that this thread has spent in it, in seconds."""

    def __init__(self, called: Callable[..., Any]) -> None:
        """Wrap a callable."""
        self.called = called
        self.spent_s = 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the wrapped callable, and add its CPU time."""
        begun = time.thread_time()
        try:
            return self.called(*arguments, **named)
        finally:
            self.spent_s += time.thread_time() - begun


class TimedApp(Timed):
    """An environment of Baton."""

    def __init__(self, transport: str) -> None:
        """Load the environment, with ``transport`` for its database calls."""
        os.environ |= SETTINGS | {"BATON_AWS_CLIENT": transport}
        app = load_environment().app
        super().__init__(app)
        self.routes: Mapping[str, Mapping[str, Any]] = app.routes
        self.api = app.api


def phone(app: TimedApp, kind: Kind, who: str = "") -> BatonClient:
    """Register a phone that uses only this environment."""
    gateway = Gateway([app])

    def send(request: Request, _: float, /) -> Answer:
        target = "/" + request.url.split("/", 3)[3]
        said = gateway.call(request.method, target, request.headers.items(), request.body)
        return Answer(said.status, {name.lower(): value for name, value in said.headers}, said.body)

    client = BatonClient(
        BASE_URL, kind.client, MemoryStorage(), binding=kind.binding, transport=send, sleep=lambda _: None
    )
    client.register(address(app, kind, who), PASSWORD, "bench")
    return client


def address(app: TimedApp, kind: Kind, who: str = "") -> str:
    """Make a unique address for each account."""
    return f"{kind.name.replace(', ', '-')}-{id(app)}{who}@example.com".lower()


def cpu_us(timed: Timed, work: Callable[[], object], times: int) -> float:
    """Return the CPU time of one call of ``work`` that is spent in ``timed``, in microseconds."""
    before = timed.spent_s
    for _ in range(times):
        work()
    return (timed.spent_s - before) / times * 1e6


@contextlib.contextmanager
def argon2_timed() -> Iterator[Timed]:
    """Measure the Argon2 computation of logins within this context."""
    stock, timed = argon2.low_level.verify_secret, Timed(argon2.low_level.verify_secret)
    argon2.low_level.verify_secret = timed
    try:
        yield timed
    finally:
        argon2.low_level.verify_secret = stock


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """Start a database in another process, and yield its address."""
    found = dynoxide.find()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as place:
        if found:
            store = Dynoxide(found, Path(place), in_memory=True)
            assert store.program is not None
            with store.program:
                store.ready()
                yield store.url
        else:
            port = free_port()
            with Program([sys.executable, "-m", "tools.dev.engine", str(port)], stop=signal.SIGINT) as program:
                program.listens(port)
                yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def engine_calls_timed() -> Iterator[Timed]:
    """Measure the database calls of any transport within this context."""
    stock = AwsClient.call
    timed = Timed(stock)

    def call(service: AwsClient, operation: str, **request: object) -> dict[str, Any]:
        answer: dict[str, Any] = timed(service, operation, **request)
        return answer

    AwsClient.call = call  # type: ignore[assignment, method-assign]
    try:
        yield timed
    finally:
        AwsClient.call = stock  # type: ignore[method-assign]


class Exchanged(NamedTuple):
    """The CPU time of one exchange over each transport, and of its database calls, in microseconds."""

    lean: float
    boto3: float
    lean_call: float
    boto3_call: float


class LoggedIn(NamedTuple):
    """The CPU time of one login, of its Argon2 computation, and of a login without Argon2, in microseconds.

    The third time is less than the difference of the first two times. Reason: Argon2 uses 19 MiB, and evicts all other
    data from the CPU caches.
    """

    whole: float
    argon2: float
    without: float

    @property
    def due(self) -> float:
        """Return the part of a login that is caused by Argon2."""
        return (self.whole - self.without) / self.whole


class Measured(NamedTuple):
    """The exchanges of every round, by the kind of login, and the logins of every round."""

    exchanges: Mapping[Kind, Sequence[Exchanged]]
    logins: Sequence[LoggedIn]


def measure() -> Measured:
    """Measure in turn, round by round."""
    exchanges: dict[Kind, list[Exchanged]] = {kind: [] for kind in KINDS}
    with (
        silenced(),
        engine() as url,
        argon2_timed() as hashing,
        engine_calls_timed() as asking,
    ):
        keep_to_one_core()
        os.environ[ENDPOINT] = url
        offer_credentials()
        create_tables(Tables(SETTINGS["BATON_TABLE_PREFIX"]))
        apps = [TimedApp(transport) for transport in TRANSPORTS]
        phones = {kind: [phone(app, kind) for app in apps] for kind in KINDS}

        def login(who: str) -> Callable[[], object]:
            """Log in on a new account: one account allows only 24 logins in 11 minutes."""
            person = phone(apps[0], EVERYDAY, who)
            return lambda: person.login(address(apps[0], EVERYDAY, who), PASSWORD, "bench")

        # Logins come after all exchanges: the 19 MiB of each Argon2 computation evict the caches that exchanges use.
        for number in range(ROUNDS + 1):
            for kind in KINDS:
                whole, calls = [], []
                for app, made in zip(apps, phones[kind], strict=True):
                    asked = asking.spent_s
                    whole.append(cpu_us(app, made.exchange, EXCHANGES))
                    calls.append((asking.spent_s - asked) / EXCHANGES * 1e6)
                if number:  # the first round is a warm-up
                    exchanges[kind].append(Exchanged(*whole, *calls))
            _progress("exchanges", number)
        hashed = _logins("logins", apps[0], login, hashing)
        hashing.called = lambda *_, **__: True
        bare = _logins("logins without Argon2", apps[0], login, hashing)
    return Measured(exchanges, [LoggedIn(*one, without) for one, (without, _) in zip(hashed, bare, strict=True)])


def _logins(
    what: str, app: TimedApp, login: Callable[[str], Callable[[], object]], hashing: Timed
) -> list[tuple[float, float]]:
    """Log in, round by round, and return the CPU time of each login and of its hash."""
    rows = []
    for number in range(ROUNDS + 1):
        again = login(f"-{what.replace(' ', '-')}-{number}".lower())
        before = hashing.spent_s
        whole = cpu_us(app, again, LOGINS)
        if number:
            rows.append((whole, (hashing.spent_s - before) / LOGINS * 1e6))
        _progress(what, number)
    return rows


def _progress(what: str, number: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if number == ROUNDS else ""
        print(f"\r{what}: round {number}/{ROUNDS}", end=end, file=sys.stderr, flush=True)


def ratio(rows: Sequence[Exchanged]) -> float:
    """Return the median ratio of an exchange to the same exchange over botocore, round by round."""
    return statistics.median(row.lean / row.boto3 for row in rows)


def argon2_shares(rows: Sequence[LoggedIn]) -> tuple[float, float]:
    """Return the part of a login that is spent in Argon2, and the part that Argon2 causes."""
    return statistics.median(row.argon2 / row.whole for row in rows), statistics.median(row.due for row in rows)


def printed(measured: Measured) -> str:
    """Format the results for a terminal."""
    lines = [f"{'CPU per exchange, microseconds':<32}{'lean':>6}{'least':>7}{'most':>6}{'boto3':>8}{'ratio':>7}"]
    lines[0] += f"{'its engine call':>17}{'boto3':>7}{'ratio':>7}"
    for kind, rows in measured.exchanges.items():
        lean, boto3, call, boto3_call = (statistics.median(column) for column in zip(*rows, strict=True))
        least, most = min(row.lean for row in rows), max(row.lean for row in rows)
        calls = statistics.median(row.lean_call / row.boto3_call for row in rows)
        line = f"{kind.name:<32}{lean:>6.0f}{least:>7.0f}{most:>6.0f}{boto3:>8.0f}{ratio(rows):>7.2f}"
        lines.append(f"{line}{call:>17.0f}{boto3_call:>7.0f}{calls:>7.2f}")
    whole, argon2, without = (statistics.median(column) for column in zip(*measured.logins, strict=True))
    line = f"{f'CPU per login, {EVERYDAY.name}':<32}{whole:>6.0f}, of that {argon2:.0f} in Argon2; {without:.0f} "
    lines.append(f"{line}without Argon2: the rest is due to the caches that Argon2 empties")
    return "\n".join(lines)
