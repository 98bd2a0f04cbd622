"""Baton for Python: register, log in, call, exchange, step up. One file, the standard library and `cryptography`.

    client = BatonClient("https://api.example.com/api", "mobile", FileStorage("~/.config/example/session.json"))
    client.login("ada@example.com", password, device_name="Ada's laptop")
    client.call("POST", "/transfers", json={"to": "bob", "amount": 10}, confirm=lambda refusal: ask_for_password())

It keeps the seven rules of the client contract, so that a lost answer, a crash or a second process never logs
anybody out. Each is marked "Rule n" where it is kept; a port to another language keeps them in the same places.

1. One storage record (token, attempt), written atomically. The attempt is random, at least 128 bits, made when the
   token is stored, never made again for the same token.
2. Read storage immediately before signing; one exchange in flight per process. Across processes the record is the
   lock: whoever exchanges the same token sends the same attempt, and gets the same child.
3. After an answer, compare and set: store the child only if storage still holds the parent, else discard it.
4. Persist the child before using it.
5. No network, time-outs, 503: repeat with the same attempt, with exponential back-off and jitter. A network error is
   never a logout.
6. Act on `action`: `sync_clock`: set the offset, sign again, once; 409 `superseded`: read storage again. Only
   `log_in` in answer to the session's own token, or the loss of the device's key, ends a session.
7. Exchange when a token is needed, not on a timer.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import io
import json as json_codec
import os
import random as random_numbers
import re
import secrets
import selectors
import socket
import ssl
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

EARLY_S = 10  # A token this close to its end is exchanged first: it could expire on the way.
DEADLINE_S = 30.0  # How long a caller waits for an answer unless it says otherwise.
SEND_TIMEOUT_S = 10.0  # How long one sending may take before it counts as lost.
BACKOFF_FIRST_S, BACKOFF_LONGEST_S = 0.5, 30.0
DEFECTS_MAX = 3  # So many `server_error` in a row are a defect that waiting does not mend.
ANSWER_MAX_BYTES = 1 << 20
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SIGNED_FIELDS = ("content-digest", "authorization", "idempotency-key", "baton-grant")

Binding = Literal["key", "hmac", "none"]
KeyAlgorithm = Literal["p256", "ed25519"]
T = TypeVar("T")


# --- Errors -----------------------------------------------------------------------------------------------------------


class BatonError(Exception):
    """Everything this client raises on purpose.

    BatonError
    ├── NotLoggedIn            there is no session: show the login screen
    │   └── LoggedOut          there was one until now; `reason` says why it ended
    ├── Offline                no answer in time; nothing ended, the next call goes on where this one stopped
    ├── AnswerLost             a state-changing call was sent and its outcome is unknown: look before repeating it
    ├── BrokenStorage          the record cannot be read: nothing was sent, nothing ended
    └── Refused                the server said no: switch on `code`
    """


class NotLoggedIn(BatonError):
    """There is no session in the storage."""


class LoggedOut(NotLoggedIn):
    """The session is over and has been removed from the storage."""

    def __init__(self, reason: str | None) -> None:
        """Keep the server's `reason` (`reuse`, `logout`, `password_changed`, ...), when it gave one."""
        super().__init__(f"This login has ended ({reason or 'no reason given'}). Log in again.")
        self.reason = reason


class Offline(BatonError):
    """No answer came within the caller's deadline. The session is kept."""


class AnswerLost(BatonError):
    """The call was sent and no answer tells what became of it. The session is kept.

    Repeating it could do it twice: every sending is signed afresh, so the server cannot know it for a repetition.
    Look first, or send an `idempotency_key` that the route honours, which lets this client repeat by itself.
    """


class BrokenStorage(BatonError):
    """The storage record is not one of ours."""


class Refused(BatonError):
    """The server said no. Switch on `code` (wire.md lists them); `problem` holds the whole answer."""

    def __init__(self, answer: "Answer") -> None:
        """Read either error dialect. Whatever is not Baton's gets a code of its own, and never means `log_in`."""
        self.status = answer.status
        self.problem = answer.members()
        self.error = str(self.problem.get("error", ""))
        self.code = str(self.problem.get("code", f"http_{self.status}"))
        passing = self.status == 429 or self.status >= 500
        self.action = str(self.problem.get("action", "retry" if passing else "fix_request"))
        waiting = answer.headers.get("retry-after", "")
        self.retry_after_s = int(waiting) if waiting.isdecimal() else 0
        said = self.problem.get("detail") or self.problem.get("error_description") or "the server gave no explanation"
        quotable = f" [request {self.problem['request_id']}]" if "request_id" in self.problem else ""
        super().__init__(f"{self.status} {self.code} ({self.action}): {said}{quotable}")


# --- The storage record -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's private key, PKCS #8 in base64. On a phone this is a handle into the Keystore or Secure Enclave."""

    pkcs8: str = field(repr=False)

    def __post_init__(self) -> None:
        """Be a key, or raise `BrokenStorage`."""
        _private_key(self.pkcs8)

    @classmethod
    def generate(cls, algorithm: KeyAlgorithm) -> "DeviceKey":
        """Make a new key."""
        p256 = algorithm == "p256"
        private = ec.generate_private_key(ec.SECP256R1()) if p256 else ed25519.Ed25519PrivateKey.generate()
        encoded = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return cls(base64.b64encode(encoded).decode())

    def jwk(self) -> dict[str, str]:
        """Give the public key, with the members that RFC 7638 counts, in its order."""
        private = _private_key(self.pkcs8)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
        point = private.public_key().public_numbers()
        x, y = _base64url(point.x.to_bytes(32)), _base64url(point.y.to_bytes(32))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    def thumbprint(self) -> str:
        """Name the key (RFC 7638, SHA-256)."""
        return _base64url(hashlib.sha256(_json_bytes(self.jwk())).digest())

    def sign(self, message: bytes) -> bytes:
        """Sign, in the encoding of RFC 9421: section 3.3.4 wants r and s raw, where libraries and phones give DER."""
        private = _private_key(self.pkcs8)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(message)
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


@dataclass(frozen=True, slots=True)
class Session:
    """One login: its tokens and, born with them, the attempt that will exchange them (rule 1).

    `expires_at` is in the server's seconds. For mechanism `exchange` both tokens are the same string; `long_lived`
    has no `refresh_token`. `key_id` is absent for unbound logins, `secret` is there for HMAC ones alone.
    """

    device_id: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: int
    attempt: str = field(repr=False)
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """A registration or login that was begun: its attempt, written down before it was sent (rule 1)."""

    email: str
    client_id: str
    binding: str
    attempt: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Record:
    """All that a device remembers. The key outlives a session: by it the server knows the device again."""

    session: Session | None = None
    pending: Pending | None = None
    key: DeviceKey | None = None

    def to_json(self) -> bytes:
        """Serialise."""
        return _json_bytes(asdict(self))

    @staticmethod
    def from_json(text: bytes) -> "Record":
        """Parse, or raise `BrokenStorage`: a record nobody can read is not the same as no session."""
        try:
            members = json_codec.loads(text)
            session, pending, key = members["session"], members["pending"], members["key"]
            return Record(session and Session(**session), pending and Pending(**pending), key and DeviceKey(**key))
        except (ValueError, TypeError, KeyError) as error:
            raise BrokenStorage(f"The session record cannot be read: {type(error).__name__}.") from error


class Storage(Protocol):
    """Where the record lives. A storage that cannot be read just now must raise, never answer with an empty record."""

    def read(self) -> Record:
        """Read the record; an empty one when nothing was ever stored."""

    def update(self, change: Callable[[Record], Record], /) -> Record:
        """Replace the record by `change(record)` and return what then stands.

        Atomic and durable, and alone among all threads and processes; `change` is quick and touches nothing else.
        """


class MemoryStorage:
    """A record that dies with the process."""

    def __init__(self, record: Record | None = None) -> None:
        """Begin with `record`, or an empty one."""
        self._record = record or Record()
        self._lock = threading.Lock()

    def read(self) -> Record:
        """Read the record."""
        return self._record

    def update(self, change: Callable[[Record], Record], /) -> Record:
        """Replace the record by `change(record)`."""
        with self._lock:
            self._record = change(self._record)
            return self._record


class FileStorage:
    """A record in a file only its owner can read, shared safely by several processes.

    The lock beside it is held while the file is read or replaced, never while waiting for the network: a process
    that is suspended in the middle of an exchange must not hold up the others.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Keep the record at `path`; its folder is made when missing."""
        self._path = Path(path).expanduser()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> Record:
        """Read the record."""
        with self._locked():
            return self._load()

    def update(self, change: Callable[[Record], Record], /) -> Record:
        """Replace the record by `change(record)`."""
        with self._locked():
            before = self._load()
            after = change(before)
            if after != before:
                self._save(after)
            return after

    def _load(self) -> Record:
        try:
            return Record.from_json(self._path.read_bytes())
        except FileNotFoundError:
            return Record()

    def _save(self, record: Record) -> None:
        """Write beside, flush to the disk, then rename: a crash leaves the old record or the new one, never half."""
        beside = self._path.with_name(self._path.name + ".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(record.to_json())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        if sys.platform != "win32":
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:  # Closing the file releases the lock, and so does the death of the process.
            if sys.platform == "win32":
                import msvcrt  # noqa: PLC0415 - there is no such module elsewhere

                msvcrt.locking(lock, msvcrt.LK_LOCK, 1)
            else:
                import fcntl  # noqa: PLC0415 - there is no such module elsewhere

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


# --- Requests, signatures, transport ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out: header names in lower case, the query already percent-encoded in `url`."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Parse the body."""
        return json_codec.loads(self.body)

    def members(self) -> Mapping[str, Any]:
        """Give the members of a JSON object, or none when the body is anything else."""
        try:
            parsed = self.json()
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def server_time(self) -> int | None:
        """Read the server's clock: the header every answer carries, or the member of the body."""
        stated = self.headers.get("baton-time") or str(self.members().get("server_time", ""))
        return int(stated) if stated.isdecimal() else None


class NoAnswer(Exception):
    """No answer came, which is no error before the deadline. `sent` tells whether the request may have arrived."""

    def __init__(self, why: str, *, sent: bool = True) -> None:
        """Say why; when in doubt the request was sent."""
        super().__init__(why)
        self.sent = sent
        self.retry_after_s = 0


Transport = Callable[[Request, float], Answer]
"""Send a request within so many seconds and return the answer, whatever its status; raise `NoAnswer` or `OSError`."""


class HttpTransport:
    """HTTP/1.1 with connections kept alive, certificates verified, redirects not followed. Safe among threads."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """Verify servers by `context`, or by the system's authorities."""
        self._context = context or ssl.create_default_context()
        self._idle: dict[tuple[int, str, str], deque[http.client.HTTPConnection]] = {}

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Send one request, once."""
        until = time.monotonic() + timeout_s
        url = urlsplit(request.url)
        # The process id is part of the name: after a fork, parent and child must not share a connection.
        idle = self._idle.setdefault((os.getpid(), url.scheme, url.netloc), deque())
        connection = self._connected(idle, url.scheme, url.netloc, timeout_s)
        try:
            target = url.path + (f"?{url.query}" if url.query else "")
            connection.request(request.method, target, request.body or None, dict(request.headers))
            connection.response_class = partial(_PunctualResponse, until=until)  # type: ignore[assignment] # only called
            response = connection.getresponse()
            body = response.read(ANSWER_MAX_BYTES + 1)
            if response.length and len(body) <= ANSWER_MAX_BYTES:
                raise http.client.IncompleteRead(body, response.length)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise NoAnswer(f"{type(error).__name__}: {error}") from error
            raise
        if response.will_close or len(body) > ANSWER_MAX_BYTES:
            connection.close()
        else:
            idle.append(connection)
        if len(body) > ANSWER_MAX_BYTES:
            raise NoAnswer("the answer is too long")
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body)

    def close(self) -> None:
        """Close the connections that are kept. The next request opens another."""
        for idle in list(self._idle.values()):
            while idle:
                with contextlib.suppress(IndexError):  # Another thread was quicker.
                    idle.pop().close()

    def _connected(
        self, idle: deque[http.client.HTTPConnection], scheme: str, netloc: str, timeout_s: float
    ) -> http.client.HTTPConnection:
        while idle:
            with contextlib.suppress(IndexError):  # Another thread was quicker.
                connection = idle.pop()
                with selectors.DefaultSelector() as selector:
                    selector.register(connection.sock, selectors.EVENT_READ)
                    hung_up = bool(selector.select(0))  # Nothing is due, so whatever can be read is the end.
                if not hung_up:
                    connection.sock.settimeout(timeout_s)
                    return connection
                connection.close()
        if scheme == "https":
            connection = http.client.HTTPSConnection(netloc, timeout=timeout_s, context=self._context)
        else:
            connection = http.client.HTTPConnection(netloc, timeout=timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise NoAnswer(f"no connection: {error}", sent=False) from error
        return connection


class _PunctualReader(io.RawIOBase):
    """Reads from a socket until a moment. A socket's own time-out is for each read, and bytes may drip."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PunctualResponse(http.client.HTTPResponse):
    """An answer that ends before a moment, or raises `TimeoutError`."""

    def __init__(self, sock: socket.socket, *arguments: Any, until: float, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_PunctualReader(sock, until))


@dataclass(frozen=True, slots=True)
class Signer:
    """A key's name and its hand."""

    key_id: str
    sign: Callable[[bytes], bytes] = field(repr=False)


def signature_fields(request: Request, signer: Signer, *, created: int, nonce: str) -> dict[str, str]:
    """Sign a request (RFC 9421) with tag `baton`: the two fields to add to it."""
    url = urlsplit(request.url)
    covered = [('"@method"', request.method), ('"@authority"', url.netloc), ('"@path"', url.path)]
    for name, _, value in (pair.partition("=") for pair in url.query.split("&") if pair):
        covered.append((f'"@query-param";name="{name}"', value))
    covered += [(f'"{name}"', request.headers[name]) for name in SIGNED_FIELDS if name in request.headers]
    components = " ".join(component for component, _ in covered)
    parameters = f'({components});created={created};keyid="{signer.key_id}";nonce="{nonce}";tag="baton"'
    base = "\n".join(f"{component}: {value}" for component, value in [*covered, ('"@signature-params"', parameters)])
    signature = base64.b64encode(signer.sign(base.encode())).decode()
    return {"signature-input": f"baton={parameters}", "signature": f"baton=:{signature}:"}


def content_digest(body: bytes) -> str:
    """Give the Content-Digest of a body (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def _percent_encoded(text: str) -> str:
    """Encode a name or value of the query as RFC 9421 section 2.2.8 signs it; sent so too, there is one form."""
    return quote(text, safe="*").replace("~", "%7E")


def _query(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{_percent_encoded(name)}={_percent_encoded(value)}" for name, value in parameters.items())


def _quoted(name: str) -> str:
    """Write an Idempotency-Key as the String of RFC 8941 it is."""
    if not re.fullmatch(r"[!#-\[\]-~]{16,128}", name):
        raise ValueError("An Idempotency-Key has 16 to 128 visible ASCII characters, without quotes and backslashes.")
    return f'"{name}"'


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _json_bytes(value: object) -> bytes:
    return json_codec.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _random_name() -> str:
    """Draw 128 random bits: an attempt or a nonce."""
    return _base64url(secrets.token_bytes(16))


@lru_cache(maxsize=8)
def _private_key(pkcs8: str) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    try:
        private = load_der_private_key(base64.b64decode(pkcs8), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BrokenStorage(f"The device key cannot be read: {type(error).__name__}.") from error
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return private
    raise BrokenStorage("The device key is neither P-256 nor Ed25519.")


class _Patience:
    """How long one caller still waits, over all the sendings that its call needs."""

    def __init__(self, deadline_s: float | None, sleep: Callable[[float], None], random: Callable[[], float]) -> None:
        self._deadline_s = float("inf") if deadline_s is None else deadline_s
        self._sleep, self._random = sleep, random
        self._started, self._skipped_s, self._pauses = time.monotonic(), 0.0, 0

    def left_s(self) -> float:
        """Tell the seconds left. The monotonic clock counts, and whatever an injected `sleep` only pretended."""
        return self._deadline_s - (time.monotonic() - self._started) - self._skipped_s

    def pause(self, at_least_s: float) -> bool:
        """Wait before the next sending: exponential back-off with full jitter (rule 5). False when time is up."""
        longest = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2 ** min(self._pauses, 16))
        wait_s = at_least_s + self._random() * longest
        if wait_s >= self.left_s():
            return False
        began = time.monotonic()
        self._sleep(wait_s)
        self._skipped_s += max(0.0, wait_s - (time.monotonic() - began))
        self._pauses += 1
        return True


class _StorageMovedError(Exception):
    """Somebody else has stored another session: there is nothing left to do for this one."""


# --- The client -------------------------------------------------------------------------------------------------------


class BatonClient:
    """One device of one person, at one Baton server. Safe among threads; several may share a storage."""

    def __init__(  # noqa: PLR0913 - four are for tests
        self,
        base_url: str,
        client_id: str,
        storage: Storage,
        *,
        binding: Binding = "key",
        key: KeyAlgorithm = "p256",
        clock: Callable[[], float] = time.time,
        transport: Transport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        """Speak to `base_url` (stage included) as `client_id`. `binding` and `key` are for logins to come.

        `clock` gives the device's time in seconds and may be wrong; `random` spreads the pauses, nothing else.
        """
        url = urlsplit(base_url)
        host, port = (url.hostname or "").lower(), url.port
        if url.scheme != "https" and not (url.scheme == "http" and host in {"localhost", "127.0.0.1", "::1"}):
            raise ValueError("base_url must be https; plain http is for localhost alone.")
        if not host.isascii() or url.query or url.fragment or url.username:
            raise ValueError("base_url must be https://host[:port][/path], the host in ASCII.")
        host = f"[{host}]" if ":" in host else host
        self._authority = host if port in {None, {"https": 443, "http": 80}[url.scheme]} else f"{host}:{port}"
        self._origin = f"{url.scheme}://{self._authority}"
        self._prefix = url.path.rstrip("/")
        self._client_id, self._storage, self._binding, self._key = client_id, storage, binding, key
        self._clock, self._sleep, self._random = clock, sleep, random
        self._transport: Transport = transport or HttpTransport()
        self._offset_s = 0.0
        self._exchanging = threading.Lock()

    # Sessions

    @property
    def session(self) -> Session | None:
        """The session in the storage, if any."""
        return self._storage.read().session

    def register(
        self, email: str, password: str, device_name: str, *, deadline_s: float | None = DEADLINE_S
    ) -> Session:
        """Make an account and log in. Repeat it after `Offline` or a crash: it has one effect."""
        return self._begin("/register", email, password, device_name, self._patience(deadline_s))

    def login(self, email: str, password: str, device_name: str, *, deadline_s: float | None = DEADLINE_S) -> Session:
        """Log in, replacing the session in the storage. Repeat it after `Offline` or a crash: it has one effect."""
        return self._begin("/login", email, password, device_name, self._patience(deadline_s))

    def exchange(self, *, deadline_s: float | None = DEADLINE_S) -> Session:
        """Exchange the token now. `call` does so when it must (rule 7); there is no need to, and never on a timer."""
        return self._exchange(self._current(), self._patience(deadline_s))

    def logout(self, *, everywhere: bool = False, deadline_s: float | None = DEADLINE_S) -> None:
        """End this session, or those of all devices. `Offline` keeps it; then `forget` drops it here alone."""
        ended = self.session
        with contextlib.suppress(NotLoggedIn):  # An end that came before this answer did is an end.
            self.call("POST", "/logout", json={"everywhere": everywhere}, repeat=True, deadline_s=deadline_s)
        self._drop(ended)

    def forget(self) -> None:
        """Drop the session here without telling the server. The device's key stays."""
        self._storage.update(lambda record: replace(record, session=None))

    # Calls

    def call(  # noqa: PLR0913 - each a part of the request, or of its repetition
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
        grant: str | None = None,
        confirm: Callable[[Refused], str] | None = None,
        idempotency_key: str | None = None,
        repeat: bool | None = None,
        deadline_s: float | None = DEADLINE_S,
    ) -> Answer:
        """Send a signed call and return its answer, 2xx; `path` counts from `base_url` and is percent-encoded.

        `confirm` is asked for the password when the operation wants a step-up; `grant` is one already obtained.
        Safe methods are repeated when no answer comes. Others are not (`AnswerLost`), unless `repeat` says that doing
        it twice does no harm, or an `idempotency_key` (16 to 128 visible characters) lets the route tell.
        """
        patience = self._patience(deadline_s)
        body = b"" if json is None else _json_bytes(json)
        repeatable = (method in SAFE_METHODS or idempotency_key is not None) if repeat is None else repeat
        remedies = {"exchange": 1, "log_in": 1, "step_up": 2}  # Two: a lost answer may have spent the first grant.
        password: str | None = None
        used = self._current()

        def prepare() -> Request:
            nonlocal used
            record = self._storage.read()  # Rule 2.
            used = _session_of(record)
            fields = {"authorization": f"Bearer {used.access_token}"}
            if idempotency_key is not None:
                fields["idempotency-key"] = _quoted(idempotency_key)
            if grant is not None:
                fields["baton-grant"] = grant
            return self._request(method, path, body, query=query, fields=fields, signer=self._signer(record))

        while True:
            self._usable(patience)  # Rule 7.
            try:
                return self._ask(prepare, lambda answer: answer, patience, repeat=repeatable)
            except Refused as refusal:
                if remedies.get(refusal.action, 0) == 0:
                    raise
                remedies[refusal.action] -= 1
                if refusal.action == "exchange" and used.refresh_token is not None:
                    self._exchange(used, patience)
                elif refusal.action == "step_up" and confirm is not None:
                    if password is None:
                        password = confirm(refusal)
                        patience = self._patience(deadline_s)  # However long the person took, it was not the network.
                    grant = self.step_up(password, method, path, json=json, deadline_s=patience.left_s())
                else:
                    self._session_after(refusal, used)

    def step_up(
        self, password: str, method: str, path: str, *, json: object = None, deadline_s: float | None = DEADLINE_S
    ) -> str:
        """Prove the password for one exact request and return the grant: for `call`, once, within five minutes."""
        digest = content_digest(b"" if json is None else _json_bytes(json))
        operation = {"method": method, "path": self._prefix + path, "digest": digest}
        asked = {"operation": operation, "password": password}
        return str(self.call("POST", "/step-up", json=asked, repeat=True, deadline_s=deadline_s).json()["grant"])

    def me(self) -> dict[str, Any]:
        """Read the account and this device."""
        return dict(self.call("GET", "/me").json())

    def devices(self) -> list[dict[str, Any]]:
        """List the account's logins; an ended one says when and why."""
        return list(self.call("GET", "/me/devices").json()["devices"])

    def end_device(self, device_id: str) -> None:
        """End the login of one device. Ending it twice is the same."""
        self.call("DELETE", f"/me/devices/{quote(device_id, safe='')}", repeat=True)

    def change_password(self, password: str, new_password: str) -> None:
        """Change the password; every other device is logged out. After `AnswerLost`, either may be the password."""
        self.call("POST", "/me/password", json={"new_password": new_password}, confirm=lambda _: password)

    def delete_account(self, password: str) -> None:
        """Delete the account. After `AnswerLost`, deleting again raises `LoggedOut` when the first did it."""
        ended = self.session
        self.call("DELETE", "/me", confirm=lambda _: password)
        self._drop(ended)

    # Time

    def now(self) -> float:
        """Tell the server's time, as far as this device knows it."""
        return self._clock() + self._offset_s

    def sync_clock(self) -> float:
        """Ask the server for its time and return the offset in seconds. Every other answer tells it too."""
        patience = self._patience(DEADLINE_S)
        self._ask(lambda: self._request("GET", "/time", signer=None), lambda answer: answer, patience)
        return self._offset_s

    # How it is done

    def _begin(
        self, path: str, email: str, password: str, device_name: str, patience: _Patience, *, overtaken: bool = False
    ) -> Session:
        """Register or log in, with one attempt for all repetitions, those after a restart included."""
        canonical = unicodedata.normalize("NFKC", email).strip().lower()
        fresh = Pending(canonical, self._client_id, self._binding, _random_name())

        def begun(record: Record) -> Record:
            same = record.pending is not None and replace(record.pending, attempt=fresh.attempt) == fresh
            key = record.key or (DeviceKey.generate(self._key) if self._binding == "key" else None)
            return replace(record, pending=record.pending if same else fresh, key=key)

        record = self._storage.update(begun)  # Rule 1: attempt and key are written down before they are sent.
        pending, key = record.pending, record.key if self._binding == "key" else None
        device: dict[str, object] = {"name": device_name}
        if key is not None:
            device["public_key"] = key.jwk()  # Proved by signing the very request that introduces it.
        elif self._binding == "hmac":
            device["binding"] = "hmac"
        body = _json_bytes({"email": email, "password": password, "client_id": self._client_id, "device": device})
        fields = {"idempotency-key": _quoted(pending.attempt)} if pending else {}
        signer = Signer(key.thumbprint(), key.sign) if key else None
        try:
            tokens = self._ask(
                lambda: self._request("POST", path, body, fields=fields, signer=signer), _tokens, patience
            )
        except Refused as refusal:
            if refusal.code != "superseded" or overtaken:
                raise
            record = self._storage.read()  # Rule 6: another process has finished this login, or its lineage has ended.
            if record.pending != pending and record.session is not None:
                return record.session
            self._storage.update(lambda now: replace(now, pending=None) if now.pending == pending else now)
            return self._begin(path, email, password, device_name, patience, overtaken=True)
        session = Session(
            device_id=str(tokens["device_id"]),
            key_id=key.thumbprint() if key else tokens.get("key_id"),
            secret=tokens.get("secret"),
            **self._born(tokens),
        )
        record = self._storage.update(
            lambda now: replace(now, session=session, pending=None) if now.pending == pending else now
        )
        if record.session is None or record.session.device_id != session.device_id:
            raise NotLoggedIn("Another login on this storage overtook this one.")
        return record.session

    def _exchange(self, parent: Session, patience: _Patience) -> Session:
        """Exchange `parent` for its child, or return what somebody else has stored in its place."""
        if not self._exchanging.acquire(timeout=min(max(0.0, patience.left_s()), threading.TIMEOUT_MAX)):  # Rule 2.
            raise Offline("Another thread is waiting for an exchange that is not answered. The session is kept.")
        try:
            tokens = self._ask(lambda: self._exchange_request(parent), _tokens, patience)
            child = replace(parent, **self._born(tokens, parent.refresh_token))
            return _session_of(  # Rules 3 and 4: stored if the parent still stands, and used only from there.
                self._storage.update(lambda now: replace(now, session=child) if now.session == parent else now)
            )
        except _StorageMovedError:
            return self._current()
        except Refused as refusal:
            return self._session_after(refusal, parent)
        finally:
            self._exchanging.release()

    def _exchange_request(self, parent: Session) -> Request:
        record = self._storage.read()  # Rule 2: before every sending, for a pause may have been long.
        if record.session != parent:
            raise _StorageMovedError
        if parent.refresh_token is None:
            raise BatonError("This kind of login is not renewed.")
        form = {"grant_type": "refresh_token", "refresh_token": parent.refresh_token, "client_id": self._client_id}
        fields = {"idempotency-key": _quoted(parent.attempt), "content-type": "application/x-www-form-urlencoded"}
        return self._request(
            "POST", "/oauth/token", urlencode(form).encode(), fields=fields, signer=self._signer(record)
        )

    def _usable(self, patience: _Patience) -> None:
        """Exchange the token if it is over. Twice at most: a child fetched long after its birth may be over too."""
        for _ in range(2):
            session = self._current()
            if session.refresh_token is None or self.now() < session.expires_at - EARLY_S:
                return
            self._exchange(session, patience)

    def _session_after(self, refusal: Refused, used: Session) -> Session:
        """Act on a refusal of the session itself (rule 6): return the one to go on with, or raise."""
        if refusal.action == "log_in" and refusal.error in {"invalid_token", "invalid_grant"}:
            record = self._storage.update(lambda now: replace(now, session=None) if now.session == used else now)
            if record.session is None:
                raise LoggedOut(refusal.problem.get("reason") or refusal.code) from refusal
            return record.session
        session = self._current()
        if refusal.code != "superseded" or session == used:
            raise refusal
        return session

    def _ask(
        self, prepare: Callable[[], Request], read: Callable[[Answer], T], patience: _Patience, *, repeat: bool = True
    ) -> T:
        """Send, signed afresh each time, until there is an answer to act on (rule 5)."""
        synced, defects = False, 0
        while True:
            request = prepare()
            trouble: NoAnswer | Refused
            try:
                answer = self._send(request, patience)
                if answer.status < 300:
                    return read(answer)
                trouble = Refused(answer)
                untouched = trouble.status == 429  # Refused before anything was done.
            except NoAnswer as lost:
                trouble, untouched = lost, not lost.sent
            if isinstance(trouble, Refused):
                if trouble.action == "sync_clock" and not synced:
                    synced = True  # Rule 6: `_send` has set the offset from this very answer. Sign again, once.
                    continue
                if trouble.action != "retry" or trouble.code == "superseded":
                    raise trouble
            if not (repeat or untouched):
                raise AnswerLost(f"The call may have been carried out, or not: {trouble}") from trouble
            defect = isinstance(trouble, Refused) and trouble.code == "server_error"
            defects = defects + 1 if defect else 0
            if defects == DEFECTS_MAX or not patience.pause(trouble.retry_after_s):
                if isinstance(trouble, Refused) and (untouched or defect):
                    raise trouble
                raise Offline(f"No answer in time; the session is kept. Last: {trouble}") from trouble

    def _send(self, request: Request, patience: _Patience) -> Answer:
        before = self._clock()
        try:
            answer = self._transport(request, max(0.1, min(SEND_TIMEOUT_S, patience.left_s())))
        except OSError as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        stated, after = answer.server_time(), self._clock()
        # A slow answer is no wrong clock: only one that contradicts the offset moves it.
        if stated is not None and not before + self._offset_s - 1 <= stated <= after + self._offset_s + 1:
            self._offset_s = stated - (before + after) / 2
        return answer

    def _request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        query: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        signer: Signer | None = None,
    ) -> Request:
        if not re.fullmatch(r"/[\w.~!$&'()*+,;=:@%/-]*", path, re.ASCII):
            raise ValueError("A path begins with / and is percent-encoded; the query goes into `query`.")
        url = self._origin + self._prefix + path + (f"?{_query(query)}" if query else "")
        headers = {"host": self._authority, "accept": "application/json, application/problem+json"}
        if body:
            headers |= {"content-type": "application/json", "content-digest": content_digest(body)}
        request = Request(method, url, {**headers, **(fields or {})}, body)
        if signer is None:
            return request
        proof = signature_fields(request, signer, created=int(self.now()), nonce=_random_name())
        return replace(request, headers={**request.headers, **proof})

    def _drop(self, ended: Session | None) -> None:
        """Drop a login that has ended, and none that was stored in its place since (rule 3)."""

        def dropped(record: Record) -> Record:
            same = ended and record.session and record.session.device_id == ended.device_id
            return replace(record, session=None) if same else record

        self._storage.update(dropped)

    def _signer(self, record: Record) -> Signer | None:
        """Find the hand that the session is bound to; none for an unbound one."""
        session = _session_of(record)
        if session.key_id is None:
            return None
        if session.secret is not None:
            secret = base64.urlsafe_b64decode(session.secret + "=" * (-len(session.secret) % 4))
            return Signer(session.key_id, lambda message: hmac.digest(secret, message, "sha256"))
        if record.key is None or record.key.thumbprint() != session.key_id:
            self._storage.update(lambda now: replace(now, session=None) if now.session == session else now)
            raise LoggedOut("the device's key is lost")  # Rule 6: the one end that no server announces.
        return Signer(session.key_id, record.key.sign)

    def _born(self, tokens: Mapping[str, Any], refresh_token: str | None = None) -> dict[str, Any]:
        """Read what every generation brings anew, and draw the attempt that will end it (rule 1)."""
        return {
            "access_token": tokens["access_token"],
            "refresh_token": tokens.get("refresh_token", refresh_token),
            "expires_at": int(tokens.get("server_time", self.now())) + tokens["expires_in"],
            "attempt": _random_name(),
        }

    def _current(self) -> Session:
        return _session_of(self._storage.read())

    def _patience(self, deadline_s: float | None) -> _Patience:
        return _Patience(deadline_s, self._sleep, self._random)


def _session_of(record: Record) -> Session:
    if record.session is None:
        raise NotLoggedIn("There is no session: log in.")
    return record.session


def _tokens(answer: Answer) -> Mapping[str, Any]:
    """Read a token response (RFC 6749 5.1). Anything else under 2xx came from a stranger: as good as no answer."""
    tokens = answer.members()
    if not isinstance(tokens.get("access_token"), str) or not isinstance(tokens.get("expires_in"), int):
        raise NoAnswer("the answer is not a token response")
    return tokens
