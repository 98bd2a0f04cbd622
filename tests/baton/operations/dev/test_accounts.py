"""Accounts on the development server, by the function ``operate``, and the server's own state."""

import json

import pytest

from tests.baton.operations.dev.conftest import Server
from tools.dev import serve
from tools.dev.serve import DEMO_EMAIL


def test_an_account_is_found_and_shown(server: Server) -> None:
    """The account is found by its address, its id, and the id of a login."""
    phone, email = server.registered()
    account = server.account(email)
    for text in (account, str(phone.tokens["device_id"]), email.upper()):
        found = server.got(f"/accounts?q={text}")["accounts"]
        assert found == [{"account": account, "email": email, "status": "active", "logins": 1}]
    assert DEMO_EMAIL in {one["email"] for one in server.got("/accounts")["accounts"]}
    assert server.got("/accounts?q=nothing-like-this")["accounts"] == []
    shown = server.got(f"/accounts/{account}")
    assert (shown["email"], shown["status"], shown["logins"], shown["logins_max"]) == (email, "active", 1, 24)
    assert shown["factors"] == {"on": False, "totp": False, "passkeys": 0, "recovery_codes": 0}
    assert [one["event"] for one in shown["activity"]] == ["registered"]
    (lineage,) = shown["lineages"]
    assert (lineage["client"], lineage["device"], lineage["bound"], lineage["ended"]) == (
        "mobile",
        "phone",
        "key",
        None,
    )
    assert server.dev("GET", "/accounts/unknown")[0] == 404


def test_an_account_is_disabled_enabled_and_deleted(server: Server) -> None:
    """Each change needs the address as confirmation, and is an audit event with the operator."""
    phone, email = server.registered()
    account = server.account(email)
    for change, status, code in (("disable", "disabled", "login_required"), ("enable", "active", "login_required")):
        answered, said = server.dev("POST", f"/accounts/{account}/{change}", {"confirm": f" {email.upper()} "})
        assert (answered, said) == (200, {"account": account, "status": status})
        assert phone.get("/me").code == code
    events = server.got(f"/accounts/{account}")["activity"]
    assert [(one["event"], one["details"]) for one in events[:2]] == [
        ("account_enabled", {"operator": "make dev"}),
        ("account_disabled", {"operator": "make dev"}),
    ]
    assert server.dev("POST", f"/accounts/{account}/delete", {"confirm": email})[1]["status"] == "deleted"
    assert server.got(f"/accounts?q={email}")["accounts"] == []


def test_one_login_or_every_login_is_ended(server: Server) -> None:
    """The end reason tells the app that an operator ended the login."""
    first, email = server.registered("phone 1")
    second = server.phone("phone 2")
    second.login(email)
    account, lineage = server.account(email), str(second.tokens["device_id"])
    body = {"confirm": email, "lineage": lineage}
    assert server.dev("POST", f"/accounts/{account}/end", body) == (200, {"account": account, "status": "active"})
    assert second.exchange().members["reason"] == "ended_by_operator"
    assert first.get("/me").status == 200
    server.dev("POST", "/clock", {"skip": 2})  # in the same second, it would be the same call sent again
    assert server.dev("POST", f"/accounts/{account}/end", body)[0] == 404
    assert server.dev("POST", f"/accounts/{account}/end", {"confirm": email})[0] == 200
    assert first.exchange().members["reason"] == "ended_by_operator"
    events = server.got(f"/accounts/{account}")["activity"][:2]
    assert [(one["event"], one["reason"], one.get("device_id")) for one in events] == [
        ("ended_by_operator", "ended_by_operator", None),
        ("ended_by_operator", "ended_by_operator", lineage),
    ]
    server.dev("POST", "/clock", {"skip": -2})


@pytest.mark.parametrize("change", ["disable", "enable", "end", "delete"])
@pytest.mark.parametrize("confirm", ["", "someone.else@example.com", "no address", None])
def test_a_wrong_confirmation_changes_nothing(server: Server, change: str, confirm: str | None) -> None:
    """The function checks the confirmation, not the page."""
    phone, email = server.registered()
    body = {} if confirm is None else {"confirm": confirm}
    status, said = server.dev("POST", f"/accounts/{server.account(email)}/{change}", body)
    assert (status, said["code"]) == (400, "confirmation_wrong")
    assert phone.get("/me").status == 200


def test_an_unknown_change_or_member_is_refused(server: Server) -> None:
    """The refusal lists the known changes and members."""
    _, email = server.registered()
    account = server.account(email)
    status, said = server.dev("POST", f"/accounts/{account}/rename", {"confirm": email})
    assert (status, said["known"]) == (404, ["disable", "enable", "end", "delete"])
    status, said = server.dev("POST", f"/accounts/{account}/disable", {"confirm": email, "lineage": "x"})
    assert (status, said["code"], said["known"]) == (400, "unknown_member", ["confirm"])
    assert server.dev("POST", f"/accounts/{account}/disable", {"confirm": 1})[0] == 400


def test_settings_and_doctor_have_no_secret(server: Server) -> None:
    """They show the names of settings, clients and keys."""
    said = server.got("/settings")
    assert said["settings"]["issuer"] == f"http://localhost:{server.port}/api"
    assert said["settings"]["resource_servers"] == "demo-api"
    assert {one["id"] for one in said["clients"]} >= {"mobile", "web"}
    assert all(one.keys() == {"kid", "made_at", "signs_from"} for one in said["keys"])
    ring = server.running.watch.baton.key_ring.current(now=0)
    text = json.dumps(said)
    assert server.running.resource_server_secret not in text
    assert not any(root.secret.reveal().hex() in text for root in ring.roots)
    rows = server.got("/doctor")["rows"]
    assert {"versions", "reach", "clock", "tables", "keys"} <= {one["part"] for one in rows}
    assert [one for one in rows if one["remedy"]] == []


def test_the_clock_is_read_and_moved(server: Server) -> None:
    """The clock is never moved before the true time."""
    before = server.got("/clock")
    assert before["skipped"] == 0
    status, said = server.dev("POST", "/clock", {"skip": 3600})
    assert (status, said["skipped"]) == (200, 3600)
    assert said["server_time"] - before["server_time"] >= 3600
    assert server.dev("POST", "/clock", {"skip": -9999})[1]["skipped"] == 0
    refused: tuple[object, ...] = ({}, {"skip": "1"}, {"skip": True}, {"skip": None}, {"skip": 1, "to": 2}, [])
    for wrong in refused:
        assert server.dev("POST", "/clock", wrong)[0] == 400


@pytest.mark.parametrize("reset", [False, True])
def test_evidence_of_a_revoked_phone_is_refused(server: Server, reset: bool) -> None:  # noqa: FBT001 - a case
    """The server lists the certificate of the defect ``revoked``, also after a reset. `genuine` only reports."""
    if reset:
        server.dev("POST", "/reset", {})
    for defect, recorded in (("", {"registered", "attested"}), ("revoked", {"registered"})):
        phone = server.phone(client_id="genuine")
        said = phone.post("/attestation-challenge", {"client_id": "genuine"}, token=None)
        challenge = said.members["attestation_challenge"]
        asked = {"format": "android-key", "client_id": "genuine", "challenge": challenge, "defect": defect}
        status, evidence = server.dev("POST", "/attestation", {**asked, "public_key": phone.key.jwk()})
        assert status == 200
        assert phone.register(f"{defect}{reset}@example.com", attestation=evidence).status == 201
        events = phone.get("/me/activity").members["events"]
        assert {one["event"] for one in events} == recorded


def test_reset_deletes_everything_and_registers_the_demo_account(server: Server) -> None:
    """Earlier tokens belong to no account. The key ring stays, so the environments need not start again."""
    phone, email = server.registered()
    forgot = {"email": email, "client_id": "mobile", "device": {"public_key": phone.key.jwk()}}
    phone.post("/password/forgot", forgot, token=None)
    assert server.got("/mails")["mails"][0]["to"] == email
    server.dev("POST", "/faults", {"name": "throttled", "match": {"phone": "another"}})
    server.dev("POST", "/clock", {"skip": 60})
    assert server.dev("POST", "/reset", {}) == (200, {"accounts": 1})
    assert [one["email"] for one in server.got("/accounts")["accounts"]] == [DEMO_EMAIL]
    assert server.got("/mails")["mails"] == []
    assert server.got("/faults")["faults"] == []
    assert server.got("/clock")["skipped"] == 0
    assert [one for one in server.got("/requests")["requests"] if email in json.dumps(one)] == []
    assert phone.get("/me").code == "login_required"
    again, _ = server.registered()
    assert again.get("/me").status == 200
    login = {"email": DEMO_EMAIL, "password": serve.DEMO_PASSWORD, "client_id": "simple"}
    headers = [("Host", f"localhost:{server.port}"), ("Content-Type", "application/json")]
    assert server.send("POST", "/api/login", headers, json.dumps(login).encode())[0] == 200
    assert server.dev("POST", "/reset", {"all": True})[0] == 400
