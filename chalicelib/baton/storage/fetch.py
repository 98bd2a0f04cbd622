"""HTTPS requests to services of other parties: the only outbound connections apart from connections to AWS.

A request has one deadline. With only a time limit for each read, a slow server could send one byte before each limit,
and the request would never end. Before each read, the time limit of the socket is set to the time that is left. The
size of an answer is bounded too, head and framing included. TLS is verified against the system's certificates.
Redirects are not followed, and the connection is not kept.
"""

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import SplitResult, urlencode, urlsplit

from chalicelib.baton.factors.ports import NotFetched, Posted
from chalicelib.baton.storage.aws.service import TimeBudget

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from ssl import SSLContext, SSLSocket

    from _typeshed import WriteableBuffer

HTTPS_PORT: Final = 443
HEAD_BYTES_MAX: Final = 16 * 1024
"""The maximum size of the head of an answer plus the framing of its chunks, in bytes."""

_OK: Final = 200
_FORM: Final = "application/x-www-form-urlencoded"


class HttpsFetch:
    """``Fetch`` and ``Post`` of ``factors/ports.py`` over HTTPS.

    The first request imports ``http.client`` and ``ssl``, and reads the certificates.
    """

    def __init__(self, time_budget: TimeBudget | None = None, *, certificates: str | None = None) -> None:
        """Count the time of requests in ``time_budget``.

        ``certificates`` is a file of certificates to trust in place of the system's, for tests.
        """
        self._time_budget = time_budget or TimeBudget()
        self._certificates = certificates
        self._context: SSLContext | None = None

    def __call__(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> bytes | NotFetched:
        """Return the body of a ``GET``, or ``NotFetched``: see ``Fetch``."""
        answer = self._ask(url, "GET", headers, within_s=within_s, bytes_max=bytes_max)
        if isinstance(answer, Posted):
            return answer.body if answer.status == _OK else NotFetched(f"status {answer.status}")
        return answer

    def post(self, url: str, *, form: Mapping[str, str], within_s: float, bytes_max: int) -> Posted | NotFetched:
        """Return the answer to a form, or ``NotFetched``: see ``Post``."""
        headers = {"Content-Type": _FORM, "Accept": "application/json"}
        return self._ask(url, "POST", headers, urlencode(form).encode(), within_s=within_s, bytes_max=bytes_max)

    def _ask(
        self, url: str, method: str, headers: Mapping[str, str], body: bytes = b"", *, within_s: float, bytes_max: int
    ) -> Posted | NotFetched:
        from http.client import HTTPException  # noqa: PLC0415 - cold start: only routes that need other services

        if self._time_budget.is_over():
            return NotFetched("the time of this request for calls is used up")
        begun = time.monotonic()
        try:
            with self._sent(url, method, headers, body, until=begun + within_s, bytes_max=bytes_max) as response:
                response.begin()
                if method == "GET" and response.status != _OK:
                    return Posted(response.status, b"")  # its body is not read
                return Posted(response.status, _body(response, bytes_max))
        except (OSError, ValueError, RuntimeError, HTTPException) as error:  # RuntimeError: no thread can be started
            # The message of such an error may quote the answer. So only the type of the error is kept.
            return NotFetched(type(error).__name__)
        finally:
            self._time_budget.spend(time.monotonic() - begun)

    @contextlib.contextmanager
    def _sent(
        self, url: str, method: str, headers: Mapping[str, str], body: bytes, *, until: float, bytes_max: int
    ) -> Iterator["HTTPResponse"]:
        """Send a request, and yield its response. Nothing of the response is read yet."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("not a URL of https")
        fields = {"Host": parts.netloc, **headers, **({"Content-Length": str(len(body))} if body else {})}
        with self._connect(parts.hostname, parts.port or HTTPS_PORT, until) as connection:
            connection.settimeout(_left(until))
            connection.sendall(_head(method, _target(parts), {**fields, "Connection": "close"}) + body)
            with _response(_Received(connection, until, HEAD_BYTES_MAX + bytes_max), method) as response:
                yield response

    def _connect(self, host: str, port: int, until: float) -> "SSLSocket":
        if self._context is None:
            import ssl  # noqa: PLC0415 - cold start

            self._context = ssl.create_default_context(cafile=self._certificates)
        plain = _plain_connection(host, port, until)
        try:
            plain.settimeout(_left(until))
            # A connection that ends without a TLS close message is an error: an attacker may have cut the answer.
            return self._context.wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise


class _Received(io.RawIOBase):
    """The bytes that a connection receives, until a deadline and up to a number of bytes."""

    def __init__(self, connection: "SSLSocket", until: float, bytes_max: int) -> None:
        self._connection, self._until, self._bytes_left = connection, until, bytes_max

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self._bytes_left == 0:
            raise ValueError("the answer is too large")
        self._connection.settimeout(_left(self._until))
        received = self._connection.recv_into(memoryview(buffer)[: self._bytes_left])
        self._bytes_left -= received
        return received

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the stream that ``HTTPResponse`` reads. ``HTTPResponse`` uses no other method of a socket."""
        return io.BufferedReader(self)


def _response(received: _Received, method: str) -> "HTTPResponse":
    from http.client import HTTPResponse  # noqa: PLC0415 - cold start

    return HTTPResponse(cast("Any", received), method=method)


def _body(response: "HTTPResponse", bytes_max: int) -> bytes:
    """Read the whole body into a buffer of the maximum size.

    ``HTTPResponse.read`` would allocate the size that the server announces, which may be larger.
    """
    buffer = memoryview(bytearray(bytes_max + 1))
    size = 0
    while size <= bytes_max and (received := response.readinto(buffer[size:])):
        size += received
    if size > bytes_max:
        raise ValueError("the answer is too large")
    if response.length:
        raise ConnectionResetError("the answer is incomplete")
    return bytes(buffer[:size])


def _target(parts: SplitResult) -> str:
    """Return path and query of a URL. Some identity providers have several key sets, and the query selects one."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{fields}\r\n".encode("ascii")


def _plain_connection(host: str, port: int, until: float) -> socket.socket:
    """Connect to one of the addresses of a host. Each address gets an equal part of the time that is left."""
    addresses = _addresses(host, port, until)
    for tries_left in range(len(addresses), 0, -1):
        try:
            return socket.create_connection(addresses[-tries_left], timeout=_left(until) / tries_left)
        except OSError:
            if tries_left == 1:
                raise
    raise OSError("the host has no address")


def _addresses(host: str, port: int, until: float) -> list[tuple[str, int]]:
    """Return the addresses of a host.

    A thread looks the host up, because the look-up of the system has no deadline and may take many seconds.
    """
    found: list[tuple[str, int] | OSError] = []

    def look_up() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend((str(address[0]), int(address[1])) for *_, address in rows)
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_left(until))
    if thread.is_alive():
        raise TimeoutError
    addresses = [address for address in found if not isinstance(address, OSError)]
    if not addresses and found:
        raise cast("OSError", found[0])
    return addresses


def _left(until: float) -> float:
    """Return the time that is left, in seconds. Raises ``TimeoutError`` if no time is left."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
