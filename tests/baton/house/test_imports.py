"""The modules that a fresh process imports with the app and for a request. Each cold start pays for them.

``make bench-imports`` prints the figures. This module tests the limits. The process has the settings of a deployment,
and DynamoDB and KMS run in another process, over HTTP. If the ring is in its cache, the process cannot reach KMS.
"""

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from typing import Any

import pytest

from baton_client import BatonClient, MemoryStorage
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.ring_format import ring_to_bytes
from chalicelib.baton.later_routes import LATER
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from tests.baton.factors.authenticator import Authenticator
from tests.baton.fixture import load_environment
from tests.baton.house.test_house import EARLY, LATE, ROOT
from tests.baton.wire.conftest import BASE_URL, PASSWORD, Line
from tools.dev.engine import client, create_tables, over_http
from tools.dev.gateway import Gateway
from tools.template import tables

PREFIX = "baton-imports"
NOBODY = "http://127.0.0.1:9"

HEAVY = {
    "argon2",
    "bcrypt",
    "boto3",
    *LATE,
    "OpenSSL",
    "cbor2",
    "cryptography.hazmat.asn1",
    "cryptography.x509",
    "email",
    "http.client",
    "jwt",
    "smtplib",
    "ssl",
    "typing_extensions",
    "urllib.request",
    "webauthn",
}
"""The heavy modules that an exchange and a signed call must not import, besides botocore. AWS is on loopback here, so
TLS is not needed."""

BY_THE_WAY = {"_cffi_backend"}
"""A module that cryptography imports."""

PROGRAM = """
import base64, json, os, sys
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
given = json.load(sys.stdin)
reached = []

def noticed(event, arguments):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event.split(".")[0] in {"socket", "subprocess"} or event in {"os.exec", "os.fork", "os.system"}:
        reached.append(event)

sys.addaudithook(noticed)
there = set(sys.modules)
from pathlib import Path
from chalicelib.baton import settings
settings._FOLDER = Path("tests/baton/fixture_app").absolute()
from tests.baton.fixture_app import app
seen = {"importing": sorted(sys.modules.keys() - there), "reached": list(reached)}
if "ring" in given:
    from chalicelib.baton.keys.ring_format import ring_from_bytes
    ring = ring_from_bytes(base64.b64decode(given["ring"]))
    app.baton.key_ring.current = lambda *, now: ring
if "event" in given:
    import socket
    genuine = socket.getaddrinfo

    def nowhere_else(host, *arguments, **named):
        if host != "127.0.0.1":
            raise OSError("no request leaves this machine")
        return genuine(host, *arguments, **named)

    socket.getaddrinfo = nowhere_else
    seen["answer"] = app.app(given["event"], None)
json.dump({**seen, "answering": sorted(sys.modules.keys() - there)}, told)
"""


MODULES_MAX = 136
"""The maximum number of Baton's modules that an exchange imports, of more than 200. Each takes a quarter of a
millisecond."""

IMPORTED = "from tests.baton.fixture_app import app\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """The imports of a fresh process: with the app, and until its answer. Also its system calls at import."""

    importing: frozenset[str]
    answering: frozenset[str]
    reached: tuple[str, ...]
    answer: dict[str, Any]


def heavy(modules: frozenset[str]) -> set[str]:
    """Return the heavy modules. Any part of botocore counts."""
    return {module for module in modules if module in HEAVY or module.startswith("botocore.")}


def packages(modules: frozenset[str]) -> set[str]:
    """Return the third-party packages."""
    return {module.split(".")[0] for module in modules} & packages_distributions().keys() - BY_THE_WAY


def fresh(variables: Mapping[str, str], *, program: str = PROGRAM, **given: object) -> Seen:
    """Start a process that imports the app. If an event is given, the process answers it."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    return Seen(
        frozenset(seen["importing"]), frozenset(seen["answering"]), tuple(seen["reached"]), seen.get("answer", {})
    )


def variables(**endpoints: str) -> dict[str, str]:
    """Return the settings of a deployment, as Lambda sets them. Services outside ``endpoints`` are unreachable."""
    return {
        "AWS_ACCESS_KEY_ID": "of-the-role",
        "AWS_SECRET_ACCESS_KEY": "of-the-role",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": NOBODY,
        "BATON_CLIENTS": "clients-factors.toml",
        "BATON_ISSUER": BASE_URL,
        "BATON_KEY_RING": f"kms:alias/{PREFIX}",
        "BATON_TABLE_PREFIX": PREFIX,
        **endpoints,
    }


class Cold:
    """An app behind the gateway that answers each request in a new process.

    ``cached`` gives this process the ring, and makes KMS unreachable.
    """

    def __init__(self, aws: str, ring: Ring) -> None:
        """Use this AWS."""
        app = load_environment().app
        self.routes, self.api = app.routes, app.api
        self.cached = False
        self._aws = aws
        self._ring = base64.b64encode(ring_to_bytes(ring)).decode()
        self._seen: Seen | None = None

    def __call__(self, event: Mapping[str, Any], _: object) -> dict[str, Any]:
        """Answer, and store what the process imported."""
        if self.cached:
            self._seen = fresh(variables(AWS_ENDPOINT_URL_DYNAMODB=self._aws), event=event, ring=self._ring)
        else:
            self._seen = fresh(variables(AWS_ENDPOINT_URL=self._aws), event=event)
        return self._seen.answer

    def last(self) -> Seen:
        """Return what the last process imported."""
        assert self._seen is not None
        return self._seen


@pytest.fixture(scope="module")
def cold(embedded_engine: None) -> Iterator[Cold]:
    """Serve AWS on loopback, with tables, key, alias and ring, to new processes."""
    del embedded_engine
    with over_http() as aws:
        create_tables(Tables(PREFIX))
        kms = AwsClient("kms")
        key_id = kms.call("create_key")["KeyMetadata"]["KeyId"]
        kms.call("create_alias", AliasName=f"alias/{PREFIX}", TargetKeyId=key_id)
        now = int(time.time())
        store = KeyRing(DynamoDB(Tables(PREFIX)), KmsWrapper(key_id), secrets.token_bytes)
        store.create(now=now)
        yield Cold(aws, store.current(now=now))
        for name in tables(PREFIX):
            client().delete_table(TableName=name)
        kms.call("delete_alias", AliasName=f"alias/{PREFIX}")


@pytest.fixture(scope="module")
def phone(cold: Cold) -> BatonClient:
    """Log a phone in."""
    made = BatonClient(BASE_URL, "mobile", MemoryStorage(), transport=Line(Gateway([cold])), sleep=lambda _: None)
    made.register("ada@example.com", PASSWORD, "Ada's phone")
    return made


def test_importing_the_app_registers_routes_and_does_nothing_else() -> None:
    """The import loads no package that few requests need, and no TLS. It opens no connection and writes nothing."""
    seen = fresh(variables())
    assert packages(seen.importing) == EARLY
    assert heavy(seen.importing) == set()
    assert seen.reached == ()


def test_an_import_with_more_effects_is_detected() -> None:
    """A control of the test above: it fails if an import has more effects."""
    more = "import argon2, socket\nsocket.socket().connect_ex(('127.0.0.1', 9))\nopen(os.devnull, 'w')\n"
    seen = fresh(variables(), program=PROGRAM.replace(IMPORTED, IMPORTED + more))
    assert packages(seen.importing) > EARLY
    assert "argon2" in seen.importing
    assert {"socket.connect", "open"} <= set(seen.reached)


@pytest.mark.parametrize("cached", [False, True], ids=["ring opened by KMS", "ring in the cache"])
@pytest.mark.parametrize("act", [BatonClient.exchange, BatonClient.me], ids=["exchange", "signed call"])
def test_frequent_calls_of_a_phone_import_nothing_heavy(
    cold: Cold,
    phone: BatonClient,
    act: Callable[[BatonClient], object],
    cached: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Argon2, botocore and mail are not imported. With the ring in the cache, KMS is not called: it would be a 503."""
    monkeypatch.setattr(cold, "cached", cached)
    act(phone)
    answering = cold.last().answering
    assert heavy(answering) == set()
    assert "chalicelib.baton.assembly" not in answering
    assert len([module for module in answering if module.startswith("chalicelib.baton")]) <= MODULES_MAX


def test_the_routes_that_a_start_does_not_make_are_listed() -> None:
    """Each such route is listed once, and each listed route exists."""
    baton = load_environment().baton
    made = [f"{route.method} {route.path}" for route in baton._later.routes]
    assert sorted(LATER) == sorted(made)


def test_a_login_brings_argon2_and_nothing_else_that_is_heavy(cold: Cold, phone: BatonClient) -> None:
    """The login includes transactions. The breach check is on, but a login does not need it."""
    phone.login("ada@example.com", PASSWORD, "a phone")
    assert heavy(cold.last().answering) == {"argon2"}
    kinds = {name for name in cold.last().answering if name.startswith("chalicelib.baton.factors.hashes.")}
    assert {name.rpartition(".")[2] for name in kinds} == {"argon2_hash", "kinds", "reading"}
    assert "chalicelib.baton.assembly" in cold.last().answering  # the tests above can fail


def test_only_a_new_password_brings_https(cold: Cold, phone: BatonClient) -> None:
    """The breach check imports it, and cannot reach its service here.

    This is also a control of the tests above: they fail if a request imports more.
    """
    phone.register("grace@example.com", PASSWORD, "a phone")
    assert heavy(cold.last().answering) == {"argon2", "email", "http.client", "ssl"}


def test_only_a_passkey_that_is_verified_brings_its_packages(cold: Cold, phone: BatonClient) -> None:
    """Making options imports none of the packages, and a call of an account with a passkey imports none."""
    mine = Authenticator()
    seen: list[set[str]] = []

    def create(options: dict[str, Any]) -> dict[str, Any]:
        seen.append(heavy(cold.last().answering))
        return mine.create(options)

    phone.add_passkey(create, confirm=lambda _: PASSWORD)
    assert seen == [set()]
    assert heavy(cold.last().answering) >= {"webauthn", "OpenSSL", "cbor2"}
    phone.passkeys()
    assert heavy(cold.last().answering) == set()
