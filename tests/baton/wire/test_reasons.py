"""The private reason of a refusal has fixed words, so that no text of a caller gets into the log."""

import base64
import json
import re
from collections.abc import Callable, Mapping

import pytest

from chalicelib.baton.events.log import Log
from tests.baton.wire.conversation import FORM, HOST, JSON, PASSWORD, Device

MARK = "Zq9x"
LONG = MARK * 400
"""A long text for each value that a caller can choose."""


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect each recorded reason, before the log shortens it."""
    kept: list[str] = []

    def record(_: Log, event: str, /, **facts: str | int) -> None:
        kept.extend(f"{event} {name}: {fact}" for name, fact in facts.items() if isinstance(fact, str))

    monkeypatch.setattr(Log, "record", record)
    return kept


def signed(field: str, old: str, new: str) -> Callable[[dict[str, str]], None]:
    """Change a field after it was signed."""

    def change(fields: dict[str, str]) -> None:
        assert re.search(old, fields[field])
        fields[field] = re.sub(old, new, fields[field], count=1)

    return change


TAMPERED = [
    signed("signature-input", "baton=", f"{LONG.lower()}="),
    signed("signature-input", '"@method"', f'"{LONG.lower()}"'),
    signed("signature-input", '"@method"', f'"@{LONG.lower()}"'),
    signed("signature-input", '"@method"', f'"@method" "{LONG.lower()}" "{LONG.lower()}"'),
    signed("signature-input", '"@method"', f'"@method";{LONG.lower()}'),
    signed("signature-input", '"@method"', f'"@method" "@query-param";name="{LONG}"'),
    signed("signature-input", ";tag", f";{LONG.lower()}=1;tag"),
    signed("signature-input", 'nonce="', f'nonce="{LONG}'),
    signed("signature-input", 'keyid="', f'keyid="{LONG}'),
    signed("signature-input", ";tag", f';alg="{LONG}";tag'),
    signed("signature-input", "baton", f"'{LONG}'"),
    signed("signature", "baton=", f"{LONG.lower()}="),
    signed("signature", "baton=:", f"baton={LONG}"),
    signed("signature", "$", f", {LONG}"),
    signed("host", "^.*", f"{LONG}.example"),
    signed("authorization", "^.*", f"Basic {LONG}"),
    signed("authorization", "^.*", f"Bearer {LONG}.{LONG}.{LONG}"),
    signed("authorization", "^.*", "Bearer " + base64.urlsafe_b64encode(json.dumps({"alg": LONG}).encode()).decode()),
    lambda fields: fields.update({"content-digest": f"{LONG.lower()}=:AA==:"}),
    lambda fields: fields.update({"content-digest": LONG}),
    lambda fields: fields.update({"baton-grant": LONG}),
    lambda fields: fields.update({"idempotency-key": LONG}),
    lambda fields: fields.update({"content-type": LONG}),
]
ENTRY = {"email": "bob@example.com", "password": PASSWORD, "client_id": "simple"}
BODIES: list[tuple[str, Mapping[str, str], bytes]] = [
    *(
        ("/register", JSON, json.dumps(ENTRY | changed).encode())
        for changed in (
            {LONG: 1},
            {"email": LONG},
            {"email": f"{LONG}@{LONG}.example"},
            {"email": f"bob@\u00fc{MARK}\u05d0.example"},
            {"password": LONG * 2},
            {"client_id": LONG[:200]},
            {"client_id": LONG},
            {"device": {"binding": LONG}},
            {"device": {"name": LONG}},
            {"device": {LONG: 1}},
            {"device": {"public_key": {"kty": LONG}}},
            {"device": {"public_key": {"kty": "EC", "crv": LONG, "x": "", "y": ""}}},
            {"device": {"public_key": {"kty": "EC", "crv": "P-256", "x": LONG, "y": LONG}}},
            {"device": {"public_key": {"kty": "EC", "crv": "P-256", "x": LONG, "y": LONG, "d": LONG}}},
        )
    ),
    ("/register", JSON, f'{{"{LONG}":1,"{LONG}":2}}'.encode()),
    ("/register", JSON, LONG.encode()),
    ("/register", {"content-type": LONG}, b"{}"),
    ("/oauth/token", FORM, f"grant_type={LONG}".encode()),
    ("/oauth/token", FORM, f"grant_type=refresh_token&refresh_token={LONG}&client_id={LONG}&scope={LONG}".encode()),
    ("/oauth/token", FORM, f"grant_type=refresh_token&refresh_token=baton_{LONG}".encode()),
    ("/oauth/introspect", FORM, f"token={LONG}".encode()),
]


def test_no_reason_contains_text_of_a_caller(make_device: Callable[..., Device], reasons: list[str]) -> None:
    """Examples are a component name, a label, and a parser's message, each with a long text of the caller."""
    phone = make_device()
    assert phone.register("ada@example.com").status == 201
    for tamper in TAMPERED:
        assert phone.post("/step-up", {"x": 1}, tamper=tamper).status >= 400
    for path, headers, body in BODIES:
        assert phone.send("POST", f"/api{path}", [("host", HOST), *headers.items()], body).status >= 400, body[:200]
    for target in (f"/me/devices/{LONG}", f"/time?{LONG}=1", f"/me?{LONG}={LONG}", f"/{LONG}"):
        assert phone.get(target).status >= 400
        assert phone.request("DELETE", target).status >= 400
    basic = base64.b64encode(f"{LONG}:{LONG}".encode()).decode()
    fields = [("host", HOST), *FORM.items(), ("authorization", f"Basic {basic}")]
    assert phone.send("POST", "/api/oauth/introspect", fields, b"token=x").status == 401
    assert len(reasons) > len(TAMPERED) + len(BODIES)
    assert [reason[:80] for reason in reasons if MARK.lower() in reason.lower() or len(reason) > 150] == []
