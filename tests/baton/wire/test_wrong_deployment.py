"""A wrong deployment logs no user out (E1b). A client that is out of service is refused on purpose (E4)."""

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.baton.events.log import Log
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.policy import MISMATCH_TOLD_EVERY_S
from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import FORM, Device, Said, through
from tools.dev.gateway import DevelopmentClock, Gateway

pytestmark = pytest.mark.guarantee(9)

BASIC = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".replace(" ", "+").encode()).decode()
CLIENT_IDS = ("mobile", "mobile-opaque", "simple", "session-api", "oauth", "iot")


@pytest.fixture(autouse=True)
def _audience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set an audience. Without it the audience is the issuer."""
    monkeypatch.setenv("BATON_AUDIENCE", "https://api.example.com")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Record each event."""
    told: list[tuple[str, dict[str, Any]]] = []
    record = Log.record

    def noting(log: Log, event: str, /, **facts: str | int) -> None:
        told.append((event, facts))
        record(log, event, **facts)

    monkeypatch.setattr(Log, "record", noting)
    return told


@pytest.fixture
def phones(make_device: Callable[..., Device]) -> list[Device]:
    """Log in through the correct deployment, with a client of each kind."""
    phones = [make_device(client_id=name, bound=name.startswith("mobile")) for name in CLIENT_IDS]
    for phone in phones:
        assert phone.register(f"{phone.client_id}@example.com").status == 201
    return phones


def with_registry(monkeypatch: pytest.MonkeyPatch, edit: Callable[[str], str]) -> None:
    """Give another registry to the environments that start from now on."""
    read = Clients.from_toml
    monkeypatch.setattr(Clients, "from_toml", lambda text, *file: read(edit(text), *file))


def without(*client_ids: str) -> Callable[[str], str]:
    """Remove clients from the registry."""
    return lambda text: re.sub(rf"^\[client\.({'|'.join(client_ids)})\]\n(?:(?!\[).*\n)*", "", text, flags=re.MULTILINE)


def retiring(*client_ids: str) -> Callable[[str], str]:
    """Set clients out of service."""
    return lambda text: re.sub(rf"(\[client\.(?:{'|'.join(client_ids)})\]\n)", r"\1retired = true\n", text)


def shown(phone: Device) -> Iterator[tuple[str, Said]]:
    """Send the tokens to each route that accepts a token: call, exchange, introspection, revocation."""
    token, headers = phone.token, {"authorization": f"Basic {BASIC}"}
    yield "call", phone.get("/me")
    if refresh := phone.tokens.get("refresh_token"):
        yield "exchange", phone.exchange(refresh)
    named = list((FORM | headers).items())
    yield "introspect", phone.send("POST", "/api/oauth/introspect", named, urlencode({"token": token}).encode())
    yield "revoke", phone.request("POST", "/oauth/revoke", urlencode({"token": token}).encode(), FORM, token=None)


JWT, ALL = ("mobile", "simple"), CLIENT_IDS


@pytest.mark.parametrize(
    ("wrong", "what", "affected"),
    [
        ("BATON_ISSUER", "issuer", JWT),
        ("BATON_AUDIENCE", "audience", JWT),
        ("registry", "client", ALL),
    ],
)
def test_a_wrong_deployment_logs_nobody_out(
    phones: list[Device],
    clock: DevelopmentClock,
    monkeypatch: pytest.MonkeyPatch,
    told: list[tuple[str, dict[str, Any]]],
    wrong: str,
    what: str,
    affected: tuple[str, ...],
) -> None:
    """A valid token is answered 503, and never 401 `log_in`, `active: false` or "revoked"."""
    right = phones[0].send
    if wrong == "registry":
        with_registry(monkeypatch, without(*CLIENT_IDS))
    else:
        monkeypatch.setenv(wrong, "http://localhost:8000/another")
    wrong_deployment = through(Gateway([load_environment(clock).app]))
    told.clear()
    for phone in phones:
        if phone.client_id not in affected:
            continue
        phone.send = wrong_deployment
        for where, said in shown(phone):
            assert (said.status, said.code) == (503, "unavailable"), (phone.client_id, where, said)
            assert int(said.headers["retry-after"]) > 0
        phone.send = right
        assert phone.get("/me").status == 200
        if "refresh_token" in phone.tokens:
            assert phone.exchange().status == 200
    mismatches = [facts for event, facts in told if event == "configuration_mismatch"]
    assert mismatches == [{"reason": what}]


def test_a_configuration_mismatch_is_logged_once_a_minute(
    phones: list[Device],
    clock: DevelopmentClock,
    monkeypatch: pytest.MonkeyPatch,
    told: list[tuple[str, dict[str, Any]]],
) -> None:
    """One old token can cause the event repeatedly. A clock that was set back does not suppress the event."""
    monkeypatch.setenv("BATON_ISSUER", "http://localhost:8000/another")
    phones[0].send = through(Gateway([load_environment(clock).app]))
    expected = 0
    for skipped_s, tells in ((0, 1), (0, 0), (MISMATCH_TOLD_EVERY_S / 2, 0), (MISMATCH_TOLD_EVERY_S, 1), (-90, 1)):
        clock.skip(skipped_s)
        assert phones[0].get("/me").status == 503
        expected += tells
        assert sum(event == "configuration_mismatch" for event, _ in told) == expected


def test_a_client_out_of_service_is_refused(
    phones: list[Device],
    clock: DevelopmentClock,
    monkeypatch: pytest.MonkeyPatch,
    told: list[tuple[str, dict[str, Any]]],
) -> None:
    """Registration, login, call and exchange are refused. Its tokens can be revoked, and no alarm is raised."""
    with_registry(monkeypatch, retiring(*CLIENT_IDS))
    later = through(Gateway([load_environment(clock).app]))
    told.clear()
    for phone in phones:
        phone.send = later
        answers = dict(shown(phone))
        assert answers["call"].code == "login_required"
        if "exchange" in answers:
            assert (answers["exchange"].code, answers["exchange"].members["error"]) == (
                "login_required", "invalid_grant"
            )  # fmt: skip
        assert answers["introspect"].members == {"active": False}
        assert answers["revoke"].status == 200
        for said in (phone.login(f"{phone.client_id}@example.com"), phone.register("new@example.com")):
            assert (said.status, said.code) == (400, "unauthorized_client")
    assert {"configuration_mismatch", "logged_in", "registered"}.isdisjoint(event for event, _ in told)
    assert sum(event == "revoked" for event, _ in told) == len(phones)


def test_a_token_of_a_client_out_of_service_without_its_key_gets_no_reason(
    phones: list[Device], clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E2 is checked before E4, as always."""
    with_registry(monkeypatch, retiring("mobile"))
    thief = Device(through(Gateway([load_environment(clock).app])), phones[0].clock, bound=False)
    assert thief.get("/me", token=phones[0].token).code == "signature_required"
    assert thief.exchange(str(phones[0].tokens["refresh_token"])).code == "signature_required"
