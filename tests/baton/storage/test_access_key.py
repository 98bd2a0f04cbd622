"""Container credentials on loopback, as Lambda provides them under SnapStart."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chalicelib.baton.access_key import AccessKey, Vended
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import Secret
from chalicelib.baton.storage.aws.credentials import Vendor, source_of
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.aws.small_client import Endpoint
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables

HANDED = {"AccessKeyId": "first", "SecretAccessKey": "s", "Token": "t", "Code": "Success"}


class Counter(ThreadingHTTPServer):
    """Serves the given access keys to a client with the authorization, and records the requests."""

    def __init__(self) -> None:
        """Serve on a free port of loopback."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.handed: list[tuple[int, Any]] = []
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def vended(self) -> Vended:
        """Return the address of this server, and the authorization that it requires."""
        return Vended(f"http://127.0.0.1:{self.server_port}/2021-04-23/credentials", Secret(b"the authorization"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counter

    def do_GET(self) -> None:
        """Answer in chunks, as Go does for long answers."""
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
        """Answer as an empty DynamoDB."""
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(self.headers["authorization"].partition("/")[0])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def counter() -> Iterator[Counter]:
    """Start the server, and stop it afterwards."""
    opened = Counter()
    yield opened
    opened.shutdown()
    opened.server_close()


def ends_in(seconds: int) -> str:
    """Write a time as the endpoint does."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_an_access_key_is_fetched_once_and_again_before_it_expires(counter: Counter) -> None:
    """A key is refreshed by botocore at the latest ten minutes before its expiry. A new `Vendor` fetches no key."""
    counter.handed = [
        (200, HANDED | {"Expiration": ends_in(3600)}),
        (200, HANDED | {"AccessKeyId": "second", "Expiration": ends_in(500)}),
        (200, HANDED | {"AccessKeyId": "third", "Expiration": ends_in(3600)}),
    ]
    vendor = Vendor(counter.vended)
    assert counter.asked == []
    first = vendor()
    assert first == AccessKey("first", Secret(b"s"), Secret(b"t"))
    assert vendor() is first, "the signing key of a day belongs to this object"
    assert counter.asked == ["/2021-04-23/credentials"]
    vendor = Vendor(counter.vended)
    assert [vendor().id, vendor().id] == ["third", "third"]
    assert len(counter.asked) == 3


def test_the_next_key_is_used_when_botocore_has_refreshed_it(counter: Counter) -> None:
    """A key is refreshed by botocore from 900 seconds before its expiry on."""
    counter.handed = [
        (200, HANDED | {"Expiration": ends_in(902)}),
        (200, HANDED | {"AccessKeyId": "second", "Expiration": ends_in(3600)}),
    ]
    vendor, begun = Vendor(counter.vended), time.monotonic()
    assert vendor().id == "first"
    while vendor().id == "first":
        assert time.monotonic() - begun < 30
        time.sleep(0.1)
    assert vendor().id == "second"


@pytest.mark.parametrize(
    "handed", [(500, HANDED), (403, HANDED), (200, b"{}"), (200, b"<html>"), (200, b"[]")], ids=str
)
def test_an_endpoint_without_a_key_is_a_value_error(counter: Counter, handed: tuple[int, Any]) -> None:
    """There is no pause between the three attempts, because a request waits for the error. botocore pauses for 2 s."""
    counter.handed = [handed] * 3
    begun = time.monotonic()
    with pytest.raises(ValueError, match="Error"):
        Vendor(counter.vended)()
    assert time.monotonic() - begun < 2


def test_a_missing_access_key_is_503_and_the_next_request_tries_again(
    counter: Counter, tables: Tables, monkeypatch: Any
) -> None:
    """When the endpoint returns an access key again, DynamoDB is called with this key."""
    endpoint = f"http://127.0.0.1:{counter.server_port}"
    monkeypatch.setattr("chalicelib.baton.storage.aws.service.ATTEMPTS", 1)
    small = Endpoint(endpoint, "us-east-1", source_of(counter.vended))
    engine = DynamoDB(tables, AwsClient("dynamodb", endpoint=small, pause=lambda _: None))
    counter.handed = [(404, b"")] * 3
    with pytest.raises(Unavailable, match="get_item"):
        engine.read(tables.users, {"pk": {"S": "x"}})
    counter.handed = [(200, HANDED | {"Expiration": ends_in(3600)})]
    for _ in range(2):
        assert engine.read(tables.users, {"pk": {"S": "x"}}) is None
    path, in_its_name = "/2021-04-23/credentials", "AWS4-HMAC-SHA256 Credential=first"
    assert counter.asked == [path] * 4 + [in_its_name] * 2
