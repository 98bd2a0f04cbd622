"""Evidence at register, login and ``POST /attest``, by the policy of the client."""

import json
from typing import Any, Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.attestation.model import KEPT_S, MOVED_AFTER_S, RENEWED_AFTER_S
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.policy import HOUR_S, KEY_RING_REFRESH_S
from tests.baton.attestation.scene import Scene
from tests.baton.wire.conversation import PASSWORD
from tests.baton.wire.second_factor import totp

EMAIL: Final = "ada@example.com"
FORMATS: Final = ["android-key", "apple-attestation"]


@pytest.fixture
def scene() -> Scene:
    """Return a deployment with empty tables."""
    return Scene()


def claims_of(token: str) -> dict[str, Any]:
    """Read the claims of a JWT."""
    claims: dict[str, Any] = json.loads(decode_base64url(token.split(".")[1]))
    return claims


# --- required ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "attested"), [("android-key", "tee"), ("apple-attestation", "app")])
def test_good_evidence_registers_and_later_logins_by_the_key_need_none(scene: Scene, form: str, attested: str) -> None:
    """The login and its tokens have the attestation."""
    phone = scene.phone()
    assert phone.register(EMAIL, attestation=phone.evidence(form)).status == 201
    assert claims_of(phone.token)["attested"] == attested
    assert ("hwk" in claims_of(phone.token)["amr"]) == (attested == "tee")
    assert phone.login(EMAIL).status == 200
    assert claims_of(phone.token)["attested"] == attested
    [first] = scene.events("attested")
    assert first["client"] == "bank"


@pytest.mark.parametrize("form", FORMATS)
def test_a_login_with_evidence_of_a_new_phone_is_admitted(scene: Scene, form: str) -> None:
    """The account was made on another phone. The token names StrongBox."""
    other = scene.phone()
    other.register(EMAIL, attestation=other.evidence())
    phone = scene.phone()
    assert phone.login(EMAIL, attestation=phone.evidence(form)).status == 200
    strong = scene.phone()
    assert strong.login(EMAIL, attestation=strong.evidence(strongbox=True)).status == 200
    assert claims_of(strong.token)["attested"] == "strongbox"


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize("evidence", [None, {"format": "none", "reason": "unsupported"}])
def test_without_evidence_nothing_is_admitted(scene: Scene, path: str, evidence: object) -> None:
    """The answer is the same with and without an account. ``none`` counts as no evidence."""
    known = scene.phone()
    known.register(EMAIL, attestation=known.evidence())
    for email in (EMAIL, "stranger@example.com"):
        phone = scene.phone()
        members = {} if evidence is None else {"attestation": evidence}
        said = phone.post(path, phone.entry(email) | members, token=None)
        assert (said.status, said.code, said.members["action"]) == (403, "attestation_required", "attest")


@pytest.mark.parametrize(
    ("form", "defect", "reason", "action"),
    [
        ("apple-attestation", "app", "app", "fix_request"),
        ("apple-attestation", "chain", "chain", "fix_request"),
        ("apple-attestation", "challenge", "challenge", "fix_request"),
        ("apple-attestation", "device_key", "challenge", "fix_request"),
        ("apple-attestation", "key", "key", "attest"),
        ("apple-attestation", "environment", "environment", "fix_request"),
        ("apple-attestation", "development", "environment", "fix_request"),
        ("apple-attestation", "counter", "counter", "attest"),
        ("android-key", "app", "app", "fix_request"),
        ("android-key", "chain", "chain", "fix_request"),
        ("android-key", "challenge", "challenge", "fix_request"),
        ("android-key", "device_key", "key", "attest"),
        ("android-key", "key", "key", "attest"),
        ("android-key", "security", "security", "fix_request"),
        ("android-key", "device", "device", "fix_request"),
        ("android-key", "revoked", "revoked", "fix_request"),
    ],
)
def test_bad_evidence_is_refused_before_rate_limit_and_password(
    scene: Scene, form: str, defect: str, reason: str, action: str
) -> None:
    """The right password changes nothing, and nothing is stored."""
    scene.fetched = json.dumps({"entries": {"bad0bad0": {"status": "REVOKED"}}}).encode()
    scene.fetch_revocations()
    known = scene.phone()
    known.register(EMAIL, attestation=known.evidence())
    windows, attested = dict(scene.tables.windows), dict(scene.tables.attested)
    phone = scene.phone()
    said = phone.login(EMAIL, attestation=phone.evidence(form, defect=defect))
    assert (said.status, said.code, said.members["reason"]) == (403, "attestation_failed", reason)
    assert said.members["action"] == action
    assert (scene.tables.windows, scene.tables.attested) == (windows, attested)
    assert len(scene.events("attestation_refused")) == 1


def test_a_stolen_list_of_passwords_is_useless_without_genuine_phones(scene: Scene) -> None:
    """Right and wrong passwords, known and unknown addresses get the same answer, and no rate limit counts it."""
    known = scene.phone()
    known.register(EMAIL, attestation=known.evidence())
    windows = dict(scene.tables.windows)
    answers = set()
    for email, password in ((EMAIL, PASSWORD), (EMAIL, "wrong" * 4), ("other@example.com", PASSWORD)):
        phone = scene.phone()
        entry = phone.entry(email, password) | {"attestation": phone.evidence(defect="chain")}
        said = phone.post("/login", entry, token=None)
        answers.add((said.status, said.code, said.members["detail"]))
    assert len(answers) == 1
    assert scene.tables.windows == windows


def test_a_stranger_with_evidence_and_a_wrong_password_stores_nothing(scene: Scene) -> None:
    """The record of the device comes after the password."""
    known = scene.phone()
    known.register(EMAIL, attestation=known.evidence())
    before = dict(scene.tables.attested)
    phone = scene.phone()
    entry = phone.entry(EMAIL, "wrong" * 4) | {"attestation": phone.evidence()}
    assert phone.post("/login", entry, token=None).code == "invalid_credentials"
    assert scene.tables.attested == before


def test_a_known_device_has_thirty_failures(scene: Scene) -> None:
    """If each key needs evidence, an attacker cannot make many keys. At other clients a known device has ten."""
    scene = Scene({"BATON_RATE_LIMITS": "on"})
    for client_id, failures in (("bank", 30), ("mobile", 10)):
        phone = scene.phone(client_id)
        email = f"{client_id}@example.com"
        assert phone.register(email, attestation=phone.evidence()).status == 201
        wrong = phone.entry(email, "wrong" * 4)
        codes = [phone.post("/login", wrong, token=None).code for _ in range(failures + 1)]
        assert codes == ["invalid_credentials"] * failures + ["too_many_requests"]


def test_a_login_with_an_hmac_secret_is_refused(scene: Scene) -> None:
    """Its evidence cannot name a device key."""
    phone = scene.phone(bound=False)
    said = phone.login(EMAIL, device={"binding": "hmac"})
    assert (said.status, said.code) == (403, "attestation_required")


@pytest.mark.parametrize("changed", ["altered", "other client", "late", "none of ours"])
def test_a_challenge_that_is_not_valid_is_refused(scene: Scene, changed: str) -> None:
    """The challenge is altered, of another client, older than 24 hours, or invented.

    The rest of the evidence is right.
    """
    phone, other = scene.phone(), scene.phone("mobile")
    challenge = phone.challenge()
    if changed == "altered":
        challenge = challenge[:20] + ("A" if challenge[20] != "A" else "B") + challenge[21:]
    elif changed == "other client":
        challenge = other.challenge()
    elif changed == "none of ours":
        challenge = "at.challenge"
    evidence = phone.evidence(challenge=challenge)
    if changed == "late":
        scene.clock.skip(hours=24)
    said = phone.register(EMAIL, attestation=evidence)
    assert (said.status, said.code, said.members["action"]) == (400, "attestation_challenge_invalid", "attest")


def test_a_challenge_may_be_used_again_within_its_time(scene: Scene) -> None:
    """Apple requires a failed ``attestKey`` to be repeated with the same challenge.

    The evidence names the same key, so it proves no new fact.
    """
    phone = scene.phone()
    challenge = phone.challenge()
    assert len(challenge) <= 128
    assert phone.register(EMAIL, attestation=phone.evidence(challenge=challenge)).status == 201
    scene.clock.skip(hours=23)
    assert phone.login(EMAIL, attestation=phone.evidence(challenge=challenge)).status == 200


# --- Renewal -----------------------------------------------------------------------------------------------------


def test_app_attest_is_renewed_by_an_assertion_after_ninety_days(scene: Scene) -> None:
    """The evidence of Android is about the key itself, and is not renewed."""
    phone, android = scene.phone(), scene.phone()
    made = phone.evidence("apple-attestation")
    assert phone.register(EMAIL, attestation=made).status == 201
    assert android.login(EMAIL, attestation=android.evidence()).status == 200
    scene.clock.skip(seconds=RENEWED_AFTER_S)
    assert phone.login(EMAIL).status == 200
    scene.clock.skip(seconds=1)
    assert phone.login(EMAIL).code == "attestation_required"
    assert android.login(EMAIL).status == 200
    signed = phone.evidence("apple-assertion", key_id=made["key_id"])
    assert phone.login(EMAIL, attestation=signed).status == 200
    assert claims_of(phone.token)["attested"] == "app"
    scene.clock.skip(seconds=RENEWED_AFTER_S)
    assert phone.login(EMAIL).status == 200, "the assertion counts from its own time"


def test_an_assertion_is_counted_once_and_its_own_retry_is_answered(scene: Scene) -> None:
    """The same request again gets the same login. Another request with the same counter is refused."""
    phone = scene.phone()
    made = phone.evidence("apple-attestation")
    phone.register(EMAIL, attestation=made)
    signed = phone.evidence("apple-assertion", key_id=made["key_id"])
    attempt = {"idempotency-key": "a" * 22}
    first = phone.post("/login", phone.entry(EMAIL) | {"attestation": signed}, attempt, token=None)
    again = phone.post("/login", phone.entry(EMAIL) | {"attestation": signed}, attempt, token=None)
    assert (first.status, again.status) == (200, 200)
    assert first.members["device_id"] == again.members["device_id"]
    said = phone.login(EMAIL, attestation=signed)
    assert (said.code, said.members["reason"], said.members["action"]) == ("attestation_failed", "counter", "attest")
    assert len(scene.events("attestation_counter_regressed")) == 1


@pytest.mark.parametrize("defect", ["key", "app", "device_key"])
def test_a_bad_assertion_is_refused(scene: Scene, defect: str) -> None:
    """The assertion is signed by another key, of another app, or for another device key."""
    phone = scene.phone()
    made = phone.evidence("apple-attestation")
    phone.register(EMAIL, attestation=made)
    said = phone.login(EMAIL, attestation=phone.evidence("apple-assertion", key_id=made["key_id"], defect=defect))
    assert (said.code, said.members["reason"]) == ("attestation_failed", "app" if defect == "app" else "key")


def test_an_assertion_of_a_key_that_is_not_known_asks_for_another(scene: Scene) -> None:
    """The record is lost, or the App Attest key is of another phone. The app must attest again."""
    phone, other = scene.phone(), scene.phone()
    mine, theirs = phone.evidence("apple-attestation"), other.evidence("apple-attestation")
    phone.register(EMAIL, attestation=mine)
    said = phone.login(EMAIL, attestation=phone.evidence("apple-assertion", key_id=theirs["key_id"]))
    assert (said.code, said.members["reason"], said.members["action"]) == ("attestation_failed", "key", "attest")
    scene.tables.attested.clear()
    assert phone.login(EMAIL).code == "attestation_required"
    said = phone.login(EMAIL, attestation=phone.evidence("apple-assertion", key_id=mine["key_id"]))
    assert said.members["reason"] == "key"
    assert phone.login(EMAIL, attestation=phone.evidence("apple-attestation")).status == 200


def test_an_assertion_names_the_key_that_signed_it(scene: Scene) -> None:
    """The right key signed, and the assertion names that of another phone."""
    phone, other = scene.phone(), scene.phone()
    mine, theirs = phone.evidence("apple-attestation"), other.evidence("apple-attestation")
    phone.register(EMAIL, attestation=mine)
    signed = phone.evidence("apple-assertion", key_id=mine["key_id"])
    said = phone.login(EMAIL, attestation=signed | {"key_id": theirs["key_id"]})
    assert (said.code, said.members["reason"]) == ("attestation_failed", "key")
    assert phone.login(EMAIL, attestation=signed).status == 200


def test_evidence_is_kept_for_400_days_after_the_last_login(scene: Scene) -> None:
    """The stored expiry is moved at most once a month."""
    phone = scene.phone()
    phone.register(EMAIL, attestation=phone.evidence())
    [known] = scene.tables.attested.values()
    scene.clock.skip(seconds=MOVED_AFTER_S)
    phone.login(EMAIL)
    assert list(scene.tables.attested.values()) == [known]
    scene.clock.skip(seconds=1)
    phone.login(EMAIL)
    [moved] = scene.tables.attested.values()
    assert moved.expires_at == scene.clock.now + KEPT_S
    scene.clock.skip(seconds=KEPT_S)
    assert phone.login(EMAIL).code == "attestation_required"


@pytest.mark.parametrize("form", FORMATS)
def test_remembered_evidence_is_judged_by_the_present_policy(scene: Scene, form: str) -> None:
    """Evidence of an app that the client no longer has proves nothing.

    Evidence that belongs to another client proves nothing either.
    """
    phone = scene.phone()
    phone.register(EMAIL, attestation=phone.evidence(form))
    [(key, known)] = scene.tables.attested.items()
    scene.tables.attested[key] = replace(known, app="com.example.sold")
    assert phone.login(EMAIL).code == "attestation_required"
    scene.tables.attested[key] = known
    assert phone.login(EMAIL).status == 200
    elsewhere = scene.phone("factor", key=phone.key)
    assert elsewhere.login(EMAIL).code == "attestation_required", "of another client"


# --- report, off -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("defect", ["chain", "app", "device", "device_key"])
def test_under_report_bad_evidence_logs_in_and_is_reported(scene: Scene, defect: str) -> None:
    """The login has no attestation. Everything else is as with good evidence."""
    phone = scene.phone("mobile")
    assert phone.register(EMAIL, attestation=phone.evidence(defect=defect)).status == 201
    assert "attested" not in claims_of(phone.token)
    [line] = scene.events("attestation_reported")
    assert line["client"] == "mobile"


def test_under_report_a_login_without_evidence_is_counted(scene: Scene) -> None:
    """The event has the reason that the app gives."""
    phone = scene.phone("mobile")
    assert phone.register(EMAIL).status == 201
    assert phone.login(EMAIL, attestation={"format": "none", "reason": "unavailable"}).status == 200
    first, second = scene.events("attestation_missing")
    assert "unavailable" not in first["reason"]
    assert "unavailable" in second["reason"]


def test_under_report_a_late_challenge_is_reported(scene: Scene) -> None:
    """A late challenge is not treated as malformed input."""
    phone = scene.phone("mobile")
    evidence = phone.evidence()
    scene.clock.skip(days=2)
    assert phone.register(EMAIL, attestation=evidence).status == 201
    assert len(scene.events("attestation_reported")) == 1


def test_a_client_without_a_policy_ignores_evidence(scene: Scene) -> None:
    """Nothing is stored, the token has no claim, and ``POST /attest`` gets 404."""
    phone, other = scene.phone("plain"), scene.phone("mobile")
    evidence = other.evidence()
    assert phone.register(EMAIL, attestation=evidence).status == 201
    assert "attested" not in claims_of(phone.token)
    assert not scene.tables.attested
    said = phone.attest(evidence)
    assert (said.status, said.code) == (404, "not_found")


# --- POST /attest ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "attested"), [("android-key", "tee"), ("apple-attestation", "app")])
def test_a_login_that_began_without_evidence_is_attested(scene: Scene, form: str, attested: str) -> None:
    """The token of the next exchange has the claim. The same request again gets the same answer."""
    phone = scene.phone("mobile")
    phone.register(EMAIL)
    evidence = phone.evidence(form)
    for _ in range(2):
        said = phone.attest(evidence)
        assert (said.status, said.members) == (200, {"attested": attested})
    assert "attested" not in claims_of(phone.token)
    assert phone.exchange().status == 200
    assert (claims_of(phone.token)["attested"], claims_of(phone.token)["gen"]) == (attested, 1)
    assert phone.login(EMAIL).status == 200
    assert claims_of(phone.token)["attested"] == attested, "the key is known now"


def test_a_child_that_is_issued_again_tells_the_newer_fact(scene: Scene) -> None:
    """The repeated child has the new attestation. Its generation and attempt are the same."""
    phone = scene.phone("mobile")
    phone.register(EMAIL)
    parent = str(phone.tokens["refresh_token"])
    first = phone.exchange(parent, attempt="a" * 22)
    phone.attest(phone.evidence())
    again = phone.exchange(parent, attempt="a" * 22)
    one, two = claims_of(first.members["access_token"]), claims_of(again.members["access_token"])
    assert (one["gen"], one["jti"]) == (two["gen"], two["jti"])
    assert ("attested" in one, two["attested"]) == (False, "tee")


@pytest.mark.parametrize("defect", ["chain", "device_key", "device"])
def test_bad_evidence_at_attest_is_refused_and_changes_nothing(scene: Scene, defect: str) -> None:
    """The same is true under ``report``: the request has no other purpose. The login stays active."""
    phone = scene.phone("mobile")
    phone.register(EMAIL)
    said = phone.attest(phone.evidence(defect=defect))
    assert (said.status, said.code) == (403, "attestation_failed")
    assert phone.get("/me").status == 200
    assert phone.exchange().status == 200
    assert "attested" not in claims_of(phone.token)
    assert phone.attest({"format": "none", "reason": "error"}).code == "attestation_required"


def test_a_login_that_ended_is_not_attested(scene: Scene) -> None:
    """The condition of the write is that the login is live."""
    phone = scene.phone("mobile")
    phone.register(EMAIL)
    evidence = phone.evidence()
    phone.post("/logout", {})
    assert phone.attest(evidence).code == "login_required"
    assert not scene.tables.attested


def test_evidence_of_another_device_key_is_refused(scene: Scene) -> None:
    """The signature of the request covers the body, and the evidence names its own device key."""
    phone, thief = scene.phone("mobile"), scene.phone("mobile")
    phone.register(EMAIL)
    thief.register("mallory@example.com")
    assert thief.attest(phone.evidence()).members["reason"] == "key"
    assert thief.attest(phone.evidence("apple-attestation")).members["reason"] == "challenge"


# --- No live login ever ends -------------------------------------------------------------------------------------


def test_live_logins_never_ask_and_never_end(scene: Scene) -> None:
    """The record of the device is lost: every call, every exchange and the deletion still work."""
    phone = scene.phone()
    phone.register(EMAIL, attestation=phone.evidence("apple-attestation"))
    scene.tables.attested.clear()
    for _ in range(4):
        scene.clock.skip(days=20)
        assert phone.exchange().status == 200
        assert phone.get("/me").status == 200
    assert claims_of(phone.token)["attested"] == "app"
    assert phone.confirmed("DELETE", "/me").status == 204


def test_apple_and_google_down_nobody_with_a_login_notices(scene: Scene) -> None:
    """A login or an exchange sends no request to Apple or Google. The list of revoked certificates may be missing."""
    phone = scene.phone()
    assert phone.register(EMAIL, attestation=phone.evidence()).status == 201
    assert len(scene.events("revocation_list_stale")) == 1, "the event is recorded, and the evidence is accepted"
    assert phone.exchange().status == 200


# --- The operator ------------------------------------------------------------------------------------------------


def test_an_operator_lowers_required_to_report_for_some_hours(scene: Scene) -> None:
    """Each environment reads the switch as often as the key ring. The switch ends automatically."""
    phone = scene.phone()
    assert phone.register(EMAIL).code == "attestation_required"
    until = scene.lower("bank", hours=6)
    assert until == scene.clock.now + 6 * HOUR_S
    scene.clock.skip(seconds=KEY_RING_REFRESH_S)
    assert phone.register(EMAIL).status == 201
    assert scene.events("attestation_lowered")
    other = scene.phone("factor")
    assert other.login(EMAIL).code == "attestation_required", "of one client only"
    scene.clock.skip(hours=6)
    assert phone.login(EMAIL).code == "attestation_required"


def test_the_switch_can_be_ended_early_and_cannot_be_forged(scene: Scene) -> None:
    """Zero hours end the switch. An altered value has no effect."""
    scene.lower("bank", hours=6)
    scene.lower("factor", hours=6)
    scene.lower("bank", hours=0)
    phone, other = scene.phone(), scene.phone("factor")
    assert phone.login(EMAIL).code == "attestation_required"
    assert other.login(EMAIL).code == "invalid_credentials"
    sealed = scene.tables.switches
    scene.tables.switches = sealed[:30] + ("A" if sealed[30] != "A" else "B") + sealed[31:]
    scene.clock.skip(seconds=KEY_RING_REFRESH_S)
    assert other.login(EMAIL).code == "attestation_required"


@pytest.mark.parametrize(("client_id", "hours"), [("mobile", 1), ("plain", 1), ("bank", -1), ("bank", 169)])
def test_a_switch_that_makes_no_sense_is_refused(scene: Scene, client_id: str, hours: int) -> None:
    """The client does not have ``required``, or the number of hours is too large."""
    with pytest.raises(ValueError, match=r"nothing to lower|hours is"):
        scene.lower(client_id, hours)
    assert not scene.tables.switches


# --- The second factor -------------------------------------------------------------------------------------------


def test_evidence_of_the_first_step_is_of_the_login_that_the_second_step_begins(scene: Scene) -> None:
    """The encrypted ``auth_session`` contains the attestation, so the second step sends no evidence."""
    phone = scene.phone("factor")
    said = phone.register(EMAIL, attestation=phone.evidence("apple-attestation", defect="development"))
    assert said.code == "enrolment_required"
    session = said.members["auth_session"]
    begun = phone.post("/login/enrol", {"auth_session": session, "kind": "totp"}, token=None).members
    code = totp(begun["secret"], scene.clock.now // 30)
    proof = {"auth_session": session, "enrolment": begun["enrolment"], "totp": code}
    finished = phone.post("/login/factor", proof, token=None)
    assert finished.status == 200, finished
    assert claims_of(finished.members["access_token"])["attested"] == "app"
