"""The stores of the products and of Baton: their programs, and the size of their data."""

import contextlib
import getpass
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.programs import POLL_S, START_S, Program, free_port

POSTGRESQL_MISSING = "PostgreSQL is not installed: apt-get update && apt-get install postgresql"


@dataclass(frozen=True, slots=True)
class Kept:
    """The number of rows, and the bytes of the rows and their indexes."""

    rows: int
    size_bytes: int

    def __sub__(self, earlier: "Kept") -> "Kept":
        """Return the difference from an earlier count."""
        return Kept(self.rows - earlier.rows, self.size_bytes - earlier.size_bytes)


class Store(Protocol):
    """A store. ``program`` is its own process, if any."""

    program: Program | None

    def kept(self) -> Kept:
        """Count rows and bytes."""


class Sqlite:
    """A SQLite file, in the process that uses it."""

    program: Program | None = None

    def __init__(self, file: Path) -> None:
        """Set the file."""
        self.file = file

    def kept(self) -> Kept:
        """Count the rows of all tables, and the used pages."""
        with contextlib.closing(sqlite3.connect(self.file)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            rows = sum(database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables)  # noqa: S608 - its own table names
            return Kept(rows, sqlite_bytes(database))


def sqlite_bytes(database: sqlite3.Connection) -> int:
    """Return the bytes of the used pages."""
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


class Postgresql:
    """A database of a PostgreSQL server that this benchmark started."""

    def __init__(self, server: "PostgresqlServer", database: str) -> None:
        """Create the database."""
        self._server, self._database = server, database
        self.program: Program | None = server.program
        server.ask("postgres", f"CREATE DATABASE {database}")

    @property
    def url(self) -> str:
        """Return the URL for a client."""
        return f"{self._server.url}/{self._database}"

    def kept(self) -> Kept:
        """Count rows, and bytes with indexes, after a vacuum."""
        self._server.ask(self._database, "VACUUM")
        names = "SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables"
        tables = self._server.ask(self._database, names).split()
        counted = (f"SELECT count(*) c, pg_total_relation_size('{name}') s FROM {name}" for name in tables)  # noqa: S608 - its own table names
        rows, size = self._server.ask(
            self._database,
            f"SELECT sum(c), sum(s) FROM ({' UNION ALL '.join(counted)}) t",  # noqa: S608 - the same
        ).split("|")
        return Kept(int(rows), int(size))


class PostgresqlServer:
    """Debian's PostgreSQL with its default configuration, on loopback, in a temporary folder."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        """Create the cluster and start it as a user other than root, which PostgreSQL requires."""
        self._programs, self._password = programs, secrets.token_urlsafe(24)
        self._port, self._role = free_port(), "bench"
        secret = folder / "password"
        secret.write_text(self._password, "utf-8")
        if user:
            for path in (folder, secret):
                shutil.chown(path, user)
        data = folder / "data"
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", self._role, "-A", "scram-sha-256", f"--pwfile={secret}", "-N"],
            user=user, group=user, extra_groups=[] if user else None, cwd=folder, check=False, capture_output=True,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stderr.decode(errors='replace')[-500:]}")
        command: list[str | Path] = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(self._port)]
        # SIGINT is PostgreSQL's fast shutdown, which does not wait for clients.
        self.program = Program([*command, "-k", ""], cwd=folder, user=user, stop=signal.SIGINT)

    @property
    def url(self) -> str:
        """Return the URL for a client, without a database."""
        return f"postgres://{self._role}:{self._password}@127.0.0.1:{self._port}"

    def ready(self) -> str:
        """Wait until the server answers, and return its version."""
        self.program.listens(self._port)
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        deadline = time.monotonic() + START_S
        while subprocess.run(command, check=False).returncode and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return self.ask("postgres", "SHOW server_version").split()[0]

    def ask(self, database: str, statement: str) -> str:
        """Run a statement with psql, and return its output."""
        asked = subprocess.run(
            [str(self._programs / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement],
            env={**os.environ, "PGPASSWORD": self._password, "PGHOST": "127.0.0.1", "PGPORT": str(self._port),
                 "PGUSER": self._role, "PGDATABASE": database},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if asked.returncode:
            raise RuntimeError(f"psql: {asked.stderr[-500:]}")
        return asked.stdout.strip()


@contextlib.contextmanager
def postgresql() -> Iterator[tuple[PostgresqlServer, str] | None]:
    """Start PostgreSQL, and yield it with its version; ``None`` if Debian's package is not installed."""
    programs = postgresql_programs()
    if programs is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as place:
        folder = Path(place)
        folder.chmod(0o711)
        home = folder / "postgresql"
        home.mkdir(mode=0o700)
        server = PostgresqlServer(programs, home, "postgres" if getpass.getuser() == "root" else None)
        with server.program:
            yield server, server.ready()


def postgresql_programs() -> Path | None:
    """Find the newest PostgreSQL that Debian installed, or a PostgreSQL on the PATH."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0),
    )
    if found:
        return found[-1]
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class Dynoxide:
    """The DynamoDB emulator dynoxide. Its tables are in a file, as for PostgreSQL and SQLite, or in memory."""

    def __init__(self, found: Path, folder: Path, *, in_memory: bool = False) -> None:
        """Start the program."""
        self._file, self._port = folder / "dynoxide.db", free_port()
        command: list[str | Path] = [found, "--host", "127.0.0.1", "--port", str(self._port)]
        kept = () if in_memory else ("--db-path", self._file)
        self.program: Program | None = Program([*command, *kept], cwd=folder)

    @property
    def url(self) -> str:
        """Return the URL for a client."""
        return f"http://127.0.0.1:{self._port}"

    def ready(self) -> None:
        """Wait until the program answers."""
        assert self.program is not None
        self.program.listens(self._port)

    def kept(self) -> Kept:
        """Count the items, and the used pages of its file. This is not possible for tables in memory."""
        import boto3  # noqa: PLC0415 - slow to import

        dynamodb = boto3.client(
            "dynamodb", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="bench",
            aws_secret_access_key="bench",  # noqa: S106 - it checks no credentials
        )  # fmt: skip
        rows = 0
        for name in dynamodb.list_tables()["TableNames"]:
            pages = dynamodb.get_paginator("scan").paginate(TableName=name, Select="COUNT")
            rows += sum(page["Count"] for page in pages)
        with contextlib.closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as database:
            return Kept(rows, sqlite_bytes(database))
