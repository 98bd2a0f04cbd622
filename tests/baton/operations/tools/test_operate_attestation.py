"""``python -m tools.operate attestation``, on the embedded engine."""

import secrets
import time

import pytest

from chalicelib.baton import settings
from chalicelib.baton.attestation.switches import stored_switches
from chalicelib.baton.storage.dynamodb.attestations import StoredAttestations
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import LocalWrapper
from tests.baton.fixture import FOLDER
from tools.operate import main


@pytest.fixture(autouse=True)
def registry(tables: Tables, monkeypatch: pytest.MonkeyPatch, embedded_engine: None) -> None:
    """Use the registry whose client `bank` requires evidence, and make the key ring."""
    del embedded_engine
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setattr(settings, "_FOLDER", FOLDER)
    monkeypatch.setenv("BATON_CLIENTS", "clients-attest.toml")
    assert main(["make-ring"]) == 0


def lowered(tables: Tables) -> dict[str, int]:
    """Read the switches, as an environment does."""
    engine, now = DynamoDB(tables), int(time.time())
    key_ring = KeyRing(engine, LocalWrapper(), secrets.token_bytes)
    return {
        one: until
        for one, until in stored_switches(StoredAttestations(engine), key_ring, now=now).items()
        if until > now
    }


def command(client_id: str, hours: str) -> int:
    """Run the command."""
    return main(["attestation", "--client", client_id, "--report", "--hours", hours])


def test_an_operator_lowers_a_client_and_ends_it(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    """The item is encrypted with the key ring, and another client stays lowered."""
    assert command("bank", "6") == 0
    assert "bank is judged as report until" in capsys.readouterr().out
    assert command("factor", "1") == 0
    assert set(lowered(tables)) == {"bank", "factor"}
    assert abs(lowered(tables)["bank"] - time.time() - 6 * 3600) < 60
    assert command("bank", "0") == 0
    assert "required from bank again" in capsys.readouterr().out
    assert set(lowered(tables)) == {"factor"}


@pytest.mark.parametrize(
    ("client_id", "hours", "says"),
    [
        ("nobody", "1", "the client registry has no client 'nobody'"),
        ("mobile", "1", "nothing to lower"),
        ("bank", "169", "hours is a whole number from 0 to 168"),
        ("bank", "-1", "hours is a whole number"),
        ("bank", "six", "hours is a whole number"),
    ],
)
def test_a_wrong_command_changes_nothing(
    tables: Tables, capsys: pytest.CaptureFixture[str], client_id: str, hours: str, says: str
) -> None:
    """The exit code is 1, and the reason is printed."""
    assert command(client_id, hours) == 1
    assert says in capsys.readouterr().err
    assert lowered(tables) == {}
