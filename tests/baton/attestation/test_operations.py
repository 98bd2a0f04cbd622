"""The daily job, the doctor, the development server, and the places that may trust other roots."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from chalicelib.baton.attestation.model import LIST_STALE_S, REVOKED_MAX, RevokedList
from chalicelib.baton.attestation.revocations import NotAList, read_list
from chalicelib.baton.attestation.rules import revoked_digest
from chalicelib.baton.factors.ports import NotFetched
from chalicelib.baton.policy import DAY_S
from chalicelib.baton.testing.attesters.kit import DEFECTS
from tests.baton.attestation.scene import Scene
from tools.dev.attestation import attestation_answer
from tools.doctor_attestation import attestation_rows

ROOT: Final = Path(__file__).parents[3]
EMAIL: Final = "ada@example.com"


@pytest.fixture
def scene() -> Scene:
    """Return a deployment with empty tables."""
    return Scene()


def status_list(**statuses: str) -> bytes:
    """Encode a list as Google does."""
    entries = {serial: {"status": status, "reason": "KEY_COMPROMISE"} for serial, status in statuses.items()}
    return json.dumps({"entries": entries}).encode()


# --- The daily job -----------------------------------------------------------------------------------------------


def test_the_job_stores_what_is_revoked_or_suspended(scene: Scene) -> None:
    """Each environment reads the list within an hour. A phone with a listed certificate is refused."""
    phone = scene.phone()
    assert phone.register(EMAIL, attestation=phone.evidence(defect="revoked")).status == 201, "no list yet"
    scene.fetched = status_list(bad0bad0="REVOKED", a1="SUSPENDED", b2="OTHER")
    scene.fetch_revocations()
    assert scene.tables.revoked == RevokedList(
        scene.clock.now, frozenset({revoked_digest("bad0bad0"), revoked_digest("a1")})
    )
    [line] = scene.events("revocation_list_checked")
    assert line["revoked_certificates"] == 2
    scene.clock.skip(hours=1)
    other = scene.phone()
    said = other.login(EMAIL, attestation=other.evidence(defect="revoked"))
    assert (said.code, said.members["reason"]) == ("attestation_failed", "revoked")
    assert phone.login(EMAIL).status == 200, "evidence that was accepted before is not compared with the list"


@pytest.mark.parametrize(
    "answer",
    [
        NotFetched("TimeoutError"),
        b"",
        b"<html>",
        b"{}",
        b'{"entries": []}',
        b'{"entries": {"a1": {"status": 1}}}',
        json.dumps({"entries": {f"{n:x}": {"status": "REVOKED"} for n in range(1, REVOKED_MAX + 2)}}).encode(),
    ],
    ids=["no answer", "empty", "a page", "no entries", "a list", "a number", "too many"],
)
def test_an_answer_that_is_no_list_keeps_the_old_one(scene: Scene, answer: bytes | NotFetched) -> None:
    """After a week without a new list, the job records an event."""
    scene.fetched = status_list(a1="REVOKED")
    scene.fetch_revocations()
    stored = scene.tables.revoked
    scene.fetched = answer
    scene.clock.skip(seconds=LIST_STALE_S)
    scene.fetch_revocations()
    assert not scene.events("revocation_list_stale")
    scene.clock.skip(seconds=1)
    scene.fetch_revocations()
    assert len(scene.events("revocation_list_stale")) == 1
    assert scene.tables.revoked == stored


def test_serials_are_compared_without_case_and_leading_zeros() -> None:
    """Google writes serials in lower case. Another spelling must not hide a revoked serial."""
    assert read_list(status_list(**{"00ABC": "REVOKED"})) == {revoked_digest("abc")}
    with pytest.raises(NotAList):
        read_list(None)


def test_a_deployment_without_android_fetches_nothing(scene: Scene) -> None:
    """No client needs the list, so a missing list must not raise the alarm."""
    plain = Scene({"BATON_CLIENTS": "clients-factors.toml"})
    plain.fetch_revocations()
    assert plain.tables.revoked is None
    assert not plain.events("revocation_list_stale")
    assert len(plain.events("revocation_list_checked")) == 1


# --- The doctor --------------------------------------------------------------------------------------------------


def doctor(scene: Scene) -> dict[str, tuple[str, str]]:
    """Return the rows of the doctor: name -> finding and remedy."""
    baton = scene.baton
    rows = attestation_rows(
        baton.clients,
        baton.storage.attestations,
        baton.key_ring,
        now=scene.clock.now,
        remedy_for=lambda _, otherwise: otherwise,
    )
    return {name: (found, remedy) for name, found, remedy in rows}


def test_the_doctor_names_every_other_way_in(scene: Scene) -> None:
    """The doctor also shows the policies, and a list that was never fetched."""
    found = doctor(scene)
    assert found["bank"][0].startswith("required; TEAM123456.com.example.bank (production); com.example.bank (tee)")
    assert found["other ways in"][0].startswith("mobile, plain: ")
    assert found["revoked certificates"][0] == "never fetched"
    assert found["revoked certificates"][1]
    scene.fetched = status_list(a1="REVOKED")
    scene.fetch_revocations()
    assert doctor(scene)["revoked certificates"] == ("1, fetched 0 days ago", "")
    scene.clock.skip(seconds=LIST_STALE_S + DAY_S)
    assert doctor(scene)["revoked certificates"][1]


def test_the_doctor_tells_of_a_client_that_is_lowered(scene: Scene) -> None:
    """If no client judges evidence, the doctor has no row about attestation."""
    scene.lower("bank", hours=2)
    assert "lowered its rule to report until" in doctor(scene)["bank"][0]
    assert doctor(Scene({"BATON_CLIENTS": "clients-factors.toml"})) == {}


# --- The development server --------------------------------------------------------------------------------------


def asked(scene: Scene, monkeypatch: pytest.MonkeyPatch, **members: Any) -> tuple[int, dict[str, Any]]:
    """Send a request for evidence to the development server."""
    monkeypatch.setattr("chalicelib.baton.settings.read_settings", lambda: scene.baton.settings)
    answer = attestation_answer(scene.attester, json.dumps(members).encode())
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("form", ["android-key", "apple-attestation"])
def test_the_development_server_makes_evidence(scene: Scene, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """A server that trusts the test roots accepts the evidence. Evidence with a defect is refused."""
    phone = scene.phone()
    for defect, status in (("", 201), ("chain", 403)):
        members = {"format": form, "client_id": "bank", "challenge": phone.challenge(), "public_key": phone.key.jwk()}
        given, member = asked(scene, monkeypatch, **members, defect=defect)
        assert given == 200
        assert phone.register(f"{defect}{EMAIL}", attestation=member).status == status
        phone = scene.phone()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "none"},
        {"client_id": "nobody"},
        {"client_id": "plain"},
        {"public_key": {"kty": "EC"}},
        {"public_key": 1},
        {"defect": "another"},
        {"defect": "counter"},
        {"format": "apple-attestation", "defect": "revoked"},
        {"other": 1},
        {"format": "apple-assertion", "key_id": "AAAA"},
    ],
)
def test_a_wrong_request_for_evidence_is_explained(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """The answer is 400, with an explanation."""
    phone = scene.phone()
    members = {"format": "android-key", "client_id": "bank", "challenge": "at.x", "public_key": phone.key.jwk()}
    status, answer = asked(scene, monkeypatch, **(members | change))
    assert status == 400
    assert answer["detail"]
    assert attestation_answer(scene.attester, b"[]").status == 400


def test_the_page_lists_every_defect() -> None:
    """The page is docs/baton/attestation.md, section "Try it without a phone"."""
    page = (ROOT / "docs" / "baton" / "attestation.md").read_text("utf-8")
    [sentence] = re.findall(r"`defect` is ([^.]*)\.", page)
    assert set(re.findall(r"`([a-z_]+)`", sentence)) == frozenset().union(*DEFECTS.values())


# --- The roots ---------------------------------------------------------------------------------------------------


def test_only_tests_and_the_development_server_trust_other_roots() -> None:
    """All other files of Baton use only the pinned roots."""
    passing = re.compile(r"\bAnchors\(|\banchors=")
    found = {
        str(path.relative_to(ROOT))
        for folder in ("chalicelib", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if passing.search(path.read_text("utf-8"))
    }
    assert {one for one in found if not one.startswith("chalicelib/baton/testing/")} == {
        "chalicelib/baton/attestation/judge.py",  # the pinned ones
        "chalicelib/baton/attestation/ports.py",  # the class
        "chalicelib/baton/attestation_assembly.py",
        "tools/dev/api/watch.py",
        "tools/dev/serve.py",
    }
    late_parts = ROOT / "chalicelib" / "baton" / "late_parts.py"
    assert "effects.anchors or pinned_anchors()" in late_parts.read_text("utf-8")
