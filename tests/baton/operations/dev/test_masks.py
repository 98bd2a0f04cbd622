"""T38: secrets are masked before the development server keeps a request."""

import json
import re
from typing import Any

import pytest

from baton_client import content_digest
from tests.baton.operations.dev.conftest import Server
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD
from tools.dev.api.masks import MASK, masked_base, masked_body, masked_headers, masked_target

LOCAL = [("Host", "localhost:1")]
NOT_KEPT = "not kept"
WRONG = "not the password of Ada at all"


def kept(server: Server) -> str:
    """Return everything that the development API shows of the requests."""
    requests = server.got("/requests?limit=2000")["requests"]
    full = [server.got(f"/requests/{one['request_id']}") for one in requests]
    events = server.running.server.api.events.after(0)[1]
    records = server.running.server.api.records._records.values()
    return json.dumps([requests, full, events]) + repr([(record.facts, record.shown) for record in records])


def strings(value: Any) -> list[str]:
    """List every text of a JSON value."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def test_no_secret_of_a_whole_life_is_kept(server: Server) -> None:
    """Requests and answers have passwords, tokens, grants, mail codes, TOTP secrets and cookies."""
    phone, email = server.registered("phone 1")
    secrets = {PASSWORD, WRONG, NEW_PASSWORD, phone.token, str(phone.tokens["refresh_token"])}
    phone.post("/login", phone.entry(email, password=WRONG), token=None)
    phone.login(email)
    secrets |= {phone.token, str(phone.tokens["refresh_token"])}
    phone.exchange()
    secrets |= {phone.token, str(phone.tokens["refresh_token"])}
    forgot = {"email": email, "client_id": "mobile", "device": {"public_key": phone.key.jwk()}}
    session = phone.post("/password/forgot", forgot, token=None).members["mail_session"]
    mail = server.got("/mails")["mails"][0]
    code = re.search(r"\b\d{4} ?\d{4}\b", mail["text"])
    assert code is not None, mail
    reset = {"mail_session": session, "code": code[0], "new_password": NEW_PASSWORD}
    assert phone.post("/password/reset", reset, token=None).status == 204
    secrets |= {session, code[0], code[0].replace(" ", "")}
    assert phone.login(email, password=NEW_PASSWORD).status == 200
    grant = phone.step_up("POST", "/me/factors/totp", password=NEW_PASSWORD)
    begun = phone.request("POST", "/me/factors/totp", headers={"baton-grant": grant})
    assert begun.status == 200, begun
    secrets |= {phone.token, str(phone.tokens["refresh_token"]), grant, *strings(begun.members)}
    secrets.add(begun.members["otpauth_uri"].partition("secret=")[2].partition("&")[0])
    typed = {"enrolment": begun.members["enrolment"], "totp": "918273"}
    assert phone.post("/me/factors/totp/confirm", typed).code == "invalid_factor"
    server.send("GET", f"/api/mail/action?code=564738&link={WRONG.replace(' ', '')}", LOCAL, b"")
    secrets |= {"918273", "564738", WRONG.replace(" ", "")}
    opaque = server.phone("phone 2", client_id="mobile-opaque")
    opaque.register(f"opaque{email}")
    secrets |= {opaque.token, str(opaque.tokens["refresh_token"])}
    page = [
        ("Host", f"localhost:{server.port}"),
        ("Content-Type", "application/json"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Origin", f"http://localhost:{server.port}"),
    ]
    entry = {"email": f"opaque{email}", "password": PASSWORD, "client_id": "web", "remember": True}
    status, headers, said = server.send("POST", "/api/login", page, json.dumps(entry).encode())
    assert status == 200, said
    cookies = [value.partition(";")[0] for name, value in headers if name.lower() == "set-cookie"]
    assert len(cookies) >= 2
    secrets |= {cookie.partition("=")[2] for cookie in cookies} | {json.loads(said)["csrf_token"]}
    assert server.send("GET", "/api/me", [*page, ("Cookie", "; ".join(cookies))], b"")[0] == 200
    shown = kept(server)
    assert email in shown
    assert MASK in shown
    leaked = [secret for secret in secrets if len(secret) >= 6 and secret in shown]
    assert leaked == []


def test_what_is_shown_of_a_request_is_worked_out_when_something_reads_it(server: Server) -> None:
    """Most requests are never read. A large body is cut immediately. After a read, no secret is left."""
    phone, email = server.registered()
    records = server.running.server.api.records._records
    *_, record = records.values()
    facts = record.facts
    assert facts is not None
    assert PASSWORD.encode() in facts.sent.body
    assert server.last("register")["request_id"] == facts.request_id
    assert record.facts is None
    phone.post("/login", {**phone.entry(email), "note": "\N{EURO SIGN} " * 5_000}, token=None)  # 20,000 bytes
    *_, record = records.values()
    assert record.facts is None
    assert record.shown.details["request"]["cut"] is True


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b'{"password": "x", "n": 1}', '{"password": "********", "n": 1}'),
        (b'{"pass\\u0077ord": "x"}', '{"password": "********"}'),
        (b'{"Password": "x", "code": 123456}', '{"Password": "********", "code": "********"}'),
        (b'{"recovery_codes": ["a", "b"]}', '{"recovery_codes": ["********", "********"]}'),
        (b'{"device": {"secret": {"k": "x"}}}', '{"device": {"secret": {"k": "********"}}}'),
        (b'{"token_type": "Bearer", "refresh_token_expires_in": 9}', None),
        (b'{"note": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"}', '{"note": "********"}'),
        (b'{"code": "wrong_key", "request_id": "1", "server_time": 2}', None),
        (b'[{"password": "x"}]', '[{"password": "********"}]'),
        (b'"x"', None),
        (b"{" * 100_000, NOT_KEPT),
        (b'{"password": "x"', NOT_KEPT),
    ],
)
def test_a_json_body_is_masked_by_the_names_of_its_members(sent: bytes, shown: str | None) -> None:
    """A name with escapes counts as the same name. A body that cannot be read is not stored."""
    expected = None if shown == NOT_KEPT else shown or sent.decode()
    assert masked_body(sent, "application/json").text == expected


def test_a_form_is_masked_by_the_names_of_its_fields() -> None:
    """The form is that of ``POST /oauth/token``."""
    form = b"grant_type=refresh_token&refresh_token=abc&client_id=mobile"
    assert masked_body(form, "application/x-www-form-urlencoded; charset=utf-8").text == (
        f"grant_type=refresh_token&refresh_token={MASK}&client_id=mobile"
    )


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", "Bearer abc", f"Bearer {MASK}"),
        ("Cookie", "__Host-baton=abc; a=b", f"__Host-baton={MASK}; a={MASK}"),
        ("Set-Cookie", "__Host-baton=abc; Path=/; Secure", f"__Host-baton={MASK}; Path=/; Secure"),
        ("Baton-Grant", "gr.abc", MASK),
        ("Baton-CSRF", "abc", MASK),
        ("Baton-Handover", "abc", MASK),
        ("Location", "/next?code=abc&a=b#c", f"/next?code={MASK}&a=b#{MASK}"),
        ("Secure-Session-Response", "abc", MASK),
        ("Baton-Origin-Secret", "abc", MASK),
        ("Signature", "baton=:" + "A" * 140 + ":", "baton=:" + "A" * 140 + ":"),
        ("Baton-Phone", "phone 1", "phone 1"),
    ],
)
def test_a_header_field_is_masked_by_its_name(name: str, value: str, shown: str) -> None:
    """The scheme and the name of a cookie are not masked."""
    assert masked_headers([(name, value)]) == [[name, shown]]


def test_the_target_and_the_signature_base_are_masked() -> None:
    """A line of the base with a secret shows the digest of its value."""
    assert masked_target("/api/mail/action?code=1&lang=en") == f"/api/mail/action?code={MASK}&lang=en"
    assert masked_target("/api/me") == "/api/me"
    base = '"@method": GET\n"authorization": Bearer abc\n"@query-param";name="code": 1\n"baton-grant": x'
    assert masked_base(base).split("\n") == [
        '"@method": GET',
        f'"authorization": {content_digest(b"Bearer abc")}',
        f'"@query-param";name="code": {MASK}',
        f'"baton-grant": {content_digest(b"x")}',
    ]


def test_the_signature_base_of_a_refusal_has_no_secret() -> None:
    """The refusal shows the base that the server built, with the values of the covered fields but without secrets."""
    base = '"@path": /api/me/password\n"baton-grant": a-grant-that-is-secret\n"@signature-params": ("@path")'
    refusal = {"code": "signature_invalid", "request_id": "r", "server_time": 1, "signature_base": base}
    kept = masked_body(json.dumps(refusal).encode(), "application/problem+json")
    assert kept.members["signature_base"] == masked_base(base)
    assert kept.text is not None
    assert "a-grant-that-is-secret" not in kept.text
    assert "/api/me/password" in kept.text
    assert masked_base(masked_base(base)) == masked_base(base)
