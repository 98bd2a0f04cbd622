"""``python -m tools.operate provider-key``, on the embedded engine, and the checks of the key in the doctor."""

import secrets
import time
from pathlib import Path
from typing import Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from chalicelib.baton import settings
from chalicelib.baton.federation.apple_key import NoKey, stored_key
from chalicelib.baton.federation.model import REVOCATIONS_STUCK_S
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import LocalWrapper
from chalicelib.baton.storage.dynamodb.provider_tokens import StoredProviderTokens
from chalicelib.baton.storage.dynamodb.waiting_tokens import WaitingTokens
from tests.baton.fixture import FOLDER
from tools.doctor_federation import federation_rows
from tools.operate import main

P256: Final = ec.generate_private_key(ec.SECP256R1())
NOW: Final = int(time.time())


@pytest.fixture(autouse=True)
def providers(tables: Tables, monkeypatch: pytest.MonkeyPatch, embedded_engine: None) -> None:
    """Use the providers of the tests, and make the key ring."""
    del embedded_engine
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setattr(settings, "_FOLDER", FOLDER)
    monkeypatch.setattr(settings, "_PROVIDERS", "identity-providers.toml")
    monkeypatch.setenv("BATON_CLIENTS", "clients-factors.toml")
    assert main(["make-ring"]) == 0


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, password: bytes | None = None
) -> bytes:
    """Encode a key as Apple's file does."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def written(folder: Path, encoded: bytes) -> str:
    """Write a file."""
    file = folder / "AuthKey_KEY1234567.p8"
    file.write_bytes(encoded)
    return str(file)


def key_ring(tables: Tables) -> KeyRing:
    """Read the key ring, as an environment does."""
    return KeyRing(DynamoDB(tables), LocalWrapper(), secrets.token_bytes)


def doctor(tables: Tables, *, now: int = NOW) -> dict[str, tuple[str, str]]:
    """Return what the doctor finds, and the remedy."""
    providers = settings.read_settings().providers
    assert providers is not None
    rows = federation_rows(
        providers,
        StoredProviderTokens(DynamoDB(tables)),
        key_ring(tables),
        now=now,
        remedy_for=lambda _, otherwise: otherwise,
    )
    return {name: (found, remedy) for name, found, remedy in rows}


def test_an_operator_sets_the_key(tables: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key is stored encrypted, with its id. No part of it is printed."""
    encoded = pem(P256)
    assert main(["provider-key", "apple", written(tmp_path, encoded)]) == 0
    out = capsys.readouterr()
    assert out.out.splitlines()[-1].startswith("ok: the key KEY1234567 of team TEAM123456 is stored, encrypted")
    assert not any(line in out.out + out.err for line in encoded.decode().splitlines()[1:-1])
    tokens, ring = StoredProviderTokens(DynamoDB(tables)), key_ring(tables).current(now=NOW)
    key = stored_key(tokens, ring=ring)
    assert (key.kid, key.private_key().private_numbers()) == ("KEY1234567", P256.private_numbers())
    scalar = P256.private_numbers().private_value.to_bytes(32, "big")
    assert scalar not in tokens.apple_key()
    assert doctor(tables)["key for Apple"] == ("KEY1234567, of team TEAM123456", "")


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        (b"", "not an unencrypted private key"),
        (b"x" * 5000, "too large"),
        (pem(P256, b"password"), "not an unencrypted private key"),
        (P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "not an unencrypted"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "not of the curve P-256"),
        (pem(rsa.generate_private_key(65537, 2048)), "not of the curve P-256"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "not of the curve P-256"),
    ],
    ids=["empty", "large", "encrypted", "public", "P-384", "RSA", "Ed25519"],
)
def test_another_file_is_refused(
    tables: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str], encoded: bytes, says: str
) -> None:
    """The command exits with 1 and a reason. Nothing is stored, and no line of the file is printed."""
    assert main(["provider-key", "apple", written(tmp_path, encoded)]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert not any(line.decode() in err for line in encoded.splitlines() if len(line) > 8)
    assert StoredProviderTokens(DynamoDB(tables)).apple_key() == b""


def test_a_missing_file_and_a_missing_row(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names what is missing. There is no command for another provider."""
    assert main(["provider-key", "apple", str(tmp_path / "none.p8")]) == 1
    assert "cannot be read: FileNotFoundError" in capsys.readouterr().err
    assert main(["provider-key", "google", written(tmp_path, pem(P256))]) == 2
    monkeypatch.setattr(settings, "_PROVIDERS", "none.toml")
    assert main(["provider-key", "apple", written(tmp_path, pem(P256))]) == 1
    assert "no provider of kind apple" in capsys.readouterr().err
    assert StoredProviderTokens(DynamoDB(tables)).apple_key() == b""


def test_the_doctor_finds_a_missing_an_unusable_and_an_old_key(tables: Tables, tmp_path: Path) -> None:
    """The remedy is the command that sets the key."""
    assert doctor(tables)["key for Apple"][0] == "no key is stored"
    assert "provider-key apple FILE" in doctor(tables)["key for Apple"][1]
    tokens = StoredProviderTokens(DynamoDB(tables))
    tokens.replace_apple_key(bytes(80))
    assert "cannot be decrypted" in doctor(tables)["key for Apple"][0]
    assert doctor(tables)["key for Apple"][1]
    assert main(["provider-key", "apple", written(tmp_path, pem(P256))]) == 0
    rows = settings.read_settings().providers
    assert rows is not None
    text = (FOLDER / "identity-providers.toml").read_text("utf-8").replace("KEY1234567", "KEY7654321")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", tmp_path)
        (tmp_path / "identity-providers.toml").write_text(text, "utf-8")
        (tmp_path / "clients-factors.toml").write_bytes((FOLDER / "clients-factors.toml").read_bytes())
        found, remedy = doctor(tables)["key for Apple"]
    assert (found, bool(remedy)) == ("the stored key is KEY1234567, and providers.toml names KEY7654321", True)


def test_a_key_that_was_moved_or_altered_is_none(tables: Tables, tmp_path: Path) -> None:
    """One bit is changed, or the ciphertext is that of another secret."""
    assert main(["provider-key", "apple", written(tmp_path, pem(P256))]) == 0
    tokens, ring = StoredProviderTokens(DynamoDB(tables)), key_ring(tables).current(now=NOW)
    sealed = tokens.apple_key()
    for wrong in (
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        ring.encrypt_for(
            msgspec.msgpack.encode(["KEY1234567", bytes(31) + b"k"]),
            account=AccountId("provider#apple"),
            nonce=bytes(12),
            kind="identity",
        ),
        ring.encrypt_for(b"x", account=AccountId("provider#apple"), nonce=bytes(12), kind="provider key"),
    ):
        tokens.replace_apple_key(wrong)
        with pytest.raises(NoKey):
            stored_key(tokens, ring=ring)


def test_the_doctor_counts_the_revocations_that_wait(tables: Tables) -> None:
    """If a revocation waits for more than a day, the remedy is a runbook. Without an Apple row there is no check."""
    engine = DynamoDB(tables)
    update = WaitingTokens(engine).add(AccountId("a" * 16), b"sealed", now=NOW)
    assert update is not None
    engine.transact(update)
    assert doctor(tables)["revocations at Apple"] == ("1 waiting, the oldest for 0 hours", "")
    later = doctor(tables, now=NOW + REVOCATIONS_STUCK_S + 1)["revocations at Apple"]
    assert later == ("1 waiting, the oldest for 24 hours", "docs/baton/runbooks/apple.md")
    assert doctor(tables)["google"][1] == ""
    rows = federation_rows(
        Providers(), StoredProviderTokens(engine), key_ring(tables), now=NOW, remedy_for=lambda _, otherwise: otherwise
    )
    assert list(rows) == []
