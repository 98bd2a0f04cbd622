"""A scenario: agents, their folders, the line, and Baton behind it. It checks the invariants at its end."""

import contextlib
import datetime as dt
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
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

from baton_client import Request
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.testing.world import World
from tests.baton.clients.conformance.agents import ROOT, command_of
from tests.baton.clients.conformance.line import Exchanged, Line
from tests.baton.testing.placed import ORDERS

PASSWORD = "copper lantern drifting sideways"
EMAIL = "ada@example.com"
ANSWER_S = 25.0
WITH_PASSWORD = ("/register", "/login", "/step-up", "/me/password")


class Failed(Exception):
    """The client raised an error. ``kind`` is the same in every language."""

    def __init__(self, told: dict[str, Any]) -> None:
        """Keep what the agent said."""
        super().__init__(f"{told['kind']}: {told['text']}")
        self.kind, self.code, self.reason = told["kind"], told["code"], told["reason"]
        self.confirmed, self.text = told["confirmed"], told["text"]


class Ended(Exception):
    """The process of the agent has ended."""


class Agent:
    """One app process."""

    def __init__(self, command: Sequence[str], opening: dict[str, Any]) -> None:
        """Start the process and make its client."""
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "clients/python"},
        )
        self.answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self.errors = ""
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
                self.answers[said["id"]].put(said)
        self._ended.set()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    def begin(self, do: str, **named: Any) -> int:
        """Send a line. ``wait`` has the answer."""
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
        """Return the answer, or raise ``Failed`` or ``Ended``."""
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
        """Send a line that fails. Return the error."""
        try:
            said = self(do, **named)
        except Failed as failed:
            return failed
        raise AssertionError(f"{do} did not fail: {said}")

    def dies(self, do: str, **named: Any) -> None:
        """Send a line that ends the process."""
        try:
            said = self(do, **named)
        except Ended:
            self.process.wait(ANSWER_S)
            return
        raise AssertionError(f"{do} did not end the process: {said}")

    def kill(self) -> None:
        """End the process, as the system does."""
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
        """Suspend the process, or let it go on."""
        self.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)


class Scene:
    """One scenario of one client."""

    def __init__(self, client: str, line: Line, world: World, folder: Path) -> None:
        """Begin without agents."""
        self.client, self.line, self.world, self.folder = client, line, world, folder
        self.agents: list[Agent] = []
        self.repeated_nonces = False
        self.own_attempts = False
        ORDERS.clear()

    def agent(self, store: str = "a", **named: Any) -> Agent:
        """Start an app process on a folder."""
        folder = self.folder / store
        folder.mkdir(exist_ok=True)
        skew = self.world.clock.time() - time.time() + named.pop("skew", 0)
        opening = {"base_url": self.line.url, "client_id": "mobile", "store": str(folder), "skew": skew, **named}
        made = Agent(command_of(self.client), opening)
        self.agents.append(made)
        return made

    def registered(self, **named: Any) -> Agent:
        """Start an app process that has registered."""
        made = self.agent(**named)
        made("register", email=EMAIL, password=PASSWORD)
        return made

    def copied(self, of: str, to: str) -> None:
        """Copy a folder: a clone, a backup, or its restore."""
        shutil.rmtree(self.folder / to, ignore_errors=True)
        shutil.copytree(self.folder / of, self.folder / to)

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
        """Check what must hold after every scenario."""
        log = list(self.line.log)
        self._one_attempt_a_token(log)
        self._signatures(log)
        for one in log:
            if PASSWORD.encode() in one.body:
                assert one.path.startswith(WITH_PASSWORD), f"a password was sent to {one.path}"
            assert PASSWORD not in str(one.headers) + one.target
        for agent in self.agents:
            assert PASSWORD not in agent.errors
            assert "Traceback" not in agent.errors, agent.errors

    def _one_attempt_a_token(self, log: list[Exchanged]) -> None:
        attempts: dict[bytes, set[str]] = {}
        for one in log:
            if one.path == "/oauth/token":
                attempts.setdefault(one.body, set()).add(one.header("idempotency-key"))
        assert self.own_attempts or all(len(found) == 1 for found in attempts.values()), "a token, two attempts"

    def _signatures(self, log: list[Exchanged]) -> None:
        keys = _Keys(log)
        nonces: set[str] = set()
        for one in log:
            signed = one.header("signature-input")
            if not signed or not keys.has(signed):
                continue
            fields = {name.lower(): value for name, value in one.headers}
            request = Request(one.method, f"http://{fields['host']}{one.target}", fields, one.body)
            verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ECDSA_P256_SHA256, key_resolver=keys)
            verifier.max_clock_skew = dt.timedelta(days=60)  # Some devices have a wrong clock.
            (verified,) = verifier.verify(request, expect_tag="baton", max_age=None, body=one.body)
            assert self.repeated_nonces or verified.nonce not in nonces, "a nonce, twice"
            nonces.add(str(verified.nonce))

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the agents. Check the invariants, unless the scenario has failed already."""
        self.close()
        if kind is None:
            self.check()


class _Keys(HTTPSignatureKeyResolver):
    """The keys that the logins of a log have named."""

    def __init__(self, log: list[Exchanged]) -> None:
        self.keys: dict[str, ec.EllipticCurvePublicKey] = {}
        for one in log:
            if one.path in {"/register", "/login"}:
                key = json.loads(one.body)["device"].get("public_key")
                if key:
                    name = one.header("signature-input").partition('keyid="')[2].partition('"')[0]
                    self.keys[name] = _public(key)

    def has(self, signed: str) -> bool:
        return signed.partition('keyid="')[2].partition('"')[0] in self.keys

    def resolve_public_key(self, key_id: str) -> Any:
        return self.keys[key_id]


def _public(jwk: dict[str, str]) -> ec.EllipticCurvePublicKey:

    x, y = (int.from_bytes(decode_base64url(jwk[name])) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def eventually(check: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    until = time.monotonic() + ANSWER_S
    while not check():
        assert time.monotonic() < until, what
        time.sleep(0.01)
