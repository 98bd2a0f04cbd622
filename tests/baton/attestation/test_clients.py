"""The Python client sends evidence when the server requires it, once for each attempt."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from baton_client import Answer, BatonClient, DeviceKey, MemoryStorage, NoResponse, Refused, Request, Session
from chalicelib.baton.keys.public_key import PublicKey
from tests.baton.attestation.scene import Scene
from tests.baton.wire.conversation import PASSWORD, through

EMAIL: Final = "ada@example.com"


@pytest.fixture
def scene() -> Scene:
    """Return a deployment with empty tables."""
    return Scene()


class Phone:
    """A client library, its platform, and the requests that it sent."""

    def __init__(self, scene: Scene, client_id: str = "bank", *, defect: str = "", evidence: bool = True) -> None:
        """Make a client without a login."""
        self.scene, self.client_id, self.defect = scene, client_id, defect
        self.paths: list[str] = []
        self.attempts: list[str] = []
        self.lose_answers = 0
        self.client = BatonClient(
            "https://api.example.com/api",
            client_id,
            MemoryStorage(),
            clock=scene.clock.time,
            transport=self.carry,
            sleep=lambda _: None,
            evidence=self.evidence if evidence else None,
        )

    def carry(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request through the gateway."""
        del timeout_s
        path = "/" + request.url.split("/", 4)[4]
        self.paths.append(path)
        self.attempts.append(request.headers.get("idempotency-key", ""))
        said = through(self.scene.gateway)(request.method, f"/api{path}", list(request.headers.items()), request.body)
        if self.lose_answers and path == "/login":
            self.lose_answers -= 1
            raise NoResponse("the answer was lost")
        return Answer(said.status, said.headers, said.body)

    def evidence(self, challenge: str, key: DeviceKey | None) -> Mapping[str, object]:
        """Make evidence, as the platform does."""
        assert key is not None
        client = self.scene.baton.clients.get(self.client_id)
        assert client is not None
        made: dict[str, Any] = self.scene.attester.member(
            "android-key",
            client,
            challenge=challenge,
            public_key=PublicKey.from_jwk(key.jwk()),
            defect=self.defect,
        )
        return made


def test_a_refused_login_is_sent_again_with_evidence(scene: Scene) -> None:
    """The repeated login has the same attempt. Later logins by the same key need no evidence."""
    phone = Phone(scene)
    phone.client.register(EMAIL, PASSWORD, "Ada's phone")
    assert phone.paths == ["/register", "/attestation-challenge", "/register"]
    assert phone.attempts[0] == phone.attempts[2] != ""
    phone.client.login(EMAIL, PASSWORD, "Ada's phone")
    assert phone.paths[3:] == ["/login"]


def test_a_lost_answer_is_repeated_with_the_same_evidence(scene: Scene) -> None:
    """Only one login begins."""
    Phone(scene).client.register(EMAIL, PASSWORD, "Ada's phone")
    phone = Phone(scene)
    phone.lose_answers = 2
    session = phone.client.login(EMAIL, PASSWORD, "Ada's tablet")
    assert isinstance(session, Session)
    assert phone.client.me()["device_id"] == session.device_id
    assert phone.paths.count("/attestation-challenge") == 1


def test_bad_evidence_is_sent_once_for_each_attempt(scene: Scene) -> None:
    """After a second refusal with the action ``attest`` the client gives up, and the app must wait."""
    phone = Phone(scene, defect="device_key")
    with pytest.raises(Refused) as refused:
        phone.client.register(EMAIL, PASSWORD, "a phone")
    assert (refused.value.code, refused.value.action) == ("attestation_failed", "attest")
    assert phone.paths == ["/register", "/attestation-challenge", "/register"]


def test_without_a_function_the_refusal_is_raised(scene: Scene) -> None:
    """An app without a function for evidence sends no second request."""
    phone = Phone(scene, evidence=False)
    with pytest.raises(Refused, match="attestation_required"):
        phone.client.register(EMAIL, PASSWORD, "a phone")
    assert phone.paths == ["/register"]
    with pytest.raises(TypeError, match="evidence"):
        phone.client.attest()


def test_a_login_that_began_is_attested(scene: Scene) -> None:
    """Under ``report`` the server does not require evidence, so the app calls the attestation itself."""
    phone = Phone(scene, "mobile")
    phone.client.register(EMAIL, PASSWORD, "a phone")
    assert phone.paths == ["/register"]
    assert phone.client.attest() == "tee"
    tampered = Phone(scene, "mobile", defect="app")
    tampered.client.login(EMAIL, PASSWORD, "a tampered app")
    with pytest.raises(Refused, match="attestation_failed"):
        tampered.client.attest()
    assert tampered.client.me()["device_id"], "the login lives on"


def test_a_login_with_a_passkey_sends_evidence_too(scene: Scene) -> None:
    """The request is sent again with evidence. The person uses the passkey once."""
    from tests.baton.factors.authenticator import Authenticator

    mine, phone = Authenticator(), Phone(scene)
    phone.client.register(EMAIL, PASSWORD, "Ada's phone")
    phone.client.add_passkey(mine.create, "Ada's phone", confirm=lambda _: PASSWORD)
    tablet = Phone(scene)
    tablet.client.login_with_passkey(mine.get, "Ada's tablet")
    assert tablet.paths == [
        "/login/passkey/options",
        "/login/passkey",
        "/attestation-challenge",
        "/login/passkey",
    ]
    assert tablet.client.me()["acr"] == "phr"
