"""The calls to Apple over TLS on this machine, and the code that may send them to another server."""

import re
import socket
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.baton.federation.apple import APPLE_URL, Apple, AppleClient, NotDone
from chalicelib.baton.ids import Secret
from chalicelib.baton.keys.ring import SigningKey
from chalicelib.baton.storage.fetch import HttpsFetch
from tests.baton.storage.test_fetch import certificate, serving

ROOT: Final = Path(__file__).parents[3]
NOW: Final = 1_795_000_000
PRIVATE: Final = ec.generate_private_key(ec.SECP256R1())
KEY: Final = SigningKey(
    "KEY1234567", Secret(PRIVATE.private_numbers().private_value.to_bytes(32, "big")), made_at=0, signs_from=0
)
CLIENT: Final = AppleClient(key=KEY, team_id="TEAM123456", audience="com.example.app")


def asked(folder: Path, answer: bytes) -> tuple[bytes, Exception | None]:
    """Revoke a token at a server on this machine. Return the request, and the error or ``None``."""
    authority = certificate(folder, "authority")
    seen: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(answer)

    failed: Exception | None = None
    with serving(handler, certificate(folder, "good", host="localhost", issuer=authority)) as url:
        apple = Apple(post=HttpsFetch(certificates=str(authority)).post, url=url)
        try:
            apple.revoke("refresh token", CLIENT, now=NOW)
        except NotDone as refused:
            failed = refused
    return seen[0], failed


def test_a_token_is_revoked_over_tls(tmp_path: Path) -> None:
    """The form has a client secret for Apple, valid for five minutes. The public key verifies the secret."""
    request, failed = asked(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert failed is None
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /auth/revoke HTTP/1.1\r\n")
    form = dict(parse_qsl(body.decode()))
    secret = form.pop("client_secret")
    assert form == {"client_id": "com.example.app", "token": "refresh token", "token_type_hint": "refresh_token"}
    assert jwt.get_unverified_header(secret) == {"alg": "ES256", "kid": "KEY1234567"}
    claims = jwt.decode(
        secret, PRIVATE.public_key(), algorithms=["ES256"], audience=APPLE_URL, options={"verify_exp": False}
    )
    assert claims == {
        "iss": "TEAM123456",
        "iat": NOW,
        "exp": NOW + 300,
        "aud": "https://appleid.apple.com",
        "sub": "com.example.app",
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'HTTP/1.1 400 Bad Request\r\nContent-Length: 27\r\n\r\n{"error": "invalid_client"}', "invalid_client"),
        (b'HTTP/1.1 400 Bad Request\r\nContent-Length: 26\r\n\r\n{"error": "invalid_grant"}', ""),
        (b"HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"no HTTP\r\n\r\n", "BadStatusLine"),
    ],
)
def test_other_answers(tmp_path: Path, answer: bytes, reason: str) -> None:
    """If the token was revoked before, the call succeeds. A redirect is not followed."""
    _, failed = asked(tmp_path, answer)
    assert str(failed or "") == reason


def test_only_tests_and_the_development_server_answer_for_apple() -> None:
    """All code of a deployment sends forms to Apple's own server, over HTTPS."""
    found = {
        str(path.relative_to(ROOT))
        for folder in ("chalicelib", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bpost=", path.read_text("utf-8"))
    }
    of_apple = {"chalicelib/baton/federation_assembly.py", "chalicelib/baton/late_parts.py"}
    assert found - of_apple <= {"tools/dev/api/watch.py", "tools/dev/serve.py"}
    late_parts = (ROOT / "chalicelib" / "baton" / "late_parts.py").read_text("utf-8")
    assert "return self._effects.post or self._https.post" in late_parts
    assembly = (ROOT / "chalicelib" / "baton" / "federation_assembly.py").read_text("utf-8")
    assert re.findall(r"\bApple\(([^)]*)\)", late_parts + assembly) == ["post=self.post", "post=parts.post"]
