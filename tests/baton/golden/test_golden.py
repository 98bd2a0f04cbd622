"""The output of the program equals the recorded output byte for byte, and recorded values can still be read."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.baton.keys.ring_format import ring_from_bytes, ring_to_bytes
from chalicelib.baton.storage.dynamodb.items import state_item, state_of
from tests.baton.golden.fixed import written
from tests.baton.golden.record import COMMAND, RECORDED, Golden, made, recorded
from tests.baton.golden.values import read_back

KINDS = {
    "answer": "an answer: request, status, header fields in order, body",
    "aws": "the requests to DynamoDB",
    "derived": "ids, secrets and keys that are derived",
    "item": "a stored account state",
    "jwks": "the published keys",
    "lean transport": "a request to AWS, to the byte",
    "log": "log lines and metrics",
    "ring": "the stored form of the key ring",
    "signature": "a signature of the key ring",
    "signature base": "a signature base (RFC 9421)",
    "table": "the items of a table, after all steps",
    "thumbprint": "a JWK and its thumbprint (RFC 7638)",
    "token": "a token, and what it holds",
}
ENTRIES_MIN = 300
SHOWN_BEFORE, SHOWN_AFTER = 60, 40


def differences(expected: Golden, found: Golden) -> Iterator[str]:
    """List each entry that differs, with its first difference. The most basic entries come first."""
    for name in dict.fromkeys([*expected, *found]):
        if name not in found:
            yield f"{name!r} is recorded, and is not made any more"
        elif name not in expected:
            yield f"{name!r} is new, and is not recorded"
        elif expected[name] != found[name]:
            yield f"{name!r} differs {_where(expected[name], found[name])}"


def _where(expected: list[str], found: list[str]) -> str:
    """Show the first line that differs, around the first character that differs."""
    number = next((n for n, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), None)
    if number is None:
        number = min(len(expected), len(found))
    was, now = ("".join(lines[number : number + 1]) or "(no line)" for lines in (expected, found))
    at = next((n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    begin = max(0, at - SHOWN_BEFORE)
    shown = [repr(text[begin : at + SHOWN_AFTER]) for text in (was, now)]
    return f"in line {number + 1}, character {at + 1}\n  recorded {shown[0]}\n  now      {shown[1]}"


def report(expected: Golden, found: Golden) -> str:
    """Describe all differences and the remedy. Without a difference the text is empty."""
    lines = list(differences(expected, found))
    if not lines:
        return ""
    advice = f"A move must not change a value. After a change of format on purpose, record anew: {COMMAND}"
    return "\n".join([f"{len(lines)} golden values differ:", *lines, advice])


def of_kind(kind: str) -> list[str]:
    """Return the names of the recorded entries of a kind."""
    return [name for name in recorded() if name.partition(":")[0] == kind]


@pytest.mark.usefixtures("dear_passwords")
def test_the_output_of_the_program_is_unchanged(embedded_engine: None) -> None:
    """Tokens, ids, items, answers, requests to AWS, log lines and signature bases are as recorded."""
    del embedded_engine
    told = report(recorded(), made())
    assert not told, told


def test_every_kind_is_recorded() -> None:
    """The file has entries of each kind. None has the name of a module, which a move changes."""
    assert "chalicelib" not in RECORDED.read_text("utf-8")
    assert {name.partition(":")[0] for name in recorded()} == KINDS.keys()
    assert len(recorded()) > ENTRIES_MIN


@pytest.mark.parametrize("name", of_kind("token"))
def test_recorded_tokens_can_be_read(name: str) -> None:
    """Reading a token from a client's storage gives the values from which the token was made."""
    lines = recorded()[name]
    texts = [number for number, line in enumerate(lines) if line.startswith(("eyJ", "baton_"))]
    assert texts
    for number in texts:
        assert read_back(lines[number]) == lines[number + 1 : number + 4]


@pytest.mark.parametrize("name", [name for name in of_kind("ring") if "KMS" not in name])
def test_recorded_key_rings_can_be_read(name: str) -> None:
    """A stored key ring is read, and written back unchanged."""
    (line,) = recorded()[name]
    assert ring_to_bytes(ring_from_bytes(line.encode())).decode() == line


@pytest.mark.parametrize("name", of_kind("item"))
def test_recorded_items_can_be_read(name: str) -> None:
    """A stored account state is read, and written back unchanged."""
    (line,) = recorded()[name]
    assert written(state_item(state_of(json.loads(line, object_hook=_with_bytes)))) == line


def _with_bytes(members: dict[str, Any]) -> dict[str, Any]:
    if members.keys() == {"B"} and isinstance(members["B"], str):
        return {"B": base64.b64decode(members["B"])}
    return members


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_character_is_reported(kind: str) -> None:
    """The report names the entry, the line and the character, and the command to record again."""
    golden = recorded()
    name = of_kind(kind)[-1]
    lines = list(golden[name])
    at = len(lines[-1]) // 2
    lines[-1] = lines[-1][:at] + chr(ord(lines[-1][at]) ^ 1) + lines[-1][at + 1 :]
    told = report(golden, {**golden, name: lines})
    assert f"1 golden values differ:\n{name!r} differs in line {len(lines)}, character {at + 1}\n" in told
    assert told.endswith(COMMAND)


def test_a_missing_and_a_new_entry_are_reported() -> None:
    """The report also names an entry with reordered, missing or additional lines."""
    golden = {"one": ["a", "b"], "two": ["c"]}
    assert list(differences(golden, {"one": ["a", "b"], "three": ["c"]})) == [
        "'two' is recorded, and is not made any more",
        "'three' is new, and is not recorded",
    ]
    for lines in (["b", "a"], ["a"], ["a", "b", "c"]):
        assert list(differences(golden, {**golden, "one": lines}))
    assert report(golden, golden) == ""
