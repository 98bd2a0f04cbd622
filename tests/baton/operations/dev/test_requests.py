"""The list of requests, and one request with all details."""

import base64
import contextlib
import http.client
import re

import pytest

from tests.baton.operations.dev.conftest import Server
from tools.dev.serve import ENVIRONMENTS

SUMMARY = {
    *("n", "at", "kind", "request_id", "method", "path", "status", "ms", "phone", "account", "lineage", "code"),
    *("units", "calls", "fault", "exchange"),
}
FULL = SUMMARY | {"source", "request", "response", "signature", "doctor", "engine", "retry_of", "reuse"}


def test_an_exchange_is_shown_in_full(server: Server) -> None:
    """The details are headers, bodies, signature base, and the single call to DynamoDB with its condition."""
    phone, email = server.registered("phone 1")
    for _ in range(ENVIRONMENTS):
        phone.exchange()  # each environment reads the key ring once
    said = phone.exchange(attempt="a" * 22)
    (summary,) = server.got("/requests?q=oauth&limit=1")["requests"]
    assert summary.keys() == SUMMARY
    assert summary["request_id"] == said.headers["baton-request-id"]
    assert (summary["method"], summary["path"], summary["status"]) == ("POST", "/api/oauth/token", 200)
    assert (summary["phone"], summary["account"]) == ("phone 1", server.account(email))
    assert summary["lineage"] == phone.tokens["device_id"]
    assert summary["units"] == {"read": 0, "write": 1, "counted": False}
    assert summary["calls"] == 1
    assert summary["exchange"]["generation"] == ENVIRONMENTS
    assert re.fullmatch("[0-9a-f]{8}", summary["exchange"]["attempt"])
    full = server.got(f"/requests/{summary['request_id']}")
    assert full.keys() == FULL
    assert {name: full[name] for name in SUMMARY} == summary
    (call,) = full["engine"]
    assert (call["operation"], call["table"], call["condition"]) == ("UpdateItem", "lineages", "CURRENT")
    assert (call["verdict"], call["units"]["write"]) == ("held", 1)
    assert 100 < call["bytes"] < 1024
    assert full["doctor"] == []
    assert dict(full["request"]["headers"])["idempotency-key"] == "a" * 22
    assert ["Baton-Request-Id", summary["request_id"]] in full["response"]["headers"]
    base = full["signature"]["base"].split("\n")
    assert base[:3] == ['"@method": POST', f'"@authority": localhost:{server.port}', '"@path": /api/oauth/token']
    assert full["signature"]["verdict"] == "verified"


def test_a_login_and_a_registration_name_their_account(server: Server) -> None:
    """Their requests have no token. A refused login also names the account of its address."""
    phone, email = server.registered()
    account = server.account(email)
    assert server.last("register")["account"] == account
    assert phone.login(email, password="not the password of Ada").status == 401
    refused = server.last("/login")
    assert (refused["account"], refused["code"]) == (account, "invalid_credentials")
    assert phone.login(email).status == 200
    assert server.last("/login")["lineage"] == phone.tokens["device_id"]
    operations = [(call["operation"], call["condition"], call["verdict"]) for call in server.last("/login")["engine"]]
    assert ("UpdateItem", "BELOW_LIMIT", "held") in operations


def test_a_request_is_found_by_its_names(server: Server) -> None:
    """The names are its id, account, login, phone, path and code, and the address in its body."""
    phone, email = server.registered("phone 77")
    said = phone.get("/me/nothing")
    account, lineage = server.account(email), phone.tokens["device_id"]
    assert said.status == 404
    phone.post("/login", phone.entry(email, password="not the password of Ada"), token=None)
    request_id = server.got("/requests?limit=1")["requests"][0]["request_id"]
    for text, number in (
        (request_id, 1),
        (account, 2),
        (lineage, 1),
        ("PHONE 77", 3),
        (email, 2),
        ("/me/nothing", 1),
        ("nothing like this", 0),
    ):
        found = server.got(f"/requests?q={text.replace(' ', '%20')}")["requests"]
        assert len(found) == number, text
    assert len(server.got("/requests?limit=2")["requests"]) == 2
    numbers = [one["n"] for one in server.got("/requests")["requests"]]
    assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize("query", ["?limit=0", "?limit=2001", "?limit=x", "?text=a"])
def test_unknown_parameters_are_refused(server: Server, query: str) -> None:
    """The refusal lists the known parameters."""
    status, said = server.dev("GET", f"/requests{query}")
    assert status == 400
    assert "text" not in query or said["known"] == ["q", "limit"]


def test_a_reuse_shows_both_presentations_and_the_picture_of_the_login(server: Server) -> None:
    """The test compares the exact description of the lineage: each use with its sender, time and attempt."""
    owner, email = server.registered("phone 1")
    thief = server.phone("phone 2")
    thief.key, stolen = owner.key, owner.tokens["refresh_token"]
    first = owner.exchange(attempt="a" * 22).headers["baton-request-id"]
    owner.exchange(attempt="b" * 22)
    late = owner.exchange(stolen, attempt="a" * 22)
    assert late.code == "superseded"
    second = thief.exchange(stolen, attempt="c" * 22)
    assert second.code == "token_reused"
    account, lineage = server.account(email), owner.tokens.get("device_id")
    full = server.got(f"/requests/{second.headers['baton-request-id']}")
    digests = [
        server.got(f"/requests/{one}")["exchange"]["attempt"] for one in (first, second.headers["baton-request-id"])
    ]
    assert full["reuse"]["first"].keys() == {"at", "phone", "attempt", "request_id"}
    assert (full["reuse"]["first"]["phone"], full["reuse"]["first"]["request_id"]) == ("phone 1", first)
    assert full["reuse"]["first"]["attempt"] == digests[0]
    assert (full["reuse"]["second"]["phone"], full["reuse"]["second"]["attempt"]) == ("phone 2", digests[1])
    assert any("two holders" in one["remedy"] for one in full["doctor"])
    (picture,) = server.got(f"/accounts/{account}/lineages")["lineages"]
    assert picture.keys() == {"lineage", "client", "device", "bound", "current", "ended", "generations"}
    assert (picture["client"], picture["device"], picture["bound"]) == ("mobile", "phone", "key")
    assert lineage in {None, picture["lineage"]}
    assert picture["ended"].keys() == {"at", "reason"}
    assert picture["ended"]["reason"] == "reuse"
    assert [one["g"] for one in picture["generations"]] == [0, 1, 2]
    assert picture["current"] == 2
    zero, one, two = picture["generations"]
    assert (zero["phone"], zero["attempt"], zero["request_id"]) == ("phone 1", digests[0], first)
    assert [(again["phone"], again["outcome"]) for again in zero["again"]] == [
        ("phone 1", "superseded"),
        ("phone 2", "reuse"),
    ]
    assert zero["again"][1].keys() == {"at", "phone", "attempt", "request_id", "outcome"}
    assert one["again"] == []
    assert two == {"g": 2, "at": None, "attempt": None, "phone": None, "request_id": None, "again": []}


def test_a_stolen_token_without_the_key_is_in_the_picture(server: Server) -> None:
    """The outcome is ``wrong_key``, and the login stays active."""
    owner, email = server.registered("phone 1")
    thief = server.phone("phone 2")
    assert thief.exchange(owner.tokens["refresh_token"], attempt="d" * 22).code == "wrong_key"
    refused = server.last()
    assert refused["exchange"]["outcome"] == "wrong_key"
    (picture,) = server.got(f"/accounts/{server.account(email)}/lineages")["lineages"]
    assert picture["ended"] is None
    assert [(one["phone"], one["outcome"]) for one in picture["generations"][0]["again"]] == [("phone 2", "wrong_key")]
    assert picture["generations"][0]["again"][0]["attempt"] == refused["exchange"]["attempt"]


def test_a_lost_digest_a_wrong_clock_and_a_wrong_base_are_diagnosed(server: Server) -> None:
    """The diagnosis of a request names the wrong part and the remedy."""
    phone, _ = server.registered()
    assert phone.post("/transfers", {"to": "bob", "amount": 1}, {"idempotency-key": "k" * 16}, created=1).status == 401
    assert {"answer", "clock"} <= {one["part"] for one in server.last()["doctor"]}
    assert phone.request("POST", "/transfers", b"{}", sent_body=b"{ }").status in {400, 401}
    assert "body" in {one["part"] for one in server.last()["doctor"]}
    assert phone.get("/me", sent_path="/me/devices").code == "invalid_signature"
    full = server.last()
    assert full["signature"]["verdict"] == "invalid_signature"
    assert '"@path": /api/me/devices' in full["signature"]["base"]
    assert {"answer", "signature"} <= {one["part"] for one in full["doctor"]}


def test_a_long_body_is_cut(server: Server) -> None:
    """The body is cut at 16 KB. The shown size is that of the whole body."""
    phone, _ = server.registered()
    phone.post("/transfers", {"to": "x y " * 5_000, "amount": 1})
    body = server.last()["request"]
    assert (body["cut"], len(body["body"])) == (True, 16 * 1024)
    assert body["bytes"] > 20_000


@pytest.mark.parametrize(("body", "kept"), [(b"\xff\x00", None), (b'{"a": 1}', '{"a": 1}'), (b"no JSON", None)])
def test_a_body_that_is_neither_json_nor_a_form_is_not_kept(server: Server, body: bytes, kept: str | None) -> None:
    """Baton cannot find the secrets in such a body."""
    headers = [("Host", f"localhost:{server.port}"), ("Content-Type", "text/plain"), ("Baton-Phone", "odd")]
    server.send("POST", "/api/login", headers, body)
    assert server.last("odd")["request"]["body"] == kept


def test_a_request_for_an_unknown_id_is_refused(server: Server) -> None:
    """An unknown route is refused too, with the known routes."""
    assert server.dev("GET", "/requests/unknown")[0] == 404
    status, said = server.dev("GET", "/nothing")
    assert status == 404
    assert "/_dev/requests" in said["known"]
    status, said = server.dev("POST", "/requests", {})
    assert (status, said["known"]) == (405, ["GET"])


def test_a_token_is_inspected(server: Server) -> None:
    """The test has a genuine, a changed and an opaque token."""
    phone, email = server.registered()
    account = server.account(email)
    status, said = server.dev("POST", "/tokens/inspect", {"token": phone.token})
    assert status == 200
    assert (said["form"], said["genuine"], said["reason"]) == ("jwt", True, None)
    assert (said["account"], said["lineage"]) == (account, phone.tokens["device_id"])
    assert said["claims"]["sub"] == account
    head, claims, value = phone.token.split(".")
    changed = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + "==").replace(b"account", b"Account"))
    status, said = server.dev("POST", "/tokens/inspect", {"token": f"{head}.{changed.decode().rstrip('=')}.{value}"})
    assert (said["genuine"], said["account"]) == (False, None)
    assert said["reason"]
    opaque, _ = server.registered(client_id="mobile-opaque")
    said = server.dev("POST", "/tokens/inspect", {"token": opaque.token})[1]
    assert (said["form"], said["genuine"], said["claims"]) == ("opaque", True, None)
    for wrong in ({}, {"token": ""}, {"token": 1}, {"token": "x", "more": 1}):
        assert server.dev("POST", "/tokens/inspect", wrong)[0] == 400


def test_a_client_that_goes_away_is_recorded(server: Server) -> None:
    """The record shows that the client did not read the answer."""
    phone, _ = server.registered("gone")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        connection.request("GET", "/api/time", headers={"Baton-Phone": "gone"})
    del phone
    assert server.got("/requests?q=gone")["requests"][0]["phone"] == "gone"


def test_a_page_of_an_app_may_name_its_phone(server: Server) -> None:
    """The browser sends a preflight before the request."""
    page = [
        ("Host", f"localhost:{server.port}"),
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "baton-phone"),
    ]
    status, headers, _ = server.send("OPTIONS", "/api/oauth/token", page, b"")
    allowed = {name.lower(): value for name, value in headers}["access-control-allow-headers"]
    assert status == 204
    assert "Baton-Phone" in allowed.split(", ")
    status, headers, _ = server.send("OPTIONS", "/api/oauth/token", [page[0], ("Origin", "https://evil.example")], b"")
    assert "access-control-allow-headers" not in {name.lower() for name, _ in headers}


def test_an_answer_to_head_has_no_body(server: Server) -> None:
    """The development API follows this rule too. Otherwise the next answer on the connection would be unreadable."""
    with contextlib.closing(http.client.HTTPConnection("localhost", server.port, timeout=5)) as connection:
        for method, status in (("HEAD", 405), ("GET", 200), ("HEAD", 405), ("GET", 200)):
            connection.request(method, "/_dev/clock")
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (status, method == "GET")
