"""HTTPS to services of other parties: one deadline for the whole request, a limited answer, a verified certificate."""

import contextlib
import datetime as dt
import hashlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from chalicelib.baton.factors import breach
from chalicelib.baton.factors.breach import BreachCheck
from chalicelib.baton.factors.ports import NotFetched, Posted
from chalicelib.baton.factors.refusals import Breached
from chalicelib.baton.policy import ASKING_MAX_S, BREACH_CHECK_MAX_S
from chalicelib.baton.storage.aws.service import TimeBudget
from chalicelib.baton.storage.fetch import HEAD_BYTES_MAX, HttpsFetch
from tools.template import ROOT

WITHIN_S = 0.4
GRACE_S = 8.0
"""The accepted delay of a busy machine, in seconds. A reader without a deadline takes ``LONG_S``."""
LONG_S = 20.0
BYTES_MAX = 10_000
EVERY_S = 0.02
Handler = Callable[[socket.socket], None]


def certificate(folder: Path, name: str, *, host: str | None = None, issuer: Path | None = None, days: int = 1) -> Path:
    """Write a certificate with its key: of a CA, or for a host and signed by a CA."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, authority = key, subject
    if issuer is not None:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        loaded = load_pem_private_key(issuer.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer, authority = loaded, x509.load_pem_x509_certificate(issuer.read_bytes()).subject
    made = (
        x509.CertificateBuilder(authority, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if host is not None:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    else:
        made = made.add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    file = folder / f"{name}.pem"
    unencrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM) + unencrypted)
    return file


@dataclass(frozen=True)
class Certificates:
    """A CA of this test, and certificates of this CA and of another CA."""

    authority: Path
    good: Path
    of_another_host: Path
    expired: Path
    of_another_authority: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make the certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, another = certificate(folder, "authority"), certificate(folder, "another")
    return Certificates(
        authority,
        certificate(folder, "good", host="localhost", issuer=authority),
        certificate(folder, "host", host="api.example.com", issuer=authority),
        certificate(folder, "expired", host="localhost", issuer=authority, days=-1),
        certificate(folder, "other", host="localhost", issuer=another),
    )


@contextlib.contextmanager
def serving(handler: Handler, certificate: Path | None) -> Iterator[str]:
    """Serve one connection on loopback, with TLS if there is a certificate. Return the URL."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    if certificate is not None:
                        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                        context.load_cert_chain(certificate)
                        connection = context.wrap_socket(connection, server_side=True)
                    with connection:
                        handler(connection)
                        ended.wait(LONG_S)  # a server that keeps the connection

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://localhost:{listening.getsockname()[1]}"
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join(2 * LONG_S)
            assert not thread.is_alive()


def saying(answer: bytes) -> Handler:
    """Make a server that sends this answer to a complete request."""

    def handler(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        connection.sendall(answer)

    return handler


def dripping(first: bytes, drop: bytes) -> Handler:
    """Make a server that begins an answer, and then sends one byte before each read limit, for a long time."""

    def handler(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(int(LONG_S / EVERY_S)):
            connection.sendall(drop)
            time.sleep(EVERY_S)

    return handler


@dataclass
class Fetched:
    """The result of a request, and its duration."""

    answer: bytes | NotFetched
    took_s: float


def fetch(url: str, trusted: Path | None, *, within_s: float = LONG_S, bytes_max: int = BYTES_MAX) -> Fetched:
    """Send a request."""
    fetching = HttpsFetch(certificates=None if trusted is None else str(trusted))
    begun = time.monotonic()
    answer = fetching(f"{url}/range/00000", headers={"Add-Padding": "true"}, within_s=within_s, bytes_max=bytes_max)
    return Fetched(answer, time.monotonic() - begun)


def fetched(handler: Handler, certificates: Certificates, **limits: float) -> Fetched:
    """Start a server, and fetch from it."""
    with serving(handler, certificates.good) as url:
        return fetch(url, certificates.authority, **limits)  # type: ignore[arg-type] # the names are those of fetch


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["length", "chunks", "after 100"],
)
def test_a_whole_answer_is_returned_at_once(certificates: Certificates, answer: bytes) -> None:
    """The result does not wait for a server that keeps the connection open."""
    done = fetched(saying(answer), certificates)
    assert done.answer == b"hello"
    assert done.took_s < GRACE_S


def test_the_request_is_a_plain_get(certificates: Certificates) -> None:
    """Its fields are the host, the given fields and ``Connection: close``."""
    seen: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(handler, certificates.good) as url:
        assert fetch(url, certificates.authority).answer == b""
    host = url.removeprefix("https://").encode()
    assert seen == [b"GET /range/00000 HTTP/1.1\r\nHost: %s\r\nAdd-Padding: true\r\nConnection: close\r\n\r\n" % host]


def test_the_query_of_a_url_is_sent(certificates: Certificates) -> None:
    """Some providers name the key set in the query of ``jwks_uri``, so the query must not be left out."""
    seen: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    for path in ("/keys?p=one&q=2", "?p=one"):
        with serving(handler, certificates.good) as url:
            fetching = HttpsFetch(certificates=str(certificates.authority))
            assert fetching(url + path, headers={}, within_s=LONG_S, bytes_max=BYTES_MAX) == b""
    assert [one.split(b" ")[1] for one in seen] == [b"/keys?p=one&q=2", b"/?p=one"]


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status", "field", "fields", "body", "body without a length", "chunks", "chunk length", "100"],
)
def test_a_dripping_server_does_not_exceed_the_deadline(certificates: Certificates, first: bytes, drop: bytes) -> None:
    """A time limit of each read would never be reached."""
    done = fetched(dripping(first, drop), certificates, within_s=WITHIN_S)
    assert isinstance(done.answer, NotFetched)
    assert WITHIN_S - 0.1 < done.took_s < WITHIN_S + GRACE_S


@pytest.mark.parametrize(
    "handler", [dripping(b"\x16\x03\x03\x40\x00", b"\x00"), lambda _: None], ids=["drips", "silent"]
)
def test_a_dripping_handshake_does_not_exceed_the_deadline(certificates: Certificates, handler: Handler) -> None:
    """A server that never begins TLS is tested too."""
    with serving(handler, None) as url:
        done = fetch(url, certificates.authority, within_s=WITHIN_S)
    assert isinstance(done.answer, NotFetched)
    assert done.took_s < WITHIN_S + GRACE_S


def test_a_slow_name_server_does_not_exceed_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's look-up has no time limit of its own."""
    goes_on = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        goes_on.wait(LONG_S)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    done = fetch("https://localhost:1", None, within_s=WITHIN_S)
    goes_on.set()
    assert done.answer == NotFetched("TimeoutError")
    assert done.took_s < WITHIN_S + GRACE_S


def test_each_address_gets_its_part_of_the_time(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that does not answer, such as unreachable IPv6, leaves time for the next address."""
    genuine = socket.create_connection
    tried: list[tuple[str, float]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append((address[0], timeout))
        if len(tried) == 1:
            raise TimeoutError
        return genuine(address, timeout)

    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), certificates.good) as url:
        port = int(url.rpartition(":")[2])
        rows = [(2, 1, 6, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
        monkeypatch.setattr(socket, "create_connection", connect)
        assert fetch(url, certificates.authority).answer == b"ok"
    assert [address for address, _ in tried] == ["127.0.0.9", "127.0.0.1"]
    (_, first), (_, second) = tried
    assert first <= LONG_S / 2 < second <= LONG_S


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n" + b"x" * 10_001,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nE8D4A51000\r\n" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
    ],
    ids=["length", "announced", "chunk", "chunks", "no length", "fields", "field", "100"],
)
def test_a_huge_answer_is_not_read(certificates: Certificates, answer: bytes) -> None:
    """No memory is allocated for the announced length either."""

    def handler(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            saying(answer)(connection)

    done = fetched(handler, certificates)
    assert isinstance(done.answer, NotFetched)
    assert done.took_s < GRACE_S


def test_the_largest_answer_is_read(certificates: Certificates) -> None:
    """The body has the maximum size, in addition to a head."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: %s\r\n\r\n" % (BYTES_MAX, b"x" * (HEAD_BYTES_MAX - 100))
    done = fetched(saying(head + b"x" * BYTES_MAX), certificates)
    assert done.answer == b"x" * BYTES_MAX


@pytest.mark.parametrize("name", ["of_another_host", "expired", "of_another_authority"])
def test_a_wrong_certificate_is_refused(certificates: Certificates, name: str) -> None:
    """No byte of the request is sent before."""
    received: list[bytes] = []
    with serving(lambda connection: received.append(connection.recv(65536)), getattr(certificates, name)) as url:
        done = fetch(url, certificates.authority)
    assert done.answer == NotFetched("SSLCertVerificationError")
    assert received in ([], [b""])


def test_a_self_made_authority_is_not_trusted_by_default(certificates: Certificates) -> None:
    """By default, only the root certificates of the system are trusted."""
    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), certificates.good) as url:
        assert fetch(url, None).answer == NotFetched("SSLCertVerificationError")


def test_a_closed_port_is_no_answer() -> None:
    """The result comes immediately."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    done = fetch(f"https://localhost:{port}", None)
    assert done.answer == NotFetched("ConnectionRefusedError")
    assert done.took_s < GRACE_S


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: https://localhost/\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 503 Slow\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        (b"SSH-2.0-server\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "IncompleteRead"),
    ],
)
def test_only_an_answer_of_200_is_one(certificates: Certificates, answer: bytes, reason: str) -> None:
    """Any other status is a failure. No redirect is followed. The reason contains no text of the answer."""
    assert fetched(saying(answer), certificates).answer == NotFetched(reason)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
    ids=["length", "chunks", "no length"],
)
def test_an_answer_that_is_cut_off_is_none(certificates: Certificates, answer: bytes) -> None:
    """TLS's own end is missing. An attacker on the network could cut the answer before the row of a password."""

    def handler(connection: socket.socket) -> None:
        saying(answer)(connection)
        socket.socket(fileno=connection.detach()).close()

    assert isinstance(fetched(handler, certificates).answer, NotFetched)


def test_an_answer_that_ends_early_is_none(certificates: Certificates) -> None:
    """TLS has ended correctly, but the announced length is not reached."""

    def handler(connection: socket.socket) -> None:
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")(connection)
        assert isinstance(connection, ssl.SSLSocket)
        connection.unwrap()

    assert fetched(handler, certificates).answer == NotFetched("ConnectionResetError")


@pytest.mark.parametrize("url", ["http://localhost", "localhost", "https://", "file:///etc/passwd"])
def test_only_https_is_fetched(url: str) -> None:
    """A caller cannot send a request without TLS by mistake."""
    assert fetch(url, None).answer == NotFetched("ValueError")


def test_the_time_counts_as_that_of_other_calls(certificates: Certificates) -> None:
    """A request of Baton ends before Lambda's time-out, and sends no call if no time is left."""
    budget = TimeBudget()
    fetching = HttpsFetch(budget, certificates=str(certificates.authority))
    budget.begin()
    budget.spend(ASKING_MAX_S - BREACH_CHECK_MAX_S / 2)
    assert not budget.is_over()
    with serving(lambda _: None, None) as url:
        assert fetching(url, headers={}, within_s=BREACH_CHECK_MAX_S, bytes_max=1) == NotFetched("TimeoutError")
    assert budget.is_over()
    answer = fetching("https://localhost:1", headers={}, within_s=1, bytes_max=1)
    assert answer == NotFetched("the time of this request for calls is used up")


@pytest.mark.parametrize(("count", "leaked"), [(0, False), (12, True)])
def test_a_padded_answer_over_tls(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    leaked: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The test runs the breach check with real HTTPS: a row with count 0 is padding."""
    monkeypatch.setattr(breach, "BREACH_CHECK_MAX_S", LONG_S)
    secret = b"velvet anchor piano tundra"
    digest = hashlib.sha1(secret, usedforsecurity=False).hexdigest().upper()
    body = b"".join(b"%035X:%d\r\n" % (number, number % 3) for number in range(900)) + f"{digest[5:]}:{count}".encode()
    events: list[tuple[str, Mapping[str, object]]] = []

    class Log:
        def start_request(self, *, request_id: str) -> None: ...
        def end_request(self) -> None: ...
        def set_lineage(self, *, lineage: str) -> None: ...
        def record(self, event: str, /, **facts: str | int) -> None:
            events.append((event, facts))

    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body), certificates.good) as url:
        check = BreachCheck(fetch=HttpsFetch(certificates=str(certificates.authority)), log=Log(), url=url)
        with pytest.raises(Breached) if leaked else contextlib.nullcontext():
            check(secret)
    assert events == []


def test_the_modules_come_with_the_first_request() -> None:
    """Importing them would slow every cold start."""
    program = (
        "import sys\nfrom chalicelib.baton.storage.fetch import HttpsFetch\nHttpsFetch()\n"
        "assert not {'ssl', 'http.client', 'email'} & sys.modules.keys()\n"
        "HttpsFetch()('https://localhost:1', headers={}, within_s=1, bytes_max=1)\n"
        "assert {'ssl', 'http.client'} <= sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_form_is_posted(certificates: Certificates) -> None:
    """The request has the length of the form. The answer is returned with its status, even if it is an error."""
    seen: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}")

    posting = HttpsFetch(certificates=str(certificates.authority))
    with serving(handler, certificates.good) as url:
        answer = posting.post(f"{url}/auth/token", form={"code": "a&b=ü"}, within_s=LONG_S, bytes_max=BYTES_MAX)
    assert answer == Posted(400, b"{}")
    host = url.removeprefix("https://").encode()
    assert seen == [
        b"POST /auth/token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Accept: application/json\r\nContent-Length: 19\r\nConnection: close\r\n\r\ncode=a%%26b%%3D%%C3%%BC" % host
    ]


def test_a_form_has_the_same_limits(certificates: Certificates) -> None:
    """The limits of time and size apply, and so do the checks of certificate and scheme."""
    posting = HttpsFetch(certificates=str(certificates.authority))

    def post(url: str) -> Posted | NotFetched:
        return posting.post(url, form={"a": "b"}, within_s=WITHIN_S, bytes_max=10)

    with serving(dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"), certificates.good) as url:
        assert post(url) == NotFetched("TimeoutError")
    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11), certificates.good) as url:
        assert post(url) == NotFetched("ValueError")
    with serving(saying(b""), certificates.of_another_host) as url:
        assert post(url) == NotFetched("SSLCertVerificationError")
    assert post("http://localhost:1") == NotFetched("ValueError")
    assert HttpsFetch().post("https://localhost:1", form={}, within_s=0, bytes_max=1) == NotFetched("TimeoutError")


def test_the_page_of_an_error_is_not_read(certificates: Certificates) -> None:
    """The page may have any size. The reason contains only the status."""
    done = fetched(saying(b"HTTP/1.1 503 Down\r\nContent-Length: 1000000\r\n\r\n"), certificates)
    assert done.answer == NotFetched("status 503")
