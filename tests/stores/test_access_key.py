"""Access keys that are handed out on loopback, as Lambda does under SnapStart."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chalicelib.core.errors import Unavailable
from chalicelib.core.model import Secret
from chalicelib.stores.access_key import AGAIN_AFTER_S, RENEWED_BEFORE_S, AccessKey, Vended, Vendor, source_of
from chalicelib.stores.engine import Engine, Service, Tables
from chalicelib.stores.transport import Access

ENDS_AT = 1_800_000_000
EXPIRATION = "2027-01-15T08:00:00Z"
HANDED = {"AccessKeyId": "first", "SecretAccessKey": "s", "Token": "t", "Expiration": EXPIRATION, "Code": "Success"}


class Counter(ThreadingHTTPServer):
    """Hands out what it is told to, to whoever knows the authorization, and counts the questions."""

    def __init__(self) -> None:
        """Serve on a free port of loopback."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.handed: list[tuple[int, Any]] = []
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def vended(self) -> Vended:
        """Say where it is."""
        return Vended(f"http://127.0.0.1:{self.server_port}/2021-04-23/credentials", Secret(b"the authorization"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counter

    def do_GET(self) -> None:
        """Answer in chunks, as Go does where an answer is long."""
        self.server.asked.append(self.path)
        status, handed = self.server.handed.pop(0)
        if self.headers["authorization"] != "the authorization":
            status = 403
        body = handed if isinstance(handed, bytes) else json.dumps(handed).encode()
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")

    def do_POST(self) -> None:
        """Be the engine, in which nothing stands."""
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(self.headers["authorization"].partition("/")[0])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def counter() -> Iterator[Counter]:
    """Open a counter, and close it."""
    opened = Counter()
    yield opened
    opened.shutdown()
    opened.server_close()


@pytest.fixture
def at(counter: Counter) -> Callable[[float], Vendor]:
    """Make a vendor, or move the one there is, to so many seconds before its key ends."""
    left = [0.0]
    vendor = Vendor(counter.vended, clock=lambda: ENDS_AT - left[0])

    def moved(seconds: float) -> Vendor:
        left[0] = seconds
        return vendor

    return moved


def test_a_key_is_asked_for_once_and_again_before_it_ends(counter: Counter, at: Callable[[float], Vendor]) -> None:
    """Making the vendor asks nobody."""
    counter.handed = [(200, HANDED), (200, HANDED | {"AccessKeyId": "second"})]
    assert counter.asked == []
    for left in (3600, RENEWED_BEFORE_S + 1):
        assert at(left)() == AccessKey("first", Secret(b"s"), Secret(b"t"))
    assert counter.asked == ["/2021-04-23/credentials"]
    assert at(RENEWED_BEFORE_S)().id == "second"
    assert len(counter.asked) == 2


@pytest.mark.parametrize("handed", [(500, HANDED), (403, HANDED), (200, b"{}"), (200, b"<html>"), (200, b"")], ids=str)
def test_a_key_serves_until_it_ends_where_no_other_is_to_be_had(
    counter: Counter, at: Callable[[float], Vendor], handed: tuple[int, Any]
) -> None:
    """And not a second longer."""
    counter.handed = [(200, HANDED), handed, handed]
    first = at(3600)()
    assert at(1 + AGAIN_AFTER_S / 2)() is first
    assert at(1)() is first, "nobody is asked: every call would wait for him"
    with pytest.raises(ValueError, match=r"."):
        at(0)()
    assert len(counter.asked) == 3


def test_nobody_who_hands_out_is_our_own_trouble_and_heals(counter: Counter, tables: Tables, monkeypatch: Any) -> None:
    """503, not a defect; and the next request asks again. With a key the engine is asked, in its name."""
    endpoint = f"http://127.0.0.1:{counter.server_port}"
    monkeypatch.setattr("chalicelib.stores.engine.ATTEMPTS", 1)
    lean = Access(endpoint, "us-east-1", source_of(counter.vended))
    engine = Engine(tables, Service("dynamodb", lean=lean, pause=lambda _: None))
    counter.handed = [(404, b"")]
    with pytest.raises(Unavailable, match="get_item"):
        engine.read(tables.users, {"pk": {"S": "x"}})
    counter.handed = [(200, {**HANDED, "Expiration": "2099-01-01T00:00:00Z"})]
    for _ in range(2):
        assert engine.read(tables.users, {"pk": {"S": "x"}}) is None
    path, in_its_name = "/2021-04-23/credentials", "AWS4-HMAC-SHA256 Credential=first"
    assert counter.asked == [path, path, in_its_name, in_its_name]
