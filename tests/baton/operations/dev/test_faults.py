"""The faults of the development server, by the helper for the tests of an app: ``clients/python/baton_testing.py``."""

import http.client
import time

import pytest

from baton_testing import Development, DevelopmentError, FaultNotMetError
from tests.baton.operations.dev.conftest import Server
from tests.baton.wire.conversation import Device
from tools.dev.api.faults import FAULTS_MAX, KINDS

TOKEN = "POST /oauth/token"

ATTEMPT = "the attempt of this exchange"


def generation(server: Server, email: str) -> int:
    """Return the stored generation of the newest login."""
    shown = server.got(f"/accounts/{server.account(email)}")
    return int(shown["lineages"][0]["generation"])


def closed(phone: Device, *, attempt: str | None = None) -> None:
    """Exchange, and check that the connection closes without an answer."""
    with pytest.raises(http.client.RemoteDisconnected):
        phone.exchange(attempt=attempt)


def test_request_lost_has_no_effect(server: Server, dev: Development) -> None:
    """The connection closes, and the token is still the current token."""
    phone, email = server.registered()
    with dev.fault("request_lost", route=TOKEN):
        closed(phone)
    assert generation(server, email) == 0
    assert server.last()["response"] is None
    assert phone.exchange().status == 200


def test_answer_lost_has_its_effect_and_the_same_attempt_gets_the_same_child(server: Server, dev: Development) -> None:
    """The picture of the login shows one exchange and its repetition."""
    phone, email = server.registered("phone 1")
    attempt = "a" * 22
    with dev.fault("answer_lost", route=TOKEN):
        closed(phone, attempt=attempt)
    lost = server.last()
    assert (lost["status"], lost["fault"], lost["exchange"]["outcome"]) == (None, "answer_lost", "exchanged")
    assert generation(server, email) == 1
    assert phone.exchange(attempt=attempt).status == 200
    assert generation(server, email) == 1
    again = server.last()
    assert (again["exchange"]["outcome"], again["retry_of"]) == ("same_child", lost["request_id"])


def test_gateway_timeout_has_its_effect_and_an_answer_that_is_not_batons(server: Server, dev: Development) -> None:
    """The answer is the 504 of API Gateway itself."""
    phone, email = server.registered()
    with dev.fault("gateway_timeout", route="/oauth/token"):
        said = phone.exchange()
    assert said.status == 504
    assert "baton-request-id" not in said.headers
    assert generation(server, email) == 1


def test_throttled_has_no_effect(server: Server, dev: Development) -> None:
    """The answer is that of a deployment above its request rate."""
    phone, email = server.registered()
    with dev.fault("throttled", route=TOKEN):
        said = phone.exchange()
    assert (said.status, said.code, said.headers["retry-after"]) == (429, "too_many_requests", "2")
    assert said.members["retryable"] is True
    assert generation(server, email) == 0


def test_captive_portal_answers_a_page_without_an_effect(server: Server, dev: Development) -> None:
    """The answer looks like a success, but is not from Baton."""
    phone, email = server.registered()
    with dev.fault("captive_portal", route=TOKEN):
        said = phone.exchange()
    assert said.status == 200
    assert said.headers["content-type"].startswith("text/html")
    assert "baton-request-id" not in said.headers
    assert generation(server, email) == 0


def test_slow_delays_the_answer_and_database_slow_each_call(server: Server, dev: Development) -> None:
    """The request has its usual effect."""
    phone, _ = server.registered()
    with dev.fault("slow", ms=300):
        began = time.monotonic()
        assert phone.get("/me").status == 200
        assert time.monotonic() - began >= 0.3
    assert server.last()["ms"] >= 300
    with dev.fault("database_slow", ms=150):
        assert phone.get("/me").status == 200
    calls = server.last()["engine"]
    assert len(calls) >= 2
    assert all(call["ms"] >= 150 for call in calls)


def test_database_down_is_a_server_error_without_an_effect(server: Server, dev: Development) -> None:
    """The app repeats the request."""
    phone, email = server.registered()
    with dev.fault("database_down", route=TOKEN):
        said = phone.exchange()
    assert (said.status, said.code) == (503, "unavailable")
    assert "ProvisionedThroughputExceededException" in server.last()["engine"][-1]["verdict"]
    assert generation(server, email) == 0


def test_database_answer_lost_is_a_server_error_with_the_effect(server: Server, dev: Development) -> None:
    """The repetition gets the child of the exchange that has happened."""
    phone, email = server.registered()
    attempt = "b" * 22
    with dev.fault("database_answer_lost", route=TOKEN):
        said = phone.exchange(attempt=attempt)
    assert (said.status, said.code) == (503, "unavailable")
    assert generation(server, email) == 1
    assert phone.exchange(attempt=attempt).status == 200
    assert generation(server, email) == 1


def test_kms_down_makes_the_key_ring_unreadable(server: Server, dev: Development) -> None:
    """The request cannot use a cached key ring. The next request works."""
    phone, _ = server.registered()
    with dev.fault("kms_down"):
        said = phone.get("/me")
    assert (said.status, said.code) == (503, "unavailable")
    assert phone.get("/me").status == 200


def test_clock_skew_refuses_signatures_and_tells_its_time(server: Server, dev: Development) -> None:
    """An app that corrects its clock by ``server_time`` is accepted. Tokens have the true time."""
    phone, _ = server.registered()
    with dev.fault("clock_skew", seconds=1_000, times=2):
        said = phone.get("/me")
        assert (said.status, said.code) == (401, "clock_skew")
        told = said.members["server_time"]
        assert abs(told - phone.clock() - 1_000) <= 2
        assert int(said.headers["baton-time"]) == told
        assert phone.get("/me", created=told).status == 200
    assert phone.get("/me").status == 200
    assert server.got("/clock")["skipped"] == 0


def test_cloned_device_makes_the_next_exchange_of_the_phone_a_reuse(server: Server, dev: Development) -> None:
    """The server exchanges the token as a copy of the device does. The picture names both holders."""
    phone, email = server.registered("phone 1")
    account = server.account(email)
    status, _ = server.dev("POST", "/faults", {"name": "cloned_device", "match": {"account": email}})
    assert status == 201
    assert dev.faults() == []
    said = phone.exchange()
    assert said.code == "token_reused"
    reuse = server.last()["reuse"]
    assert (reuse["first"]["phone"], reuse["second"]["phone"]) == ("cloned device", "phone 1")
    (lineage,) = server.got(f"/accounts/{account}/lineages")["lineages"]
    assert lineage["ended"]["reason"] == "reuse"
    assert lineage["generations"][0]["again"][0]["outcome"] == "reuse"
    refused = server.dev("POST", "/faults", {"name": "cloned_device", "match": {"account": email}})
    assert (refused[0], refused[1]["code"]) == (409, "no_login")


def test_a_fault_meets_only_the_requests_that_it_names(server: Server, dev: Development) -> None:
    """Route, phone and account select the requests. The fault happens as often as planned."""
    first, email = server.registered("phone 1")
    second, _ = server.registered("phone 2")
    with dev.fault("throttled", route="GET /me", phone="phone 1", account=email, times=2):
        assert [second.get("/me").status, first.get("/me/devices").status] == [200, 200]
        assert [first.get("/me").status for _ in range(3)] == [429, 429, 200]
    with dev.fault("throttled", phone="phone 1"):
        assert [second.get("/me").status, first.get("/me").status] == [200, 429]
    with dev.fault("throttled", account=email):
        wrong = first.login(email, password="not the password of Ada")
        assert wrong.status == 429
    with dev.fault("throttled", account=server.account(email)):
        assert second.get("/me").status == 200
        assert first.get("/me").status == 429


def test_a_fault_that_no_request_met_fails_the_test(dev: Development) -> None:
    """A test without its fault would prove nothing. The fault is removed in any case."""
    with pytest.raises(FaultNotMetError, match="answer_lost"), dev.fault("answer_lost"):
        pass
    with pytest.raises(ZeroDivisionError), dev.fault("answer_lost"):
        raise ZeroDivisionError
    assert dev.faults() == []


@pytest.mark.parametrize(
    ("members", "code", "known"),
    [
        ({"name": "answer_losst"}, "unknown_fault", list(KINDS)),
        ({"name": "slow", "ms": 1, "route": "/me"}, "unknown_member", ["name", "match", "times", "ms", "seconds"]),
        ({"name": "slow", "ms": 1, "match": {"path": "/me"}}, "unknown_member", ["route", "phone", "account"]),
        ({"name": "slow"}, "wrong_type", []),
        ({"name": "throttled", "ms": 1}, "wrong_type", []),
        ({"name": "slow", "ms": 0}, "wrong_type", []),
        ({"name": "slow", "ms": 1, "times": 0}, "wrong_type", []),
        ({"name": "clock_skew", "seconds": 86_401}, "wrong_type", []),
        ({"name": "cloned_device"}, "wrong_type", []),
        ({"name": 1}, "wrong_type", []),
        ({"name": "throttled", "match": {"phone": 1}}, "wrong_type", ["route", "phone", "account"]),
    ],
)
def test_an_unknown_fault_is_refused_with_the_known_ones(
    server: Server, members: dict[str, object], code: str, known: list[str]
) -> None:
    """A misspelled fault would test nothing."""
    status, said = server.dev("POST", "/faults", members)
    assert (status, said["code"], said.get("known", [])) == (400, code, known)
    assert server.got("/faults")["faults"] == []


def test_an_unknown_route_is_refused_with_the_routes_of_the_app(dev: Development) -> None:
    """The refusal lists the routes, also those of the team."""
    with pytest.raises(DevelopmentError) as refused, dev.fault("slow", ms=1, route="/logn"):
        pass
    assert refused.value.code == "unknown_route"
    assert {"POST /login", "POST /transfers"} <= set(refused.value.known)


def test_at_most_fifty_faults_are_planned(server: Server, dev: Development) -> None:
    """One request deletes all planned faults."""
    for _ in range(FAULTS_MAX):
        assert server.dev("POST", "/faults", {"name": "throttled", "match": {"phone": "nobody's"}})[0] == 201
    status, said = server.dev("POST", "/faults", {"name": "throttled"})
    assert (status, said["code"]) == (409, "too_many_faults")
    assert len(dev.faults()) == FAULTS_MAX
    assert server.dev("DELETE", "/faults")[0] == 204
    assert dev.faults() == []
    assert server.dev("DELETE", "/faults/unknown")[0] == 404
