"""A server of HTTP/1.1 over TCP with Baton behind it, which can lose, hold, repeat and replace requests and answers."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import parse_headers
from io import BufferedReader
from urllib.parse import urlsplit

from chalicelib.baton.testing.gateway import Gateway

Headers = list[tuple[str, str]]
HUGE_BYTES = 5_000_000
GIVE_UP_S = 20.0


@dataclass
class Exchanged:
    """A request that arrived, and the answer of Baton, if the request reached it."""

    method: str
    target: str
    headers: Headers
    body: bytes
    status: int = 0
    answer: bytes = b""

    @property
    def path(self) -> str:
        """The path without the stage."""
        return "/" + urlsplit(self.target).path.split("/", 2)[-1]

    def header(self, name: str) -> str:
        """Return a header field, or an empty string."""
        return next((value for given, value in self.headers if given.lower() == name), "")


@dataclass
class Fault:
    """A fault for the next requests of a route. ``kind`` is a method of ``_Sending``."""

    method: str
    path: str
    kind: str
    times: int = 1
    skip: int = 0
    """The number of requests of this route that pass before the fault."""
    answer: tuple[int, Headers, bytes] = (200, [], b"")
    change: Callable[[Headers], Headers] = lambda headers: headers
    held: threading.Event = field(default_factory=threading.Event)
    """Set when a request is held. A request that reaches Baton is held after its effect."""
    release: threading.Event = field(default_factory=threading.Event)


class Line:
    """A server that listens on 127.0.0.1 and ::1 with one port. Set ``gateway`` before the first request."""

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        """Listen on this port, or on a free port. With ``context``, use TLS."""
        self.gateway: Gateway | None = None
        self.arrived: Callable[[Exchanged], None] = lambda _: None
        """Called with each request, before its effect."""
        self.log: list[Exchanged] = []
        self.readable: Headers = []
        """The header fields that let a page read an answer which replaces one of Baton (CORS)."""
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closed = False
        self._open: set[socket.socket] = set()
        self._listeners: list[socket.socket] = []
        self.port, self._context = port, context
        self._listen()
        self._next_door = socket.create_server(("127.0.0.1", 0))

    def _listen(self) -> None:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, self.port))
            self.port = listener.getsockname()[1]
            listener.listen(128)
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self._context else 'http'}://localhost:{self.port}/api"

    @property
    def other_port(self) -> int:
        """A port where no request may arrive."""
        return int(self._next_door.getsockname()[1])

    def strays(self) -> int:
        """Count the connections to the other port since the last call."""
        self._next_door.settimeout(0)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._next_door.accept()[0].close()
                count += 1
        return count

    def fault(self, method: str, path: str, kind: str, **named: object) -> Fault:
        """Plan a fault for the next requests of a route. ``*`` means every method or path."""
        made = Fault(method, path, kind, **named)  # type: ignore[arg-type] # the members of Fault
        self.faults.append(made)
        return made

    def sent(self, path: str, method: str = "POST") -> list[Exchanged]:
        """List the requests of a route that arrived."""
        return [one for one in self.log if (one.path, one.method) == (path, method)]

    def refuse_for(self, seconds: float) -> None:
        """Close the port, and every connection, for some time."""
        self._close_all()
        threading.Timer(seconds, self._listen).start()

    def close(self) -> None:
        """Stop."""
        self._closed = True
        for fault in self.faults:
            fault.release.set()
        self._close_all()
        self._next_door.close()

    def _close_all(self) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._listeners.clear()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, self._spoken(connection) as spoken:
            spoken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with spoken.makefile("rb") as reader:
                while (request := _request(reader)) is not None:
                    if not self._answer(spoken, request):
                        break
        self._open.discard(connection)

    def _spoken(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True) if self._context else connection

    def _fault_of(self, request: Exchanged) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times and fault.method in {"*", request.method} and fault.path in {"*", request.path}:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def _answer(self, connection: socket.socket, request: Exchanged) -> bool:
        """Answer one request, perhaps with a fault. Return whether the connection stays open."""
        self.arrived(request)
        self.log.append(request)
        fault = self._fault_of(request)
        sending = _Sending(self, connection, request, fault)
        return bool(getattr(sending, fault.kind if fault else "plain")())


class _Sending:
    """One request, and the effect of a fault on it. Each method returns whether the connection stays open."""

    def __init__(self, line: Line, connection: socket.socket, request: Exchanged, fault: Fault | None) -> None:
        self.line, self.connection, self.request = line, connection, request
        self.fault = fault or Fault("*", "*", "plain")

    def _take_effect(self) -> tuple[int, Headers, bytes]:
        assert self.line.gateway is not None
        one = self.request
        said = self.line.gateway.call(one.method, one.target, one.headers, one.body)
        one.status, one.answer = said.status, said.body
        return said.status, list(said.headers), said.body

    def _write(self, status: int, headers: Headers, body: bytes) -> bool:
        fields = [(name, value) for name, value in headers if name.lower() != "content-length"]
        fields += [] if status == 204 else [("Content-Length", str(len(body)))]
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
        self.connection.sendall(head.encode("latin-1") + body)
        return True

    def plain(self) -> bool:
        return self._write(*self._take_effect())

    def lose_request(self) -> bool:
        return False

    def lose_answer(self) -> bool:
        self._take_effect()
        return False

    def twice(self) -> bool:
        self._take_effect()
        return self.plain()

    def hold(self) -> bool:
        """Hold the answer, after the effect."""
        said = self._take_effect()
        self._wait()
        return self._write(*said)

    def hold_request(self) -> bool:
        """Hold the request, before the effect."""
        self._wait()
        return self.plain()

    def _wait(self) -> None:
        self.fault.held.set()
        self.fault.release.wait(GIVE_UP_S)

    def replace(self) -> bool:
        """Answer with other bytes. Baton never gets the request."""
        status, headers, body = self.fault.answer
        return self._write(status, [*headers, *self.line.readable], body)

    def changed(self) -> bool:
        """Change the header fields of the answer."""
        status, headers, body = self._take_effect()
        return self._write(status, self.fault.change(headers), body)

    def cut(self) -> bool:
        """End the connection in the middle of the body."""
        status, _headers, body = self._take_effect()
        self.connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:-3])
        return False

    def half(self) -> bool:
        """Send half of the body, with the length of that half, so that it looks like a whole answer."""
        status, headers, body = self._take_effect()
        return self._write(status, headers, body[: len(body) // 2])

    def huge(self) -> bool:
        status, headers, _ = self._take_effect()
        return self._write(status, headers, b'{"a":"' + b"x" * HUGE_BYTES + b'"}')

    def drip(self) -> bool:
        """Send one byte from time to time, without end."""
        self.connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
        until = time.monotonic() + GIVE_UP_S
        while time.monotonic() < until and not self.line._closed:
            self.connection.sendall(b"x")
            time.sleep(0.05)
        return False


def _request(reader: BufferedReader) -> Exchanged | None:
    first = reader.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = list(parse_headers(reader).items())
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Exchanged(first[0], first[1], headers, reader.read(length))


@contextlib.contextmanager
def listening(port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[Line]:
    """Listen within this context."""
    line = Line(port, context)
    try:
        yield line
    finally:
        line.close()
