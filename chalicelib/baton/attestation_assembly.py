"""Make the flows of attestation, and the routes that run them."""

from chalicelib.baton.attestation import routes as attestation
from chalicelib.baton.attestation.attest import AttestLogin, IssueChallenge
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.attestation.switches import ReadSwitches
from chalicelib.baton.parts import Parts
from chalicelib.baton.routing import Route


def judge_evidence_of(parts: Parts) -> JudgeEvidence:
    """Make the object that judges evidence. All flows of an environment share this object, because it has caches."""
    storage = parts.storage
    return JudgeEvidence(
        key_ring=storage.key_ring,
        store=storage.attestations,
        anchors=parts.anchors,
        switches=ReadSwitches(key_ring=storage.key_ring, store=storage.attestations, log=parts.log),
        log=parts.log,
        record=parts.record,
    )


def attestation_routes_of(parts: Parts, judge_evidence: JudgeEvidence) -> tuple[Route, ...]:
    """List the routes of attestation."""
    storage = parts.storage
    return attestation.routes(
        issue_challenge=IssueChallenge(
            clock=parts.clock, entropy=parts.entropy, key_ring=storage.key_ring, clients=parts.clients
        ),
        attest=AttestLogin(clock=parts.clock, clients=parts.clients, judge=judge_evidence, store=storage.attestations),
    )
