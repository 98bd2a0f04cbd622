"""Foreign answers instead of Baton's (rule 9): captive portals, firewalls, proxies, caches and other products.

No such answer counts as success, ends a session or changes the clock, for any method of the client.
"""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from baton_client import (
    Answer,
    AnswerLost,
    BatonClient,
    BatonError,
    HttpTransport,
    MemoryStorage,
    Offline,
    Request,
)
from tests.baton.wire.fake_server import BASE_URL, EMAIL, PASSWORD, FakeServer, answered

pytestmark = pytest.mark.guarantee(2)

HTML, JSON = {"content-type": "text/html; charset=utf-8"}, {"content-type": "application/json"}
BATON = {"baton-request-id": "request-1", "cache-control": "no-store"}
TOKENS = b'{"access_token":"x","refresh_token":"x","expires_in":900,"device_id":"x","server_time":7,"grant":"x"}'
LOG_IN = b'{"error":"invalid_token","code":"login_required","action":"log_in","reason":"reuse","server_time":7}'
FOREIGN = {
    "a captive portal's page": Answer(200, HTML, b"<h1>Welcome to our hotel</h1>"),
    "a portal's page that names a time": Answer(200, {**HTML, "baton-time": "7"}, b'{"server_time":7}'),
    "a portal's redirect": Answer(302, {"location": "https://portal.example/", **HTML}, b""),
    "a redirect with Baton's header": Answer(307, {**BATON, "location": "https://portal.example/"}, b""),
    "not modified": Answer(304, BATON, b""),
    "network authentication required": Answer(511, HTML, b"<h1>Log in to this network</h1>"),
    "a firewall's 202": Answer(202, {"x-amzn-waf-action": "challenge"}, b""),
    "a firewall's 403": Answer(403, HTML, b"Request blocked."),
    "a firewall's 405 with a puzzle": Answer(405, {"x-amzn-waf-action": "captcha", **HTML}, b"<script></script>"),
    "204 without Baton's header": Answer(204, {}, b""),
    "200 without a body": Answer(200, {}, b""),
    "an empty object": Answer(200, JSON, b"{}"),
    "another vendor's success": Answer(200, JSON, b'{"status":"ok","devices":[],"email":"eve@example.com"}'),
    "another vendor's tokens": Answer(200, JSON, TOKENS),
    "another vendor's end of a session": Answer(401, JSON, LOG_IN),
    "another vendor's invalid_grant": Answer(400, JSON, b'{"error":"invalid_grant","action":"log_in"}'),
    "another vendor's clock_skew": Answer(401, JSON, b'{"action":"sync_clock","code":"clock_skew","server_time":7}'),
    "another vendor's superseded": Answer(409, JSON, b'{"action":"retry","code":"superseded"}'),
    "API Gateway's own words": Answer(403, JSON, b'{"message":"Missing Authentication Token"}'),
    "a throttle of another party": Answer(429, JSON, b'{"message":"Too Many Requests"}'),
    "a proxy's 502": Answer(502, HTML, b"<h1>Bad Gateway</h1>"),
    "a proxy's 504": Answer(504, {"retry-after": "86400", **HTML}, b"<h1>Gateway Timeout</h1>"),
    "Baton's header on a page": Answer(200, {**BATON, **HTML}, b"<h1>Welcome to our hotel</h1>"),
    "Baton's header on a page without a type": Answer(200, BATON, b"Welcome to our hotel"),
    "Baton's header on plain text": Answer(200, {**BATON, "content-type": "text/plain"}, TOKENS),
    "truncated JSON": Answer(200, {**BATON, **JSON}, TOKENS[:-9]),
    "a truncated refusal": Answer(401, {**BATON, **JSON}, LOG_IN[:-9]),
    "a refusal that is a list": Answer(401, {**BATON, **JSON}, b"[" + LOG_IN + b"]"),
    "a refusal without a body": Answer(401, BATON, b""),
    "JSON nested without end": Answer(401, {**BATON, **JSON}, b"[" * 200_000),
    "JSON in no known encoding": Answer(401, {**BATON, **JSON}, b"\xff\xfe\xfd"),
    "an end of a session from a cache": Answer(401, {**BATON, **JSON, "age": "12", "baton-time": "7"}, LOG_IN),
    "a success from a cache": Answer(204, {**BATON, "age": "295", "baton-time": "7"}, b""),
    "an informational status": Answer(101, BATON, b""),
}


OF_THE_APP = {
    "Baton's header on a page",
    "Baton's header on a page without a type",
    "Baton's header on plain text",
    "a refusal that is a list",
}
"""Answers that a route of the app may give, so `call` accepts them. No route of Baton gives them."""


@dataclass(frozen=True)
class Method:
    """A method of the client, and its error for a foreign answer."""

    act: Callable[[BatonClient], object]
    tells: type[BatonError] = Offline
    logged_in: bool = True
    steps: int = 1
    """The number of Baton's answers that the method needs. The last answer is for its main request."""


METHODS = {
    "register": Method(lambda client: client.register("bob@example.com", PASSWORD, "a phone"), logged_in=False),
    "login": Method(lambda client: client.login(EMAIL, PASSWORD, "a phone"), logged_in=False),
    "exchange": Method(lambda client: client.exchange()),
    "me": Method(lambda client: client.me()),
    "devices": Method(lambda client: client.devices()),
    "activity": Method(lambda client: client.activity()),
    "export_account": Method(lambda client: client.export_account(PASSWORD), steps=3),
    "call, safe": Method(lambda client: client.call("GET", "/me")),
    "call, once": Method(lambda client: client.call("POST", "/notes", json={}), AnswerLost),
    "call, repeated": Method(lambda client: client.call("POST", "/notes", json={}, repeat=True)),
    "call, confirmed": Method(
        lambda client: client.call("POST", "/transfers", json={}, confirm=lambda _: PASSWORD), AnswerLost, steps=3
    ),
    "step_up": Method(lambda client: client.step_up(PASSWORD, "POST", "/transfers", json={})),
    "end_device": Method(
        lambda client: client.end_device(client.devices()[0]["device_id"], password=PASSWORD), steps=4
    ),
    "change_password": Method(lambda client: client.change_password(PASSWORD, PASSWORD), AnswerLost, steps=3),
    "delete_account": Method(lambda client: client.delete_account(PASSWORD), AnswerLost, steps=3),
    "logout everywhere": Method(lambda client: client.logout_everywhere(password=PASSWORD), steps=3),
    "sync_clock": Method(lambda client: client.sync_clock()),
}


class Stranger:
    """A transport that returns a foreign answer after a number of Baton's answers."""

    def __init__(self, server: FakeServer, foreign: Answer, *, after: int = 0, delivers: bool = False) -> None:
        """Answer instead of `server`. With `delivers`, the requests still reach the server."""
        self.server, self.foreign, self.after, self.delivers = server, foreign, after, delivers
        self.away = False

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Carry one request."""
        if self.away or self.after > 0:
            self.after -= 1
            return self.server(request, timeout_s)
        if self.delivers:
            self.server(request, timeout_s)
        return self.foreign


def client_behind(method: Method, stranger: Stranger, *, binding: str = "key") -> tuple[BatonClient, MemoryStorage]:
    """Make a client with this transport, logged in if the method needs a login. The account has a second device."""
    server, storage = stranger.server, MemoryStorage()
    server.passwords[EMAIL] = PASSWORD

    def client(storage: MemoryStorage, transport: Any) -> BatonClient:
        options: Any = {"clock": server.clock, "sleep": lambda _: None, "random": lambda: 1.0, "binding": binding}
        return BatonClient(BASE_URL, "mobile", storage, transport=transport, **options)

    client(MemoryStorage(), server).login(EMAIL, PASSWORD, "another phone")
    if method.logged_in:
        client(storage, server).login(EMAIL, PASSWORD, "a phone")
    return client(storage, stranger), storage


CASES = [(foreign, name) for foreign in FOREIGN for name in METHODS if name[:4] != "call" or foreign not in OF_THE_APP]


@pytest.mark.parametrize(("foreign", "name"), CASES)
def test_a_foreign_answer_does_not_count(foreign: str, name: str) -> None:
    """The client raises `Offline`, or `AnswerLost` for an unknown outcome.

    Session and clock are unchanged, and later calls work.
    """
    method, stranger = METHODS[name], Stranger(FakeServer(), FOREIGN[foreign])
    client, storage = client_behind(method, stranger)
    session, now, arrived = storage.read().session, client.now(), len(stranger.server.log)
    with pytest.raises(method.tells) as told:
        method.act(client)
    assert type(told.value) is method.tells
    assert storage.read().session == session
    assert client.now() == now
    assert len(stranger.server.log) == arrived
    assert {lineage.ended for lineage in stranger.server.lineages.values()} == {None}
    stranger.away = True
    method.act(client)


def test_a_route_of_the_app_may_answer_with_any_media_type() -> None:
    """An example is CSV. The client must not treat it as the page of a portal."""
    report = Answer(200, {**BATON, "content-type": "text/csv"}, b"name,notes\n")
    client, _ = client_behind(METHODS["me"], Stranger(FakeServer(), report))
    assert client.call("GET", "/report").body == b"name,notes\n"
    with pytest.raises(Offline):
        client.me()


@pytest.mark.parametrize(("foreign", "name"), [(foreign, name) for foreign, name in CASES if METHODS[name].steps > 1])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_foreign_answer_within_a_step_up_does_not_count(foreign: str, name: str, missing: int) -> None:
    """Baton requires a step-up. The answer to the step-up, or to the request with the grant, is foreign."""
    method = METHODS[name]
    stranger = Stranger(FakeServer(), FOREIGN[foreign], after=method.steps - missing)
    client, storage = client_behind(method, stranger)
    session = storage.read().session
    with pytest.raises(Offline if missing == 2 else method.tells):  # A step-up changes nothing, so it is repeated.
        method.act(client)
    assert storage.read().session == session
    assert {lineage.ended for lineage in stranger.server.lineages.values()} == {None}


@pytest.mark.parametrize("foreign", ["a captive portal's page", "204 without Baton's header", "a success from a cache"])
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.logged_in])
def test_a_foreign_answer_to_an_executed_request_is_a_lost_answer(foreign: str, name: str) -> None:
    """The client reports no success, and the session is kept."""
    method = METHODS[name]
    stranger = Stranger(FakeServer(), FOREIGN[foreign], after=method.steps - 1, delivers=True)
    client, storage = client_behind(method, stranger)
    session = storage.read().session
    with pytest.raises(method.tells):
        method.act(client)
    assert storage.read().session == session


@pytest.mark.parametrize("binding", ["key", "hmac", "none"])
def test_a_logout_with_a_foreign_answer_is_repeated(binding: str) -> None:
    """The logout is not confirmed, but the person is logged out on this device.

    The second logout informs the server.
    """
    for foreign in FOREIGN.values():
        stranger = Stranger(FakeServer(), foreign)
        client, storage = client_behind(METHODS["me"], stranger, binding=binding)
        assert (session := storage.read().session)
        assert not client.logout()
        assert (storage.read().session, len(storage.read().revocations)) == (None, 1)
        stranger.away = True
        assert client.logout()
        assert stranger.server.lineages[session.device_id].ended == "logout"
        assert storage.read().revocations == ()


@pytest.mark.parametrize("members", [{}, {"grant": 7}, {"devices": {}}, {"access_token": "x", "expires_in": "900"}, []])
@pytest.mark.parametrize("name", ["register", "login", "exchange", "me", "devices", "step_up"])
def test_an_answer_without_the_expected_members_does_not_count(name: str, members: object) -> None:
    """The answer has Baton's header, but a proxy has changed the body."""
    method, stranger = METHODS[name], Stranger(FakeServer(), answered(200, members))
    client, storage = client_behind(method, stranger)
    session = storage.read().session
    with pytest.raises(Offline):
        method.act(client)
    assert storage.read().session == session


class TestCachesAndClocks:
    """An answer from a cache contains an old time."""

    def client(self, answer: Answer) -> BatonClient:
        """Make a logged-in client that gets this answer from now on."""
        stranger = Stranger(FakeServer(), answer)
        return client_behind(METHODS["me"], stranger)[0]

    @pytest.mark.parametrize("age", ["295", "0", "garbage"])
    def test_a_jwks_answer_with_an_age_does_not_move_the_clock(self, age: str) -> None:
        """The key set is used. Its `Baton-Time` is as old as the cached copy."""
        jwks = answered(200, {"keys": []}, baton_time="7", age=age, cache_control="public, max-age=300")
        client = self.client(jwks)
        before = client.now()
        assert client.call("GET", "/.well-known/jwks.json").json() == {"keys": []}
        assert client.now() == before

    def test_a_cacheable_answer_without_baton_time_does_not_move_the_clock(self) -> None:
        """`server_time` in a body that may come from a cache does not set the clock."""
        client = self.client(answered(200, {"server_time": 7}, cache_control="public, max-age=300"))
        before = client.now()
        assert client.call("GET", "/.well-known/jwks.json").status == 200
        assert client.now() == before

    def test_a_cached_answer_does_not_set_the_clock(self) -> None:
        """`sync_clock` raises `Offline`, because no answer contains the current time."""
        for answer in (answered(200, {"server_time": 7}, age="3"), answered(200, {}), answered(204)):
            client = self.client(answer)
            with pytest.raises(Offline):
                client.sync_clock()

    def test_an_age_of_zero_does_not_change_the_meaning_of_an_answer(self) -> None:
        """Some proxies add `Age: 0` to every answer."""
        assert self.client(answered(200, {"device_id": "x"}, age="0", baton_time="7")).me()

    @pytest.mark.parametrize("time", ["9" * 40, "9" * 5000, "-7", "7.5", "\u0667", ""])
    def test_an_unreadable_time_is_ignored(self, time: str) -> None:
        """The value causes no overflow and does not change the clock."""
        client = self.client(answered(200, {"device_id": "x", "server_time": time}, baton_time=time))
        before = client.now()
        assert client.me()["device_id"] == "x"
        assert client.now() == before


class _Portal(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    raw: bytes

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.wfile.write(self.raw)
        self.close_connection = True

    do_GET = do_POST  # noqa: N815 - the library's names
    do_DELETE = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


RAW = {
    "a portal": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<h1>",
    "a portal without a length": b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Welcome",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: https://portal.example/\r\nContent-Length: 0\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a firewall": b"HTTP/1.1 202 Accepted\r\nx-amzn-waf-action: challenge\r\nContent-Length: 0\r\n\r\n",
    "chunks cut short": b"HTTP/1.1 200 OK\r\nBaton-Request-Id: r\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "invalid chunks": b"HTTP/1.1 200 OK\r\nBaton-Request-Id: r\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
}


@pytest.fixture
def portal() -> Iterator[type[_Portal]]:
    """Serve the bytes of `raw` on loopback, at `url`."""
    handler: Any = type("Portal", (_Portal,), {"raw": b""})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.parametrize("raw", RAW)
def test_a_foreign_answer_over_http_does_not_count(raw: str, portal: Any) -> None:
    """For any bytes, the login stays active and the app gets `Offline`."""
    portal.raw = RAW[raw]
    stranger = Stranger(FakeServer(), FOREIGN["a captive portal's page"])
    _, storage = client_behind(METHODS["me"], stranger)
    session = storage.read().session
    with closing(HttpTransport()) as transport:
        options: Any = {"transport": transport, "clock": stranger.server.clock, "sleep": lambda _: None}
        client = BatonClient(portal.url, "mobile", storage, **options)
        acts: list[Callable[[], object]] = [
            lambda: client.exchange(deadline_s=0.5),
            lambda: client.call("GET", "/me", deadline_s=0.5),
        ]
        for act in acts:
            with pytest.raises(Offline):
                act()
        with pytest.raises(AnswerLost):
            client.delete_account(PASSWORD)
        assert storage.read().session == session
        assert not client.logout(deadline_s=0.5)
        assert len(storage.read().revocations) == 1
