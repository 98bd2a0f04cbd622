"""The transports of the stores. They connect to the embedded engine over the test connection."""

import functools
import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

from chalicelib.baton.storage.aws import connection as transport
from chalicelib.baton.storage.aws import service as engine
from chalicelib.baton.storage.aws import small_client
from chalicelib.baton.storage.aws.small_client import SMALL_CLIENTS, SmallClient
from tests.baton.proofs.faults.line import CHECKSUM, Deliver, Line, Lost, Reply, Sending, TimedOut
from tools.dev.engine import REGION


@contextmanager
def over_botocore(line: Line) -> Iterator[None]:
    """Send the requests of botocore over the connection, without pauses between retries."""

    def carried(stubber: BotocoreStubber, *, request: AWSPreparedRequest, **_event: object) -> AWSResponse:
        try:
            reply = line.carry(_sending(request), _delivering(stubber, request))
        except Lost:
            raise ConnectionClosedError(endpoint_url=request.url) from None
        except TimedOut:
            raise ReadTimeoutError(endpoint_url=request.url) from None
        headers: Any = reply.headers
        return AWSResponse(request.url, reply.status, headers, MockRawResponse(reply.body))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "__call__", carried)
        patch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
        # botocore stops retrying after a few hundred failures. Each case here begins with the full retry quota.
        patch.setattr("botocore.retries.quota.RetryQuota.acquire", lambda _quota, _amount: True)
        _stop_the_clock(patch)
        yield


@contextmanager
def over_small(line: Line) -> Iterator[None]:
    """Send the bytes of the small AWS client over the connection, without pauses between retries."""

    def impatient(kind: type[SmallClient], *given: Any, **named: Any) -> SmallClient:
        return kind(*given, **named | {"pause": lambda _: None})

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATON_AWS_CLIENT", "small")
        for service in SMALL_CLIENTS:  # without TLS: there is no peer for a handshake
            patch.setenv(f"AWS_ENDPOINT_URL_{service.upper()}", f"http://{service}.{REGION}.amazonaws.com")
        clients = {name: functools.partial(impatient, kind) for name, kind in SMALL_CLIENTS.items()}
        patch.setattr(engine, "SMALL_CLIENTS", clients)
        patch.setattr(socket, "create_connection", lambda _address, timeout: Connection(line, timeout))
        patch.setattr(transport, "select", SimpleNamespace(poll=Watch, POLLIN=select.POLLIN))
        _stop_the_clock(patch)
        yield


def _stop_the_clock(patch: pytest.MonkeyPatch) -> None:
    """Let no time pass for the AWS clients. When the machine of the tests pauses for seconds, no call gets too late."""
    stopped = SimpleNamespace(**vars(time) | {"monotonic": lambda: 0.0})
    for module in (transport, small_client):
        patch.setattr(module, "time", stopped)
    defaults = engine.AwsClient.__init__.__kwdefaults__
    assert defaults is not None
    patch.setitem(defaults, "monotonic", stopped.monotonic)


TRANSPORTS: dict[str, Callable[[Line], AbstractContextManager[None]]] = {"botocore": over_botocore, "small": over_small}
"""Each transport that the stores can use."""


class Connection:
    """A connection of the small AWS client: it takes bytes and returns bytes, and the test connection is between them.

    It fails in the same way as a kernel socket. No test waits for a time-out or depends on the scheduler.
    """

    def __init__(self, line: Line, timeout_s: float | None) -> None:
        """Connect."""
        self._line = line
        self._timeout_s = timeout_s
        self._sent = b""
        self._coming: deque[bytes | OSError] = deque()
        self._over = False

    def setsockopt(self, *_: object) -> None:
        """Ignore socket options: they have no visible effect here."""

    def settimeout(self, timeout_s: float | None) -> None:
        """Store the time-out."""
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Close the connection, and drop the bytes that were not read."""
        self._over = True

    def sendall(self, data: bytes) -> None:
        """Send bytes, and carry the request when it is complete. Raise an error if the connection has ended."""
        if self._over:
            raise BrokenPipeError
        self._sent += data
        head, _, body = self._sent.partition(b"\r\n\r\n")
        headers = HTTPHeaders()
        for line in head.decode().split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            headers[name] = value
        if len(body) < int(headers["content-length"]):
            return
        self._sent = b""
        request = AWSPreparedRequest("POST", f"http://{headers['host']}/", headers, body, stream_output=False)
        try:
            self._come(_bytes(self._line.carry(_sending(request), _delivering(BotocoreStubber(), request))))
        except TimedOut as late:
            self._coming.append(TimeoutError())
            self._come(_bytes(late.reply))
        except Lost as lost:
            self._over = True
            if lost.reply is None:
                self._coming.append(ConnectionResetError())
            else:
                self._come(_bytes(lost.reply)[:-1])

    def is_readable(self) -> bool:
        """Return whether bytes or the end of the connection can be read."""
        return bool(self._coming) or self._over

    def recv(self, size: int) -> bytes:
        """Receive the next bytes, or none if the connection has ended."""
        assert self._timeout_s, "without a time-out the client may wait forever"
        if not self._coming:
            if self._over:
                return b""
            raise TimeoutError
        piece = self._coming.popleft()
        if isinstance(piece, OSError):
            raise piece
        if piece[size:]:
            self._coming.appendleft(piece[size:])
        return piece[:size]

    def _come(self, said: bytes) -> None:
        """Deliver the bytes in two pieces at an arbitrary boundary."""
        self._coming += (said[: len(said) // 2], said[len(said) // 2 :])


class Watch:
    """``select.poll`` for this connection."""

    def __init__(self) -> None:
        """Create a poll object without connections."""
        self._watched: list[Connection] = []

    def register(self, connection: Connection, events: int) -> None:
        """Register a connection for reading."""
        assert events == select.POLLIN
        self._watched.append(connection)

    def poll(self, timeout_ms: int) -> list[Connection]:
        """Return the connections that can be read now."""
        assert timeout_ms == 0
        return [connection for connection in self._watched if connection.is_readable()]


def _bytes(reply: Reply) -> bytes:
    headers = reply.headers | {"content-length": str(len(reply.body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} {reply.status}\r\n{head}\r\n".encode() + reply.body


def _sending(request: AWSPreparedRequest) -> Sending:
    target, body = request.headers["x-amz-target"], request.body
    service, _, operation = (target.decode() if isinstance(target, bytes) else str(target)).partition(".")
    assert isinstance(body, str | bytes)
    asked = json.loads(body)
    asked.pop("ClientRequestToken", None)  # a new token for each retry of a transaction
    return Sending("kms" if service == "TrentService" else "dynamodb", operation, asked)


def _delivering(stubber: BotocoreStubber, request: AWSPreparedRequest) -> Deliver:
    def deliver() -> Reply:
        answer = stubber.process_request(request)
        assert answer is not None
        status, headers, body = answer
        said = Reply(status, {name.lower(): str(value) for name, value in headers.items()}, b"")
        if _sending(request).service == "dynamodb":
            said.headers.setdefault(CHECKSUM, "")  # moto sends no checksum with errors
        return said.saying(body if isinstance(body, bytes) else body.encode())

    return deliver
