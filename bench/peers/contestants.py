"""Who takes part: how each is started, with what store, and where it takes refreshes."""

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
"""What serves each, and how it is told to."""
BATON_CLIENTS = {"mobile": "key-bound", "simple": "unbound", "oauth": "rotating", "opaque": "unbound"}
DYNOXIDE_MISSING = "dynoxide is not here, so Baton cannot take part: make dynoxide"


@dataclass(slots=True)
class Contestant:
    """One server, its store, and a door with logins that nobody has used."""

    name: str
    store_name: str
    charged: Charged
    store: Store
    door: Door
    versions: dict[str, str]
    spares: list[Login] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Name it in full."""
        return f"{self.name}, {self.store_name}"

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """Keep one connection open for as long as this lasts."""
        with contextlib.closing(Connection(self.door.port)) as connection:
            yield connection

    @property
    def knows_attempts(self) -> bool:
        """Tell whether a retry can be told from a thief there."""
        return self.store_name == "DynamoDB"


@dataclass(slots=True)
class Field:
    """All who take part, and who cannot, with the reason."""

    contestants: list[Contestant] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Launched:
    """A peer that was started and has not yet said that it is ready."""

    name: str
    source: str
    program: Program
    store: Sqlite | Postgresql
    key: DeviceKey | None

    def ready(self) -> Contestant:
        """Wait until it is."""
        said = self.program.announced()
        parameter = "refresh" if self.source == "simplejwt" else "refresh_token"
        door = Door(said["port"], said["path"], "app", parameter=parameter, knows_dpop=self.key is not None)
        spares = [Login(token, self.key) for token in said["tokens"]]
        store_name = "SQLite" if isinstance(self.store, Sqlite) else "PostgreSQL"
        return Contestant(self.name, store_name, self.program, self.store, door, said["versions"], spares)


@contextlib.contextmanager
def field_of(folder: Path, logins: int) -> Iterator[Field]:
    """Start everybody, each with so many logins, for as long as this lasts.

    Servers have a core of their own, on which one of them at a time has work; all else is on the others.
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
    """Leave a core free of this process, and of whatever it starts, for as long as this lasts."""
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
    # Modules are found beside the program: it runs under its name there, though it lives here.
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
