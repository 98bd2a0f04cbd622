"""Tests of the hostile tests: each seeded fault in the server is noticed by an attack or by the fuzzer."""

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
from tests.baton.proofs.hostile.test_storm import send_all
from tests.baton.wire.contract import Contract
from tools.dev.gateway import Gateway

Plant = Callable[[pytest.MonkeyPatch], None]


def alg_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept a token with ``alg: none``."""
    genuine = jwt.verified_payload

    def payload(text: str, ring: Ring) -> tuple[bytes, SigningKey]:
        head, payload, _ = text.split(".")
        if str(json.loads(decode_base64url(head)).get("alg")).lower() == "none":
            return decode_base64url(payload), ring.signer(0)
        return genuine(text, ring)

    monkeypatch.setattr(jwt, "verified_payload", payload)


def zero_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept (0, 0) as a signature of any message (CVE-2022-21449)."""
    genuine = PublicKey.verifies

    def verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
        return signature == bytes(64) or genuine(key, signature, message)

    monkeypatch.setattr(PublicKey, "verifies", verifies)


def remembered_by_string(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store the signature bytes as the nonce, although two forms of a signature are valid."""
    genuine = signatures.verify_signature

    def verify_signature(message: Message, signature: Signature, **expected: Any) -> VerifiedSignature:
        verified = genuine(message, signature, **expected)
        return replace(verified, nonce=base64.b64encode(signature.value).decode())

    monkeypatch.setattr(proof, "verify_signature", verify_signature)


def digest_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the signed digest field without hashing the body."""
    monkeypatch.setattr(signatures, "check_digest", lambda _: None)


def grant_uncovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Require a signature only over the method, the host and the path."""
    monkeypatch.setattr(signatures, "COVERED_WHEN_PRESENT", {})


def any_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not require the host in the signature."""
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
    """Pass text with lone surrogates to views."""
    monkeypatch.setattr(request, "_NUL_OR_SURROGATE", re.compile("\0"))


CAUGHT: list[tuple[Plant, attacks.Attack]] = [
    (alg_none, attacks.forged_tokens_are_refused_on_every_route),
    (zero_verifies, attacks.altered_requests_are_refused),
    (remembered_by_string, attacks.a_captured_request_is_refused_the_second_time),
    (digest_skipped, attacks.a_replaced_body_is_refused),
    (digest_skipped, attacks.altered_requests_are_refused),
    (grant_uncovered, attacks.altered_requests_are_refused),
    (any_host, attacks.altered_requests_are_refused),
    (surrogates_let_in, attacks.lone_surrogates_are_refused),
]


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize(("plant", "attack"), CAUGHT, ids=lambda named: named.__name__)
def test_an_attack_notices_its_seeded_fault(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, plant: Plant, attack: attacks.Attack
) -> None:
    """The attack fails at the assertion for this fault."""
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        attack(scene)


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize("plant", [alg_none, surrogates_let_in])
def test_the_fuzzer_notices_a_seeded_fault(
    scene: Scene, contract: Contract, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    """The fuzzer finds the fault within some thousand requests."""
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        send_all(scene, contract, gateway, seed=1, count=4_000)
