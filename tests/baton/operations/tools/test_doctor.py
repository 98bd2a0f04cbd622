"""The doctor finds each problem, names its remedy, changes nothing and prints no secret."""

import io
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.kms.responses import KmsResponse
from msgspec.structs import replace

from chalicelib.baton import settings
from chalicelib.baton.policy import DAY_S, ISSUED_AHEAD_MAX_S
from chalicelib.baton.storage.dynamodb.database import KEYS, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from tests.baton.fixture import FOLDER
from tools import doctor, restore
from tools.dev.serve import development
from tools.doctor import Row, clock_row, show


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """Run the doctor without Baton's settings, and restore those of the tests."""
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("BATON_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def deployed(embedded_engine: None, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """Deploy tables, a KMS key and a key ring. The URL of the apps answers as Baton does."""
    del embedded_engine
    tables, key = Tables(f"baton-{secrets.token_hex(4)}"), boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    for table in KEYS:
        restore.make_table(boto3.client("dynamodb"), tables, table, key_arn=key)
    restore.protect(boto3.client("dynamodb"), tables)
    KeyRing(DynamoDB(tables), KmsWrapper(key), os.urandom).create(now=int(time.time()))
    os.environ |= {
        "BATON_ISSUER": "https://api.example.com/api",
        "BATON_TABLE_PREFIX": tables.prefix,
        "BATON_KEY_RING": f"kms:{key}",
        "BATON_CLIENTS": "clients-dev.toml",
        "BATON_RESOURCE_SERVERS": f"billing:{'ab' * 32}",
    }
    monkeypatch.setattr(doctor, "fetch", lambda _: (200, f'{{"server_time": {int(time.time())}}}', None))
    return tables


def ill(stage: str | None = None) -> dict[str, Row]:
    """Run the doctor, and return its problems."""
    return {row.name: row for row in doctor.examine(stage) if row.remedy}


def test_a_running_development_server_has_no_problem(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    """If it does not run, the remedy is to start it."""
    # Its own prefix: under `baton-dev` a deployment test may have left a key ring that KMS encrypts.
    os.environ["BATON_TABLE_PREFIX"] = tables.prefix
    with development(0) as running:
        port = str(running.server.server_port)
        for name in [name for name in os.environ if name.startswith("BATON_")]:
            del os.environ[name]
        os.environ["PORT"] = port
        assert doctor.main(None) == 0
        assert "ok: no problems" in capsys.readouterr().out
    assert doctor.main(None) == 1
    said = capsys.readouterr().out
    assert "no answer" in said
    assert f"remedy for the first: make dev PORT={port}" in said


def test_a_healthy_deployment_is_shown_without_its_secrets(
    deployed: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    """Versions, settings, clock, tables, keys and reachability. For resource servers only the names."""
    assert doctor.main(None) == 0
    said = capsys.readouterr().out
    for words in (
        "versions",
        "settings",
        "clock",
        "tables",
        "keys",
        "reach",
        "billing",
        deployed.lineages,
        "0 days old",
    ):
        assert words in said
    assert "ab" * 32 not in said
    assert "\033[" not in said


def test_each_problem_has_its_remedy(deployed: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing table, TTL that is off, a URL that answers 503."""
    dynamodb = boto3.client("dynamodb")
    dynamodb.update_time_to_live(
        TableName=deployed.audit, TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires"}
    )
    dynamodb.update_table(TableName=deployed.lineages, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=deployed.lineages)
    monkeypatch.setattr(doctor, "fetch", lambda url: (503 if url.endswith("/health") else 200, "{}", int(time.time())))
    found = ill()
    assert found.keys() == {deployed.lineages, deployed.audit, "health"}
    assert "ResourceNotFoundException" in found[deployed.lineages].found
    assert "TTL does not delete" in found[deployed.audit].found
    assert found[deployed.audit].remedy.startswith(f"aws dynamodb update-time-to-live --table-name {deployed.audit} ")
    assert found[deployed.lineages].remedy == "make dev"


def test_an_invalid_registry_is_found(deployed: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise only the log of the function would report it."""
    del deployed
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    (tmp_path / "clients-dev.toml").write_text("[user]\n", "utf-8")
    found = ill()
    assert found.keys() == {"chalicelib/clients-dev.toml"}
    assert "unknown table [user]" in found["chalicelib/clients-dev.toml"].found
    assert found["chalicelib/clients-dev.toml"].remedy == "correct chalicelib/clients-dev.toml"


def test_what_pages_with_a_cookie_need_is_shown(
    deployed: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of another site, a CDN without its secret, and a server that names its people."""
    registry = (FOLDER / "clients-web.toml").read_text("utf-8").replace('device_bound = "offer"\n', "")
    site = '[client.server]\ncode = 21\nmechanism = "exchange"\nform = "jwt"\nbinding = "required"\nscope = "account"\n'
    (tmp_path / "mine.toml").write_text(f'{registry}\n{site}trusted_sources = ["198.51.100.0/24"]\n', "utf-8")
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    assert deployed.prefix
    environ = {**os.environ, "BATON_CLIENTS": "mine.toml"}

    def rows(**more: str) -> dict[str, tuple[str, str]]:
        issuer = more.pop("issuer", "")
        found = settings.read_settings(environ | more)
        found = replace(found, issuer=issuer or found.issuer)
        return {row.name: (row.found, row.remedy) for row in doctor.browser_rows(found)}

    plain = rows()
    assert plain.keys() == {"source", "client site", "client server"}
    assert "BATON_ORIGIN_SECRET" in plain["source"][0]
    assert plain["client server"] == ("Baton-Client-Address counts from 198.51.100.0/24", "")
    assert rows(BATON_ORIGIN_SECRET="s" * 32)["source"][0].startswith("CloudFront-Viewer-Address")
    of_aws = rows(issuer="https://abc.execute-api.eu-central-1.amazonaws.com/api")["site"]
    assert "a site of its own" in of_aws[0]
    assert of_aws[1] == "use a domain of your own: every other page is of another site"


@pytest.mark.parametrize("issuer", [{}, {"BATON_ISSUER": "https://api.example.com/api"}])
def test_a_misspelt_setting_is_found(issuer: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a deployment, and in the development server."""
    monkeypatch.setattr(doctor, "fetch", lambda _: (200, f'{{"server_time": {int(time.time())}}}', None))
    os.environ |= {"BATON_NONSENSE": "1", **issuer}
    assert "the nearest is BATON_" in ill()["BATON_NONSENSE"].found


def test_a_missing_key_ring_is_not_created(deployed: Tables) -> None:
    """The doctor changes nothing. It names the command that creates a key ring."""
    key = {"pk": {"S": "K#ring"}}
    boto3.client("dynamodb").delete_item(TableName=deployed.users, Key=key)
    assert ill()["key ring"].remedy == ".venv/bin/python -m tools.operate make-ring"
    os.environ |= {"BATON_KEY_RING": "local", "BATON_DEVELOPMENT": "1"}
    assert ill()["key ring"].remedy == ".venv/bin/python -m tools.operate make-ring"
    assert "Item" not in boto3.client("dynamodb").get_item(TableName=deployed.users, Key=key)


def test_a_key_ring_that_kms_cannot_decrypt_names_the_runbook(
    deployed: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is disabled, or the permission is missing."""
    del deployed
    from moto.core.exceptions import JsonRESTError

    def refuse(_: object) -> str:
        raise JsonRESTError("DisabledException", "planted")

    monkeypatch.setattr(KmsResponse, "decrypt", refuse)
    assert ill()["key ring"].remedy == "docs/baton/runbooks/kms-key-lost.md"


def test_old_keys_must_be_rotated(deployed: Tables) -> None:
    """The remedy is the command."""
    del deployed
    from chalicelib.baton.keys.rotation import make_ring

    ring, now = make_ring(os.urandom, now=1_700_000_000), 1_700_000_000
    rows = {row.name: row.remedy for row in doctor.key_rows(lambda: ring, now=now + 93 * DAY_S)}
    assert rows["newest signing key"] == ".venv/bin/python -m tools.operate rotate-signing-key"
    assert rows["root"] == ""


def test_wrong_settings_are_all_reported() -> None:
    """With wrong settings, nothing else is checked."""
    os.environ |= {"BATON_ISSUER": "nonsense", "BATON_RATE_LIMITS": "perhaps"}
    found = ill()
    assert {"BATON_ISSUER", "BATON_RATE_LIMITS", "BATON_TABLE_PREFIX", "BATON_KEY_RING"} <= found.keys()
    assert "STAGE" in ill("production")


@pytest.mark.parametrize("ahead_s", [-301, -61, -60, -2, 0, 2, 60, 61, 301])
def test_a_clock_is_wrong_from_one_minute(ahead_s: int) -> None:
    """From this difference on, a genuine token would be refused as one from the future."""
    row = clock_row("x", 1_700_000_000 + ahead_s, 1_700_000_000.0)
    assert bool(row.remedy) == (abs(ahead_s) > ISSUED_AHEAD_MAX_S)
    assert ("signatures" in row.remedy) == (abs(ahead_s) > 300)


def test_colours_are_used_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red and green on a terminal. No colours elsewhere and with NO_COLOR."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    rows: list[Any] = [Row("keys", "not_before", "never raised"), Row("keys", "root", "old", "rotate it")]
    shown = Terminal()
    show(rows, shown)
    assert "\033[31mno" in shown.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    show(rows, plain)
    assert "\033[" not in plain.getvalue()
    assert (
        len({line.index(word) for line, word in zip(plain.getvalue().splitlines()[2:], ("never", "old"), strict=False)})
        == 1
    )


def test_every_part_of_the_output_has_its_place() -> None:
    """Bug: a deployment with attestation or cookies ended the command with a ValueError, after every check."""
    sources = [path.read_text("utf-8") for path in Path(doctor.__file__).parent.glob("doctor*.py")]
    parts = {part for source in sources for part in re.findall(r'Row\(\s*"([a-z]+)"', source)}
    assert parts == set(doctor.PARTS)
