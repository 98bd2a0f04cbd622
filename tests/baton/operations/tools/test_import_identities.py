"""`operate import` and `export` of people who log in with an identity provider."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton import settings
from chalicelib.baton.federation.id_token import login_nonce
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.storage.dynamodb.identities import StoredIdentities
from chalicelib.baton.testing.identity_provider import IdentityProvider
from tests.baton.fixture import load_environment
from tests.baton.operations.tools.test_export import empty, identity, opened, take
from tests.baton.operations.tools.test_import import HASH, bring, line, results
from tests.baton.wire.conversation import Device, through
from tools.dev.gateway import DevelopmentClock, Gateway
from tools.moving.identities import issuers_of
from tools.operate import Operator

__all__ = ["bring", "empty", "identity", "results"]

ADA = line("ada@example.com", identities=[{"provider": "google", "sub": "1234"}], password={"hash": HASH})
NAMELESS = {"v": 1, "source_id": "old|2", "identities": [{"provider": "google", "sub": "5678"}]}


@pytest.fixture(autouse=True)
def _with_providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the deployment providers. One has two issuers."""
    text = (settings._FOLDER / "identity-providers.toml").read_text()
    name = "identity-providers.toml"
    acme = 'issuers = ["https://id.acme.example"]'
    assert acme in text
    changed = tmp_path / name
    changed.write_text(text.replace(acme, 'issuers = ["https://id.acme.example", "https://old.acme.example"]'))
    monkeypatch.setattr(settings, "_PROVIDERS", str(changed))


def enter(sub: str, clock: DevelopmentClock) -> Any:
    """Log in with Google, on a new phone. The keys of the provider are new, so they are fetched again."""
    clock.skip(61)
    environment = load_environment(clock)
    row = environment.baton.settings.providers.get("google")
    google = IdentityProvider(row, lambda: int(clock.time()))
    environment.baton._late.fetch = lambda *_, **__: google.fetch()
    phone = Device(through(Gateway([environment.app])), lambda: int(clock.time()))
    attempt = "the-attempt-of-this-login"
    nonce = login_nonce(provider="google", client_id="mobile", keyid=phone.key.thumbprint(), attempt=attempt)
    body = {
        "provider": "google",
        "id_token": google.token(sub, nonce, "mobile"),
        "client_id": "mobile",
        "device": {"name": "phone", "public_key": phone.key.jwk()},
    }
    phone._kept(phone.post("/login/federated", body, {"idempotency-key": attempt}, token=None))
    return phone.get("/me").members


def test_an_imported_person_logs_in_with_the_identity(
    bring: Callable[..., int], results: Callable[..., list[dict[str, Any]]], clock: DevelopmentClock
) -> None:
    """The person has an address, or none. A repeated line changes nothing."""
    assert bring(ADA, NAMELESS) == 0
    accounts = [one["account_id"] for one in results()]
    assert [one["outcome"] for one in results()] == ["created", "created"]
    me = enter("1234", clock)
    assert (me["account_id"], me["email"]) == (accounts[0], "ada@example.com")
    me = enter("5678", clock)
    assert (me["account_id"], me["email"]) == (accounts[1], "")
    assert bring(ADA, NAMELESS, name="again.jsonl") == 0
    again = results("again.jsonl")
    assert [(one["outcome"], one["account_id"]) for one in again] == [("unchanged", one) for one in accounts]


def test_an_identity_belongs_to_one_account(
    bring: Callable[..., int], results: Callable[..., list[dict[str, Any]]]
) -> None:
    """A second line with the identity is a conflict, and creates nothing: neither a user nor an index entry."""
    other = line("bob@example.com", identities=[{"provider": "google", "sub": "1234"}])
    assert bring(ADA) == 0
    assert bring(other, name="other.jsonl") == 3
    assert [(one["outcome"], one["reason"]) for one in results("other.jsonl")] == [("conflict", "identity_taken")]
    place = Operator().place()
    assert Users(place.database).find(place.ring.email_index("bob@example.com")) is None
    assert bring(other, name="dry.jsonl", options=("--dry-run",)) == 3


def test_a_dry_run_finds_what_exists(bring: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written."""
    assert bring(NAMELESS, options=("--dry-run",)) == 0
    assert "created" in capsys.readouterr().out
    assert bring(NAMELESS) == 0
    capsys.readouterr()
    assert bring(NAMELESS, name="again.jsonl", options=("--dry-run",)) == 0
    assert "unchanged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"identities": [{"provider": "facebook", "sub": "1"}]}, "identity_provider_unknown"),
        ({"identities": [{"provider": "google", "sub": ""}]}, "identity_invalid"),
        ({"identities": [{"provider": "google", "sub": "x" * 256}]}, "identity_invalid"),
        ({"identities": [{"provider": "google", "sub": "a\nb"}]}, "identity_invalid"),
        ({"identities": [{"provider": "google", "sub": "1"}, {"provider": "google", "sub": "2"}]}, "identity_invalid"),
        ({"identities": [{"provider": "acme", "sub": "1"}]}, "identity_issuer_unknown"),
        ({"identities": [{"provider": "acme", "sub": "1", "issuer": "https://x"}]}, "identity_issuer_unknown"),
        ({"identities": [{"provider": "google", "sub": "1", "email": "a@gmail.com"}]}, "malformed"),
    ],
)
def test_what_is_refused(
    bring: Callable[..., int],
    results: Callable[..., list[dict[str, Any]]],
    members: dict[str, Any],
    reason: str,
) -> None:
    """Nothing of the line is stored, because the account would lack its identity."""
    assert bring(line("a@example.com", **members)) == 3
    assert [one["reason"] for one in results()] == [reason]


def test_a_round_trip_keeps_every_identity(
    bring: Callable[..., int],
    empty: Tables,
    identity: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: DevelopmentClock,
) -> None:
    """An export, an import into an empty deployment with another key ring, and a second export have the same lines."""
    acme = [{"provider": "acme", "sub": "ä|1", "issuer": "https://old.acme.example"}]
    totp = {"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
    both = [{"provider": "apple", "sub": "000.1"}, {"provider": "google", "sub": "9"}]
    nameless = {**NAMELESS, "totp": totp, "password": {"hash": HASH}}
    assert bring(ADA, nameless, line("eve@example.com", identities=acme), line("bob@example.com", identities=both)) == 0
    file = tmp_path / "everyone.age"
    assert take(identity, file) == 0
    lines = opened(identity, file)
    found = sorted(json.dumps(one["identities"]) for one in lines)
    assert found == sorted(json.dumps(one) for one in (ADA["identities"], NAMELESS["identities"], acme, both))
    assert [one.get("email", "") for one in lines].count("") == 1
    monkeypatch.setenv("BATON_TABLE_PREFIX", empty.prefix)
    assert bring(*lines, name="moved.jsonl") == 0
    assert enter("1234", clock)["email"] == "ada@example.com"
    again = tmp_path / "again.age"
    assert take(identity, again) == 0

    def bare(exported: list[dict[str, Any]]) -> list[str]:
        kept = ({name: value for name, value in one.items() if name != "source_id"} for one in exported)
        return sorted(json.dumps(one, sort_keys=True) for one in kept)

    assert bare(opened(identity, again)) == bare(lines)


def test_an_unlinked_identity_is_not_exported(bring: Callable[..., int], identity: Any, tmp_path: Path) -> None:
    """The identity was unlinked after the user was read and before the identity was read."""
    assert bring(ADA) == 0
    place = Operator().place()
    row = place.providers.get("google")
    assert row is not None
    index = place.ring.identity_index(row.code, issuers_of(row)[0], "1234")
    store = StoredIdentities(place.database)
    stored = store.get(index)
    assert stored is not None
    store.forget(index, stored.account, now=0)
    assert take(identity, tmp_path / "everyone.age") == 0
    (exported,) = opened(identity, tmp_path / "everyone.age")
    assert "identities" not in exported
