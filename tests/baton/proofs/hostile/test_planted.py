"""Planted faults: each of these mistakes, made in the server, is noticed by an attack, or by the storm."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chalicelib.baton.http import request
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring, SigningKey
from chalicelib.baton.proof import signature as signatures
from chalicelib.baton.proof.signature import VerifiedSignature
from chalicelib.baton.proof.signature_input import Signature
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens import jwt
from chalicelib.baton.tokens import presented as proof
from tests.baton.proofs.hostile import attacks
from tests.baton.proofs.hostile.scene import Scene
from tests.baton.proofs.hostile.test_storm import rage
from tests.baton.wire.contract import Contract
from tools.dev.gateway import Gateway

Plant = Callable[[pytest.MonkeyPatch], None]


def alg_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe a token that says it is not signed."""
    genuine = jwt._payload

    def payload(text: str, ring: Ring) -> tuple[bytes, SigningKey]:
        head, payload, _ = text.split(".")
        if str(json.loads(decode_base64url(head)).get("alg")).lower() == "none":
            return decode_base64url(payload), ring.signer(0)
        return genuine(text, ring)

    monkeypatch.setattr(jwt, "_payload", payload)


def zero_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take (0, 0) for a signature of anything (CVE-2022-21449)."""
    genuine = PublicKey.verifies

    def verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
        return signature == bytes(64) or genuine(key, signature, message)

    monkeypatch.setattr(PublicKey, "verifies", verifies)


def remembered_by_string(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember a signed request by its signature as it was sent, of which there are two."""
    genuine = signatures.verify_signature

    def verify_signature(message: Message, signature: Signature, **expected: Any) -> VerifiedSignature:
        verified = genuine(message, signature, **expected)
        return replace(verified, nonce=base64.b64encode(signature.value).decode())

    monkeypatch.setattr(proof, "verify_signature", verify_signature)


def digest_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the field, which is signed, and do not look at the body."""
    monkeypatch.setattr(signatures, "check_digest", lambda _: None)


def grant_uncovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the method, the host and the path alone to be covered."""
    monkeypatch.setattr(signatures, "COVERED_WHEN_PRESENT", {})


def any_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the host that was asked for out of what was signed."""
    genuine = signatures.signature_base

    def signature_base(message: Message, signature: Signature, **options: Any) -> bytes:
        return genuine(msgspec.structs.replace(message, authority="api.example.com"), signature, **options)

    def verify_signature(message: Message, signature: Signature, **expected: Any) -> VerifiedSignature:
        everybody = frozenset({message.authority})
        return checked(message, signature, **{**expected, "expected_authorities": everybody})

    checked = signatures.verify_signature
    monkeypatch.setattr(signatures, "signature_base", signature_base)
    monkeypatch.setattr(proof, "verify_signature", verify_signature)


def surrogates_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let views have text that cannot be encoded."""
    monkeypatch.setattr(request, "_NUL_OR_SURROGATE", re.compile("\0"))


CAUGHT: list[tuple[Plant, attacks.Attack]] = [
    (alg_none, attacks.forged_tokens_open_no_door),
    (zero_verifies, attacks.altered_requests_do_nothing),
    (remembered_by_string, attacks.a_used_nonce_stays_used),
    (digest_skipped, attacks.a_body_cannot_be_swapped),
    (digest_skipped, attacks.altered_requests_do_nothing),
    (grant_uncovered, attacks.altered_requests_do_nothing),
    (any_host, attacks.altered_requests_do_nothing),
    (surrogates_let_in, attacks.half_a_pair_is_no_text),
]


@pytest.mark.parametrize(("plant", "attack"), CAUGHT, ids=lambda named: named.__name__)
def test_an_attack_notices(scene: Scene, monkeypatch: pytest.MonkeyPatch, plant: Plant, attack: attacks.Attack) -> None:
    """It fails, on the very claim it makes."""
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        attack(scene)


@pytest.mark.parametrize("plant", [alg_none, surrogates_let_in])
def test_the_storm_notices(
    scene: Scene, contract: Contract, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    """Within a few hundred requests."""
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        rage(scene, contract, gateway, seed=1, count=1_200)
