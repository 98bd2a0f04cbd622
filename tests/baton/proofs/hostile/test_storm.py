"""Fuzzing with hostile requests: no 5xx, only described answers, and no change to the victim's data."""

from collections import Counter

import pytest

from tests.baton.proofs.hostile.scene import Scene
from tests.baton.proofs.hostile.storm import FAMILIES, TEXTS, storm
from tests.baton.wire.contract import Contract
from tests.baton.wire.conversation import Said
from tests.baton.witness import Witness
from tools.dev.gateway import Gateway

STAGES: dict[str, set[str]] = {
    "shape": {"malformed", "too_large", "duplicate_field", "not_found", "unsupported_media_type", "unknown_field"},
    "token": {"token_invalid", "invalid_client"},
    "signature": {
        *("signature_required", "invalid_signature", "insufficient_coverage"),
        *("signature_encoding", "wrong_key", "invalid_digest"),
    },
    "meaning": {
        *("wrong_type", "invalid_email", "invalid_key", "too_short", "too_common"),
        *("unauthorized_client", "unsupported_response_type"),
    },
    "account_state": {
        "login_required",
        "token_expired",
        "replayed_nonce",
        "step_up_required",
        "grant_invalid",
        "token_reused",
    },
    "password": {"invalid_credentials", "too_many_requests", "account_exists"},
    "success": {""},
}
"""The stage that a request reached, derived from its error code."""

NOWHERE = {(404, "not_found"), (413, "too_large"), (431, "too_large"), (204, "")}
"""Answers on paths outside the description: from the gateway itself, or to a preflight."""

PAST = {
    "forged token": {"token"},
    "altered signature": {"signature", "shape", "token"},
    "flipped signature": {"signature"},
    "replayed": {"signature", "account_state", "success"},
    "JSON": {"shape", "meaning", "account_state", "password"},
    "form": {"shape", "token", "signature", "success"},
    "header fields": {"shape", "token", "signature", "success"},
    "e-mail and password": {"shape", "meaning", "password", "success"},
    "path and query": {"shape", "token", "success"},
    "other hands": {"signature"},
}
"""The stages that each family must reach, each with at least 1 % of its requests."""


def send_all(scene: Scene, contract: Contract, gateway: Gateway, seed: int, count: int) -> Counter[tuple[str, str]]:
    """Send hostile requests and check each answer. Return how often each family reached each stage."""
    reached: Counter[tuple[str, str]] = Counter()
    before = scene.account_state()
    for number, hostile in enumerate(storm(scene, seed, count)):
        sent = hostile.sent
        # Use many source addresses: the rate limit of one address would refuse all but the first hundred passwords.
        answer = gateway.call(sent.method, sent.target, sent.headers, sent.body, source=f"192.0.2.{number % 200}")
        said = Said(answer.status, {name.lower(): value for name, value in answer.headers}, answer.body)
        told = (seed, number, hostile.family, hostile.what, said)
        assert said.status < 500, told
        complaint = contract.complaint(sent.method, sent.target, said)
        assert not complaint, (complaint, told)
        if contract.operation(sent.method, sent.target) is None:
            # An answer to HEAD has no body, and therefore no code.
            code = "not_found" if sent.method == "HEAD" and not said.body else said.code
            assert (said.status, code) in NOWHERE, told
        if hostile.family == "forged token" and not hostile.what.startswith("revoke"):
            # Every route checks the token first.
            known_for_none = said.members == {"active": False} or said.code in {"token_invalid", "too_large"}
            assert known_for_none or hostile.what.startswith("call: white space"), told
        assert hostile.harmless or said.status >= 400, told
        if said.status >= 400:
            stage = next((stage for stage, codes in STAGES.items() if said.code in codes), said.code)
        else:
            stage = "success"
        reached[hostile.family, stage] += 1
        if number % 500 == 499:
            assert scene.account_state() == before, told
    assert scene.account_state() == before
    scene.lives()
    return reached


@pytest.mark.parametrize(
    ("seed", "count"), [(1, 2_000), pytest.param(2, 20_000, marks=pytest.mark.prove)], ids=["short", "long"]
)
def test_hostile_requests_get_described_answers(
    scene: Scene, contract: Contract, gateway: Gateway, witness: Witness, seed: int, count: int
) -> None:
    """Every family is drawn, and reaches every stage that it can reach."""
    reached = send_all(scene, contract, gateway, seed, count)
    witness.secrets.difference_update(TEXTS)  # texts that are used both as names and as passwords
    families: Counter[str] = Counter()
    for (family, _), times in reached.items():
        families[family] += times
    assert families.keys() == FAMILIES.keys()
    for family, stages in PAST.items():
        assert families[family] > count / len(FAMILIES) / 2, families
        for stage in stages:
            assert reached[family, stage] * 100 >= families[family], (family, stage, reached)
