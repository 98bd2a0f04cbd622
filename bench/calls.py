"""What a signed call costs beside what it cannot do without: ``make bench``.

Everything runs in one process, in turn, and is counted in CPU time: the raw cryptography of the call (the token's
check and the request's), Chalice's dispatch of a trivial route, and the whole signed call. The database is left out:
the gate is read from memory.
"""

import base64
import hashlib
import hmac
import os
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "clients" / "python"))
os.environ |= {
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_TABLE_PREFIX": "bench",
    "BATON_KEY_RING": "local",
    "BATON_DEVELOPMENT": "1",
    "BATON_LOG_LEVEL": "INFO",
}

from chalice.app import Chalice  # noqa: E402
from cryptography.exceptions import InvalidSignature  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.utils import (  # noqa: E402
    decode_dss_signature,
    encode_dss_signature,
)

import app as baton  # noqa: E402
from baton_client import Request, Signer, signature_fields  # noqa: E402 - after its path
from chalicelib.core.key_ring import Ring, make_ring  # noqa: E402
from chalicelib.core.model import (  # noqa: E402
    NO_ATTEMPT,
    Binding,
    Caller,
    Gate,
    KeyBinding,
    Lineage,
    SecretBinding,
    Status,
)
from chalicelib.core.public_key import PublicKey  # noqa: E402
from chalicelib.flows.issue import Issue  # noqa: E402
from chalicelib.flows.login import PASSWORD_ALONE  # noqa: E402
from chalicelib.web.edge import Answer  # noqa: E402
from chalicelib.web.request import Nothing  # noqa: E402

ROUNDS, CALLS = 9, 200
LIMIT = 3.0
"""What a signed call may cost, in units of (raw cryptography + Chalice's dispatch)."""

trivial_app = Chalice(app_name="trivial", configure_logs=False)


@trivial_app.route("/hello")
def hello() -> dict[str, str]:
    """Answer what nobody had to prove anything for."""
    return {"hello": "world"}


@baton.app.route("/bench", methods=["GET"], content_types=[])
@baton.signed()
def called(caller: Caller, _: Nothing) -> Answer:
    """Answer whom it let in."""
    return Answer(200, {"hello": caller.device_id})


_GATEWAY_FIELDS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate, br",
    "User-Agent": "ExampleApp/4.2 (Android 16)",
    "X-Amzn-Trace-Id": "Root=1-68f0c9a1-1f2e3d4c5b6a79880f1e2d3c",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
}
"""What an app's HTTP library and API Gateway put on every request beside ours."""


def event(path: str, headers: dict[str, str]) -> dict[str, Any]:
    """Make a proxy event as API Gateway does."""
    headers = {**_GATEWAY_FIELDS, **headers}
    return {
        "resource": path,
        "path": path,
        "httpMethod": "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": "GET",
            "path": f"/api{path}",
            "stage": "api",
            "requestId": "bench",
            "identity": {"sourceIp": "127.0.0.1"},
            "domainName": "api.example.com",
        },
        "body": None,
        "isBase64Encoded": False,
    }


def cpu_us(work: Callable[[], object]) -> float:
    """Take the CPU time of one call, microseconds, over many."""
    begun = time.process_time_ns()
    for _ in range(CALLS):
        work()
    return (time.process_time_ns() - begun) / CALLS / 1000


class Case:
    """One kind of key and one form of token: the signed call, and the cryptography it cannot do without."""

    def __init__(self, algorithm: str, client_id: str, ring: Ring) -> None:
        """Make the key, the lineage, the token and the signed request."""
        self.name = f"{algorithm:<8} {'JWT' if client_id == 'mobile' else 'opaque'}"
        now = int(time.time())
        client = baton.clients.get(client_id)
        assert client is not None
        account = ring.account_ids("bench@example.com", "bench", now=now)[0]
        lineage_id = ring.lineage_ids("bench@example.com", algorithm + client_id, now=now)[0]
        key, binding, signer, self.check = self._key(algorithm, ring, lineage_id)
        lineage = Lineage(
            id=lineage_id,
            epoch=1,
            generation=0,
            attempts=(NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT),
            issued_at=now,
            expires_at=now + client.mechanism.absolute_s,
            binding=binding,
            client=client.code,
            auth_time=now,
            assurance=PASSWORD_ALONE,
            label="bench",
        )
        self.gate = Gate(account, Status.ACTIVE, 1, 1, {lineage_id: lineage})
        issued = Issue(baton.names)(lineage, account=account, client=client, key=key, ring=ring, now=now)
        token = issued.access_token
        headers = {"host": "api.example.com", "authorization": f"Bearer {token}"}
        request = Request("GET", "https://api.example.com/api/bench", headers)
        fields = signature_fields(request, signer, created=now, nonce=secrets.token_urlsafe(16))
        self.event = event("/bench", headers | fields)
        self.token_check = self._token_check(token, ring) if client_id == "mobile" else self._opaque_check(ring)

    def raw(self) -> None:
        """Do the cryptography alone: the token's and the request's."""
        self.token_check()
        self.check()

    def call(self) -> None:
        """Make the whole call."""
        answer = baton.app(self.event, None)
        assert answer["statusCode"] == 200, answer

    def _key(
        self, algorithm: str, ring: Ring, lineage_id: Any
    ) -> tuple[PublicKey | None, Binding, Signer, Callable[[], object]]:
        message = b"a signature base is a few hundred bytes long" * 10
        match algorithm:
            case "P-256":
                private = ec.generate_private_key(ec.SECP256R1())
                numbers = private.public_key().public_numbers()
                key = PublicKey.from_raw(bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32, "big"))
                public, der = private.public_key(), private.sign(message, ec.ECDSA(hashes.SHA256()))
                signer = Signer(key.keyid, lambda base: _raw(private.sign(base, ec.ECDSA(hashes.SHA256()))))
                return key, KeyBinding(key.thumbprint), signer, _p256_check(public, der, message)
            case "Ed25519":
                edwards = ed25519.Ed25519PrivateKey.generate()
                key = PublicKey.from_raw(edwards.public_key().public_bytes_raw())
                edwards_public, signature = edwards.public_key(), edwards.sign(message)
                signer = Signer(key.keyid, edwards.sign)
                return key, KeyBinding(key.thumbprint), signer, lambda: edwards_public.verify(signature, message)
            case _:
                secret = ring.lineage_secret(lineage_id)
                assert secret is not None
                hmac_key = secret.reveal()
                signer = Signer(lineage_id, lambda base: hmac.digest(hmac_key, base, hashlib.sha256))
                return None, SecretBinding(), signer, lambda: hmac.digest(hmac_key, message, "sha256")

    def _token_check(self, token: str, ring: Ring) -> Callable[[], object]:
        signing_input, _, signature = token.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        check = _p256_check(ring.signing[0].private_key().public_key(), der, signing_input.encode())
        check()
        return check

    def _opaque_check(self, ring: Ring) -> Callable[[], object]:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415 - only here

        siv = AESSIV(hashlib.sha512(ring.roots[0].secret.reveal()).digest())
        sealed = siv.encrypt(bytes(80), [b"bench"])
        return lambda: siv.decrypt(sealed, [b"bench"])


def _raw(der: bytes) -> bytes:
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _p256_check(public: ec.EllipticCurvePublicKey, der: bytes, message: bytes) -> Callable[[], object]:
    def check() -> None:
        try:
            public.verify(der, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise AssertionError from None

    return check


def main() -> int:
    """Measure and print the table: a figure to read, not a test to fail."""
    ring = make_ring(secrets.token_bytes, now=int(time.time()) - 60)
    gates: dict[str, Gate] = {}
    baton.key_ring.current = lambda **_: ring  # type: ignore[method-assign] # the database is left out
    baton.gates.get = lambda account: gates[account]  # type: ignore[method-assign] # the database is left out
    cases = [
        Case(algorithm, client_id, ring)
        for algorithm in ("HMAC", "P-256", "Ed25519")
        for client_id in ("mobile", "mobile-opaque")
    ]
    for case in cases:
        merged = {**(gates[case.gate.account].lineages if case.gate.account in gates else {}), **case.gate.lineages}
        gates[case.gate.account] = replace(case.gate, lineages=merged)
    trivial_event = event("/hello", {"host": "api.example.com"})
    samples: dict[str, list[tuple[float, float, float]]] = {case.name: [] for case in cases}
    for number in range(ROUNDS + 1):
        for case in cases:
            figures = (cpu_us(case.raw), cpu_us(lambda: trivial_app(trivial_event, None)), cpu_us(case.call))
            if number:  # the first round warms up
                samples[case.name].append(figures)
        if sys.stderr.isatty():
            print(f"\rround {number}/{ROUNDS}", end="\n" if number == ROUNDS else "", file=sys.stderr, flush=True)
    print(f"{'CPU per call, microseconds':<27}{'cryptography':>13}{'dispatch':>10}{'signed call':>13}{'ratio':>8}")
    judged = 0.0
    for name, rows in samples.items():
        raw, dispatch, call = (statistics.median(row[column] for row in rows) for column in range(3))
        ratio = statistics.median(row[2] / (row[0] + row[1]) for row in rows)
        shown_only = raw < dispatch / 2
        judged = judged if shown_only else max(judged, ratio)
        print(f"{name:<27}{raw:>13.0f}{dispatch:>10.0f}{call:>13.0f}{ratio:>8.2f}{'  *' if shown_only else ''}")
    print("* next to no cryptography to compare with: shown, not held to the limit")
    print(f"signed call: at most {judged:.2f} times its cryptography plus Chalice's dispatch (limit {LIMIT:.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
