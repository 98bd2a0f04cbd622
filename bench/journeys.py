"""What an exchange and a login cost whole: ``make bench``.

The reference client drives them, through the development gateway; counted is the CPU of the app alone, from the event
to its answer, engine calls included. An exchange is held against the same over botocore, a login against its Argon2.
The engine is a process of its own: dynoxide where it is, the embedded one served over HTTP where it is not.
"""

import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import argon2.low_level

from baton_client import Answer, BatonClient, MemoryStorage, Request
from bench.peers.stores import Dynoxide
from bench.programs import Program, free_port
from chalicelib.stores.engine import Tables
from tools.dev import dynoxide
from tools.dev.engine import ENDPOINT, create_tables, offer_credentials
from tools.dev.gateway import Gateway, load_environment

ROUNDS, EXCHANGES, LOGINS = 9, 40, 6
BASE_URL = "https://api.example.com/api"
PASSWORD = "copper lantern drifting sideways"  # noqa: S105 - of an account made for this measurement
SETTINGS = {
    "BATON_DEVELOPMENT": "1",
    "BATON_ISSUER": BASE_URL,
    "BATON_KEY_RING": "local",
    "BATON_LIMITS": "off",
    "BATON_LOG_LEVEL": "INFO",
    "BATON_TABLE_PREFIX": "journeys",
}


class Timed:
    """A callable, and the CPU time this thread has spent in it, seconds."""

    def __init__(self, called: Callable[..., Any]) -> None:
        """Stand before it."""
        self._called = called
        self.spent_s = 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call, and add up."""
        begun = time.thread_time()
        try:
            return self._called(*arguments, **named)
        finally:
            self.spent_s += time.thread_time() - begun


class TimedApp(Timed):
    """An environment of Baton."""

    def __init__(self, transport: str) -> None:
        """Load it, with its calls to the engine sent by ``transport``."""
        os.environ |= SETTINGS | {"BATON_TRANSPORT": transport}
        app = load_environment().app
        super().__init__(app)
        self.routes: Mapping[str, Mapping[str, Any]] = app.routes
        self.api = app.api


def phone(app: TimedApp, name: str) -> BatonClient:
    """Register a phone that is answered by this environment alone."""
    gateway = Gateway([app])

    def send(request: Request, _: float, /) -> Answer:
        target = "/" + request.url.split("/", 3)[3]
        said = gateway.call(request.method, target, request.headers.items(), request.body)
        return Answer(said.status, {name.lower(): value for name, value in said.headers}, said.body)

    client = BatonClient(BASE_URL, "mobile", MemoryStorage(), transport=send, sleep=lambda _: None)
    client.register(f"{name}@example.com", PASSWORD, "bench")
    return client


def cpu_us(timed: Timed, work: Callable[[], object], times: int) -> float:
    """Take the CPU of one call of ``work`` as it is spent in ``timed``, microseconds."""
    before = timed.spent_s
    for _ in range(times):
        work()
    return (timed.spent_s - before) / times * 1e6


@contextlib.contextmanager
def argon2_timed() -> Iterator[Timed]:
    """Time what a login computes of Argon2, for as long as this lasts."""
    stock, timed = argon2.low_level.verify_secret, Timed(argon2.low_level.verify_secret)
    argon2.low_level.verify_secret = timed
    try:
        yield timed
    finally:
        argon2.low_level.verify_secret = stock


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """Start an engine beside this process, and give its address."""
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


def main() -> int:
    """Measure and print: a figure to read, not a test to fail."""
    samples: list[tuple[float, float, float, float]] = []
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),  # its log
        engine() as url,
        argon2_timed() as hashing,
    ):
        os.environ[ENDPOINT] = url
        offer_credentials()
        create_tables(Tables(SETTINGS["BATON_TABLE_PREFIX"]))
        apps = {transport: TimedApp(transport) for transport in ("lean", "boto3")}
        phones = {transport: phone(app, transport) for transport, app in apps.items()}
        for number in range(ROUNDS + 1):
            lean, stock = (cpu_us(app, phones[name].exchange, EXCHANGES) for name, app in apps.items())
            hashed = hashing.spent_s
            login = cpu_us(apps["lean"], lambda: phones["lean"].login("lean@example.com", PASSWORD, "bench"), LOGINS)
            if number:  # the first round warms up
                samples.append((lean, stock, login, (hashing.spent_s - hashed) / LOGINS * 1e6))
            if sys.stderr.isatty():
                print(f"\rround {number}/{ROUNDS}", end="\n" if number == ROUNDS else "", file=sys.stderr, flush=True)
    ratio = statistics.median(lean / stock for lean, stock, _, _ in samples)
    share = statistics.median(hashed / login for _, _, login, hashed in samples)
    print(f"{'CPU per journey, microseconds':<36}{'median':>8}{'least':>8}{'most':>8}")
    names = ("exchange, lean transport", "exchange, botocore's", "login", "of that, Argon2")
    for name, column in zip(names, zip(*samples, strict=True), strict=True):
        print(f"{name:<36}{statistics.median(column):>8.0f}{min(column):>8.0f}{max(column):>8.0f}")
    print(f"exchange {ratio:.2f} of boto3, login {share:.0%} Argon2")
    return 0


if __name__ == "__main__":
    sys.exit(main())
