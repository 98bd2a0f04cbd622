"""Play the script of a vector of ``attempts.json`` on the Python client.

Return what the client did after the last answer.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from baton_client import (
    Answer,
    BatonClient,
    BatonError,
    DeviceKey,
    MemoryStorage,
    NoResponse,
    Pending,
    Proof,
    Record,
    Request,
    Session,
)

TIME = 1_800_000_000
BASE_URL = "https://api.example.com/api"
PATHS = {
    "call": "/things",
    "register": "/register",
    "login": "/login",
    "factor": "/login/factor",
    "exchange": "/oauth/token",
}
TOKENS = '{"access_token":"t2","refresh_token":"t2","expires_in":900}'


class Stop(BaseException):
    """The script has no more answers."""


@dataclass(frozen=True)
class Sent:
    """A request, with only the parts that scripts compare."""

    path: str
    attempt: str | None
    token: str | None
    signature: str | None


@dataclass
class Played:
    """The actions of the client after the last answer: pauses and requests, then a value, an error or neither."""

    record: Record
    events: list[float | Sent] = field(default_factory=list)
    last: Sent | None = None
    left: int = 0
    value: Any = None
    error: BatonError | None = None


def answer_of(given: Mapping[str, Any]) -> Answer:
    """Return the answer of a vector, as a transport returns it."""
    body = base64.b64decode(given["bytes"]) if "bytes" in given else given["body"].encode("utf-8", "surrogatepass")
    return Answer(given["status"], given["headers"], body)


class Script:
    """A transport that answers from the script, and a second process on the same storage."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        """Begin with a key, and with the session or the login in progress that the script needs."""
        self.run, self.answers = run, list(run["answers"])
        key = DeviceKey.generate("p256")
        life = 0 if run["verb"] == "exchange" else 900
        self.session = Session("d1", "t1", "t1", TIME + life, "attempt-of-token-1", key.thumbprint())
        pending = Pending("ada@example.com", "mobile", "key", "attempt-of-a-login", "as.1")
        self.storage = MemoryStorage(
            Record(
                session=self.session if run["verb"] in {"call", "exchange"} else None,
                pending=pending if run["verb"] == "factor" else None,
                key=key,
            )
        )
        self.played = Played(self.storage.read())
        self.newer = 0

    def sleep(self, seconds: float) -> None:
        """Record a pause after the last answer."""
        if not self.answers:
            self.played.events.append(seconds)

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Answer with the next answer of the script."""
        del timeout_s
        path = request.url.removeprefix(BASE_URL)
        fields = request.headers
        sent = Sent(path, fields.get("idempotency-key"), fields.get("authorization"), fields.get("signature-input"))
        if not self.answers:
            self.played.events.append(sent)
            raise Stop
        headers = {"baton-request-id": "0123abcd-ef", "content-type": "application/json", "cache-control": "no-store"}
        if path != PATHS[self.run["verb"]]:
            return Answer(200, headers, (b'{"grant":"g"}' if path == "/step-up" else TOKENS.encode()))
        self.played.last = sent
        one = self.answers.pop(0)
        self._other_process(one["storage"])
        if isinstance(one["answer"], str):
            raise NoResponse(one["answer"], sent=one["answer"] != "not_sent")
        return answer_of(one["answer"])

    def _other_process(self, what: str | None) -> None:
        if what is None:
            return
        self.newer += 1
        name = f"newer-{self.newer}"
        newer = replace(
            self.session, access_token=name, refresh_token=name, attempt=f"attempt-{name}", expires_at=TIME + 900
        )
        if what == "finished":
            newer = replace(newer, device_id="other")
        self.storage.update(lambda now: replace(now, session=newer, pending=None))

    def play(self) -> Played:
        """Run the client until it returns, raises, or sends a request that the script does not answer."""
        run = self.run
        client = BatonClient(
            BASE_URL, "mobile", self.storage, clock=lambda: TIME, random=lambda: 0.5, sleep=self.sleep, transport=self
        )
        deadline_s = run["deadline"]
        try:
            if run["verb"] in {"call", "exchange"}:
                self.played.value = client.call(
                    run["method"] if run["verb"] == "call" else "GET",
                    "/things",
                    idempotency_key="0123456789abcdef" if run["keyed"] else None,
                    repeat=True if run["repeat"] else None,
                    confirm=(lambda _: "word") if run["confirm"] else None,
                    deadline_s=deadline_s,
                )
            elif run["verb"] == "factor":
                step = client.pending_step()
                assert step is not None
                self.played.value = step.prove(Proof(totp="123456"), deadline_s=deadline_s)
            else:
                begin = client.register if run["verb"] == "register" else client.login
                self.played.value = begin("ada@example.com", "word", "d", deadline_s=deadline_s)
        except Stop:
            pass
        except BatonError as error:
            self.played.error = error
        self.played.record, self.played.left = self.storage.read(), len(self.answers)
        return self.played
