"""A request reaches each row of the code table in docs/baton/wire.md, with its format, status and action."""

import base64
import json
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote_plus, urlencode

import pytest

from baton_client import content_digest
from chalicelib.baton import errors
from chalicelib.baton.environment import Effects
from chalicelib.baton.policy import FAILURES_PER_ACCOUNT_MAX
from chalicelib.baton.testing.gateway import load_app
from tests.baton.conftest import ENVIRONMENT, RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.fixture import APP, load_environment
from tests.baton.memory import LeakedPasswords
from tests.baton.wire.conversation import FORM, HOST, JSON, NEW_PASSWORD, PASSWORD, Device, Said, through
from tools.dev.gateway import Gateway
from tools.errors_page import leaves

Case = Callable[["Setting"], Said]
CASES: dict[tuple[int, str, str], Case] = {}
OF_NO_ROUTE = {
    "conflict",
    "forbidden",
    "idempotency_key_required",
    "idempotency_key_reused",
    "in_progress",
    "insufficient_role",
    "insufficient_scope",
    "outcome_unknown",
}
"""Codes that no route of Baton returns: `tests/baton/http/test_once.py` tests those of exactly-once calls,
`tests/baton/wire/test_public_api.py` those of scope, role and acr,
`tests/baton/wire/test_documented_routes.py` the others."""
OF_SECOND_FACTORS = {
    "challenge_invalid",
    "enrolment_required",
    "factor_exists",
    "factor_required",
    "invalid_passkey",
    "passkey_exists",
    "restore_refused",
    "second_factor_required",
    "second_factor_unsupported",
    "too_many_passkeys",
    "unknown_passkey",
}
"""Codes that accounts with a second factor get: `tests/baton/wire/test_second_factor.py`,
`tests/baton/wire/test_passkeys.py` and `tests/baton/wire/test_restore.py` test them."""

OF_ATTESTATION = {"attestation_challenge_invalid", "attestation_failed", "attestation_required"}
"""Codes of clients that check evidence: `tests/baton/attestation/test_logins.py` tests them."""

OF_FEDERATION = {"account_disabled", "identity_not_allowed", "identity_token_invalid", "identity_unknown"}
OF_FEDERATION |= {"identity_taken", "last_credential", "reauthentication_unsupported", "too_many_identities"}
"""Codes of identities at providers: `tests/baton/federation` tests them."""

OF_BROWSERS = {"device_proof_required", "handover_invalid", "insufficient_acr", "next_invalid", "proof_invalid"}
OF_BROWSERS |= {"session_superseded"}
"""Codes of logins in a browser: `tests/baton/browser` tests them."""


@pytest.fixture(autouse=True)
def _with_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve the routes of mail too."""
    monkeypatch.setenv("BATON_MAIL", "mailbox")


class Setting:
    """A registered bound device, and the other objects that the cases need."""

    def __init__(self, make_device: Callable[..., Device]) -> None:
        """Register an account."""
        self.make = make_device
        self.phone = make_device()
        assert self.phone.register("ada@example.com").status == 201

    def raw(self, method: str, path: str, body: bytes = b"", *headers: tuple[str, str]) -> Said:
        """Send an unsigned request."""
        return self.phone.send(method, "/api" + path, [("host", HOST), *headers], body)

    def json(self, path: str, body: bytes) -> Said:
        """Post unsigned JSON."""
        return self.raw("POST", path, body, *JSON.items())

    def form(self, path: str, **fields: str) -> Said:
        """Post an unsigned form."""
        return self.raw("POST", path, urlencode(fields).encode(), *FORM.items())


def case(status: int, error: str, code: str) -> Callable[[Case], Case]:
    """Register the function as the case of a row."""

    def claim(run: Case) -> Case:
        assert (status, error, code) not in CASES
        CASES[status, error, code] = run
        return run

    return claim


NARROW = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}

ENTRY = b'{"email":"%s","password":"%s","client_id":"simple"}'


@case(400, "invalid_request", "malformed")
def _(setting: Setting) -> Said:
    return setting.json("/login", b"{")


@case(413, "invalid_request", "too_large")
def _(setting: Setting) -> Said:
    return setting.json("/login", b'{"email":"' + b"x" * 65536 + b'"}')


@case(400, "invalid_request", "too_large")
def _(setting: Setting) -> Said:
    return setting.raw("GET", "/me", b"", ("authorization", "Bearer " + "x" * 8192))


@case(422, "invalid_request", "too_large")
def _(setting: Setting) -> Said:
    return setting.json("/login", ENTRY % (b"ada@example.com", b"x" * 1025))


@case(400, "invalid_request", "duplicate_field")
def _(setting: Setting) -> Said:
    return setting.json("/login", b'{"email":"a","email":"b"}')


@case(422, "invalid_request", "unknown_field")
def _(setting: Setting) -> Said:
    return setting.json("/login", b'{"email":"a","password":"b","client_id":"simple","admin":true}')


@case(400, "invalid_request", "unknown_field")
def _(setting: Setting) -> Said:
    return setting.raw("GET", "/time?verbose=1")


@case(422, "invalid_request", "wrong_type")
def _(setting: Setting) -> Said:
    return setting.json("/login", b'{"email":1,"password":"b","client_id":"simple"}')


@case(415, "invalid_request", "unsupported_media_type")
def _(setting: Setting) -> Said:
    return setting.raw("POST", "/login", b"{}", ("content-type", "application/jsonish"))


@case(404, "not_found", "not_found")
def _(setting: Setting) -> Said:
    return setting.phone.confirmed("DELETE", "/me/devices/AAAAAAAAAAAAAAAA")


@case(409, "account_exists", "account_exists")
def _(setting: Setting) -> Said:
    return setting.make().register("ada@example.com")


@case(403, "cross_site", "cross_site")
def _(setting: Setting) -> Said:
    return setting.json("/login", ENTRY.replace(b"simple", b"web") % (b"ada@example.com", b"any"))


@case(422, "weak_password", "too_short")
def _(setting: Setting) -> Said:
    return setting.json("/register", ENTRY % (b"bob@example.com", b"short"))


@case(422, "weak_password", "too_common")
def _(setting: Setting) -> Said:
    return setting.json("/register", ENTRY % (b"bob@example.com", b"passwordpassword"))


@case(422, "weak_password", "contains_context")
def _(setting: Setting) -> Said:
    return setting.json("/register", ENTRY % (b"roberta@example.com", b"Roberta 1990 1990!"))


@case(422, "weak_password", "breached")
def _(setting: Setting) -> Said:
    del setting
    effects = Effects(lambda: int(time.time()), secrets.token_bytes, fetch=LeakedPasswords("monkey dragon football"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATON_BREACH_CHECK", "on")
        send = through(Gateway([load_app(APP, effects).app]))
    body = ENTRY % (b"bob@example.com", b"monkey dragon football")
    return send("POST", "/api/register", [("host", HOST), *JSON.items()], body)


@case(422, "invalid_request", "invalid_email")
def _(setting: Setting) -> Said:
    return setting.json("/register", ENTRY % (b"not an address", b"copper lantern drifting sideways"))


@case(422, "invalid_request", "invalid_key")
def _(setting: Setting) -> Said:
    entry = setting.phone.entry("bob@example.com", public_key={"kty": "RSA"})
    return setting.json("/register", json.dumps(entry).encode())


@case(401, "invalid_credentials", "invalid_credentials")
def _(setting: Setting) -> Said:
    return setting.make().login("ada@example.com", password="not the right one")


@case(401, "invalid_token", "token_expired")
def _(setting: Setting) -> Said:
    first = setting.phone.token
    setting.phone.exchange()
    setting.phone.exchange()
    return setting.phone.get("/me", token=first)


@case(401, "invalid_token", "login_required")
def _(setting: Setting) -> Said:
    assert setting.phone.post("/logout", {}).status == 204
    return setting.phone.get("/me")


@case(401, "invalid_token", "token_invalid")
def _(setting: Setting) -> Said:
    return setting.phone.get("/me", token="garbage")


@case(401, "invalid_signature", "signature_required")
def _(setting: Setting) -> Said:
    return setting.raw("GET", "/me", b"", ("authorization", f"Bearer {setting.phone.token}"))


@case(401, "invalid_signature", "invalid_signature")
def _(setting: Setting) -> Said:
    return setting.phone.get("/me", tamper=lambda fields: fields.update(signature=f"baton=:{'A' * 86}==:"))


@case(401, "invalid_signature", "insufficient_coverage")
def _(setting: Setting) -> Said:
    return setting.phone.get("/me", tamper=lambda fields: fields.update({"baton-grant": "smuggled"}))


@case(401, "invalid_signature", "signature_encoding")
def _(setting: Setting) -> Said:
    der = base64.b64encode(bytes.fromhex("3006020101020101")).decode()
    return setting.phone.get("/me", tamper=lambda fields: fields.update(signature=f"baton=:{der}:"))


@case(401, "invalid_signature", "wrong_key")
def _(setting: Setting) -> Said:
    return setting.make().get("/me", token=setting.phone.token)


@case(400, "invalid_request", "idempotency_unsupported")
def _(setting: Setting) -> Said:
    return setting.phone.post("/logout", {}, {"idempotency-key": "a-key-that-would-be-ignored"})


@case(400, "invalid_digest", "invalid_digest")
def _(setting: Setting) -> Said:
    return setting.phone.post("/logout", {"everywhere": False}, sent_body=b'{"everywhere": true }')


@case(401, "stale_signature", "clock_skew")
def _(setting: Setting) -> Said:
    return setting.phone.get("/me", created=setting.phone.clock() - 400)


@case(403, "insufficient_authorization", "verification_required")
def _(setting: Setting) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATON_REGISTRATION", "verify_first")
        strict = through(Gateway([load_environment().app]))
    return Device(strict, setting.phone.clock).register("eve@example.com")


@case(403, "insufficient_authorization", "email_unverified")
def _(setting: Setting) -> Said:
    return setting.phone.confirmed("POST", "/me/factors/totp")


@case(401, "invalid_code", "invalid_code")
def _(setting: Setting) -> Said:
    session = setting.phone.post("/me/email/code", {}).members["mail_session"]
    return setting.phone.post("/me/email/verify", {"mail_session": session, "code": "0000 0000"})


@case(401, "replayed_nonce", "replayed_nonce")
def _(setting: Setting) -> Said:
    grant_body = b'{"to":"Bob","amount":20000}'
    grant = setting.phone.step_up("POST", "/transfers", grant_body)
    for _ in range(2):
        said = setting.phone.request(
            "POST", "/transfers", grant_body, JSON | {"baton-grant": grant}, nonce="one-and-the-same"
        )
    return said


@case(401, "insufficient_user_authentication", "step_up_required")
def _(setting: Setting) -> Said:
    said = setting.phone.post("/transfers", {"to": "Bob", "amount": 20000})
    assert said.members["max_age"] == 120
    assert said.members["acr_values"] == "aal1"
    return said


@case(401, "insufficient_user_authentication", "grant_invalid")
def _(setting: Setting) -> Said:
    body = b'{"to":"Bob","amount":20000}'
    # The path as the app sees it, without the stage. Many clients make this mistake first.
    operation = {"method": "POST", "path": "/transfers", "digest": content_digest(body)}
    grant = setting.phone.post("/step-up", {"operation": operation, "password": PASSWORD}).members["grant"]
    said = setting.phone.request("POST", "/transfers", body, JSON | {"baton-grant": grant})
    assert said.members["path"] == "/api/transfers"
    assert "stage included" in said.members["hint"]
    return said


@case(400, "invalid_grant", "token_invalid")
def _(setting: Setting) -> Said:
    return setting.form("/oauth/token", grant_type="refresh_token", refresh_token="garbage")


@case(400, "invalid_grant", "login_required")
def _(setting: Setting) -> Said:
    setting.phone.post("/logout", {})
    return setting.phone.exchange()


@case(400, "invalid_grant", "token_reused")
def _(setting: Setting) -> Said:
    first = str(setting.phone.tokens["refresh_token"])
    setting.phone.exchange()
    return setting.phone.exchange(first)


@case(400, "invalid_request", "wrong_key")
def _(setting: Setting) -> Said:
    return setting.make().exchange(setting.phone.token)


@case(400, "invalid_request", "signature_required")
def _(setting: Setting) -> Said:
    return setting.form("/oauth/token", grant_type="refresh_token", refresh_token=setting.phone.token)


@case(400, "invalid_request", "clock_skew")
def _(setting: Setting) -> Said:
    form = urlencode({"grant_type": "refresh_token", "refresh_token": setting.phone.token}).encode()
    return setting.phone.request("POST", "/oauth/token", form, FORM, token=None, created=setting.phone.clock() + 400)


@case(409, "invalid_request", "superseded")
def _(setting: Setting) -> Said:
    first = str(setting.phone.tokens["refresh_token"])
    setting.phone.exchange(attempt="the-first-attempt")
    setting.phone.exchange()
    return setting.phone.exchange(first, attempt="the-first-attempt")


@case(400, "unsupported_grant_type", "unsupported_grant_type")
def _(setting: Setting) -> Said:
    return setting.form("/oauth/token", grant_type="password", username="ada", password="x")


@case(400, "unauthorized_client", "unauthorized_client")
def _(setting: Setting) -> Said:
    thing = setting.make(client_id="iot", bound=False)
    token = thing.login("ada@example.com").members["access_token"]
    return setting.form("/oauth/token", grant_type="refresh_token", refresh_token=token)


@case(400, "invalid_client", "invalid_client")
def _(setting: Setting) -> Said:
    return setting.form("/oauth/token", grant_type="refresh_token", refresh_token="garbage", client_id="nobody")


@case(400, "unsupported_response_type", "unsupported_response_type")
def _(setting: Setting) -> Said:
    return setting.raw("GET", "/oauth/authorize?response_type=code")


@case(401, "invalid_client", "invalid_client")
def _(setting: Setting) -> Said:
    return setting.form("/oauth/introspect", token="x")


@case(400, "invalid_scope", "invalid_scope")
def _(setting: Setting) -> Said:
    return setting.phone.exchange(scope="account admin")


@case(400, "invalid_target", "invalid_target")
def _(setting: Setting) -> Said:
    return setting.form("/oauth/token", **NARROW, subject_token=setting.phone.token, audience="nobody")


@case(400, "invalid_request", "subject_token_invalid")
def _(setting: Setting) -> Said:
    return setting.form("/oauth/token", **NARROW, subject_token="garbage", audience="files")


@case(400, "invalid_session", "invalid_session")
def _(setting: Setting) -> Said:
    return setting.json("/login/factor", b'{"auth_session":"as.x","totp":"123456"}')


@case(401, "invalid_factor", "invalid_factor")
def _(setting: Setting) -> Said:
    operation = {"method": "DELETE", "path": "/api/me", "digest": content_digest(b"")}
    return setting.phone.post("/step-up", {"operation": operation, "totp": "123456"})


@case(409, "factor_missing", "factor_missing")
def _(setting: Setting) -> Said:
    return setting.phone.confirmed("POST", "/me/factors/recovery-codes")


@case(429, "too_many_requests", "too_many_requests")
def _(setting: Setting) -> Said:
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        setting.make().login("ada@example.com", password="not the right one")
    return setting.make().login("ada@example.com")


def challenge(row: tuple[int, str, str]) -> str | None:
    """Return the expected challenge. Only a 401 has a challenge, and each 401 has one (RFC 9110 section 15.5.2)."""
    status, error, code = row
    if status != 401:
        return None
    if error == "invalid_client":
        return 'Basic realm="baton"'
    stepped = ', max_age=120, acr_values="aal1"' if code == "step_up_required" else ""
    resource_metadata = f"{ENVIRONMENT['BATON_ISSUER']}/.well-known/oauth-protected-resource"
    return f'Bearer error="{error}"{stepped}, resource_metadata="{resource_metadata}"'


@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row[0]} {row[1]} {row[2]}")
def test_every_code_is_reachable(row: tuple[int, str, str], make_device: Callable[..., Device]) -> None:
    """The refusal has its status, error, action and members, and the headers of every answer."""
    said = CASES[row](Setting(make_device))
    status, error, code = row
    members = said.members
    assert (said.status, members["error"], members["code"]) == (status, error, code), members
    family = {leaf.code: leaf for leaf in leaves()}
    assert members["action"] == family[code].action
    assert members["retryable"] is (members["action"] in {"retry", "sync_clock", "exchange"})
    assert members["request_id"] == said.headers["baton-request-id"]
    assert members["server_time"] == int(said.headers["baton-time"])
    assert said.headers["cache-control"] == "no-store"
    if code == "too_many_requests":
        assert 0 < int(said.headers["retry-after"]) <= 900
    assert said.headers.get("x-amzn-remapped-www-authenticate") == challenge(row)
    if said.headers["content-type"] == "application/problem+json":
        assert members["status"] == status
        assert members["type"] == f"urn:baton:error:{code}"
        assert members["title"]
        assert members["detail"]
    else:
        assert said.headers["content-type"] == "application/json"
        assert members["error_description"]


def test_every_code_has_a_case() -> None:
    """The codes of 405, 503 and 500 are tested elsewhere."""
    elsewhere = {errors.MethodNotAllowed.code, errors.Unavailable.code, errors.ServerError.code}
    elsewhere |= OF_NO_ROUTE | OF_SECOND_FACTORS | OF_BROWSERS | OF_ATTESTATION | OF_FEDERATION
    assert {code for _, _, code in CASES} | elsewhere == {leaf.code for leaf in leaves()}


@pytest.mark.guarantee(9)
def test_an_unreachable_database_is_503_and_logs_nobody_out(
    make_device: Callable[..., Device], broken_engine: list[bool]
) -> None:
    """Guarantee 9: a server error is ``temporarily_unavailable`` with ``Retry-After``, on routes of every kind."""
    setting = Setting(make_device)
    phone = setting.phone
    grant = phone.step_up("DELETE", "/me")
    broken_engine.append(True)
    said = [
        phone.exchange(attempt="an-attempt-to-keep"),
        phone.get("/me"),
        phone.post("/logout", {}),
        phone.request("DELETE", "/me", headers={"baton-grant": grant}),
        setting.make().login("ada@example.com"),
        setting.make().register("bob@example.com"),
        setting.raw("GET", "/health"),
    ]
    for answer in said:
        assert (answer.status, answer.code) == (503, "unavailable"), answer
        assert answer.members["error"] == "temporarily_unavailable"
        assert answer.members["action"] == "retry"
        assert int(answer.headers["retry-after"]) >= 1
    broken_engine.clear()
    assert phone.exchange(attempt="an-attempt-to-keep").status == 200
    assert phone.get("/me").status == 200


@pytest.mark.guarantee(6)
def test_a_password_change_needs_its_grant_and_ends_the_other_devices(make_device: Callable[..., Device]) -> None:
    """``POST /me/password``: 204, the other device's login ends, and the old password is wrong."""
    phone, tablet = make_device(), make_device()
    phone.register("ada@example.com")
    tablet.login("ada@example.com")
    body = json.dumps({"new_password": NEW_PASSWORD}).encode()
    grant = phone.step_up("POST", "/me/password", body)
    assert phone.request("POST", "/me/password", body, JSON | {"baton-grant": grant}).status == 204
    assert phone.get("/me").status == 200
    ended = tablet.get("/me")
    assert (ended.code, ended.members["reason"]) == ("login_required", "password_changed")
    assert make_device().login("ada@example.com").code == "invalid_credentials"
    assert make_device().login("ada@example.com", password=NEW_PASSWORD).status == 200


@pytest.mark.parametrize(
    ("scheme", "credentials", "status"),
    [
        ("Basic", "{id}:{secret}", 200),
        ("bAsIc", "{id}:{secret}", 200),
        ("Basic", "%62illing:{encoded}", 200),  # form-encoded values (RFC 6749 section 2.3.1)
        ("Bearer", "{id}:{secret}", 401),
        ("", "{id}:{secret}", 401),
        ("Basic", "{id}", 401),
        ("Basic", "{id}:", 401),
        ("Basic", "{id}:{secret}x", 401),
        ("Basic", "nobody:{secret}", 401),
        ("Basic", ":{secret}", 401),
    ],
)
def test_introspection_requires_basic_credentials_of_a_resource_server(
    make_device: Callable[..., Device], scheme: str, credentials: str, status: int
) -> None:
    """RFC 7617. The answer contains the owner of a token, so no other client may read it."""
    written = credentials.format(
        id=RESOURCE_SERVER, secret=RESOURCE_SERVER_SECRET, encoded=quote_plus(RESOURCE_SERVER_SECRET)
    )
    authorization = f"{scheme} {base64.b64encode(written.encode()).decode()}".strip()
    setting = Setting(make_device)
    body = urlencode({"token": setting.phone.token}).encode()
    said = setting.raw("POST", "/oauth/introspect", body, ("authorization", authorization), *FORM.items())
    assert said.status == status, said
    assert said.members.get("active") is (True if status == 200 else None)
