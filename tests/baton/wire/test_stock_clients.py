"""Common OAuth libraries, unchanged, over real HTTP."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from cryptography.hazmat.primitives.serialization import load_der_private_key
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError
from requests_oauthlib import OAuth2Session

from baton_client import BatonClient, DeviceKey, HttpTransport, MemoryStorage
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.finished import finished
from tools.dev.gateway import DevelopmentClock, Gateway, GatewayServer

PASSWORD = "copper lantern drifting sideways"


@pytest.fixture
def url(gateway: Gateway, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch, tables: Tables) -> Iterator[str]:
    """Serve on loopback, under the host of the tests' settings."""
    del tables
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with GatewayServer(0) as server:
        server.open(gateway, clock)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


@pytest.fixture
def token(url: str) -> dict[str, object]:
    """Register with the client for common OAuth apps, and return the token response."""
    body = {"email": "ada@example.com", "password": PASSWORD, "client_id": "oauth"}
    answer = requests.post(f"{url}/register", json=body, timeout=20)
    assert answer.status_code == 201
    members = answer.json()
    assert isinstance(members, dict)
    return members


def endpoint(url: str, name: str) -> str:
    """Find an endpoint by the metadata, and replace the issuer's host by that of the test server."""
    metadata = requests.get(f"{url}/.well-known/openid-configuration", timeout=20).json()
    return url + str(metadata[name]).removeprefix(str(metadata["issuer"]))


def test_requests_oauthlib_refreshes_and_raises_on_reuse(url: str, token: dict[str, object]) -> None:
    """The library refreshes an expired token and calls with the new token. A used token raises InvalidGrantError."""
    kept = [dict(token)]
    expired = {**token, "expires_in": -1, "expires_at": time.time() - 1}
    with OAuth2Session(
        "oauth",
        token=expired,
        auto_refresh_url=endpoint(url, "token_endpoint"),
        auto_refresh_kwargs={"client_id": "oauth"},
        token_updater=kept.append,
    ) as session:
        assert session.get(f"{url}/me", timeout=20).json()["email"] == "ada@example.com"
        assert len(kept) == 2
        assert kept[1]["refresh_token"] != token["refresh_token"]
        with pytest.raises(InvalidGrantError):
            session.refresh_token(endpoint(url, "token_endpoint"), refresh_token=str(token["refresh_token"]))
        with pytest.raises(InvalidGrantError):
            session.refresh_token(endpoint(url, "token_endpoint"), refresh_token=str(kept[1]["refresh_token"]))


def test_authlib_refreshes_introspects_revokes_and_raises_on_reuse(url: str, token: dict[str, object]) -> None:
    """The library raises its own exception for ``invalid_grant``. Introspection shows each end immediately."""
    with (
        AuthlibSession("oauth", token=dict(token), token_endpoint_auth_method="none") as session,
        AuthlibSession(RESOURCE_SERVER, RESOURCE_SERVER_SECRET) as billing,
    ):
        asked = endpoint(url, "introspection_endpoint")

        def active(text: object) -> bool:
            return bool(billing.introspect_token(asked, token=text, token_type_hint="access_token").json()["active"])

        child = session.refresh_token(endpoint(url, "token_endpoint"), refresh_token=str(token["refresh_token"]))
        assert active(child["access_token"])
        assert not active(child["refresh_token"])
        revoked = session.revoke_token(endpoint(url, "revocation_endpoint"), token=child["refresh_token"])
        assert revoked.status_code == 200
        assert not active(child["access_token"])
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.refresh_token(endpoint(url, "token_endpoint"), refresh_token=child["refresh_token"])


class Keys(HTTPSignatureKeyResolver):
    """Give the library the key of the device."""

    def __init__(self, key: object) -> None:
        """Store the key."""
        self.key = key

    def resolve_private_key(self, key_id: str) -> object:
        """Return the signing key."""
        del key_id
        return self.key


@pytest.mark.parametrize(
    ("options", "algorithm"),
    [
        ({"key": "p256"}, algorithms.ECDSA_P256_SHA256),
        ({"key": "ed25519"}, algorithms.ED25519),
        ({"binding": "hmac"}, algorithms.HMAC_SHA256),
    ],
    ids=["ecdsa-p256-sha256", "ed25519", "hmac-sha256"],
)
def test_an_independent_implementation_of_rfc_9421_signs_a_call(
    url: str, options: dict[str, str], algorithm: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http-message-signatures signs ``GET /me``. Baton accepts it, and refuses it after a change."""
    del monkeypatch
    storage = MemoryStorage()
    origin = "http://localhost:8000/api"  # the authority of the tests' settings
    with closing(_To(url)) as transport:
        client = BatonClient(origin, "mobile", storage, transport=transport, **options)  # type: ignore[arg-type] # options
        session = finished(client.register("ada@example.com", PASSWORD, "phone"))
    key: object
    if session.secret:
        key = base64.urlsafe_b64decode(session.secret + "=")
    else:
        device_key = storage.read().key
        assert isinstance(device_key, DeviceKey)
        key = load_der_private_key(base64.b64decode(device_key.data), None)
    headers = {"Authorization": f"Bearer {session.access_token}", "Host": "localhost:8000"}
    request = requests.Request("GET", f"{origin}/me", headers=headers).prepare()
    HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=Keys(key)).sign(
        request,
        key_id=str(session.key_id),
        nonce="one-nonce-of-many",
        tag="baton",
        include_alg=False,
        covered_component_ids=("@method", "@authority", "@path", "authorization"),
    )
    with requests.Session() as line:
        request.url = f"{url}/me"
        answer = line.send(request, timeout=20)
        assert answer.status_code == 200, answer.text
        assert answer.json()["device_id"] == session.device_id
        request.url = f"{url}/me/devices"
        tampered = line.send(request, timeout=20)
        assert (tampered.status_code, json.loads(tampered.text)["code"]) == (401, "invalid_signature")


class _To:
    """A transport that connects to the test's port under the host name of the settings."""

    def __init__(self, url: str) -> None:
        self._origin = url.removesuffix("/api")
        self._http = HttpTransport()

    def __call__(self, request: object, timeout_s: float, /) -> object:
        from dataclasses import replace

        from baton_client import Request

        assert isinstance(request, Request)
        there = request.url.replace("http://localhost:8000", self._origin)
        return self._http(replace(request, url=there), timeout_s)

    def close(self) -> None:
        self._http.close()
