"""A browser with Device Bound Session Credentials, as a program: its key, and the proofs that it sends."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.baton.testing.phone import new_key, public_key
from tests.baton.browser.browser import BOUND, EMAIL, SESSION, Browser, Shown

OFFER: Final = "secure-session-registration"
CHALLENGE: Final = "secure-session-challenge"


def encoded(value: object) -> str:
    """Encode bytes, or an object as JSON, in base64url."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def make_proof(
    key: EllipticCurvePrivateKey, challenge: str, header: Mapping[str, object] | None = None, **payload: object
) -> str:
    """Make a JWT. Without ``header`` it has the header of a refresh."""
    signed = f"{encoded(header or REFRESH)}.{encoded({'jti': challenge, **payload})}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
    return f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def answer_to(offer: str, key: EllipticCurvePrivateKey, challenge: str | None = None) -> tuple[str, str]:
    """Return the path and the proof with which a browser answers an offer."""
    found = re.fullmatch(r'\(ES256\);path="(/[^"]+)";challenge="([\w-]+)";authorization="(bd\.[\w-]+)"', offer)
    assert found is not None, offer
    path, of_server, ticket = found.groups()
    header = {"typ": "dbsc+jwt", "alg": "ES256", "jwk": public_key(key).to_jwk()}
    proof = make_proof(key, of_server if challenge is None else challenge, header, authorization=ticket)
    return path.removeprefix("/api"), proof


@dataclass
class BoundBrowser(Browser):
    """A browser that binds its cookies."""

    key: EllipticCurvePrivateKey = field(default_factory=new_key)
    session: str = ""
    challenge: str = ""

    def proof(
        self,
        challenge: str,
        *,
        header: Mapping[str, object] | None = None,
        key: EllipticCurvePrivateKey | None = None,
        **payload: object,
    ) -> str:
        """Make a JWT, signed with the browser's key or another key."""
        return make_proof(key or self.key, challenge, header, **payload)

    def bind(self, offer: str, *, key: EllipticCurvePrivateKey | None = None, challenge: str | None = None) -> Shown:
        """Answer an offer."""
        answer = self.send_proof(*answer_to(offer, key or self.key, challenge))
        if answer.status == 200:
            self.session = str(answer.members["session_identifier"])
        return answer

    def log_in_bound(self, email: str = EMAIL, *, remember: bool = False) -> Shown:
        """Register, bind, and wait until the grace time has ended. Return the answer to the binding."""
        answer = self.register(email, remember=remember)
        bound = self.bind(answer.headers[OFFER])
        assert bound.status == 200, bound
        self.world.clock.skip(seconds=61)
        return bound

    def send_proof(self, path: str, jwt: str | None, *, session: str | None = None) -> Shown:
        """Send a request of the browser itself."""
        extra = [] if jwt is None else [("secure-session-response", jwt)]
        extra += [] if session is None else [("sec-secure-session-id", session)]
        return self.request("POST", path, extra=extra)

    def refresh(self, **named: Any) -> Shown:
        """Renew the proof with the stored challenge.

        If there is no stored challenge, the first answer has a new challenge.
        """
        for _ in range(2):
            jwt = self.proof(self.challenge, **named) if self.challenge else None
            answer = self.send_proof("/session/proof", jwt, session=self.session)
            self.note(answer)
            if answer.status != 403:
                break
        return answer

    def note(self, answer: Shown) -> None:
        """Store the next challenge."""
        if CHALLENGE in answer.headers:
            found = re.fullmatch(r'"(dc\.[\w-]+)";id="([\w-]{32})"', answer.headers[CHALLENGE])
            assert found is not None
            assert found[2] == self.session
            self.challenge = found[1]

    def stolen(self, *names: str) -> Browser:
        """Return a browser on another machine with a copy of these cookies. Without ``names``, it has all cookies."""
        return Browser(self.world, self.client_id, {n: v for n, v in self.cookies.items() if n in (names or {n})})


REFRESH: Final = {"typ": "dbsc+jwt", "alg": "ES256"}
__all__ = ["BOUND", "CHALLENGE", "OFFER", "REFRESH", "SESSION", "BoundBrowser", "encoded"]
