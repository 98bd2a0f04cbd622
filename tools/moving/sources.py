"""The files of other systems, as the lines of an import.

A record is the bytes of a line, the members of a line, or the reason why there is no line. Each source reads its file
from the beginning, always in the same order, so that a resumed import skips the records that are done.
"""

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tools.moving.hash_forms import FirebaseParameters, auth0_hash, better_auth_hash, firebase_hash
from tools.moving.line import LINE_BYTES_MAX

Members = Mapping[str, object]


class Record(NamedTuple):
    """One account of the file. ``skipped``: why the record is not imported. ``refused``: why it cannot be read."""

    source_id: str
    body: bytes | Members | None
    skipped: str = ""
    refused: str = ""


class BadFile(ValueError):
    """The file does not have the form that ``--from`` names."""


def read_records(file: Path, source: str, parameters: FirebaseParameters | None) -> Iterator[Record]:
    """Yield the accounts in an export of the system ``source``. Only ``firebase`` needs ``parameters``.

    Raises ``BadFile``.
    """
    records = _firebase(file, parameters) if source == "firebase" else SOURCES[source](file)
    read = 0
    try:
        for record in records:
            read += 1
            yield record
    except BadFile:
        raise
    except UnicodeDecodeError:
        raise BadFile("not UTF-8") from None
    except csv.Error as wrong:
        raise BadFile(f"not CSV: {wrong}") from None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as wrong:
        raise BadFile(f"account {read + 1} is not as {source} exports it: {type(wrong).__name__}: {wrong}") from None


def _baton(file: Path) -> Iterator[Record]:
    with file.open("rb") as lines:
        while line := lines.readline(LINE_BYTES_MAX + 2):
            rest = line
            while not rest.endswith(b"\n") and (rest := lines.readline(LINE_BYTES_MAX)):
                pass  # the rest of a line that is too long
            if line.strip():
                yield Record("", line.rstrip(b"\r\n"))


def _auth0(file: Path) -> Iterator[Record]:
    if file.suffix == ".csv":
        for row in _rows(file):
            low = {name.lower().replace(" ", "_"): value for name, value in row.items()}
            yield _migrating(low.get("user_id") or low.get("id", ""), low)
        return
    for account in _objects(file):
        oid = account.get("_id")
        identity = account.get("user_id") or (f"auth0|{oid.get('$oid', '')}" if isinstance(oid, dict) else "")
        hashed = account.get("passwordHash") or account.get("password_hash") or auth0_hash(account)
        yield Record(
            str(identity),
            _members(
                source_id=str(identity),
                email=account.get("email"),
                email_verified=account.get("email_verified") is True,
                password=hashed,
                disabled=account.get("blocked") is True,
                created_at=_time(account.get("created_at")),
            ),
        )


def _objects(file: Path) -> Iterator[dict[str, Any]]:
    """Read JSON: an array of objects, or an object on each line."""
    with file.open(encoding="utf-8-sig") as text:
        beginning = text.read(1)
        while beginning.isspace():
            beginning = text.read(1)
        text.seek(0)
        if beginning == "[":
            yield from map(_object, _parsed(text.read(), line=1))
            return
        for number, line in enumerate(text, 1):
            if line.strip():
                yield _object(_parsed(line.strip(), line=number))


def _parsed(text: str, *, line: int) -> Any:  # noqa: ANN401 - a JSON value
    """Parse a text that begins at a line of the file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as wrong:
        raise BadFile(f"not JSON, line {line + wrong.lineno - 1}") from None


def _object(account: object) -> dict[str, Any]:
    if not isinstance(account, dict):
        raise BadFile("an account is not a JSON object")
    return account


def _firebase(file: Path, parameters: FirebaseParameters | None) -> Iterator[Record]:
    if parameters is None:
        raise BadFile("--from firebase needs --hash-parameters: the console shows them, Authentication, Users, menu")
    try:
        with file.open(encoding="utf-8-sig") as text:
            accounts = json.load(text)["users"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise BadFile('not the file of `firebase auth:export --format=json`: an object with "users"') from None
    for account in map(_object, accounts):
        identity = str(account.get("localId", ""))
        try:
            hashed = firebase_hash(account, parameters)
        except ValueError:
            yield Record(identity, None, refused="hash_unknown")
            continue
        created = account.get("createdAt")
        yield Record(
            identity,
            _members(
                source_id=identity,
                email=account.get("email"),
                email_verified=account.get("emailVerified") is True,
                password=hashed,
                disabled=account.get("disabled") is True,
                created_at=int(created) // 1000 if created else None,
                identities=[
                    {"provider": one["providerId"].removesuffix(".com"), "sub": one.get("rawId", "")}
                    for one in account.get("providerUserInfo", ())
                    if one.get("providerId") not in {"password", "phone"}
                ],
            ),
        )


def _supabase(file: Path) -> Iterator[Record]:
    identities: dict[str, list[Members]] = {}
    beside = file.with_name("identities.csv")
    for row in _rows(beside) if beside.is_file() else ():
        if row["provider"] not in {"email", "phone"}:
            identities.setdefault(row["user_id"], []).append({"provider": row["provider"], "sub": row["provider_id"]})
    now = time.time()
    for row in _rows(file):
        identity = row["id"]
        if row.get("deleted_at"):
            yield Record(identity, None, skipped="deleted")
            continue
        if _true(row.get("is_anonymous")):
            yield Record(identity, None, skipped="anonymous")
            continue
        banned = _time(row.get("banned_until"))
        yield Record(
            identity,
            _members(
                source_id=identity,
                email=row.get("email") or None,
                email_verified=bool(row.get("email_confirmed_at")),
                password=row.get("encrypted_password"),
                disabled=banned is not None and banned > now,
                created_at=_time(row.get("created_at")),
                identities=identities.get(identity, []),
            ),
        )


def _cognito(file: Path) -> Iterator[Record]:
    for row in _rows(file):
        yield _migrating(row.get("sub") or row.get("cognito:username", ""), row)


def _migrating(identity: str, row: Mapping[str, str]) -> Record:
    """Return an account without a hash. The function of ``baton.migrate_with`` checks the password at the login."""
    enabled = row.get("enabled")
    return Record(
        identity,
        {
            **_members(
                source_id=identity,
                email=row.get("email") or None,
                email_verified=_true(row.get("email_verified")),
                disabled=enabled is not None and not _true(enabled),
            ),
            "migrate": True,
        },
    )


def _better_auth(file: Path) -> Iterator[Record]:
    beside = file.with_name("account.csv")
    if not beside.is_file():
        raise BadFile(f"{beside} is missing: export the table `account` beside the table `user`")
    passwords: dict[str, str] = {}
    identities: dict[str, list[Members]] = {}
    for row in map(_snake, _rows(beside)):
        if row["provider_id"] == "credential":
            passwords[row["user_id"]] = row["password"]
        else:
            identities.setdefault(row["user_id"], []).append({"provider": row["provider_id"], "sub": row["account_id"]})
    for row in map(_snake, _rows(file)):
        identity = row["id"]
        try:
            hashed = better_auth_hash(passwords.get(identity, ""))
        except ValueError:
            yield Record(identity, None, refused="hash_unknown")
            continue
        yield Record(
            identity,
            _members(
                source_id=identity,
                email=row.get("email") or None,
                email_verified=_true(row.get("email_verified")),
                password=hashed,
                disabled=_true(row.get("banned")),
                created_at=_time(row.get("created_at")),
                identities=identities.get(identity, []),
            ),
        )


SOURCES: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    "auth0": _auth0,
    "baton": _baton,
    "better-auth": _better_auth,
    "cognito": _cognito,
    "supabase": _supabase,
}
NAMES = tuple(sorted((*SOURCES, "firebase")))


def _rows(file: Path) -> Iterator[dict[str, str]]:
    """Read a CSV file whose first line has the names. A missing column raises ``BadFile``."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        for row in csv.DictReader(text, restkey="", restval="", strict=True):
            yield _Row({name: value for name, value in row.items() if isinstance(value, str)})


class _Row(dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise BadFile(f"the CSV file has no column {name}")


def _snake(row: dict[str, str]) -> dict[str, str]:
    """Write ``emailVerified`` as ``email_verified``: the names depend on the adapter of the database."""
    return _Row(
        {"".join(f"_{one.lower()}" if one.isupper() else one for one in name): value for name, value in row.items()}
    )


def _members(*, password: object = None, created_at: int | None = None, **members: object) -> dict[str, object]:
    return {
        "v": 1,
        **members,
        **({"password": {"hash": password}} if password else {}),
        **({} if created_at is None else {"created_at": created_at}),
    }


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in {"true", "t", "1", "yes"}


def _time(written: object) -> int | None:
    """Read a time: ISO 8601, also with a blank in place of the T as in PostgreSQL, or milliseconds since the epoch."""
    if not written:
        return None
    text = str(written).strip()
    if text.isdecimal():
        return int(text) // 1000
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())
