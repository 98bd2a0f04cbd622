"""One HTTPS connection to an AWS endpoint, which is kept open."""

import functools
import re
import select
import socket
import time
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ssl import SSLContext


HEAD_BYTES_MAX: Final = 16 * 1024

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""The maximum size of an answer. DynamoDB returns one item (at most 400 KB), a few items, or a page of at most 1 MB."""


class NoResponse(Exception):
    """There was no usable answer after all attempts, or within the time limit. The request may have taken effect."""


_FIELDS: Final = re.compile(rb"\r\n(content-length|x-amz-crc32|connection):([^\r\n]*)(?=\r\n)", re.IGNORECASE)
"""The header fields of an answer that Baton reads. A field with a bare CR or LF inside is not read."""


class _Connection:
    """One kept-alive connection. It reads the whole answer to a request before it sends the next request."""

    def __init__(self, scheme: str, address: tuple[str, int], timeout_s: float) -> None:
        plain = socket.create_connection(address, timeout=timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = _tls().wrap_socket(plain, server_hostname=address[0]) if scheme == "https" else plain
        self._coming = select.poll()
        self._coming.register(self._socket, select.POLLIN)
        self.kept = True

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):  # without a socket, connecting failed in `__init__`
            self.close()

    def is_quiet(self) -> bool:
        """Check that the connection has not ended, and that no surplus bytes arrived since the last answer."""
        return not self._coming.poll(0)

    def exchange(self, request: bytes, *, within_s: float) -> tuple[int, bytes]:
        """Send a request and return status and body. Raises ``OSError``, or ``ValueError`` for an invalid answer."""
        until = time.monotonic() + within_s
        self._socket.settimeout(within_s)
        self._socket.sendall(request)
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > HEAD_BYTES_MAX:
                raise ValueError("an endless head")
            received += self._received(until)
        fields = {name.lower(): value.strip() for name, value in _FIELDS.findall(received, 0, end + 2)}
        length = int(fields.get(b"content-length", -1))
        if not received.startswith(b"HTTP/1.1 ") or not 0 <= length <= BODY_BYTES_MAX:
            raise ValueError("not an answer of a known length")
        body = received[end + 4 :]
        while len(body) < length:
            body += self._received(until)
        if len(body) > length:
            raise ValueError("more than one answer")
        if b"x-amz-crc32" in fields and zlib.crc32(body) != int(fields[b"x-amz-crc32"]):
            raise ValueError("the answer does not match its checksum")
        self.kept = fields.get(b"connection", b"").lower() != b"close"
        return int(received[9:12]), bytes(body)

    def _received(self, until: float) -> bytes:
        self._socket.settimeout(_left(until))
        piece = self._socket.recv(65536)
        if not piece:
            raise ConnectionResetError("the connection ended")
        return piece


def _left(until: float) -> float:
    """Return the time that is left, in seconds. Raises ``TimeoutError`` if no time is left."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@functools.cache
def _tls() -> "SSLContext":
    """Return a TLS context, cached because reading the system's certificates takes tens of milliseconds."""
    import ssl  # noqa: PLC0415 - cold start, and not needed for a database on this machine

    return ssl.create_default_context()
