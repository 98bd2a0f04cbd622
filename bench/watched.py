"""The cost of the console for a request to ``make dev`` while no page of the console is open: ``make bench-console``.

The same request goes through two servers of one process in turn. One server is the server of ``make dev``. The other
server records nothing. The figures are the CPU time of the thread, without the network. The goal is at most 5 %.

On a busy machine, CPU times differ from run to run. If valgrind is installed, ``COUNT=1`` counts the instructions of
``GET /time`` too, which takes a minute or more.
"""

import gc
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

from bench.instructions import FEW, MANY, ROOT, counts
from bench.machine import machine, silenced

GOAL: Final = 0.05
PLAIN, WATCHED = "without the console", "with the console"
ROUNDS: Final = 80
REQUESTS: Final = 5
"""The number of requests in each round. Their bytes fit into the buffer of a socket."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    if arguments == ["--program"]:
        return _program()
    os.environ |= {"BATON_LOG_LEVEL": "ERROR"}  # neither server writes a log line for a request
    from tools.dev.serve import development  # noqa: PLC0415 - after the settings

    with silenced(), development(0) as running:
        watched, plain = running.server, _unwatched(running)
        figures = [
            (name, *_compared(wire, watched, plain, running.server.api.records.clear))
            for name, wire in _requests(running)
        ]
    print(f"{machine()}, medians of {ROUNDS} rounds with {REQUESTS} requests four times, CPU time")
    for name, without, extra in figures:
        share = extra / without
        print(f"{name:<14} {without:7.0f} us, with the console {extra:+6.1f} us ({share:+.1%}), goal {GOAL:.0%}")
    valgrind = shutil.which("valgrind")
    if valgrind is not None and os.environ.get("COUNT"):
        counted = _counted(valgrind)
        share = counted[WATCHED] / counted[PLAIN] - 1
        print(f"GET /time {counted[PLAIN]:13,.0f} instructions, with the console {share:+.1%}, goal {GOAL:.0%}")
    return 0


def _counted(valgrind: str) -> dict[str, float]:
    """Run ``_program`` under cachegrind, and return its counts."""
    done = subprocess.run(
        [
            *(valgrind, "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={os.devnull}"),
            *(sys.executable, "-m", "bench.watched", "--program"),
        ],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return counts(done.stdout, done.stderr)


def _program() -> int:
    """Answer few and many requests, in a process for each number. The difference is the cost of the requests."""
    os.environ |= {"BATON_LOG_LEVEL": "ERROR"}
    from tools.dev.serve import development  # noqa: PLC0415 - after the settings

    with os.fdopen(os.dup(1), "w", encoding="utf-8") as told, silenced(), development(0) as running:
        servers = {PLAIN: _unwatched(running), WATCHED: running.server}
        wire = dict(_requests(running))["GET /time"]
        for server in 3 * tuple(servers.values()):
            _spent(wire, server, FEW)
        gc.collect()
        gc.freeze()
        for name, server in servers.items():
            for calls in (FEW, MANY):
                process = os.fork()
                if not process:
                    _spent(wire, server, calls)
                    os._exit(0)
                os.waitpid(process, 0)
                print(json.dumps([name, calls, process]), file=told, flush=True)
    return 0


def _unwatched(running: Any) -> Any:
    """Return a server of the same tables that records no request for the console."""
    from chalicelib.baton.testing.gateway import Gateway, load_environment  # noqa: PLC0415
    from tools.dev.serve import ENVIRONMENTS  # noqa: PLC0415

    clock = running.server.clock
    gateway = Gateway([load_environment(clock).app for _ in range(ENVIRONMENTS)], clock=clock)
    return SimpleNamespace(gateway=gateway, api=SimpleNamespace(front=gateway), server_port=running.server.server_port)


def _requests(running: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of requests that can be repeated. The signed request is valid for five minutes."""
    sys.path.insert(0, str(ROOT / "clients" / "python"))
    import baton_client as client  # noqa: PLC0415 - after the change of the path

    sent: list[client.Request] = []
    stock = client.HttpTransport()

    def transport(request: client.Request, timeout_s: float) -> client.Answer:
        sent.append(request)
        return stock(request, timeout_s)

    host = f"Host: localhost:{running.server.server_port}\r\n"
    yield "GET /time", f"GET /api/time HTTP/1.1\r\n{host}Accept: */*\r\nUser-Agent: bench\r\n\r\n".encode()
    phone = client.BatonClient(running.url, "mobile", client.MemoryStorage(), transport=transport)
    phone.register("bench@example.com", "copper lantern drifting sideways", "a phone")
    phone.me()
    stock.close()
    me = sent[-1]
    fields = "".join(f"{name}: {value}\r\n" for name, value in me.headers.items() if name.lower() != "host")
    yield "GET /me", f"{me.method} {urlsplit(me.url).path} HTTP/1.1\r\n{host}{fields}\r\n".encode()


def _compared(wire: bytes, watched: Any, plain: Any, forget: Callable[[], None]) -> tuple[float, float]:
    """Return the microseconds of a request without the console, and the microseconds that the console adds."""
    for server in (plain, watched, plain, watched):
        _spent(wire, server)
    without, extra = [], []
    for _ in range(ROUNDS):
        # In this order, a cost that grows within a round counts equally for both servers.
        first, second, third, fourth = (_spent(wire, server) for server in (plain, watched, watched, plain))
        without.append((first + fourth) / 2)
        extra.append((second + third - first - fourth) / 2)
        forget()
    return statistics.median(without), statistics.median(extra)


def _spent(wire: bytes, server: Any, requests: int = REQUESTS) -> float:
    """Answer all requests of a round in this thread. Return the microseconds of one request."""
    from tools.dev.gateway import _Handler  # noqa: PLC0415 - after the settings

    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = socket.create_connection(listening.getsockname())
        there, _ = listening.accept()
    with here, there:
        here.sendall(wire * requests)
        here.shutdown(socket.SHUT_WR)
        begun = time.thread_time()
        _Handler(there, ("127.0.0.1", 0), server)
        spent = time.thread_time() - begun
        there.close()
        answers = b"".join(iter(lambda: here.recv(1 << 20), b""))
    if answers.count(b"HTTP/1.1 200") != requests:
        raise SystemExit(f"error: not every request was answered with 200. {answers[:300]!r}")
    return 1e6 * spent / requests


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
