"""The Python client with the shared vectors of all clients: ``clients/vectors``.

The generator of the vectors shares no code with the client.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

import baton_client as client
from tests.baton.wire.client_script import Played, Script, Sent, answer_of
from tools.client_vectors.__main__ import FOLDER, texts


def vectors(name: str) -> list[Any]:
    """Read a file of vectors."""
    return list(json.loads((FOLDER / f"{name}.json").read_text("utf-8")))


ATTEMPTS = {one["name"]: one for one in vectors("attempts") if one["run"]}


def test_the_files_are_as_the_generator_writes_them() -> None:
    """If this fails, run ``python -m tools.client_vectors``."""
    made = texts()
    assert {path.name: path.read_text("utf-8") for path in Path(FOLDER).iterdir()} == made


def _raised(played: Played, kind: type[client.BatonError]) -> bool:
    return not played.events and type(played.error) is kind


def _same_again(sent: float | Sent, played: Played) -> bool:
    last = played.last
    assert isinstance(sent, Sent)
    assert last is not None
    return (sent.path, sent.attempt, sent.token) == (
        last.path,
        last.attempt,
        last.token,
    ) and sent.signature != last.signature


def follows(one: dict[str, Any], played: Played) -> bool:  # noqa: C901, PLR0911, PLR0912 - one case for each step
    """Return whether the client did what the vector requires."""
    first = played.events[0] if played.events else None
    sent = first if isinstance(first, Sent) else Sent("", None, None, None)
    match one["step"]:
        case "done" if one["run"]["verb"] == "exchange":
            return (sent.path, sent.token) == ("/things", "Bearer t2")
        case "done":
            return played.value is not None and played.error is None
        case "pause":
            return first == one["situation"]["pause"] and _same_again(played.events[1], played)
        case "sync":
            return _same_again(played.events[0], played)
        case "answer_lost":
            return _raised(played, client.AnswerLost)
        case "offline":
            return _raised(played, client.Offline)
        case "refused":
            assert isinstance(played.error, client.Refused), played
            return _raised(played, client.Refused) and played.error.code == one["situation"]["code"]
        case "exchange":
            return sent.path == "/oauth/token"
        case "step_up":
            return sent.path == "/step-up"
        case "return_step":
            pending = played.record.pending
            return pending is not None and pending.auth_session == "as.new"
        case "return_session":
            return isinstance(played.value, client.Session) and played.value.device_id == "other"
        case "new_attempt":
            assert played.last is not None
            return sent.path == played.last.path and sent.attempt != played.last.attempt
        case "read_storage":
            return sent.path == "/things" and str(sent.token).startswith("Bearer newer-")
        case "ask_again":
            return isinstance(first, float) and first >= 1 and _same_again(played.events[1], played)
        case "rule_8":
            record = played.record
            return sent.path == "/oauth/revoke" and (record.session, record.key, len(record.revocations)) == (
                None,
                None,
                1,
            )
        case "logged_out":
            return _raised(played, client.LoggedOut) and played.record.session is None
        case step:
            raise AssertionError(step)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempts(name: str) -> None:
    """After a scripted answer the client takes the step of the table."""
    one = ATTEMPTS[name]
    played = Script(one["run"]).play()
    assert played.left == 0
    assert follows(one, played), played
    if one["step"] not in {"logged_out", "rule_8"} and one["run"]["verb"] in {"call", "exchange"}:
        assert played.record.session is not None


@pytest.mark.parametrize("one", vectors("problems"), ids=lambda one: one["name"])
def test_problems(one: dict[str, Any]) -> None:
    """An answer is foreign, a success, or a refusal with its members."""
    if "url" in one["answer"]:
        return  # The transport of this client follows no redirect, so its answers have no URL.
    answer = answer_of(one["answer"])
    expect = one["expect"]
    assert (answer.foreign(team=one["team"]) is not None) == expect.get("foreign", False)
    if "code" in expect:
        refused = client.Refused(answer)
        assert (refused.status, refused.error, refused.code, refused.action) == tuple(
            expect[name] for name in ("status", "error", "code", "action")
        )
        assert refused.retry_after_s == expect["retry_after"]
        assert client._ends_session(refused) == expect["ends"]


@pytest.mark.parametrize("one", vectors("base_url"), ids=lambda one: one["url"])
def test_base_urls(one: dict[str, Any]) -> None:
    """The vector has the signed and sent address, or an error of the program before a request is sent."""
    if one.get("refused"):
        with pytest.raises(ValueError, match="base_url"):
            client.BatonClient(one["url"], "mobile", client.MemoryStorage())
        return
    made = client.BatonClient(one["url"], "mobile", client.MemoryStorage())
    assert (made._origin, made._authority, made._prefix) == (one["origin"], one["authority"], one["prefix"])


@pytest.mark.parametrize("one", vectors("path"), ids=lambda one: one["path"])
def test_paths(one: dict[str, Any]) -> None:
    """A path that a platform could rewrite is refused."""
    made = client.BatonClient("https://api.example.com", "mobile", client.MemoryStorage())
    if one["accepted"]:
        assert made._request("GET", one["path"], created=0).url == "https://api.example.com" + one["path"]
        return
    with pytest.raises(ValueError, match="path"):
        made._request("GET", one["path"], created=0)


@pytest.mark.parametrize("one", vectors("signature_base"), ids=lambda one: one["name"])
def test_signature_bases(one: dict[str, Any]) -> None:
    """The base and the parameters are those of the vector."""
    signed: list[bytes] = []

    def sign(base: bytes) -> bytes:
        signed.append(base)
        return b""

    signer = client.Signer(one["key_id"], sign)
    fields = client.signature_fields(
        client.Request(one["method"], one["url"], one["headers"]), signer, created=one["created"], nonce=one["nonce"]
    )
    assert signed == [one["base"].encode()]
    assert fields["signature-input"] == f"baton={one['input']}"
    assert client._query(one["query"]) == one["url"].partition("?")[2]


@pytest.mark.parametrize("one", vectors("signatures"), ids=lambda one: one["name"])
def test_signatures(one: dict[str, Any]) -> None:
    """Ed25519 and P-256 verify. HMAC is exact."""
    base, signature, key = one["base"].encode(), base64.b64decode(one["signature"]), one["key"]
    if one["kind"] == "hmac":
        assert client._secret_signer("k", key).sign(base) == signature
        return
    x, y = (base64.urlsafe_b64decode(key.get(name, "") + "===") for name in ("x", "y"))
    if one["kind"] == "ed25519":
        ed25519.Ed25519PublicKey.from_public_bytes(x).verify(signature, base)
        return
    point = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1()).public_key()
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    point.verify(encode_dss_signature(r, s), base, ec.ECDSA(SHA256()))


def test_digests_and_thumbprints() -> None:
    """The functions are those that requests use."""
    for one in vectors("digest"):
        assert client.content_digest(base64.b64decode(one["body"])) == one["expect"]
    for one in vectors("thumbprint"):
        assert client._base64url(hashlib.sha256(client._json_bytes(one["jwk"])).digest()) == one["expect"]


def test_good_signatures_in_der() -> None:
    """The client converts only signatures of its own library, so the refused vectors do not concern it."""
    for one in vectors("der"):
        if "expect" in one:
            r, s = decode_dss_signature(bytes.fromhex(one["der"]))
            assert (r.to_bytes(32) + s.to_bytes(32)).hex() == one["expect"]


@pytest.mark.parametrize("one", vectors("clock"), ids=lambda one: one["name"])
def test_clocks(one: dict[str, Any]) -> None:
    """Each vector says whether and how an answer moves the clock."""
    times = iter((one["before"], one["before"], one["after"]))
    answer = answer_of(one["answer"])
    made = client.BatonClient(
        "https://api.example.com",
        "mobile",
        client.MemoryStorage(),
        transport=lambda *_: answer,
        clock=lambda: next(times),
    )
    made._offset_s = one["offset"]
    next(times)
    made._send(client.Request("GET", "https://api.example.com/time", {}), made._patience(30))
    assert made._offset_s == one["expect"]


@pytest.mark.parametrize("one", vectors("backoff"), ids=str)
def test_backoff(one: dict[str, Any]) -> None:
    """The pauses are exponential with full jitter, and at least as long as Retry-After."""
    slept: list[float] = []
    patience = client._Patience(None, slept.append, lambda: one["draw"])
    patience._pauses = one["pauses"]
    assert patience.pause(one["at_least"])
    assert slept == [one["expect"]]


@pytest.mark.parametrize("one", vectors("record"), ids=lambda one: one["name"])
def test_records(one: dict[str, Any]) -> None:
    """A record of version 1 becomes version 2, and reading it again changes nothing.

    Broken and newer records are refused.
    """
    text = one["text"].encode()
    if one.get("broken"):
        with pytest.raises(client.BrokenStorage):
            client.Record.from_json(text)
        return
    record = client.Record.from_json(text)
    assert json.loads(record.to_json()) == one["expect"]
    assert client.Record.from_json(record.to_json()) == record
