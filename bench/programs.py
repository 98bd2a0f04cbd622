"""Programs that a benchmark starts: each is ended by its own handle, and its CPU time is measured in nanoseconds."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

START_S = 60
STOP_S = 15
POLL_S = 0.02

CPUCLOCK_SCHED = 2
"""The kernel's id of the clock for the user and system time of a process, ended threads included."""


class DidNotStart(Exception):
    """A program ended, or printed nothing in time. The message has its last line."""


class Program:
    """A program and all its children."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start the program. ``announced`` reads its standard output. Its standard error goes to a file."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it stops
        self._stop = stop
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **(environ or {})},
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        """Return the program, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the program by its handle."""
        self._process.send_signal(self._stop)
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def announced(self) -> dict[str, Any]:
        """Read the one line of JSON that the program prints when it is ready. Raises ``DidNotStart``."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DidNotStart(self._last_words())
        said: dict[str, Any] = json.loads(line)
        return said

    def listens(self, port: int) -> None:
        """Wait until the program accepts connections. Raises ``DidNotStart``."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(POLL_S)
        raise DidNotStart(self._last_words())

    def cpu_s(self) -> float:
        """Return the CPU time, user and system, of the program and its running children."""
        return sum(map(_cpu_s, _family(self._process.pid)))

    def keep_to(self, cores: set[int]) -> None:
        """Run the program and its children only on these cores."""
        _keep_to(_family(self._process.pid), cores)

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=STOP_S)
        self._log.seek(0)
        return f"{self._process.args!r}: {self._log.read()[-2000:].decode(errors='replace')}"


@dataclass(frozen=True, slots=True)
class Processes:
    """The measured processes of a program."""

    pids: Sequence[int]

    def cpu_s(self) -> float:
        """Return the CPU time of all the processes in seconds, user and system."""
        return sum(map(_cpu_s, self.pids))

    def keep_to(self, cores: set[int]) -> None:
        """Run the processes only on these cores."""
        _keep_to(self.pids, cores)


class Charged(Protocol):
    """An object whose CPU time is measured."""

    def cpu_s(self) -> float:
        """Return the CPU time so far, user and system, in seconds."""

    def keep_to(self, cores: set[int]) -> None:
        """Run only on these cores, with all threads."""


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def spent(charged: Charged, work: Callable[[], object]) -> float:
    """Return the CPU seconds that ``work`` uses in the measured processes."""
    before = charged.cpu_s()
    work()
    return charged.cpu_s() - before


def _cpu_s(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:  # the process ended between the listing and the read
        return 0.0


def _keep_to(pids: Iterable[int], cores: set[int]) -> None:
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def _family(pid: int) -> list[int]:
    family = [pid]
    for member in family:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
    return family
