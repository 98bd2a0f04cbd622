"""Thieves of bound cookies, in Chromium: copied cookies, foreign tickets, forged proofs."""

import contextlib
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from baton_client import content_digest
from chalicelib.baton.testing.gateway import GatewayResponse
from chalicelib.baton.testing.phone import new_key, public_key
from tests.baton.browser.browser import REMEMBER
from tests.baton.browser.dbsc import OFFER, REFRESH, encoded, make_proof
from tests.baton.chromium.bound import BOUND, SESSION, Town, town, wait
from tests.baton.chromium.visit import EMAIL, ENTRY, Visit
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD

__all__ = ["town"]
PROOF, BIND = "/api/session/proof", "/api/session/bind"
ALL = (SESSION, REMEMBER, BOUND)
OTHER = {**ENTRY, "email": "eve@example.com"}

BIND_BY_SCRIPT = """
const text = (value) => new TextEncoder().encode(JSON.stringify(value));
const encoded = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const curve = { name: "ECDSA", namedCurve: "P-256" };
const pair = await crypto.subtle.generateKey(curve, false, ["sign", "verify"]);
const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
const head = encoded(text({ typ: "dbsc+jwt", alg: "ES256", jwk: { kty, crv, x, y } }));
const signed = `${head}.${encoded(text({ jti: given.challenge, authorization: given.ticket }))}`;
const bytes = new TextEncoder().encode(signed);
const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, bytes);
const headers = { "secure-session-response": `${signed}.${encoded(signature)}` };
const answer = await fetch(given.url, { method: "POST", headers });
return { ...(await answer.json()), status: answer.status };
"""
"""Bind a key of the script to a login."""


def offers(town: Town) -> list[tuple[str, str]]:
    """Return challenge and ticket of each offer of the server, in order."""
    found = [value for _, _, fields in town.site.answered for name, value in fields if name.lower() == OFFER]
    return [re.findall(r'(?:challenge|authorization)="([\w.-]+)"', one)[:2] for one in found]  # type: ignore[misc]


def binds(thief: Town, challenge: str, ticket: str) -> Any:
    """Let a script bind its key."""
    return thief.visit().run(BIND_BY_SCRIPT, url=f"{thief.api}/session/bind", challenge=challenge, ticket=ticket)


@contextlib.contextmanager
def no_binding(town: Town) -> Iterator[None]:
    """Make the next binding that the server offers fail on its way."""
    arrived = len(town.sent("/session/bind"))
    town.site.before[BIND] = lambda fields: fields.remove(
        next(field for field in fields if field[0] == "secure-session-response")
    )
    yield
    wait(lambda: [path for path, _, _ in town.site.answered].count(BIND) > arrived)
    del town.site.before[BIND]


def unbound(town: Town, entry: dict[str, str] = ENTRY) -> Visit:
    """Register. The login has an offer of a binding, but no key."""
    visit = town.visit()
    with no_binding(town):
        assert visit.send(f"{town.api}/register", "POST", entry)["status"] == 201
    return visit


def code(answer: Any) -> str:
    """Return the error code of an answer."""
    return str(json.loads(answer["body"]).get("code", ""))


def test_copied_cookies_are_worth_eleven_minutes(town: Town) -> None:
    """T26. All cookies are on another machine. It lacks the key, so it cannot renew the proof. The owner continues."""
    owner = town.bound(remember=True)
    thief = town.stranger(*ALL)
    early, late = thief.visit(), town.stranger(SESSION, REMEMBER).visit()
    assert early.send(f"{town.api}/me")["status"] == 200
    assert code(late.send(f"{town.api}/me")) == "device_proof_required"
    town.site.world.clock.skip(seconds=660 - 62)
    assert early.send(f"{town.api}/me")["status"] == 200
    town.expire()
    for page in (early, late):
        refused = page.send(f"{town.api}/me")
        assert (refused["status"], code(refused)) == (401, "device_proof_required")
    assert town.sent("/session/proof") == []
    assert owner.send(f"{town.api}/me")["status"] == 200
    assert len(town.sent("/session/proof")) == 2


def test_a_thief_of_the_cookies_is_offered_no_binding(town: Town) -> None:
    """T27. Neither the pages that the thief opens nor a renewed session id come with an offer."""
    town.bound()
    thief = town.stranger(*ALL).visit()
    for path in ("/me", "/session", "/home"):
        assert thief.send(f"{town.api}{path}")["status"] == 200
    town.site.world.clock.skip(minutes=6)
    assert thief.send(f"{town.api}/me")["status"] == 200
    assert thief.go(f"{town.api}/home")["status"] == 200
    assert (len(offers(town)), len(town.sent("/session/bind"))) == (1, 1)


def test_a_bound_login_takes_no_second_key(town: Town) -> None:
    """T27. A script that read the offer is too late. The key of the browser stays valid."""
    owner = town.bound()
    refused = binds(town.stranger(*ALL), *offers(town)[0])
    assert (refused["status"], refused["code"]) == (400, "proof_invalid")
    town.expire()
    assert owner.send(f"{town.api}/me")["status"] == 200


def test_the_ticket_of_one_login_binds_no_other(town: Town) -> None:
    """T27. The thief has another login of the same site. Challenge and ticket must be of the same login."""
    thief = town.stranger()
    owner = unbound(town)
    unbound(thief, OTHER)
    (challenge, ticket), (own_challenge, own_ticket) = offers(town)
    for pair in ((own_challenge, ticket), (challenge, own_ticket)):
        refused = binds(thief, *pair)
        assert (refused["status"], refused["code"]) == (400, "proof_invalid")
    assert json.loads(owner.send(f"{town.api}/session")["body"])["device_bound"] == "none"
    assert binds(thief, challenge, ticket)["status"] == 200, "the script makes a genuine proof"


@pytest.mark.parametrize("how", ["late", "password"])
def test_a_void_ticket_binds_nothing(town: Town, how: str) -> None:
    """T27. A ticket is void after 300 seconds, or after a password change. The login stays active, and unbound."""
    owner = unbound(town)
    challenge, ticket = offers(town)[0]
    if how == "late":
        town.site.world.clock.skip(seconds=300)
    else:
        changes_password(town, owner)
    refused = binds(town.stranger(), challenge, ticket)
    assert (refused["status"], refused["code"]) == (400, "proof_invalid")
    assert owner.send(f"{town.api}/me")["status"] == 200
    session = json.loads(owner.send(f"{town.api}/session")["body"])
    assert (session["active"], session["device_bound"]) == (True, "none")


def changes_password(town: Town, owner: Visit) -> None:
    """Change the password in a page. The page also gets an offer of a binding at the step-up."""
    members = {"new_password": NEW_PASSWORD}
    digest = content_digest(json.dumps(members).encode())
    operation = {"method": "POST", "path": "/api/me/password", "digest": digest}
    with no_binding(town):
        stepped = owner.send(f"{town.api}/step-up", "POST", {"operation": operation, "password": PASSWORD})
    grant = json.loads(stepped["body"])["grant"]
    headers = {"content-type": "application/json", "baton-grant": grant}
    changed = owner.send(f"{town.api}/me/password", "POST", headers=headers, body=json.dumps(members))
    assert changed["status"] == 204, changed


def forgeries(genuine: str) -> dict[str, str]:
    """Return malformed proofs, made from a proof of the browser."""
    head, payload, signature = genuine.split(".")
    raw = urlsafe_b64decode(f"{signature}==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = new_key()
    jwk = public_key(key).to_jwk()
    challenge = "dc.x"
    return {
        "alg none": f"{encoded({**REFRESH, 'alg': 'none'})}.{payload}.",
        "RS256": f"{encoded({**REFRESH, 'alg': 'RS256'})}.{payload}.{signature}",
        "a DER signature": f"{head}.{payload}.{encoded(der)}",
        "a jwk": make_proof(key, challenge, {**REFRESH, "jwk": jwk}),
        "a bad typ": f"{encoded({**REFRESH, 'typ': 'JWT'})}.{payload}.{signature}",
        "3 kB": f"{head}.{payload}{'A' * 3000}.{signature}",
        "another key": make_proof(key, challenge),
        "a key off the curve": make_proof(key, challenge, {**REFRESH, "jwk": {**jwk, "y": jwk["x"]}}),
    }


def test_forged_proofs_are_refused_and_the_browser_renews_its_own(town: Town) -> None:
    """T29. Each one is made from the proof that Chromium sends, and arrives right before that proof."""
    owner = town.bound()
    told: dict[str, tuple[int, str]] = {}

    def forge(fields: list[tuple[str, str]]) -> None:
        genuine = dict(fields).get("secure-session-response", "")
        for name, forged in (forgeries(genuine) if genuine else {}).items():
            sent = [(n, forged if n == "secure-session-response" else v) for n, v in fields]
            answer: GatewayResponse = town.site.world.gateway.call("POST", PROOF, sent, b"")
            told[name] = (answer.status, str(json.loads(answer.body).get("code")))

    town.expire()
    town.site.before[PROOF] = forge
    assert owner.send(f"{town.api}/me")["status"] == 200
    assert set(told.values()) == {(400, "proof_invalid")}
    assert len(told) == 8
    town.expire()
    assert owner.send(f"{town.api}/me")["status"] == 200
    assert json.loads(owner.send(f"{town.api}/session")["body"])["device_bound"] == "dbsc"


def test_a_script_cannot_send_a_proof_of_the_browser(town: Town) -> None:
    """T29. The browser does not let a script set the header of the bound session: its prefix is protected."""
    owner = town.bound()
    answer = owner.send(f"{town.api}/session/proof", "POST", headers={"sec-secure-session-id": "A" * 32})
    assert "sec-secure-session-id" not in town.sent("/session/proof")[-1]
    assert answer["status"] != 403
    assert owner.send(f"{town.api}/me")["status"] == 200


def test_a_forged_reason_to_skip_the_proof_is_not_believed(town: Town) -> None:
    """T30. A script of the thief reports that the browser skipped. The answer is 401, and the reason is counted."""
    town.bound()
    thief = town.stranger(SESSION).visit()
    for reason in ("quota_exceeded", "unreachable"):
        refused = thief.send(f"{town.api}/me", headers={"secure-session-skipped": reason})
        assert (refused["status"], code(refused)) == (401, "device_proof_required")
    told = [line["message"] for line in town.site.world.lines]
    assert (told.count("proof_skipped_quota_exceeded"), told.count("proof_skipped_unreachable")) == (1, 1)


def test_a_code_opens_one_browser_and_no_late_one(town: Town) -> None:
    """T33. Eight browsers send a code in parallel. Later tries fail: after 61 seconds, and after the app's logout."""
    phone = town.site.world.phone(EMAIL)
    visit = town.visit()
    redeem = """
    const one = (key) => fetch(given.url, { method: "POST", body: JSON.stringify({ code: given.code, confirm: true }),
      headers: { "content-type": "application/json", "idempotency-key": key } });
    const keys = Array.from({ length: given.times }, () => crypto.randomUUID()); // each one is a tap of its own
    return (await Promise.all(keys.map(one))).map((answer) => answer.status);
    """

    def tapped(code: str, times: int = 1) -> list[int]:
        return sorted(visit.run(redeem, url=f"{town.api}/session/redeem", code=code, times=times))

    def handed() -> str:
        return str(phone.post("/session/handover", json={"client_id": "web", "next": "/api/home"}).json["code"])

    used = handed()
    assert tapped(used, 8) == [200] + [400] * 7
    assert tapped(used) == [400]
    late = handed()
    town.site.world.clock.skip(seconds=61)
    assert tapped(late) == [400]
    orphan = handed()
    phone.post("/logout", json={})
    assert tapped(orphan) == [400]
