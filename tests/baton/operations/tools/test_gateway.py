"""The development gateway changes requests and answers as API Gateway does."""

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from chalice.app import Chalice, Response

from chalicelib.baton.mail.outbox import OF_THIS_PROCESS
from chalicelib.baton.mail.ports import Mail
from tools.dev.gateway import CLOCK_PATH, MAILS_PATH, DevelopmentClock, Gateway, GatewayServer, _Handler

app = Chalice(app_name="mirror", configure_logs=False)
busy = threading.Semaphore(0)
entered = threading.Semaphore(0)


def mirror(**parameters: str) -> Response:
    """Return the received event, in an answer with many headers."""
    assert app.current_request is not None
    event = app.current_request.to_original_event()
    event["given"] = parameters
    headers: dict[str, str | list[str]] = {
        "Content-Type": "application/json",
        "WWW-Authenticate": "Bearer",
        "Date": "today",
        "X-Two": ["a", "b"],
    }
    return Response(body=json.dumps(event), status_code=418, headers=headers)


for path in ("/things", "/things/{thing}", "/things/mine", "/{a}/{b}/end"):
    app.route(path, methods=["GET", "POST"], content_types=[])(mirror)


@app.route("/things", methods=["DELETE"], content_types=[])
def without_content() -> Response:
    """Return an answer without content."""
    return Response(body="", status_code=204)


@app.route("/things/{thing}", methods=["DELETE"], content_types=[])
def empty(thing: str) -> Response:
    """Return an answer with an empty body."""
    del thing
    return Response(body="", status_code=200)


@pytest.fixture
def mirrored() -> Gateway:
    """Put a gateway in front of the mirror application."""
    return Gateway([app])


def seen(gateway: Gateway, method: str, target: str, *headers: tuple[str, str], body: bytes = b"") -> dict[str, Any]:
    """Send a request, and return the event that the function received."""
    answer = gateway.call(method, target, headers, body)
    assert answer.status == 418, answer
    event = json.loads(answer.body)
    assert isinstance(event, dict)
    return event


def test_the_path_is_unchanged_and_the_resource_is_the_template(mirrored: Gateway) -> None:
    """The path has the stage prefix, and neither path nor parameters are decoded."""
    event = seen(mirrored, "GET", "/api/things/a%2Fb%20c", ("Host", "x"))
    assert event["requestContext"]["path"] == "/api/things/a%2Fb%20c"
    assert event["requestContext"]["resourcePath"] == event["resource"] == "/things/{thing}"
    assert event["requestContext"]["stage"] == "api"
    assert event["given"] == event["pathParameters"] == {"thing": "a%2Fb%20c"}


def test_a_literal_segment_is_preferred_to_a_parameter(mirrored: Gateway) -> None:
    """The path /things/mine does not mean a thing with the name mine."""
    assert seen(mirrored, "GET", "/api/things/mine")["resource"] == "/things/mine"


def test_the_query_is_decoded_once_and_the_raw_query_is_lost(mirrored: Gateway) -> None:
    """One map has every value of a parameter, the other map only the last value. Without a query both are None."""
    event = seen(mirrored, "GET", "/api/things?a=1&a=%2541&b=x+y&c=")
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "%41"], "b": ["x y"], "c": [""]}
    assert event["queryStringParameters"] == {"a": "%41", "b": "x y", "c": ""}
    assert seen(mirrored, "GET", "/api/things")["multiValueQueryStringParameters"] is None


def test_the_last_of_two_headers_wins_and_the_multi_value_map_has_both(mirrored: Gateway) -> None:
    """Hop-by-hop headers are removed."""
    event = seen(mirrored, "GET", "/api/things", ("X-A", "1"), ("X-A", "2"), ("Connection", "close"))
    assert event["headers"] == {"X-A": "2"}
    assert event["multiValueHeaders"] == {"X-A": ["1", "2"]}


def test_a_binary_body_is_base64_and_a_text_body_is_not(mirrored: Gateway) -> None:
    """The content types that Chalice declares as binary decide this."""
    binary = seen(mirrored, "POST", "/api/things", ("content-type", "application/octet-stream"), body=b"\xff\0")
    assert (binary["body"], binary["isBase64Encoded"]) == (base64.b64encode(b"\xff\0").decode(), True)
    text = seen(mirrored, "POST", "/api/things", ("content-type", "application/json"), body=b"{}")
    assert (text["body"], text["isBase64Encoded"]) == ("{}", False)


def test_www_authenticate_and_date_are_renamed(mirrored: Gateway) -> None:
    """A list of values becomes several headers."""
    answer = mirrored.call("GET", "/api/things")
    assert answer.header("x-amzn-Remapped-WWW-Authenticate") == "Bearer"
    assert answer.header("x-amzn-Remapped-Date") == "today"
    assert answer.header("www-authenticate") is None
    assert [value for name, value in answer.headers if name == "X-Two"] == ["a", "b"]


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/api/nothing"), ("PUT", "/api/things"), ("GET", "/things"), ("GET", "/api"), ("GET", "/api/things//")],
)
def test_the_gateway_itself_answers_an_unknown_route(mirrored: Gateway, method: str, target: str) -> None:
    """The answer is 404 in Baton's error format, as in a deployment. No function is called."""
    answer = mirrored.call(method, target)
    members = json.loads(answer.body)
    assert (answer.status, members["code"], members["status"]) == (404, "not_found", 404)
    assert answer.header("content-type") == "application/problem+json"
    assert f"{method} {target}" in members["detail"]
    assert ("Routes begin with /api/" in members["detail"]) is not target.startswith("/api/")
    assert ("It takes DELETE, GET, POST." in members["detail"]) is (method == "PUT")
    assert b'": ' not in answer.body  # spelled as in Baton


def test_the_gateways_own_answers_have_the_servers_time() -> None:
    """A demo may move the clock. A phone that sets its clock by a 404 must get the moved time."""
    clock = DevelopmentClock()
    clock.skip(86_400)
    answer = Gateway([app], clock=clock).call("GET", "/api/nothing")
    assert json.loads(answer.body)["server_time"] >= time.time() + 86_000
    assert int(answer.header("baton-time") or 0) >= time.time() + 86_000


def test_a_request_that_is_too_large_does_not_reach_the_function(mirrored: Gateway) -> None:
    """The limits are 10 MB for the body and 10 KB for the headers."""
    assert mirrored.call("POST", "/api/things", (), b"x" * (10 * 1024 * 1024 + 1)).status == 413
    assert mirrored.call("GET", "/api/things", [("X-A", "x" * 10_240)]).status == 431


def test_an_environment_serves_one_request_at_a_time() -> None:
    """Chalice stores the current request in an attribute, which parallel requests would share."""
    inside, most = 0, 0
    counted = Chalice(app_name="counted", configure_logs=False)
    lock = threading.Lock()

    @counted.route("/count")
    def count() -> dict[str, str]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        entered.release()
        busy.acquire(timeout=5)
        with lock:
            inside -= 1
        return {}

    gateway = Gateway([counted])
    threads = [threading.Thread(target=gateway.call, args=("GET", "/api/count")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=5)
        busy.release()
    for thread in threads:
        thread.join(5)
    assert most == 1


@pytest.fixture
def served(mirrored: Gateway) -> Iterator[tuple[int, DevelopmentClock]]:
    """Serve the mirror over HTTP on loopback."""
    clock = DevelopmentClock()
    with GatewayServer(0) as server:
        server.open(mirrored, clock)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port, clock
        server.shutdown()
        thread.join()


def spoken(port: int, sent: bytes) -> bytes:
    """Send bytes on a socket, and return all bytes until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while part := connection.recv(65536):
            heard += part
        return heard


def test_connections_are_kept_alive_and_chunks_are_joined(served: tuple[int, DevelopmentClock]) -> None:
    """The requests use HTTP/1.1, as those of apps."""
    port, _ = served
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        for _ in range(3):
            connection.request("POST", "/api/things", iter([b"one", b"two"]), {"Content-Type": "text/plain"})
            answer = connection.getresponse()
            event = json.loads(answer.read())
            assert event["body"] == "onetwo"
            assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"


@pytest.mark.parametrize(
    "odd",
    [
        b"POST /api/things HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /api/things HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/things HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00\xff\r\n\r\n",
        b"BREW /api/things HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_invalid_requests_are_refused_and_the_server_continues(
    served: tuple[int, DevelopmentClock], odd: bytes
) -> None:
    """The requests have an ambiguous length, random bytes, or an unknown method."""
    port, _ = served
    assert spoken(port, odd)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 501", b"<!DOCTYPE HT"}
    assert spoken(port, b"GET /api/things HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 418")


def moved(port: int, body: bytes, *fields: str) -> bytes:
    """Request a move of the development clock."""
    head = "\r\n".join(
        [f"POST {CLOCK_PATH} HTTP/1.1", f"Host: localhost:{port}", f"Content-Length: {len(body)}", *fields]
    )
    return spoken(port, f"{head}\r\n\r\n".encode() + body)


AS_JSON = "Content-Type: application/json"


def test_the_clock_can_be_moved_forward_and_back(served: tuple[int, DevelopmentClock]) -> None:
    """The clock is never before the true time. The path of the route is outside the stage."""
    port, clock = served
    assert moved(port, b'{"skip": 900}', AS_JSON).startswith(b"HTTP/1.1 200")
    assert clock.skipped_s == 900
    assert moved(port, b'{"skip": -300}', AS_JSON).startswith(b"HTTP/1.1 200")
    assert clock.skipped_s == 600
    assert moved(port, b'{"skip": -86400}', AS_JSON).startswith(b"HTTP/1.1 200")
    assert clock.skipped_s == 0


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b'{"skip": "1"}', b'{"skip": true}', b'{"skip": null}'),
        *(b'{"skip": NaN}', b'{"skip": Infinity}', b'{"skip": 1e308}', b'{"skip": 1e999}'),
        b'{"skip": ' + b"9" * 400 + b"}",
    ],
)
def test_the_clock_accepts_only_valid_offsets(served: tuple[int, DevelopmentClock], body: bytes) -> None:
    """An invalid or too large number would break every later answer."""
    port, clock = served
    assert moved(port, body, AS_JSON).startswith(b"HTTP/1.1 400")
    assert clock.skipped_s == 0


@pytest.mark.parametrize(
    "fields", [(), ("Content-Type: text/plain",), (AS_JSON, "Origin: https://evil.example"), (AS_JSON, "Origin: null")]
)
def test_a_web_page_cannot_move_the_clock(served: tuple[int, DevelopmentClock], fields: tuple[str, ...]) -> None:
    """Requests that a browser sends without a preflight, and requests with an origin, are refused."""
    port, clock = served
    assert moved(port, b'{"skip": 900}', *fields).startswith((b"HTTP/1.1 403", b"HTTP/1.1 415"))
    assert clock.skipped_s == 0


def test_the_mails_of_the_development_server_are_listed_newest_first(served: tuple[int, DevelopmentClock]) -> None:
    """The path is outside the stage, like that of the clock. No cache stores the answer."""
    port, _ = served
    for number in range(2):
        OF_THIS_PROCESS(Mail(f"ada{number}@example.com", "Hello", "1234 5678", "<p>1234 5678</p>"))
    said = spoken(port, f"GET {MAILS_PATH} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 200")
    assert b"no-store" in said
    mails = json.loads(said.partition(b"\r\n\r\n")[2])["mails"]
    assert [mail["to"] for mail in mails[:2]] == ["ada1@example.com", "ada0@example.com"]
    assert mails[0]["text"] == "1234 5678"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "x", ""])
def test_a_page_whose_name_leads_to_this_machine_cannot_read_mails(
    served: tuple[int, DevelopmentClock], host: str
) -> None:
    """With DNS rebinding, the browser treats the page as of the same origin. Only the host reveals it."""
    port, _ = served
    OF_THIS_PROCESS(Mail("ada@example.com", "Hello", "1234 5678", "<p>1234 5678</p>"))
    said = spoken(port, f"GET {MAILS_PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b"1234 5678" not in said


def test_another_machine_cannot_call_a_development_route(mirrored: Gateway) -> None:
    """With HOST=0.0.0.0, the network can use only the API."""
    clock = DevelopmentClock()
    with GatewayServer(0) as server:
        server.open(mirrored, clock)
        # Treat every connection as one from a phone on the network.
        server.finish_request = lambda request, _: _Handler(request, ("192.168.1.9", 4711), server)  # type: ignore[method-assign,assignment] # a replaced address
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        said = moved(server.server_port, b'{"skip": 900}', AS_JSON)
        api = spoken(server.server_port, b"GET /api/things HTTP/1.1\r\nHost: x\r\n\r\n")
        server.shutdown()
        thread.join()
    assert said.startswith(b"HTTP/1.1 403")
    assert clock.skipped_s == 0
    assert api.startswith(b"HTTP/1.1 418")


def test_a_client_with_expect_100_gets_100_before_the_body(served: tuple[int, DevelopmentClock]) -> None:
    """RFC 9110 section 10.1.1. Without it curl waits one second, and other clients wait permanently."""
    port, _ = served
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        connection.sendall(
            b"POST /api/things HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 418")
    assert b'"body": "abc"' in answer


def test_an_answer_to_head_has_a_length_and_no_body(served: tuple[int, DevelopmentClock]) -> None:
    """The next answer on the connection starts at the right byte."""
    port, _ = served
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        for method, status in (("HEAD", 404), ("GET", 418), ("HEAD", 404), ("GET", 418)):
            connection.request(method, "/api/things")
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (status, method == "GET")
            assert int(answer.headers["content-length"]) > 0


def test_an_answer_without_content_has_no_content_length(served: tuple[int, DevelopmentClock]) -> None:
    """RFC 9110 section 8.6 requires this for status 204."""
    port, _ = served
    said = spoken(port, b"DELETE /api/things HTTP/1.1\r\nHost: x\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 204")
    assert b"content-length" not in said.lower()
    assert b"Content-Length: 0" in spoken(port, b"DELETE /api/things/one HTTP/1.1\r\nHost: x\r\n\r\n")
