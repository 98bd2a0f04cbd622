"""Evidence that was altered on its way never gets a 5xx, and never begins a login under ``required``."""

import json
import random
from base64 import b64decode, b64encode
from typing import Any, Final

import pytest

from tests.baton.attestation.scene import Attesting, Scene

EMAIL: Final = "ada@example.com"
ROUNDS: Final = 120

pytestmark = pytest.mark.filterwarnings(
    "ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning"
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Return one deployment for all rounds."""
    return Scene()


def altered(source: random.Random, encoded: str) -> str:
    """Flip bits, cut, or insert bytes."""
    value = bytearray(b64decode(encoded))
    for _ in range(source.randrange(1, 4)):
        place = source.randrange(len(value))
        match source.randrange(3):
            case 0:
                value[place] ^= 1 << source.randrange(8)
            case 1:
                del value[place + 1 :]
            case _:
                value[place:place] = source.randbytes(2)
    return b64encode(value).decode()


def members(source: random.Random, phone: Attesting, form: str) -> dict[str, Any]:
    """Make good evidence, and alter one member of it."""
    made = phone.evidence(form)
    if form == "android-key":
        place = source.randrange(len(made["chain"]) - 1)  # of the root only the key counts
        made["chain"][place] = altered(source, made["chain"][place])
    else:
        made["object"] = altered(source, made["object"])
    return made


@pytest.mark.parametrize("form", ["android-key", "apple-attestation"])
def test_altered_evidence_never_gets_a_5xx(scene: Scene, form: str) -> None:
    """The answer is 400 or 403. Evidence with a change in a part that Baton does not judge is accepted."""
    source, statuses = random.Random(form), []
    for number in range(ROUNDS):
        phone = scene.phone()
        said = phone.register(f"{number}-{form}@example.com", attestation=members(source, phone, form))
        statuses.append(said.status)
        assert said.status in {201, 400, 403}, said
        if said.status == 201:  # the receipt of Apple, or the name of an algorithm outside the signed part
            continue
        assert said.code in {"attestation_failed", "malformed"}, said
    assert statuses.count(403) > ROUNDS / 2


MALFORMED: Final[list[tuple[dict[str, Any], str]]] = [
    ({"format": "packed"}, "/attestation/format"),
    ({}, "/attestation/format"),
    ({"format": "none"}, "/attestation/reason"),
    ({"format": "none", "reason": "other"}, "/attestation/reason"),
    ({"format": "none", "reason": "error", "challenge": "x"}, "/attestation/challenge"),
    ({"format": "android-key", "challenge": "x"}, "/attestation/chain"),
    ({"format": "android-key", "challenge": "x", "chain": ["AAAA"] * 2}, "/attestation/chain"),
    ({"format": "android-key", "challenge": "x", "chain": ["AAAA"] * 7}, "/attestation/chain"),
    ({"format": "android-key", "challenge": "x", "chain": ["AAAA"] * 3, "key_id": "AAAA"}, "/attestation/key_id"),
    ({"format": "android-key", "challenge": "x", "chain": ["AAAA", "AAA", "AAAA"]}, "/attestation/chain/1"),
    ({"format": "android-key", "challenge": "x", "chain": ["AAAA", "AA-_", "AAAA"]}, "/attestation/chain/1"),
    ({"format": "android-key", "challenge": "x", "chain": ["AAAA", "AAB=", "AAAA"]}, "/attestation/chain/1"),
    (
        {"format": "android-key", "challenge": "x", "chain": [b64encode(bytes(6000)).decode()] * 3},
        "/attestation/chain",
    ),
    ({"format": "apple-attestation", "challenge": "x", "key_id": "AAAA", "object": "AAAA"}, "/attestation/key_id"),
    (
        {"format": "apple-attestation", "challenge": "x", "key_id": b64encode(bytes(32)).decode()},
        "/attestation/object",
    ),
    (
        {
            "format": "apple-attestation",
            "challenge": "x",
            "key_id": b64encode(bytes(32)).decode(),
            "object": b64encode(bytes(16 * 1024 + 1)).decode(),
        },
        "/attestation/object",
    ),
    ({"format": "android-key", "challenge": "x" * 129, "chain": ["AAAA"] * 3}, "/attestation/challenge"),
    ({"format": "none", "reason": "error", "other": 1}, "/attestation/other"),
]


@pytest.mark.parametrize(("member", "pointer"), MALFORMED)
@pytest.mark.parametrize("client_id", ["bank", "mobile", "plain"])
def test_a_member_of_another_shape_is_refused_by_every_client(
    scene: Scene, client_id: str, member: dict[str, Any], pointer: str
) -> None:
    """Even ``off`` and ``report`` refuse this error, and no other error of evidence. The answer names the place."""
    said = scene.phone(client_id).register(EMAIL, attestation=member)
    assert said.status in {400, 422}, said
    assert said.members["pointer"] == pointer
    assert said.members["action"] == "fix_request"


def test_the_largest_evidence_fits_the_body(scene: Scene) -> None:
    """An object of 16 KB takes, in base64, a third of the largest body."""
    phone = scene.phone()
    made = phone.evidence("apple-attestation")
    made["object"] = b64encode(bytes(16 * 1024)).decode()
    assert len(json.dumps(made)) < 32 * 1024
    assert phone.register(EMAIL, attestation=made).code == "attestation_failed"


def test_a_challenge_for_an_unknown_or_retired_client(scene: Scene) -> None:
    """The answer is 400, as at a login."""
    for client_id, code in (("nobody", "invalid_client"), ("retired", "unauthorized_client")):
        said = scene.phone().post("/attestation-challenge", {"client_id": client_id}, token=None)
        assert (said.status, said.code) == (400, code)
    phone = scene.phone()
    said = phone.post("/attestation-challenge", {"client_id": "bank"}, token=None)
    assert (said.status, said.headers["cache-control"]) == (200, "no-store")
    assert said.members["expires_in"] == 86400
    assert len(said.members["attestation_challenge"]) <= 64
