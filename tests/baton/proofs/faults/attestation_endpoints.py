"""The endpoints of attestation, and logins with evidence.

There is one scenario for each different sequence of calls to DynamoDB.
"""

from typing import Any

from chalicelib.baton.keys.public_key import PublicKey
from tests.baton.proofs.faults.endpoints import ATTEMPT, EMAIL, registered, scenario
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import Device, Said

CLIENT = "genuine"
SENT = {"idempotency-key": ATTEMPT.replace(" ", "-")}


def evidence(stage: Stage, phone: Device, form: str = "android-key", **named: Any) -> dict[str, Any]:
    """Make evidence for a phone."""
    said = phone.post("/attestation-challenge", {"client_id": CLIENT}, token=None)
    return stage.attester.member(
        form,
        stage.module.baton.clients.get(CLIENT),
        challenge=said.members["attestation_challenge"],
        public_key=PublicKey.from_jwk(phone.key.jwk()),
        **named,
    )


def warm(stage: Stage) -> None:
    """Let the environment read the list of revoked certificates, which it keeps for an hour."""
    phone = stage.device(CLIENT)
    assert phone.register("warm@example.com", attestation=evidence(stage, phone)).status == 201


def entered(phone: Device, path: str, member: dict[str, Any] | None) -> Said:
    """Register or log in with the attempt of the scenario."""
    more = {} if member is None else {"attestation": member}
    return phone._kept(phone.post(path, phone.entry(EMAIL) | more, SENT, token=None))


def attested(stage: Stage, form: str = "android-key") -> tuple[Device, dict[str, Any]]:
    """Register a phone with evidence."""
    phone = stage.device(CLIENT)
    made = evidence(stage, phone, form)
    assert entered(phone, "/register", made).status == 201
    return phone, made


@scenario("POST /attestation-challenge")
def _(stage: Stage) -> Act:
    phone = stage.device(CLIENT)
    return stage.by_device(phone, lambda it: it.post("/attestation-challenge", {"client_id": CLIENT}, token=None))


@scenario("POST /register", "with evidence")
def _(stage: Stage) -> Act:
    warm(stage)
    phone = stage.device(CLIENT)
    made = evidence(stage, phone)
    return stage.by_device(phone, lambda it: entered(it, "/register", made))


@scenario("POST /login", "with known evidence")
def _(stage: Stage) -> Act:
    phone, _ = attested(stage)
    return stage.by_device(phone, lambda it: it._kept(it.post("/login", it.entry(EMAIL), SENT, token=None)))


@scenario("POST /login", "with an assertion")
def _(stage: Stage) -> Act:
    phone, made = attested(stage, "apple-attestation")
    signed = evidence(stage, phone, "apple-assertion", key_id=made["key_id"])
    headers = {"idempotency-key": "another-attempt-of-this-act"}
    entry = phone.entry(EMAIL) | {"attestation": signed}
    return stage.by_device(phone, lambda it: it._kept(it.post("/login", entry, headers, token=None)))


@scenario("POST /attest")
def _(stage: Stage) -> Act:
    warm(stage)
    phone = registered(stage, CLIENT)
    made = evidence(stage, phone)
    return stage.by_device(phone, lambda it: it.post("/attest", {"attestation": made}, SENT))


@scenario("POST /attest", "an assertion")
def _(stage: Stage) -> Act:
    phone, made = attested(stage, "apple-attestation")
    signed = evidence(stage, phone, "apple-assertion", key_id=made["key_id"])
    return stage.by_device(phone, lambda it: it.post("/attest", {"attestation": signed}, SENT))
