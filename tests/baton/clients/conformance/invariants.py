"""The invariants: they must be true after every scenario, for the requests that arrived and the files of the agents."""

import contextlib
import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)

from baton_client import Request
from chalicelib.baton.keys.base64url import decode_base64url
from tests.baton.clients.conformance.line import Exchanged

WITH_PASSWORD = ("/register", "/login", "/step-up", "/me/password", "/password/reset")
TOKENS = ("access_token", "refresh_token", "secret")


def one_attempt_a_token(log: Iterable[Exchanged]) -> None:
    """Check that each token is exchanged with only one attempt."""
    attempts: dict[bytes, set[str]] = {}
    for one in log:
        if one.path == "/oauth/token":
            attempts.setdefault(one.body, set()).add(one.header("idempotency-key"))
    assert all(len(found) == 1 for found in attempts.values()), "a token was exchanged with two attempts"


def signatures(log: Sequence[Exchanged], *, resends: bool = False) -> None:
    """Check each signature with an independent library, and that no nonce is used twice.

    ``resends``: the HTTP stack of a browser sends the same bytes again if a kept connection ends without an answer.
    """
    keys, nonces = _Keys(log), dict[str, Exchanged]()
    for one in log:
        signed = one.header("signature-input")
        if not signed:
            continue
        key_id = signed.partition('keyid="')[2].partition('"')[0]
        fields = {name.lower(): value for name, value in one.headers}
        request = Request(one.method, f"http://{fields['host']}{one.target}", fields, one.body)
        assert key_id in keys.keys, f"a request to {one.path} is signed by an unknown key"
        kind = algorithms.HMAC_SHA256 if isinstance(keys.keys[key_id], bytes) else algorithms.ECDSA_P256_SHA256
        verifier = HTTPMessageVerifier(signature_algorithm=kind, key_resolver=keys)
        verifier.max_clock_skew = dt.timedelta(days=60)  # Some devices have a wrong clock.
        try:
            (verified,) = verifier.verify(request, expect_tag="baton", max_age=None, body=one.body)
        except (HTTPMessageSignaturesException, InvalidSignature) as error:
            raise AssertionError(f"the signature of a request to {one.path} does not verify") from error
        first = nonces.setdefault(str(verified.nonce), one)
        again = resends and (first.target, first.headers, first.body) == (one.target, one.headers, one.body)
        assert first is one or again, "a nonce was sent twice"


def passwords(log: Iterable[Exchanged], words: Iterable[str]) -> None:
    """Check that a password is only in request bodies that need it."""
    for word in words:
        for one in log:
            if word.encode() in one.body:
                assert one.path.startswith(WITH_PASSWORD), f"a password was sent to {one.path}"
            assert word not in str(one.headers) + one.target, f"a password is in the head of {one.path}"


def own_host(log: Iterable[Exchanged], port: int, strays: int) -> None:
    """Check that no request goes to another host or port."""
    ours = {f"{host}{suffix}" for host in ("localhost", "127.0.0.1", "[::1]") for suffix in (f":{port}", "")}
    for one in log:
        assert one.header("host") in ours, f"a request to {one.header('host')}"
    assert strays == 0, "a request to another port"


def secrets_printed(printed: str, log: Iterable[Exchanged], words: Iterable[str]) -> None:
    """Check that no agent prints a password or a token, and that no agent has a defect."""
    for secret in (*words, *_issued(log)):
        assert secret not in printed, "a secret was printed"
    assert "Traceback" not in printed, printed


def _issued(log: Iterable[Exchanged]) -> Iterator[str]:
    for one in log:
        with contextlib.suppress(ValueError, AttributeError):
            members = json.loads(one.answer)
            yield from (members[name] for name in TOKENS if members.get(name))


class Stored:
    """The tokens that were in a record before they were sent. The line calls ``arrived`` for each request."""

    def __init__(self, folder: Path) -> None:
        """Use the folders of the agents."""
        self.folder, self.seen, self.unstored = folder, set[str](), list[str]()

    def arrived(self, one: Exchanged) -> None:
        """Look for the token of a request in the records, at the moment of its arrival."""
        form = parse_qs(one.body.decode("latin-1")) if one.path.startswith("/oauth/") else {}
        bearer = one.header("authorization").removeprefix("Bearer ")
        new = {bearer, *form.get("refresh_token", []), *form.get("token", [])} - {""} - self.seen
        if not new:
            return
        for _ in range(3):  # A record may be replaced while it is looked for.
            found = {token for token in new for text in self._records() if token in text}
            self.seen |= found
            new -= found
            if not new:
                return
        self.unstored += [one.path for _ in new]

    def _records(self) -> Iterator[str]:
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError, UnicodeError):
                if path.is_file():
                    yield path.read_text("utf-8")

    def check(self) -> None:
        """Check that each token was in a record before it was sent (rule 4)."""
        assert not self.unstored, f"a token that was not stored was sent to {self.unstored}"


class _Keys(HTTPSignatureKeyResolver):
    """The public keys from request bodies, and the HMAC secrets from answers."""

    def __init__(self, log: Iterable[Exchanged]) -> None:
        self.keys: dict[str, ec.EllipticCurvePublicKey | bytes] = {}
        for one in log:
            key = (_members(one.body).get("device") or {}).get("public_key")
            if key:
                name = one.header("signature-input").partition('keyid="')[2].partition('"')[0]
                self.keys[name] = _public(key)
            given = _members(one.answer)
            if given.get("secret") and given.get("key_id"):
                self.keys[given["key_id"]] = decode_base64url(given["secret"])

    def resolve_public_key(self, key_id: str) -> Any:
        return self.keys[key_id]

    def resolve_private_key(self, key_id: str) -> Any:
        return self.keys[key_id]


def _members(text: bytes) -> dict[str, Any]:
    if not re.match(rb"\s*{", text):
        return {}
    with contextlib.suppress(ValueError):
        return dict(json.loads(text))
    return {}


def _public(jwk: dict[str, str]) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(decode_base64url(jwk[name])) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
