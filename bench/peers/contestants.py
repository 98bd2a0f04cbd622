"""The compared products: how each is started, its store, and its refresh route."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baton_client import DeviceKey
from bench.machine import two_sides
from bench.peers.doors import Connection, Door, Login, register
from bench.peers.install import HERE, ROOT, Missing, node_peers, python_peers
from bench.peers.stores import POSTGRESQL_MISSING, Dynoxide, Postgresql, Sqlite, Store, postgresql
from bench.programs import Charged, Processes, Program
from tools.dev import dynoxide

SERVED = HERE / "served"
PEERS = {
    "oidc-provider": ("oidc_provider.mjs",),
    "oidc-provider (JWT)": ("oidc_provider.mjs", "jwt"),
    "oidc-provider (DPoP)": ("oidc_provider.mjs", "dpop"),
    "better-auth": ("better_auth.mjs",),
    "simplejwt": ("simplejwt",),
    "django-oauth-toolkit": ("oauth_toolkit",),
}
"""The server of each product, and its arguments."""
BATON_CLIENTS = {"mobile": "key-bound", "simple": "unbound", "oauth": "rotating", "opaque": "unbound"}
DYNOXIDE_MISSING = "dynoxide is not installed, so Baton cannot be measured. remedy: make dynoxide"


@dataclass(slots=True)
class Contestant:
    """One server, its store, and its refresh route with unused logins."""

    name: str
    store_name: str
    charged: Charged
    store: Store
    door: Door
    versions: dict[str, str]
    spares: list[Login] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Return the full name."""
        return f"{self.name}, {self.store_name}"

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """Keep one connection open within this context."""
        with contextlib.closing(Connection(self.door.port)) as connection:
            yield connection

    @property
    def knows_attempts(self) -> bool:
        """Return whether the product can distinguish a retry from a thief."""
        return self.store_name == "DynamoDB"


@dataclass(slots=True)
class Field:
    """The products that run, and the products that cannot run, with the reason."""

    contestants: list[Contestant] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Launched:
    """A product that was started and is not ready yet."""

    name: str
    source: str
    program: Program
    store: Sqlite | Postgresql
    key: DeviceKey | None

    def ready(self) -> Contestant:
        """Wait until the product is ready."""
        said = self.program.announced()
        parameter = "refresh" if self.source == "simplejwt" else "refresh_token"
        door = Door(said["port"], said["path"], "app", parameter=parameter, knows_dpop=self.key is not None)
        spares = [Login(token, self.key) for token in said["tokens"]]
        store_name = "SQLite" if isinstance(self.store, Sqlite) else "PostgreSQL"
        return Contestant(self.name, store_name, self.program, self.store, door, said["versions"], spares)


@contextlib.contextmanager
def field_of(folder: Path, logins: int) -> Iterator[Field]:
    """Start all products, each with this number of logins, within this context.

    The servers share one core, on which one of them works at a time. Everything else runs on the other cores.
    """
    with contextlib.ExitStack() as running:
        own = running.enter_context(_core_of_their_own())
        found = Field()
        server = running.enter_context(postgresql())
        if server is None:
            found.missing.append(POSTGRESQL_MISSING)
        else:
            found.versions["PostgreSQL"] = server[1]
        launched = []
        for name, (source, *told) in PEERS.items():
            for store_name in ("SQLite", "PostgreSQL") if server else ("SQLite",):
                identifier = re.sub(r"\W+", "_", name).strip("_").lower()
                store: Sqlite | Postgresql = (
                    Postgresql(server[0], identifier)
                    if server and store_name == "PostgreSQL"
                    else Sqlite(folder / f"{identifier}.db")
                )
                key = DeviceKey.generate("p256") if "dpop" in told else None
                try:
                    program = running.enter_context(
                        _launch(source, store, logins, *told, *([key.thumbprint()] if key else []))
                    )
                except Missing as missing:
                    if str(missing) not in found.missing:
                        found.missing.append(str(missing))
                else:
                    launched.append(_Launched(name, source, program, store, key))
        engine = dynoxide.find()
        if engine is None:
            found.missing.append(DYNOXIDE_MISSING)
        else:
            found.versions["dynoxide"] = dynoxide.VERSION
            found.contestants += _baton(running, engine, folder=folder, logins=logins)
        found.contestants[:0] = [one.ready() for one in launched]
        for contestant in found.contestants:
            found.versions |= contestant.versions
            contestant.charged.keep_to(own)
        yield found


@contextlib.contextmanager
def _core_of_their_own() -> Iterator[set[int]]:
    """Reserve a core within this context: this process and its children do not use it."""
    all_there_are = os.sched_getaffinity(0)
    own, others = two_sides() or (all_there_are, all_there_are)
    os.sched_setaffinity(0, others)
    try:
        yield own
    finally:
        os.sched_setaffinity(0, all_there_are)


def _launch(source: str, store: Sqlite | Postgresql, logins: int, *told: str) -> Program:
    address = store.url if isinstance(store, Postgresql) else f"sqlite:{store.file}"
    if not source.endswith(".mjs"):
        command: list[str | Path] = [python_peers(), "django_peers.py", source, address, str(logins)]
        return Program(command, cwd=SERVED, environ={"PYTHONPATH": ""})
    node, installed = node_peers()
    # Node finds modules beside the program's file, so the program is started by a link in the folder of the modules.
    link = installed / source
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(SERVED / source, installed))
    command = [node, "--preserve-symlinks", "--preserve-symlinks-main", source, address, str(logins), *told]
    return Program(command, cwd=installed, environ={"NODE_ENV": "production"})


def _baton(running: contextlib.ExitStack, found: Path, *, folder: Path, logins: int) -> Iterator[Contestant]:
    engine = Dynoxide(found, folder)
    assert engine.program is not None
    running.enter_context(engine.program)
    engine.ready()
    environ = {"AWS_ENDPOINT_URL_DYNAMODB": engine.url}
    command = [sys.executable, "-m", "bench.peers.served.baton"]
    program = running.enter_context(Program(command, cwd=ROOT, environ=environ))
    said: dict[str, Any] = program.announced()
    for client_id, binding in BATON_CLIENTS.items():
        door = Door(said["port"], said["path"], client_id, floor="/api/floor")
        name = f"Baton, {client_id} ({binding})"
        contestant = Contestant(name, "DynamoDB", Processes(said["function"]), engine, door, said["versions"])
        with contestant.connected() as connection:
            for number in range(logins):
                key = DeviceKey.generate("p256") if binding == "key-bound" else None
                email = f"{client_id}-{number}@example.com"
                contestant.spares.append(register(door, connection, email=email, key=key))
        yield contestant
