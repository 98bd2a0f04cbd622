"""The agent of the Python client: JSON lines on standard input become calls of the client. It is never shipped."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from baton_client import (
    Answer,
    BatonClient,
    BatonError,
    DeviceKey,
    FileStorage,
    HttpTransport,
    LoginStep,
    Record,
    Refused,
    Request,
    Session,
)

writing = threading.Lock()


def say(**members: object) -> None:
    """Write one line to standard output."""
    with writing:
        sys.stdout.write(json.dumps(members) + "\n")
        sys.stdout.flush()


class Crashes:
    """Ends the process at the point that the driver has named, as if the system killed it."""

    point, path, skip = "", "", 0

    def at(self, point: str, path: str = "") -> None:
        """End the process, if this is the chosen point."""
        if self.point == point and self.path in {"", path}:
            if self.skip:
                self.skip -= 1
            else:
                os._exit(9)


class Storage(FileStorage):
    """The storage of the client. On request it crashes, raises or is full."""

    def __init__(self, path: Path, crashes: Crashes) -> None:
        """Use a file."""
        super().__init__(path)
        self.crashes, self.locked, self.full = crashes, False, False

    def read(self) -> Record:
        """Read the record. Raises ``OSError`` while the storage is locked."""
        if self.locked:
            raise OSError("locked")
        return super().read()

    def update(self, change: Callable[[Record], Record], /) -> Record:
        """Change the record. Raises ``OSError`` while the storage is locked or full."""
        if self.locked or self.full:
            raise OSError("full")
        before = super().read()
        moves = change(before).session != before.session
        if moves:
            self.crashes.at("before_store")
        after = super().update(change)
        if moves:
            self.crashes.at("after_store")
        return after


class Agent:
    """One process of an app."""

    def __init__(self) -> None:
        """Begin without a client."""
        self.skew, self.scale, self.asked = 0.0, 0.0, 0
        self.crashes, self.http = Crashes(), HttpTransport()
        self.step: LoginStep | None = None

    def transport(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request. The process can be ended before and after the sending."""
        path = request.url.split("?")[0].partition("/api")[2]
        self.crashes.at("before_send", path)
        answer = self.http(request, timeout_s)
        self.crashes.at("after_answer", path)
        return answer

    def open(
        self, base_url: str, client_id: str, store: str, *, skew: float = 0, scale: float = 0, **named: Any
    ) -> None:
        """Make the client."""
        self.skew, self.scale = skew, scale
        self.storage = Storage(Path(store) / "record.json", self.crashes)
        self.client = BatonClient(
            base_url,
            client_id,
            self.storage,
            clock=lambda: time.time() + self.skew,
            sleep=lambda seconds: time.sleep(seconds * self.scale),
            transport=self.transport,
            **named,
        )
        self.client.on_state(lambda state: say(event="state", signed_in=state.signed_in, reason=state.reason))

    def _login(self, made: Session | LoginStep) -> dict[str, object]:
        if isinstance(made, Session):
            return {"done": True, "device_id": made.device_id}
        self.step = made
        return {"done": False, "factors": list(made.factors), "enrol": list(made.enrol)}

    def register(self, email: str, password: str, **named: Any) -> object:
        """Register an account with this client."""
        return self._login(self.client.register(email, password, "agent", **named))

    def login(self, email: str, password: str, **named: Any) -> object:
        """Log in."""
        return self._login(self.client.login(email, password, "agent", **named))

    def pending_step(self) -> object:
        """Return whether a login waits for its second step."""
        self.step = self.client.pending_step()
        return self.step is not None

    def prove(self, **proof: Any) -> object:
        """Prove a second factor."""
        assert self.step is not None
        return self._login(self.step.prove(proof))

    def enrolment(self) -> object:
        """Enrol an authenticator app."""
        assert self.step is not None
        return self.step.enrolment()

    def _confirm(self, password: str | None) -> Any:
        def asked(_: Refused) -> str:
            self.asked += 1
            assert password is not None
            return password

        return None if password is None else asked

    def call(self, method: str, path: str, *, password: str | None = None, **named: Any) -> object:
        """Call a route of the app."""
        self.asked = 0
        answer = self.client.call(method, path, confirm=self._confirm(password), **named)
        members = answer.json() if answer.body else None
        replayed = answer.headers.get("baton-replayed")
        return {"status": answer.status, "json": members, "asked": self.asked, "replayed": replayed}

    def step_up(self, password: str, method: str, path: str, json: object = None) -> object:
        """Get a grant."""
        return self.client.step_up(password, method, path, json=json)

    def forgot_password(self, email: str) -> object:
        """Send a code by mail."""
        return self.client.forgot_password(email)

    def reset_password(self, session: str, code: str, new_password: str) -> None:
        """Set a password by that code."""
        self.client.reset_password(session, code, new_password)

    def me(self, **named: Any) -> object:
        """Read the account."""
        return self.client._call("GET", "/me", lambda answer: answer.json(), **named) if named else self.client.me()

    def devices(self) -> object:
        """List the logins."""
        return self.client.devices()

    def end_device(self, device_id: str, password: str) -> None:
        """End a login."""
        self.client.end_device(device_id, lambda _: {"password": password})

    def change_password(self, password: str, new_password: str) -> None:
        """Change the password."""
        self.client.change_password(password, new_password)

    def delete_account(self, password: str) -> None:
        """Delete the account."""
        self.client.delete_account(password)

    def logout(self) -> object:
        """Log out."""
        return {"confirmed": self.client.logout()}

    def logout_everywhere(self, password: str) -> None:
        """Log out everywhere."""
        self.client.logout_everywhere(lambda _: password)

    def forget(self) -> None:
        """Delete the session on this device."""
        self.client.forget()

    def state(self) -> object:
        """Return whether there is a session."""
        state = self.client.state()
        return {"signed_in": state.signed_in, "reason": state.reason}

    def sync_clock(self) -> object:
        """Read the server's time."""
        return self.client.sync_clock()

    def expire(self) -> None:
        """Make the token expired."""
        self.storage.update(
            lambda now: replace(now, session=replace(now.session, expires_at=0)) if now.session else now
        )

    def record(self) -> object:
        """Return the parts of the stored record that the driver compares."""
        record = FileStorage.read(self.storage)
        session, key = record.session, record.key
        return {
            "token": session and session.access_token,
            "attempt": session and session.attempt,
            "device_id": session and session.device_id,
            "key": key and key.thumbprint(),
            "pending": record.pending is not None,
            "revocations": len(record.revocations),
        }

    def own_attempt(self) -> None:
        """Draw a new attempt for the same token, as a thief does."""
        self.storage.update(
            lambda now: replace(now, session=replace(now.session, attempt="b" * 22)) if now.session else now
        )

    def lose_key(self) -> None:
        """Replace the key by another key."""
        self.storage.update(lambda now: replace(now, key=DeviceKey.generate("p256")))

    def set(self, **named: Any) -> None:
        """Set the clock, the storage, or a crash."""
        for name, value in named.items():
            target: Any = self.storage if name in {"locked", "full"} else self
            if name == "crash":
                target, self.crashes.path = self.crashes, value.get("path", "")
                name, value = "point", value["at"]  # noqa: PLW2901 - the same setting, under its own name
            setattr(target, name, value)

    def parallel(self, n: int, of: dict[str, Any]) -> object:
        """Run one command many times, in threads."""
        results: list[object] = []
        threads = [threading.Thread(target=lambda: results.append(self.run(of))) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def run(self, said: dict[str, Any]) -> dict[str, object]:
        """Run the command of a line."""
        named = {name: value for name, value in said.items() if name not in {"id", "do"}}
        try:
            return {"ok": getattr(self, said["do"])(**named)}
        except (BatonError, ValueError, TypeError) as error:
            kind = error.kind if isinstance(error, BatonError) else "type_error"
            members = {name: getattr(error, name, None) for name in ("reason", "code", "action", "confirmed", "status")}
            return {"error": {"kind": kind, "text": str(error), **members}}


def main() -> None:
    """Read lines until the end of the input. Each runs in its own thread."""
    agent = Agent()
    for line in sys.stdin:
        said = json.loads(line)
        threading.Thread(
            target=lambda said=said: say(id=said["id"], **agent.run(said)),
            daemon=True,
        ).start()


if __name__ == "__main__":
    main()
