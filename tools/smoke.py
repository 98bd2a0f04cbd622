"""Test a deployment with the reference client: ``.venv/bin/python -m tools.smoke URL [CLIENT]``.

The test registers an account and deletes it. CLIENT is a client of the deployment's registry with mechanism `exchange`
and binding `required`. The default is `mobile`, a client of the demonstration.
"""

import secrets
import sys
import time
from collections.abc import Callable, Iterator

from baton_client import (
    Answer,
    BatonClient,
    BatonError,
    HttpTransport,
    LoginStep,
    MemoryStorage,
    NoResponse,
    Request,
    Transport,
)
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.policy import MechanismName

PATIENCE_S = 60
"""How long to wait for the first answer of a new API, in seconds."""


class NotServing(Exception):
    """A step of ``smoke`` failed. The message has the reason."""


def exchanging(registry: Clients) -> str | None:
    """Return the id of the first client with mechanism `exchange` and a required binding, or ``None``."""
    for client in registry:
        if client.mechanism.name == MechanismName.EXCHANGE and client.binding == "required":
            return client.id
    return None


def smoke(
    url: str, transport: Transport, client_id: str | None, *, pause: Callable[[float], None] = time.sleep
) -> Iterator[tuple[str, str, float]]:
    """Test a deployment, from its health to the deletion of a new account. Yield name, result and seconds of each step.

    If ``client_id`` is ``None``, only the step ``health`` is carried out. Raises ``NotServing``.
    """
    password = secrets.token_urlsafe(24)
    email = f"smoke-{secrets.token_hex(8)}@example.com"
    client = BatonClient(url, client_id or "", MemoryStorage(), transport=transport, sleep=pause)

    def unsigned() -> str:
        token = client.session.access_token if client.session else ""
        answer = _ask(transport, f"{url}/me", {"authorization": f"Bearer {token}"})
        if (answer.status, answer.members().get("code")) != (401, "signature_required"):
            raise NotServing(f"a token without its key was answered {answer.status}: {answer.body[:200]!r}")
        return "a token without its key is refused"

    def registered() -> str:
        begun = client.register(email, password, "smoke test")
        if isinstance(begun, LoginStep):
            raise BatonError(f"The client requires a second factor: {', '.join(begun.enrol)}.")
        return f"{begun.device_id}, bound to a new key"

    def deleted() -> str:
        client.delete_account(password)
        return "the account is deleted"

    steps: list[tuple[str, Callable[[], object]]] = [
        ("health", lambda: _healthy(url, transport, pause)),
        ("register", registered),
        ("signed call", lambda: client.me()["email"]),
        ("unsigned call", unsigned),
        ("exchange", lambda: f"{client.exchange().expires_at - int(time.time())} s until it expires"),
        ("step-up, delete", deleted),
    ]
    for name, step in steps if client_id else steps[:1]:
        begun = time.monotonic()
        try:
            came = str(step())
        except (BatonError, NoResponse) as trouble:
            raise NotServing(f"{name}: {trouble}") from trouble
        yield name, came, time.monotonic() - begun


def _healthy(url: str, transport: Transport, pause: Callable[[float], None]) -> str:
    said = "no answer"
    for _ in range(PATIENCE_S // 2):
        try:
            answer = _ask(transport, f"{url}/health", {})
        except NoResponse as nothing:
            said = str(nothing)
        else:
            foreign = answer.foreign()
            if answer.status == 200 and foreign is None:
                return f"version {answer.members()['version']}, {answer.members()['region']}"
            said = f"{foreign or answer.status} {answer.body[:300].decode(errors='replace')}"
        pause(2)
    raise NotServing(f"health: {said}")


def _ask(transport: Transport, url: str, headers: dict[str, str]) -> Answer:
    return transport(Request("GET", url, headers), 20)


def show(url: str, transport: Transport, client_id: str | None, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Carry out and print the steps of ``smoke``. Without ``client_id``, only ``health``. Raises ``NotServing``."""
    for name, came, seconds in smoke(url, transport, client_id, pause=pause):
        print(f"  {name:<16}{seconds * 1000:>7.0f} ms  {came}", flush=True)
    if client_id is None:
        print(
            "  skipped: the registry has no client with mechanism exchange and a required binding. "
            "next: test a login by hand"
        )


def main() -> int:
    """Test the deployment at the URL of the command line. Return 1 if a step fails, or 2 for wrong arguments."""
    match sys.argv[1:]:
        case [url]:
            client_id = "mobile"
        case [url, client_id]:
            pass
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    transport = HttpTransport()
    try:
        show(url.rstrip("/"), transport, client_id)
    except NotServing as problem:
        print(
            f"error: the deployment does not work: {problem}\nnext: chalice logs, and docs/baton/operations.md",
            file=sys.stderr,
        )
        return 1
    finally:
        transport.close()
    print("ok: the deployment works. next: use its URL in the app")
    return 0


if __name__ == "__main__":
    sys.exit(main())
