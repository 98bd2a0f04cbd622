"""The cost of an exchange as the data grows: ``make bench-growth``.

The data grows in three ways: devices of one account, accounts in the table, earlier exchanges of a lineage. None of
these should change the CPU time of the app for the next exchange. More devices make the item of the account larger, so
the database needs more CPU time for the item. A fourth measurement runs several environments in parallel, each in
its own process, and counts their exchanges per second.

The environments are processes on this machine, and use dynoxide, another process. The measurements take turns, round by
round. The results have the CPU time of the process with the app, and separately the CPU time of dynoxide.
"""

import itertools
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from bench.events import event
from bench.machine import machine
from bench.peers.stores import Dynoxide
from bench.programs import Program
from chalicelib.baton.lineages.model import NO_ATTEMPT, AccountState, Lineage, NoBinding, Status
from chalicelib.baton.policy import LINEAGES_MAX
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.storage.dynamodb.items import state_item
from tools.dev import dynoxide
from tools.dev.engine import ENDPOINT, client, create_tables, offer_credentials
from tools.dev.gateway import LambdaContext, load_environment

RESULTS = Path(__file__).parent / "results"
CLIENT = "simple"
ROUNDS, EXCHANGES = 7, 40
WARM_UP = 60
POWERS = tuple(10**power for power in range(6))
DEVICES = tuple(range(1, LINEAGES_MAX + 1))
SAMPLED = 50
"""The number of accounts whose tokens are exchanged. They are spread over the table."""
CHECKED = 100
"""The number of exchanges after which a real account state is compared with the computed account state."""
BATCH, WRITERS = 25, 10
ENVIRONMENTS = (1, 2, 3, 4)
SECONDS, TRIES = 2.0, 3


@dataclass(slots=True)
class Point:
    """One size of the data: the logins to exchange in turn, and the CPU time of an exchange, by round."""

    value: int
    environment: ModuleType
    tokens: "list[str]"
    app_us: list[float] = field(default_factory=list)
    engine_us: list[float] = field(default_factory=list)

    def measure(self, engine: Program) -> None:
        """Measure one round."""
        order = list(itertools.islice(itertools.cycle(range(len(self.tokens))), EXCHANGES))
        engine_before, before = engine.cpu_s(), time.process_time()
        for place in order:
            self.tokens[place] = exchange(self.environment, self.tokens[place])
        self.app_us.append((time.process_time() - before) / EXCHANGES * 1e6)
        self.engine_us.append((engine.cpu_s() - engine_before) / EXCHANGES * 1e6)


@dataclass(frozen=True, slots=True)
class Load:
    """The result of several parallel environments during a period."""

    environments: int
    exchanges: int
    seconds: float
    app_s: float
    engine_s: float

    @property
    def rate(self) -> float:
        """Return the exchanges per second."""
        return self.exchanges / self.seconds

    @property
    def rate_of_a_core(self) -> float:
        """Return the exchanges per second of CPU time, database included.

        Waiting and other programs do not change this number.
        """
        return self.exchanges / (self.app_s + self.engine_s)

    @property
    def cores(self) -> float:
        """Return the number of busy cores, for the app and the database."""
        return (self.app_s + self.engine_s) / self.seconds


def environment(prefix: str) -> ModuleType:
    """Load an environment as Lambda does, over its own tables."""
    os.environ |= {
        "BATON_DEVELOPMENT": "1",
        "BATON_ISSUER": "https://api.example.com/api",
        "BATON_KEY_RING": "local",
        "BATON_LOG_LEVEL": "ERROR",
        "BATON_TABLE_PREFIX": prefix,
        "BATON_AWS_CLIENT": "small",  # the deployed setting
    }
    return load_environment()


def state_after(app: ModuleType, name: str, *, devices: int = 1, exchanges: int = 0) -> AccountState:
    """Compute the account state of an account whose first device has made this number of exchanges."""
    now = int(time.time())
    ring, registered = app.baton.key_ring.current(now=now), app.baton.clients.get(CLIENT)
    account = ring.account_ids(f"{name}@example.com", name, now=now)[0]
    used = [bytes([place + 1]) * len(NO_ATTEMPT) if place < exchanges else NO_ATTEMPT for place in range(4)]
    lineages = [
        Lineage(
            id=ring.lineage_ids(account, f"{name} {device}", now=now)[0],
            epoch=1,
            generation=0,
            attempts=(NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT),
            issued_at=now,
            expires_at=now + registered.mechanism.absolute_s,
            binding=NoBinding(),
            client=registered.code,
            auth_time=now,
            assurance=_password_alone(),
            label="a phone of mine",
        )
        for device in range(devices)
    ]
    lineages[0] = replace(lineages[0], generation=exchanges, attempts=(used[0], used[1], used[2], used[3]))
    return AccountState(account, Status.ACTIVE, 1, 1, {one.id: one for one in lineages})


def token_of(app: ModuleType, account_state: AccountState) -> str:
    """Issue the current token of the first device of an account state."""
    now, registered = int(time.time()), app.baton.clients.get(CLIENT)
    lineage = next(iter(account_state.lineages.values()))
    ring = app.baton.key_ring.current(now=now)
    issued = app.baton.issue(lineage, account=account_state.account, client=registered, key=None, ring=ring, now=now)
    return str(issued.access_token)


def exchange(app: ModuleType, token: str) -> str:
    """Exchange a token with a Lambda event, and return the child."""
    answer = app.app(_event(token), LambdaContext("bench"))
    if answer["statusCode"] != 200:
        raise AssertionError(answer)
    return str(json.loads(answer["body"])["refresh_token"])


def fill(prefix: str, states: Iterator[AccountState]) -> None:
    """Write account states to the table in parallel, over a few connections."""
    table = Tables(prefix).lineages

    def write(batch: "list[AccountState]") -> None:
        request: Any = {table: [{"PutRequest": {"Item": state_item(account_state)}} for account_state in batch]}
        while request:
            request = client().batch_write_item(RequestItems=request).get("UnprocessedItems")

    with ThreadPoolExecutor(WRITERS) as writers:
        while some := [batch for _ in range(WRITERS) if (batch := list(itertools.islice(states, BATCH)))]:
            list(writers.map(write, some))


def points(prefix: str, states: dict[int, list[AccountState]], app: ModuleType) -> list[Point]:
    """Write the account states of a series to one table, and return a point for each size, with its tokens."""
    fill(prefix, itertools.chain.from_iterable(states.values()))
    return [
        Point(value, app, [token_of(app, account_state) for account_state in some]) for value, some in states.items()
    ]


def by_devices() -> list[Point]:
    """Return a point for each number of devices of an account, from one to ``LINEAGES_MAX``."""
    create_tables(Tables("devices"))
    app = environment("devices")
    return points("devices", {count: [state_after(app, f"d{count}", devices=count)] for count in DEVICES}, app)


def by_exchanges() -> list[Point]:
    """Return a point for each number of earlier exchanges. Also compare a real lineage with a computed lineage."""
    create_tables(Tables("exchanges"))
    app = environment("exchanges")
    real = state_after(app, "real")
    fill("exchanges", iter([real]))
    token = token_of(app, real)
    for _ in range(CHECKED):
        token = exchange(app, token)
    _assert_nothing_else_moved(real, app.baton.lineage_store.get(real.account))
    return points("exchanges", {count: [state_after(app, f"e{count}", exchanges=count)] for count in POWERS}, app)


def _assert_nothing_else_moved(before: AccountState, after: AccountState) -> None:
    """Check that exchanges change only what ``state_after`` changes: a generation, four attempt digests and a time."""
    (lineage,), (moved,) = before.lineages.values(), after.lineages.values()
    expected = replace(lineage, generation=CHECKED, attempts=moved.attempts, issued_at=moved.issued_at)
    assert after == replace(before, lineages={lineage.id: expected}), (
        "an exchange changed more of an account state than `state_after` does"
    )
    assert all(len(attempt) == len(NO_ATTEMPT) for attempt in moved.attempts)


def by_accounts(progress: "Progress") -> list[Point]:
    """Return a point for each number of accounts in a table, from one to a hundred thousand."""
    series = []
    for count in POWERS:
        progress(f"a table of {count:,} accounts")
        prefix = f"accounts-{count}"
        create_tables(Tables(prefix))
        app = environment(prefix)
        fill(prefix, (state_after(app, f"a{number}") for number in range(count)))
        spread = range(0, count, max(1, count // SAMPLED))[:SAMPLED]
        series.append(Point(count, app, [token_of(app, state_after(app, f"a{number}")) for number in spread]))
    return series


class Progress:
    """Prints the current step and its time."""

    def __init__(self) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def __call__(self, doing: str) -> None:
        """Print a step."""
        print(f"{time.monotonic() - self._begun:5.0f} s  {doing}", file=sys.stderr, flush=True)


def load(count: int, engine: Program) -> Load:
    """Let several environments exchange for a period, each in its own process."""
    fresh = multiprocessing.get_context("spawn")
    start, done = fresh.Barrier(count + 1), fresh.Queue()
    workers = [fresh.Process(target=_work, args=(number, start, done), daemon=True) for number in range(count)]
    for worker in workers:
        worker.start()
    start.wait(timeout=120)
    engine_before, begun = engine.cpu_s(), time.monotonic()
    results = [done.get(timeout=120) for _ in workers]
    seconds, engine_s = time.monotonic() - begun, engine.cpu_s() - engine_before
    for worker in workers:
        worker.join()
    return Load(count, sum(made for made, _ in results), seconds, sum(cpu for _, cpu in results), engine_s)


def _work(number: int, start: Barrier, done: "Queue[tuple[int, float]]") -> None:
    app = environment("load")
    account_state = state_after(app, f"load {number}")
    fill("load", iter([account_state]))
    token = token_of(app, account_state)
    for _ in range(WARM_UP):
        token = exchange(app, token)
    start.wait()
    made, cpu, end = 0, time.process_time(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        token = exchange(app, token)
        made += 1
    done.put((made, time.process_time() - cpu))


def _event(token: str) -> dict[str, Any]:
    form = urlencode({"grant_type": "refresh_token", "refresh_token": token, "client_id": CLIENT})
    headers = {"host": "api.example.com", "content-type": "application/x-www-form-urlencoded"}
    return event("POST", "/oauth/token", headers, form.encode())


def _password_alone() -> Any:
    from chalicelib.baton.lineages.assurance import PASSWORD  # noqa: PLC0415 - after the environment is set

    return PASSWORD


def report(series: dict[str, Sequence[Point]], loads: Sequence[Load]) -> str:
    """Format the results."""
    lines = []
    for name, some in series.items():
        lines.append(f"{name:<34}{'app µs':>8}{'engine µs':>11}{'beside the first':>18}")
        first = some[0]
        for point in some:
            beside = statistics.median(mine / other for mine, other in zip(point.app_us, first.app_us, strict=True))
            app, engine = statistics.median(point.app_us), statistics.median(point.engine_us)
            lines.append(f"{point.value:>34,}{app:>8.0f}{engine:>11.0f}{beside:>18.2f}")
    lines.append(f"{'environments':<34}{'a second':>8}{'cores got':>11}{'of a core':>11}{'app µs':>9}{'engine µs':>11}")
    for one in loads:
        app, engine = one.app_s / one.exchanges * 1e6, one.engine_s / one.exchanges * 1e6
        lines.append(
            f"{one.environments:>34}{one.rate:>8.0f}{one.cores:>11.2f}{one.rate_of_a_core:>11.0f}{app:>9.0f}{engine:>11.0f}"
        )
    return "\n".join(lines)


def picture(series: dict[str, Sequence[Point]], loads: Sequence[Load], where: str, file: Path) -> None:
    """Draw all four graphs."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - slow to import

    from bench import drawing  # noqa: PLC0415 - it imports matplotlib

    figure, grid = plt.subplots(2, 2, figsize=(10, 6.6), layout="constrained")
    every = [point for some in series.values() for point in some]
    top = max(max(*point.app_us, statistics.median(point.engine_us)) for point in every) / 1000
    for axes, (name, some) in zip(grid.flat, series.items(), strict=False):
        values = [point.value for point in some]
        medians = [statistics.median(point.app_us) / 1000 for point in some]
        engine = [statistics.median(point.engine_us) / 1000 for point in some]
        axes.fill_between(
            values,
            [min(point.app_us) / 1000 for point in some],
            [max(point.app_us) / 1000 for point in some],
            color=drawing.OURS,
            alpha=0.2,
            linewidth=0,
        )
        axes.plot(values, medians, color=drawing.OURS, marker="o", markersize=4, label="Baton")
        axes.plot(values, engine, color=drawing.THEIRS, marker="o", markersize=4, label="the engine")
        axes.set_ylim(0, top * 1.2)
        axes.set_title(f"CPU of an exchange, ms, by {name}")
        if values[-1] > LINEAGES_MAX:
            axes.set_xscale("log")
        else:
            axes.set_xticks(values)
        axes.legend(fontsize=9, loc="upper left", ncols=2)
        drawing.gridded(axes)
    _draw_loads(grid.flat[3], loads)
    drawing.gridded(grid.flat[3])
    figure.supxlabel(f"{where}. Band: least and most of {ROUNDS} rounds.", fontsize=8)
    drawing.keep(figure, file)
    plt.close(figure)


def _draw_loads(axes: Any, loads: Sequence[Load]) -> None:
    from bench import drawing  # noqa: PLC0415 - it imports matplotlib

    counts = [one.environments for one in loads]
    axes.plot(counts, [loads[0].rate * count for count in counts], color=drawing.INK, linestyle=":", label="linear")
    axes.plot(counts, [one.rate for one in loads], color=drawing.OURS, marker="o", label="a second, with the cores got")
    per_core = [one.rate_of_a_core for one in loads]
    axes.plot(counts, per_core, color=drawing.SECOND, marker="o", label="a second of CPU, engine included")
    for one in loads:
        axes.annotate(
            f"{one.cores:.1f} cores",
            (one.environments, one.rate),
            textcoords="offset points",
            xytext=(0, -16),
            ha="center",
            fontsize=8,
        )
    axes.set_xticks(counts)
    axes.set_ylim(0, 1.5 * max(*per_core, *(one.rate for one in loads)))
    axes.set_title("Exchanges, by environments")
    axes.legend(fontsize=9, loc="upper left")


def main() -> int:
    """Measure, print and draw."""
    found = dynoxide.find()
    if found is None:
        print("dynoxide is not installed: make dynoxide", file=sys.stderr)
        return 1
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as place:
        store = Dynoxide(found, Path(place), in_memory=True)
        assert store.program is not None
        with store.program as engine:
            store.ready()
            os.environ[ENDPOINT] = store.url
            offer_credentials()
            progress("account states of one device to twelve, and of one exchange to many")
            series: dict[str, Sequence[Point]] = {
                "devices of the account": by_devices(),
                "exchanges behind it": by_exchanges(),
                "accounts in the table": by_accounts(progress),
            }
            everything = list(itertools.chain.from_iterable(series.values()))
            for number in range(ROUNDS + 1):
                progress("warming up" if not number else f"round {number} of {ROUNDS}, all in turn")
                # Each round has a new order, so that other programs do not always affect the same points.
                for point in random.sample(everything, len(everything)):
                    point.measure(engine)
            for point in everything:  # the first round was a warm-up
                del point.app_us[0], point.engine_us[0]
            create_tables(Tables("load"))
            environment("load").key_ring.current(now=int(time.time()))
            tried: dict[int, list[Load]] = {count: [] for count in ENVIRONMENTS}
            for number in range(TRIES):
                progress(f"try {number + 1} of {TRIES}: {', '.join(map(str, ENVIRONMENTS))} environments in parallel")
                for count in ENVIRONMENTS:
                    tried[count].append(load(count, engine))
            # Other programs can only reduce the rate, so the best try is the most accurate.
            loads = [max(some, key=lambda one: one.rate) for some in tried.values()]
    print(report(series, loads))
    RESULTS.mkdir(exist_ok=True)
    picture(series, loads, machine(), RESULTS / "growth.svg")
    print("written     bench/results/growth.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
