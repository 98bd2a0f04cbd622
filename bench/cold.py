"""The cost of a cold start, as a multiple of the cold start of an empty function: ``make bench-cold``.

For each measurement the packaged zip starts under the runtime client of AWS. The function answers one exchange or one
signed call, with a local database on loopback. Only the CPU time of the function's process counts, from its start to
its answer. AWS calls use plain HTTP. One row uses TLS with the system's certificates, as in AWS. The measurements
take turns, so that a busy machine affects all of them.
"""

import contextlib
import functools
import itertools
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from baton_client import Answer, BatonClient, MemoryStorage, Request
from bench.machine import rounds
from bench.packaged import BASE_URL, Deployed, deployed
from tools import package
from tools.dev.certificate import self_signed, trusted_too
from tools.dev.engine import embedded, over_http
from tools.dev.environment import BROUGHT_BY_LAMBDA, Environment, Packaged
from tools.dev.gateway import Gateway

ROUNDS, LOOKS = rounds(9), rounds(5)
TIMES = "\N{MULTIPLICATION SIGN}"
PASSWORD = "copper lantern drifting sideways"  # noqa: S105 - of an account for this measurement
RUNTIME_CLIENT = {"awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client"}
BOTOCORE = {name.replace("-", "_") for name in BROUGHT_BY_LAMBDA} - RUNTIME_CLIENT | {"dateutil", "jmespath"}


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start: the CPU time of the function, and the time until its first answer, in seconds."""

    cpu_s: float
    wall_s: float


class Phone:
    """A client whose requests can go to a different environment each time."""

    def __init__(self, template: Path) -> None:
        """Use the packaged routes."""
        self._template = template
        self._environment: Environment | None = None
        self.client = BatonClient(BASE_URL, "mobile", MemoryStorage(), transport=self._send, sleep=lambda _: None)

    def _send(self, request: Request, _: float, /) -> Answer:
        assert self._environment is not None
        target = "/" + request.url.split("/", 3)[3]
        gateway = Gateway([Packaged(self._template, self._environment)])
        said = gateway.call(request.method, target, request.headers.items(), request.body)
        return Answer(said.status, {name.lower(): value for name, value in said.headers}, said.body)

    @contextlib.contextmanager
    def on(self, environment: Environment) -> Iterator[BatonClient]:
        """Send requests to this environment within the context."""
        self._environment = environment
        yield self.client
        self._environment = None


class Bench:
    """A deployment, and a phone that is logged in there."""

    def __init__(self, deployment: Deployed, over_tls: Mapping[str, str]) -> None:
        """Create the phone. ``over_tls`` has the variables with which AWS calls use TLS."""
        self._deployed = deployment
        self.over_tls = over_tls
        self.phone = Phone(deployment.template)

    def environment(self, *, options: Iterable[str] = (), **variables: str) -> Environment:
        """Start an environment of Baton."""
        return Environment(self._deployed.task, {**self._deployed.variables, **variables}, options=options)

    def nothing(self) -> Start:
        """Start the empty function, and wait for its answer."""
        bare = functools.partial(Environment, self._deployed.bare, self._deployed.variables)
        return self._start(bare, lambda environment: environment.invoke({}))

    def first(self, act: Callable[[BatonClient], object], **variables: str) -> Start:
        """Start Baton, and wait for its first answer."""

        def ask(environment: Environment) -> None:
            with self.phone.on(environment) as client:
                act(client)

        return self._start(functools.partial(self.environment, **variables), ask)

    def _start(self, start: Callable[[], Environment], ask: Callable[[Environment], object]) -> Start:
        begun = time.monotonic()
        with start() as environment:
            ask(environment)
            wall_s = time.monotonic() - begun
        assert environment.usage is not None
        return Start(environment.usage.cpu_s, wall_s)

    def imports(self, act: Callable[[BatonClient], object] = BatonClient.exchange) -> str:
        """Start Baton, wait for its first answer, and return Python's report of every import."""
        with self.environment(options=("-X", "importtime")) as environment:
            with self.phone.on(environment) as client:
                act(client)
            return environment.log()


def owner(module: str) -> str:
    """Return the owner of a module: Baton, the zip, botocore and its packages, the runtime client, or Python."""
    top = module.split(".", maxsplit=1)[0]
    if top in {"app", "chalicelib"}:
        return "Baton"
    if top in BOTOCORE:
        return "botocore and its packages"
    if top in RUNTIME_CLIENT:
        return "runtime client"
    return top if top in package.RUNTIME else "standard library"


def imported(look: str) -> Iterator[tuple[str, int]]:
    """Read ``-X importtime``: every requested module, found or not, and the microseconds of only this module."""
    for line in look.splitlines():
        columns = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(columns) == 3 and columns[0].strip().isdecimal():
            yield columns[2].strip(), int(columns[0])


def shares(looks: Sequence[str]) -> Counter[str]:
    """Sum ``-X importtime`` by owner: the microseconds of the modules without their nested imports.

    For each module the shortest of several runs counts, because Python reports wall time on a shared machine.
    """
    modules: dict[str, int] = {}
    for name, microseconds in itertools.chain.from_iterable(map(imported, looks)):
        modules[name] = min(microseconds, modules.get(name, microseconds))
    spent: Counter[str] = Counter()
    for name, microseconds in modules.items():
        spent[owner(name)] += microseconds
    return spent


def ratio(starts: Sequence[Start], bare: Sequence[Start], read: Callable[[Start], float]) -> float:
    """Divide the median of Baton by the median of the empty function. One slow run has no effect."""
    return statistics.median(map(read, starts)) / statistics.median(map(read, bare))


def cpu(start: Start) -> float:
    """Return the CPU time of a start."""
    return start.cpu_s


def wall(start: Start) -> float:
    """Return the wall time of a start."""
    return start.wall_s


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Package, create a deployment, and register."""
    with tempfile.TemporaryDirectory() as place, embedded():
        certificate = self_signed(Path(place))
        with over_http() as aws, over_http(certificate=certificate) as secured:
            over_tls = {
                "AWS_ENDPOINT_URL_DYNAMODB": secured,
                "AWS_ENDPOINT_URL_KMS": secured,
                "SSL_CERT_FILE": str(trusted_too(certificate)),
            }
            made = Bench(deployed(Path(place), dynamodb=aws, kms=aws), over_tls)
            with made.environment() as environment, made.phone.on(environment) as client:
                client.register("bench@example.com", PASSWORD, "bench")
            yield made


def main() -> int:
    """Measure and print. The result is for readers: no test depends on it."""
    with bench() as made:
        cases: dict[str, Callable[[], Start]] = {
            "bare handler": made.nothing,
            "first exchange": lambda: made.first(BatonClient.exchange),
            "first signed call": lambda: made.first(BatonClient.me),
            "first exchange, over TLS": lambda: made.first(BatonClient.exchange, **made.over_tls),
        }
        starts: dict[str, list[Start]] = {name: [] for name in cases}
        for number in range(ROUNDS + 1):
            for name, start in cases.items():
                started = start()
                if number:  # the first round fills the disk cache
                    starts[name].append(started)
            if sys.stderr.isatty():
                print(f"\rround {number}/{ROUNDS}", end="\n" if number == ROUNDS else "", file=sys.stderr, flush=True)
        spent = shares([made.imports() for _ in range(LOOKS)])
    bare = starts["bare handler"]
    print(f"{'cold start, medians of ' + str(ROUNDS):<28}{'CPU':>10}{'ratio':>8}{'wall':>10}{'ratio':>8}")
    for name, taken in starts.items():
        cpu_ms, wall_ms = (statistics.median(map(read, taken)) * 1000 for read in (cpu, wall))
        ratios = ratio(taken, bare, cpu), ratio(taken, bare, wall)
        print(f"  {name:<26}{cpu_ms:>7.0f} ms{ratios[0]:>7.1f}{TIMES}{wall_ms:>7.0f} ms{ratios[1]:>7.1f}{TIMES}")
    print("imports until the first exchange is answered, each without its nested imports")
    for name, microseconds in spent.most_common():
        print(f"  {name:<26}{microseconds / 1000:>7.0f} ms{microseconds / spent.total():>8.0%}")
    first = {name: ratio(starts[name], bare, cpu) for name in ("first exchange", "first signed call")}
    print(", ".join(f"{name} {value:.1f}{TIMES}" for name, value in first.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
