"""A scenario: agents, their folders, the line, and Baton behind it. It checks the invariants at its end."""

import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from chalicelib.baton.testing.world import World
from tests.baton.clients.conformance import invariants
from tests.baton.clients.conformance.agents import ROOT, command_of
from tests.baton.clients.conformance.line import Line
from tests.baton.testing.placed import ORDERS

PASSWORD = "copper lantern drifting sideways"
NEW = "another lantern drifting sideways"
WORDS = (PASSWORD, NEW)
EMAIL = "ada@example.com"
ANSWER_S = 25.0


T = TypeVar("T", bound=Callable[..., object])


class Failed(Exception):
    """The client raised an error. ``kind`` is the same for every language."""

    def __init__(self, told: dict[str, Any]) -> None:
        """Store the answer of the agent."""
        super().__init__(f"{told['kind']}: {told['text']}")
        self.kind, self.code, self.reason = told["kind"], told["code"], told["reason"]
        self.confirmed, self.text = told["confirmed"], told["text"]


class Ended(Exception):
    """The process of the agent has ended."""


class Agent:
    """One process of an app, as the driver sees it."""

    def __init__(
        self, command: Sequence[str], opening: dict[str, Any], environment: dict[str, str] | None = None
    ) -> None:
        """Start the process and make its client."""
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "clients/python", **(environment or {})},
        )
        self.answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self.errors, self.texts = "", list[str]()
        self._ids = itertools.count(1)
        self._ended = threading.Event()
        self._readers = [threading.Thread(target=one, daemon=True) for one in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()
        self.opening = opening
        self("open", **opening)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "event" in said:
                self.events.append(said)
            else:
                self.texts += [said["error"]["text"]] if "error" in said else []
                self.answers[said["id"]].put(said)
        self._ended.set()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    def begin(self, do: str, **named: Any) -> int:
        """Send a line, and return its number. ``wait`` returns the answer."""
        number = next(self._ids)
        self.answers[number] = queue.Queue()
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"id": number, "do": do, **named}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Ended(self.errors) from None
        return number

    def wait(self, number: int) -> Any:
        """Return the answer to a line. Raises ``Failed`` or ``Ended``."""
        until = time.monotonic() + ANSWER_S
        while time.monotonic() < until:
            try:
                said = self.answers[number].get(timeout=0.02)
            except queue.Empty:
                if self._ended.is_set() and self.answers[number].empty():
                    raise Ended(self.errors) from None
                continue
            if "error" in said:
                raise Failed(said["error"])
            return said["ok"]
        raise AssertionError(f"no answer of the agent in {ANSWER_S:.0f} s. {self.errors}")

    def __call__(self, do: str, **named: Any) -> Any:
        """Send a line, and return its answer."""
        return self.wait(self.begin(do, **named))

    def fails(self, do: str, **named: Any) -> Failed:
        """Send a line that must fail, and return the error."""
        try:
            said = self(do, **named)
        except Failed as failed:
            return failed
        raise AssertionError(f"{do} did not fail: {said}")

    def dies(self, do: str, **named: Any) -> None:
        """Send a line that must end the process."""
        try:
            said = self(do, **named)
        except Ended:
            self.process.wait(ANSWER_S)
            return
        raise AssertionError(f"{do} did not end the process: {said}")

    def printed(self) -> str:
        """Return the output of the process, and the texts of its errors and events."""
        return "\n".join((self.errors, *self.texts, *map(str, self.events)))

    def kill(self) -> None:
        """End the process, as the operating system does."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(ANSWER_S)

    def close(self) -> None:
        """End the process, and close its pipes."""
        if self.process.poll() is None:
            self.kill()
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def freeze(self, *, on: bool = True) -> None:
        """Suspend the process, or resume it."""
        self.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)


class Scene:
    """One scenario of one client, with its agents and the server."""

    def __init__(self, client: str, line: Line, world: World, folder: Path) -> None:
        """Begin without agents."""
        self.client, self.line, self.world, self.folder = client, line, world, folder
        self.agents: list[Agent] = []
        self.own_attempts, self.resends = False, False
        self.environment: dict[str, str] = {}
        self.stored = invariants.Stored(folder)
        line.arrived = self.stored.arrived
        ORDERS.clear()

    def agent(self, store: str = "a", **named: Any) -> Agent:
        """Start an app process that uses a folder."""
        folder = self.folder / store
        folder.mkdir(exist_ok=True)
        made = Agent(command_of(self.client), self.opening(folder, named), self.environment)
        self.agents.append(made)
        return made

    def opening(self, folder: Path, named: dict[str, Any]) -> dict[str, Any]:
        """Return the first line for an agent.

        Its clock is that of the server, unless the scenario sets another clock.
        """
        skew = self.world.clock.time() - time.time() + named.pop("skew", 0)
        return {"base_url": self.line.url, "client_id": "mobile", "store": str(folder), "skew": skew, **named}

    def registered(self, **named: Any) -> Agent:
        """Start an app process that has registered."""
        made = self.agent(**named)
        made("register", email=EMAIL, password=PASSWORD)
        return made

    def copied(self, of: str, to: str) -> None:
        """Copy a folder: a clone, a backup, or its restore."""
        shutil.rmtree(self.folder / to, ignore_errors=True)
        shutil.copytree(self.folder / of, self.folder / to, ignore=shutil.ignore_patterns("Singleton*"))

    def reasons(self, agent: Agent) -> list[str | None]:
        """Return the end reasons of the logins of the account."""
        return [one["ended_reason"] for one in agent("devices")]

    def exchanged(self, agent: Agent) -> None:
        """Let the agent exchange its token."""
        agent("expire")
        agent("me")

    def close(self) -> None:
        """End the agents."""
        for agent in self.agents:
            agent.close()

    def check(self) -> None:
        """Check the invariants."""
        log = list(self.line.log)
        if not self.own_attempts:
            invariants.one_attempt_a_token(log)
        invariants.signatures(log, resends=self.resends)
        invariants.passwords(log, WORDS)
        invariants.own_host(log, self.line.port, self.line.strays())
        invariants.secrets_printed("\n".join(agent.printed() for agent in self.agents), log, WORDS)
        self.stored.check()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the agents. Check the invariants, unless the scenario has failed already."""
        self.close()
        if kind is None:
            self.check()


def scenarios(*numbers: int) -> Callable[[T], T]:
    """Mark a test with the numbers of its scenarios. `test_numbers.py` checks that each scenario has a test."""

    def named(test: T) -> T:
        test.__dict__["scenarios"] = numbers
        return test

    return named


def eventually(check: Callable[[], bool], what: str) -> None:
    """Wait until a condition is true."""
    until = time.monotonic() + ANSWER_S
    while not check():
        assert time.monotonic() < until, what
        time.sleep(0.01)
