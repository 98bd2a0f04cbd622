"""``make dev``: Baton on localhost with the embedded database and a demo account."""

import contextlib
import hashlib
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TextIO

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from chalicelib.baton.service import Baton
from chalicelib.baton.settings import SettingsProblems, read_settings
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.testing.attesters.kit import Attester
from tools import aws
from tools.dev.addresses import EMULATOR, EVERYWHERE, THIS_MACHINE, authorities, own_addresses, read_host
from tools.dev.api.routes import DevApi
from tools.dev.api.watch import Watch
from tools.dev.certificate import issued_for
from tools.dev.engine import ENDPOINT, create_own_tables, create_tables, engine
from tools.dev.gateway import MAILS_PATH, DevelopmentClock, Gateway, GatewayServer
from tools.dev.port import read_port
from tools.dev.providers import PATH as PROVIDERS_PATH
from tools.dev.providers import DevelopmentProviders
from tools.dev.reload import reloading
from tools.printed import aligned, widths

DEMO_EMAIL = "demo@example.com"
DEMO_PASSWORD = "copper lantern drifting sideways"  # noqa: S105 - printed, for localhost
RESOURCE_SERVER = "demo-api"
TABLE_PREFIX = "baton-dev"
ENVIRONMENTS = 4


@dataclass(frozen=True, slots=True)
class Development:
    """A running development server."""

    url: str
    engine: str
    server: GatewayServer
    resource_server_secret: str
    demo_account: str
    own_routes: Sequence[str]
    """The routes of the app that are not Baton's, such as ``POST /orders``."""
    watch: Watch
    authority: Path | None = None
    """The certificate to trust, if the server speaks TLS."""


@contextlib.contextmanager
def development(port: int, host: str = THIS_MACHINE, *, tls: bool = False) -> Iterator[Development]:
    """Serve on ``host:port`` within this context. Port 0 takes a free port.

    ``tls``: serve over https, with a new certificate for ``localhost``. Its files are deleted when this context ends.
    """
    with engine() as engine_name, contextlib.ExitStack() as after:
        clock = DevelopmentClock()
        certificate = authority = None
        if tls:
            certificate, authority = issued_for(Path(after.enter_context(TemporaryDirectory())), ["localhost"])
        server = GatewayServer(port, host, certificate=certificate)
        after.callback(server.server_close)
        url = f"{'https' if tls else 'http'}://localhost:{server.server_port}/api"
        secret = secrets.token_urlsafe(32)
        _set_environment(server.server_port, url, secret, host)
        create_tables(Tables(os.environ["BATON_TABLE_PREFIX"]))
        create_own_tables(read_settings().deployment)

        def mailed(to: str, subject: str) -> None:
            api.mailed(to, subject)

        attester = Attester(lambda: int(clock.time()))
        providers = DevelopmentProviders(url.removesuffix("/api"), lambda: int(clock.time()))
        watch = Watch(clock, mailed, counts=ENDPOINT in os.environ, anchors=attester.anchors, providers=providers)
        loaded = environments(watch)
        watch.revoke_test_certificate()
        gateway = Gateway([one.app for one in loaded], clock=clock)
        api = DevApi(
            gateway,
            clock,
            watch=watch,
            attester=attester,
            providers=providers,
            engine=engine_name,
            register_demo=lambda: _demo_account(gateway, server.server_port),
        )
        account = _demo_account(gateway, server.server_port)
        after.callback(api.events.close)
        server.open(gateway, clock, api)
        thread = threading.Thread(target=server.serve_forever, name="gateway")
        thread.start()
        after.callback(thread.join)
        after.callback(server.shutdown)
        yield Development(url, engine_name, server, secret, account, own_routes(loaded[0]), watch, authority)


def environments(watch: Watch) -> list[ModuleType]:
    """Load ``app.py`` once for each environment. The environments take turns to answer requests."""
    return [watch.load() for _ in range(ENVIRONMENTS)]


def own_routes(environment: ModuleType) -> list[str]:
    """Return the routes of ``app.py`` that are not Baton's, sorted by path. ``OPTIONS`` is left out."""
    batons = (value for value in vars(environment).values() if isinstance(value, Baton))
    of_baton = {(route.path, route.method) for baton in batons for route in baton.routes}
    own = {(path, method) for path, methods in environment.app.routes.items() for method in methods} - of_baton
    return [f"{method} {path}" for path, method in sorted(own) if method != "OPTIONS"]


def _set_environment(port: int, url: str, secret: str, host: str) -> None:
    os.environ |= {
        "BATON_DEVELOPMENT": "1",
        "BATON_ISSUER": url,
        "BATON_AUTHORITIES": ",".join(authorities(host, port, own_addresses())),
        "BATON_KEY_RING": "local",
        "BATON_RESOURCE_SERVERS": f"{RESOURCE_SERVER}:{hashlib.sha256(secret.encode()).hexdigest()}",
    }
    os.environ.setdefault("BATON_TABLE_PREFIX", TABLE_PREFIX)
    os.environ.setdefault("BATON_ORIGINS", "http://localhost:3000")
    os.environ.setdefault("BATON_MAIL", "mailbox")
    os.environ.setdefault("BATON_LOG_LEVEL", "WARNING")


def _demo_account(gateway: Gateway, port: int) -> str:
    """Register the demo account, and describe the result. A database that keeps its tables may have the account."""
    body = {"email": DEMO_EMAIL, "password": DEMO_PASSWORD, "client_id": "simple", "device": {"name": "make dev"}}
    headers = [("Host", f"localhost:{port}"), ("Content-Type", "application/json")]
    answer = gateway.call("POST", "/api/register", headers, json.dumps(body).encode())
    if answer.status == 201:
        return "registered just now"
    code = json.loads(answer.body).get("code")
    return "exists already" if code == "account_exists" else f"not registered: {answer.status} {code}"


def table(running: Development, out: TextIO) -> str:
    """Return the text to print at the start: URLs, clients, the team's routes and the next steps.

    The text has colours on a terminal, unless NO_COLOR is set.
    """
    coloured = out.isatty() and "NO_COLOR" not in os.environ

    def dye(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if coloured else text

    clients = read_settings().registry
    rows: list[tuple[str, str, str]] = [
        ("Baton", running.url, "sign with this host"),
        ("console", f"{running.url.removesuffix('api')}", "open it in a browser on this machine"),
        ("health", f"{running.url}/health", ""),
        ("metadata", f"{running.url}/.well-known/oauth-authorization-server", ""),
        ("public keys", f"{running.url}/.well-known/jwks.json", ""),
        ("database", running.engine, "keeps nothing" if ENDPOINT not in os.environ else "keeps its tables"),
        ("demo account", DEMO_EMAIL, running.demo_account),
        ("  password", DEMO_PASSWORD, ""),
        ("mails", f"{running.url.removesuffix('/api')}{MAILS_PATH}", "codes and notices, the newest first"),
        (
            "providers",
            f"{running.url.removesuffix('/api')}{PROVIDERS_PATH}",
            "sign in people: development.md",
        ),
        ("introspection", RESOURCE_SERVER, f"secret {running.resource_server_secret}"),
        ("environments", f"{ENVIRONMENTS} of app.py, taking turns", "because Lambda may start several"),
        ("reload", "when app.py or chalicelib/ changes", "the data stays"),
        *([("certificate", str(running.authority), "trust it while this server runs")] if running.authority else []),
    ]
    name, _, _ = widths(rows)
    width = max(len(second) for _, second, third in rows if third)
    lines = ["", dye("Baton is running", "1;32"), ""]
    lines += [
        f"  {dye(f'{first:<{name}}', '2')}  {second:<{width}}  {dye(third, '2')}".rstrip()
        for first, second, third in rows
    ]
    if running.authority is None:  # the certificate is for localhost
        lines += ["", *for_phones(str(running.server.server_address[0]), running.server.server_port, own_addresses())]
    registered = [[str(one.id), str(one.mechanism.name), str(one.form), str(one.binding)] for one in clients]
    head, *listed = aligned([["client", "mechanism", "token", "binding"], *registered])
    lines += ["", dye(f"  {head}", "2"), *(f"  {line}" for line in listed)]
    if running.own_routes:
        lines += ["", dye("  your routes", "2"), *(f"  {route}" for route in running.own_routes)]
    trusting = f"--cacert {running.authority} " if running.authority else ""
    login = json.dumps({"email": DEMO_EMAIL, "password": DEMO_PASSWORD, "client_id": "simple"})
    lines += [
        "",
        dye("Next", "1"),
        f"  curl -s {trusting}{running.url}/login -H 'Content-Type: application/json' -d '{login}'",
        *(f"  {line}" for line in aligned(_next(running))),
        "",
    ]
    return "\n".join(lines)


def for_phones(host: str, port: int, addresses: Sequence[str]) -> list[str]:
    """Return the lines that describe how an emulator or a phone reaches this server."""
    reverse = f"  {'by USB':<14}adb reverse tcp:{port} tcp:{port}: then http://localhost:{port}/api on the device too"
    if host != EVERYWHERE:
        return [reverse, f"  {'by network':<14}make dev HOST={EVERYWHERE}"]
    return [
        *(
            f"  {'network':<14}http://{address}:{port}/api, and this machine's name under .local"
            for address in addresses
        ),
        f"  {'emulator':<14}http://{EMULATOR}:{port}/api (Android)",
        reverse,
        "  Every device on the network can reach the API and the demo account. The metadata names localhost.",
    ]


def _next(running: Development) -> list[list[str]]:
    port = "" if running.server.server_port == 8000 else f" PORT={running.server.server_port}"
    if running.authority is not None:
        database = '-d sql:"$HOME/.pki/nssdb" -A -t C,, -n baton-dev'
        return [
            [f"certutil {database} -i {running.authority}", "let Chromium trust it"],
            ['certutil -d sql:"$HOME/.pki/nssdb" -D -n baton-dev', "remove this trust"],
            ["Ctrl-C", "stop"],
        ]
    return [
        [f"make demo{port}", "login, lost answer and theft, against this server"],
        [f"make doctor{port}", "the cause, if a request fails"],
        ["Ctrl-C", "stop"],
    ]


def main(arguments: Sequence[str]) -> int:
    """Serve Baton on this machine until interrupted, for ``make dev``. Return 1 if the server cannot start."""
    port = read_port(arguments[0] if arguments else os.environ.get("PORT") or "8000")
    host = read_host(os.environ.get("HOST") or THIS_MACHINE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with development(port, host, tls=os.environ.get("TLS") == "1") as running:
            print(table(running, sys.stdout), flush=True)
            with reloading(running.server.gateway, lambda: [one.app for one in environments(running.watch)]):
                threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopped.")
    except SettingsProblems as problems:
        print(problems, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        print(
            f"Cannot use the database at {os.environ.get(ENDPOINT)}. {aws.said(error)}; or unset {ENDPOINT} to use the "
            "embedded database",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(
            f"error: cannot listen on port {port}: {error.strerror}. remedy: use another port: make dev PORT=8010",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
