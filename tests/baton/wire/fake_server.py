"""A small Baton for the tests of clients. It verifies signatures with an independent RFC 9421 library.

It can lose answers. It implements the rule of generations and attempts, five mechanisms, nonces, revocation and step-up
grants. Its data is in memory. It shares no code with the real server, so both cannot have the same mistake.
"""

import base64
import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

from baton_client import Answer, NoResponse, Request

START = 1_750_000_000
BASE_URL = "https://api.example.com/prod"
EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
LIFE_S = 900
OVERLAP_S = 60  # How long calls in flight may use the previous generation (exchange.md).


def answered(status: int, members: object = None, **fields: str) -> Answer:
    """Make an answer with Baton's header fields: request id, media type, and `no-store`."""
    media_type = "application/json" if status < 400 else "application/problem+json"
    headers = {"baton-request-id": "request-1", "cache-control": "no-store"}
    if members is not None:
        headers["content-type"] = media_type
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Answer(status, {**headers, **named}, b"" if members is None else json.dumps(members).encode())


def problem(status: int, error: str, code: str, action: str, **members: object) -> Answer:
    """Make one of Baton's refusals."""
    return answered(status, {"error": error, "code": code, "action": action, **members})


class Clock:
    """A clock that a test sets. Several clocks may share one time, each with its own error in seconds."""

    def __init__(self, true: "Clock | None" = None, *, wrong_by_s: float = 0.0) -> None:
        """Start at `START`, or follow `true`."""
        self._true, self._seconds = true, float(START) if true is None else wrong_by_s

    def __call__(self) -> float:
        """Return the time."""
        return self._seconds + (self._true() if self._true else 0.0)

    def skip(self, seconds: float) -> None:
        """Advance the time, or increase the error of a wrong clock."""
        self._seconds += seconds


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, error: str, code: str, action: str, **members: object) -> None:
        """Keep the members of the answer."""
        super().__init__(code)
        self.status = status
        self.members = {"error": error, "code": code, "action": action, **members}


@dataclass
class Lineage:
    """One login: its generation, its key, and the attempts that exchanged the earlier generations."""

    id: str
    email: str
    key: Any
    key_id: str | None
    secret: str | None
    generation: int = 0
    born: float = START
    attempts: dict[int, str] = field(default_factory=dict)
    """Slot -> attempt, for the last four generations, as in the real server."""
    ended: str | None = None

    def end(self, reason: str) -> None:
        """End the login once. The first reason is kept."""
        self.ended = self.ended or reason


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, keys: Mapping[str, Any]) -> None:
        self.keys = keys

    def resolve_public_key(self, key_id: str) -> Any:
        return self.keys.get(key_id)


class FakeServer:
    """A transport that is a server. Each request uses up one of `faults`; `log` has every request that arrived."""

    def __init__(self, mechanism: str = "exchange", clock: Clock | None = None) -> None:
        """Start without accounts."""
        self.mechanism, self.clock = mechanism, clock or Clock()
        self.faults: deque[Callable[[Request], Answer | None]] = deque()
        self.log: list[Request] = []
        self.passwords: dict[str, str] = {}
        self.lineages: dict[str, Lineage] = {}
        self.nonces: set[str] = set()
        self.grants: dict[str, tuple[str, str, str, str]] = {}
        self.old_grants = 0
        """How many of the next grants are too old."""
        self.transfers: list[Mapping[str, object]] = []
        self.exchanges = 0
        self.refuses_last_key = False
        self.lock = threading.RLock()

    # Faults

    def lose_request(self, request: Request) -> Answer | None:
        """Lose the request: the server never receives it, and the client cannot know."""
        raise NoResponse(f"lost on the way out: {request.url}")

    def refuse_connection(self, request: Request) -> Answer | None:
        """Fail before anything is sent."""
        raise NoResponse(f"no connection for {request.url}", sent=False)

    def lose_answer(self, request: Request) -> Answer | None:
        """Execute the request and lose the answer."""
        self.serve(request)
        raise NoResponse(f"lost on the way back: {request.url}")

    def busy(self, request: Request, *, wait_s: int = 3) -> Answer | None:
        """Answer 503 and do nothing."""
        del request
        return self._answer(
            problem(503, "temporarily_unavailable", "unavailable", "retry"), {"retry-after": str(wait_s)}
        )

    def __call__(self, request: Request, timeout_s: float) -> Answer:
        """Serve one request with the next fault."""
        assert timeout_s > 0
        fault = self.faults.popleft() if self.faults else None
        answer = fault(request) if fault else None
        return answer or self.serve(request)

    def sent(self, path: str) -> list[Request]:
        """List the requests that arrived at a path."""
        return [request for request in self.log if urlsplit(request.url).path == "/prod" + path]

    # Serving

    def serve(self, request: Request) -> Answer:
        """Answer a request."""
        with self.lock:
            self.log.append(request)
            try:
                status, members = self._route(request)
            except Refusal as refusal:
                status, members = refusal.status, refusal.members
            return self._answer(answered(status, members), {})

    def _answer(self, answer: Answer, fields: Mapping[str, str]) -> Answer:
        return replace(answer, headers={**answer.headers, "baton-time": str(int(self.clock())), **fields})

    def _route(self, request: Request) -> tuple[int, Mapping[str, object] | None]:  # noqa: C901, PLR0911, PLR0912 - one branch for each route
        path = urlsplit(request.url).path.removeprefix("/prod")
        assert request.headers["host"] == urlsplit(request.url).netloc
        if path == "/time":
            return 200, {"server_time": int(self.clock())}
        if path in {"/register", "/login"}:
            return self._enter(path, request)
        if path == "/oauth/token":
            return 200, self._exchange(request)
        if path == "/oauth/revoke":
            self._revoke(request)
            return 200, None
        lineage = self._caller(request)
        body = json.loads(request.body) if request.body else {}
        match request.method, path.split("/")[1:]:
            case "GET", ["me"]:
                return 200, {"email": lineage.email, "device_id": lineage.id}
            case "GET", ["me", "devices"]:
                return 200, {"devices": [{"device_id": one.id, "ended_reason": one.ended} for one in self._of(lineage)]}
            case "GET", ["me", "activity"]:
                return 200, {"events": []}
            case "GET", ["me", "export"]:
                self._consume_grant(lineage, request)
                return 200, {"account": {"email": lineage.email}, "events": []}
            case "DELETE", ["me", "devices", device_id]:
                if device_id != lineage.id:
                    self._consume_grant(lineage, request)
                self.lineages[device_id].end("ended_by_owner")
                return 204, None
            case "POST", ["logout"]:
                if body["everywhere"]:
                    self._consume_grant(lineage, request)
                for one in self._of(lineage) if body["everywhere"] else [lineage]:
                    one.end("ended_everywhere" if body["everywhere"] else "logout")
                return 204, None
            case "POST", ["step-up"]:
                if body["password"] != self.passwords[lineage.email]:
                    raise Refusal(401, "invalid_credentials", "invalid_credentials", "fix_request")
                operation = body["operation"]
                grant = f"grant-{len(self.grants)}"
                self.grants[grant] = (lineage.id, operation["method"], operation["path"], operation["digest"])
                return 200, {"grant": grant, "expires_in": 300}
            case "POST", ["transfers"]:
                self._consume_grant(lineage, request)
                if request.headers.get("idempotency-key") not in {one.get("key") for one in self.transfers} - {None}:
                    self.transfers.append({**body, "key": request.headers.get("idempotency-key")})
                return 201, {}
            case "POST", ["notes"]:
                self.transfers.append(body)
                return 201, {}
            case "POST", ["me", "password"]:
                self._consume_grant(lineage, request)
                self.passwords[lineage.email] = body["new_password"]
                return 204, None
            case "DELETE", ["me"]:
                self._consume_grant(lineage, request)
                for one in self._of(lineage):
                    one.end("deleted")
                return 204, None
            case _:
                raise Refusal(404, "not_found", "not_found", "fix_request")

    def _of(self, lineage: Lineage) -> list[Lineage]:
        return [one for one in self.lineages.values() if one.email == lineage.email]

    def _enter(self, path: str, request: Request) -> tuple[int, Mapping[str, object]]:
        body = json.loads(request.body)
        email, attempt, device = body["email"].strip().lower(), request.headers["idempotency-key"], body["device"]
        key, key_id, secret = self._introduced(device)
        if key_id is not None:
            self._verify(request, {key_id: key}, spend=False)
        elif device.get("binding") == "hmac" and "signature" in request.headers:
            key_id = self._known_by(request)
        else:
            assert "signature" not in request.headers
        name = base64.urlsafe_b64encode(hashlib.sha256(f"{email} {attempt}".encode()).digest()[:12]).decode()
        known = self.lineages.get(name)
        if path == "/register" and email in self.passwords and known is None:
            raise Refusal(409, "account_exists", "account_exists", "log_in")
        if path == "/register":
            self.passwords.setdefault(email, body["password"])
        if self.passwords.get(email) != body["password"]:
            raise Refusal(401, "invalid_credentials", "invalid_credentials", "fix_request")
        if known is not None and (known.generation > 0 or known.ended):
            raise Refusal(409, "invalid_request", "superseded", "retry")
        self._replace(email, key_id, known)
        if known is None:
            if device.get("binding") == "hmac":
                secret = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).rstrip(b"=").decode()
                key, key_id = hashlib.sha256(name.encode()).digest(), name
            known = self.lineages[name] = Lineage(name, email, key, key_id, secret, born=self.clock())
        answer = {**self._tokens(known), "device_id": name, "key_id": known.key_id}
        return 201 if path == "/register" else 200, {**answer, **({"secret": known.secret} if known.secret else {})}

    def _replace(self, email: str, key_id: str | None, known: Lineage | None) -> None:
        """End the earlier logins of the key that signed this login."""
        for earlier in self.lineages.values():
            if key_id is not None and earlier is not known and (earlier.email, earlier.key_id) == (email, key_id):
                earlier.end("replaced")

    def _known_by(self, request: Request) -> str:
        """Verify a login that is signed with an earlier HMAC secret, and return the id of that secret."""
        assert '"content-digest"' in request.headers["signature-input"]
        key_id = request.headers["signature-input"].partition('keyid="')[2].partition('"')[0]
        if self.refuses_last_key:
            raise Refusal(401, "invalid_signature", "invalid_signature", "fix_request")
        self._verify(request, {key_id: hashlib.sha256(key_id.encode()).digest()}, spend=False)
        return key_id

    def _introduced(self, device: Mapping[str, Any]) -> tuple[Any, str | None, str | None]:
        jwk = device.get("public_key")
        if jwk is None:
            return None, None, None
        thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
        key_id = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
        x = base64.urlsafe_b64decode(jwk["x"] + "==")
        if jwk["kty"] == "OKP":
            return ed25519.Ed25519PublicKey.from_public_bytes(x), key_id, None
        y = base64.urlsafe_b64decode(jwk["y"] + "==")
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + x + y), key_id, None

    def _tokens(self, lineage: Lineage) -> dict[str, object]:
        expires_in = max(0, int(lineage.born) + LIFE_S - int(self.clock()))
        name = f"{lineage.id}.{lineage.generation}.{int(lineage.born)}"
        access = f"both.{name}" if self.mechanism == "exchange" else f"access.{name}"
        tokens = {"access_token": access, "expires_in": expires_in, "server_time": int(self.clock())}
        tokens |= {
            "token_type": "Bearer",
            "refresh_token_timeout": 30 * 86_400,
            "authorization_expires_in": 90 * 86_400,
        }
        if self.mechanism == "exchange":
            return {**tokens, "refresh_token": access}
        return tokens if self.mechanism == "long_lived" else {**tokens, "refresh_token": f"refresh.{name}"}

    def _exchange(self, request: Request) -> Mapping[str, object]:
        form = dict(parse_qsl(request.body.decode()))
        assert form["grant_type"] == "refresh_token"
        assert form["client_id"] == "mobile"
        kind, name, number, _ = form["refresh_token"].split(".")
        assert kind in {"refresh", "both"}
        lineage, presented, attempt = self.lineages[name], int(number), request.headers["idempotency-key"]
        if lineage.key_id is not None:
            self._verify(request, {lineage.key_id: lineage.key}, spend=False)
        if lineage.ended:
            raise Refusal(400, "invalid_grant", "login_required", "log_in", reason=lineage.ended)
        if self.mechanism in {"session", "refresh"}:
            lineage.born = self.clock()
            return self._tokens(lineage)
        behind = lineage.generation - presented
        if behind and (behind > 4 or lineage.attempts.get(presented % 4) != attempt):
            lineage.end("reuse")
            raise Refusal(400, "invalid_grant", "token_reused", "log_in")
        if behind > 1:
            raise Refusal(409, "invalid_request", "superseded", "retry")
        if behind == 0:
            lineage.attempts[presented % 4] = attempt
            lineage.generation, lineage.born = presented + 1, self.clock()
            self.exchanges += 1
        return self._tokens(lineage)

    def _revoke(self, request: Request) -> None:
        """End the login of a token. A bound login requires a signature by its key; for others the token is enough."""
        form = dict(parse_qsl(request.body.decode()))
        _, name, number, _ = form["token"].split(".")
        lineage = self.lineages[name]
        if lineage.key_id is not None:
            self._verify(request, {lineage.key_id: lineage.key}, spend=False)
        lineage.end("reuse" if lineage.generation - int(number) > 1 else "logout")

    def _caller(self, request: Request) -> Lineage:
        kind, name, number, born = request.headers["authorization"].removeprefix("Bearer ").split(".")
        assert kind in {"access", "both"}
        lineage = self.lineages[name]
        if lineage.key_id is not None:
            self._verify(request, {lineage.key_id: lineage.key}, spend=request.method != "GET")
        if lineage.ended:
            raise Refusal(401, "invalid_token", "login_required", "log_in", reason=lineage.ended)
        behind = lineage.generation - int(number)
        overlap = behind == 1 and self.clock() < int(lineage.born) + OVERLAP_S
        if not (behind == 0 or overlap) or self.clock() >= int(born) + LIFE_S:
            raise Refusal(401, "invalid_token", "token_expired", "exchange")
        return lineage

    def _consume_grant(self, lineage: Lineage, request: Request) -> None:
        digest = "sha-256=:" + base64.b64encode(hashlib.sha256(request.body).digest()).decode() + ":"
        wanted = (lineage.id, request.method, urlsplit(request.url).path, digest)
        grant = request.headers.get("baton-grant")
        if grant is None:
            raise Refusal(401, "insufficient_user_authentication", "step_up_required", "step_up", max_age=300)
        if self.grants.pop(grant, None) != wanted:
            raise Refusal(401, "insufficient_user_authentication", "grant_invalid", "step_up")
        self.old_grants -= 1
        if self.old_grants >= 0:
            raise Refusal(401, "insufficient_user_authentication", "step_up_required", "step_up", max_age=300)

    def _verify(self, request: Request, keys: Mapping[str, Any], *, spend: bool) -> None:
        """Verify the signature with the independent library, and require every component that exchange.md lists."""
        (key,) = keys.values()
        algorithm = {
            bytes: algorithms.HMAC_SHA256,
            ed25519.Ed25519PublicKey: algorithms.ED25519,
            ec.EllipticCurvePublicKey: algorithms.ECDSA_P256_SHA256,
        }[next(kind for kind in (bytes, ed25519.Ed25519PublicKey, ec.EllipticCurvePublicKey) if isinstance(key, kind))]
        required = ['"@method"', '"@authority"', '"@path"']
        required += [
            f'"@query-param";name="{pair.split("=")[0]}"' for pair in urlsplit(request.url).query.split("&") if pair
        ]
        fields = ("content-digest", "authorization", "idempotency-key", "baton-grant")
        required += [f'"{name}"' for name in fields if name in request.headers]
        password_hash = HTTPMessageVerifier(signature_algorithm=algorithm, key_resolver=_Keys(keys))
        (verified,) = password_hash.verify(
            request, expect_tag="baton", max_age=None, require_components=required, body=request.body
        )
        created, nonce = verified.parameters["created"], verified.nonce
        assert isinstance(created, int)
        assert nonce
        if abs(created - self.clock()) > 300:
            raise Refusal(401, "stale_signature", "clock_skew", "sync_clock", server_time=int(self.clock()))
        if spend and nonce in self.nonces:
            raise Refusal(401, "replayed_nonce", "replayed_nonce", "retry")
        if spend:
            self.nonces.add(nonce)
