"""One kept HTTPS connection to an AWS endpoint."""

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
"""DynamoDB's items are at most 400 KB; nothing we ask answers more than a few."""


class NoResponse(Exception):
    """Nothing usable came back, after all attempts; what was asked may have happened."""


_FIELDS: Final = re.compile(rb"\r\n(content-length|x-amz-crc32|connection):([^\r\n]*)(?=\r\n)", re.IGNORECASE)
"""The fields of an answer that are looked at. Half a line's end within one makes it none of them."""


class _Connection:
    """One kept-alive connection: a request goes out whole, its answer comes in whole."""

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
        if hasattr(self, "_socket"):  # it was never connected otherwise
            self.close()

    def is_quiet(self) -> bool:
        """Tell whether nothing has come since the last answer: no end, and nothing to be taken for the next one."""
        return not self._coming.poll(0)

    def exchange(self, request: bytes, *, within_s: float) -> tuple[int, bytes]:
        """Send a request and read its answer. Raises ``OSError``, or ``ValueError`` for what is no answer."""
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
            raise ValueError("the answer is not what its checksum says")
        self.kept = fields.get(b"connection", b"").lower() != b"close"
        return int(received[9:12]), bytes(body)

    def _received(self, until: float) -> bytes:
        self._socket.settimeout(_left(until))
        piece = self._socket.recv(65536)
        if not piece:
            raise ConnectionResetError("the connection ended")
        return piece


def _left(until: float) -> float:
    """Tell how much time is left, seconds. Raises ``TimeoutError`` when none is."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@functools.cache
def _tls() -> "SSLContext":
    """Trust whom the system trusts. Once: reading all those certificates takes tens of milliseconds."""
    import ssl  # noqa: PLC0415 - cold start, and never against an engine on this machine

    return ssl.create_default_context()
