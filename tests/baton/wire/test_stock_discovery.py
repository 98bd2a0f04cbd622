"""Common clients read the discovery documents: rules copied from their sources, and two installed libraries.

AppAuth for Android (``AuthorizationServiceDiscovery``), iOS (``OIDServiceDiscovery``) and JavaScript
(``AuthorizationServiceConfiguration``) require these members, and refuse the document without them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata

from tests.baton.conftest import ENVIRONMENT
from tests.baton.wire.conversation import FORM, HOST, Device, Said, Send, through
from tools.dev.gateway import Gateway

ISSUER = ENVIRONMENT["BATON_ISSUER"]
OPENID, OAUTH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"
APPAUTH: Mapping[str, set[str]] = {
    "android": {
        "issuer",
        "authorization_endpoint",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    },
    "ios": {
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    },
    "js": {"authorization_endpoint", "token_endpoint", "revocation_endpoint"},
}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CODE_FLOW = (
    "response_type=code&client_id=mobile&redirect_uri=https%3A%2F%2Fevil.example%2F&state=x&state=y&scope=openid"
)


def document(send: Send, path: str) -> dict[str, Any]:
    """Get a discovery document."""
    said = send("GET", f"/api{path}", [("host", HOST)], b"")
    assert said.status == 200, said
    return said.members


@pytest.mark.parametrize("library", APPAUTH)
def test_appauth_finds_each_required_member(send: Send, library: str) -> None:
    """AppAuth reads ``{issuer}/.well-known/openid-configuration``."""
    found = document(send, OPENID)
    assert {name for name in APPAUTH[library] if found.get(name) in (None, "", [])} == set()
    for name in APPAUTH[library]:
        if name.endswith(("_endpoint", "_uri")) or name == "issuer":
            assert urlsplit(found[name]).netloc, name


def test_oauth4webapi_accepts_the_issuer(send: Send) -> None:
    """``processDiscoveryResponse`` requires 200, ``application/json`` and an object with the requested issuer."""
    for path in (OPENID, OAUTH):
        said = send("GET", f"/api{path}", [("host", HOST)], b"")
        assert said.headers["content-type"] == "application/json"
        assert said.members["issuer"] == ISSUER


@pytest.mark.parametrize("path", [OPENID, OAUTH])
def test_authlib_validates_the_documents(send: Send, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Authlib's own class is used. It refuses an empty list of response types, for example."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    found = document(send, path)
    AuthorizationServerMetadata(found).validate()
    with pytest.raises(ValueError, match="response_types_supported"):
        AuthorizationServerMetadata(found | {"response_types_supported": []}).validate()


def test_authlib_reports_only_missing_rs256_in_the_openid_document(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenID Discovery requires RS256 for ID tokens.

    Baton issues none and has no such key, so it does not claim RS256.
    """
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    found = document(send, OPENID)
    with pytest.raises(ValueError, match="RS256"):
        OpenIDProviderMetadata(found).validate()
    OpenIDProviderMetadata(found | {"id_token_signing_alg_values_supported": ["RS256", "ES256"]}).validate()


def test_only_the_openid_document_has_the_members_for_openid_clients(send: Send) -> None:
    """No code flow and no ID token exist, so the OAuth document does not name them."""
    openid, oauth = document(send, OPENID), document(send, OAUTH)
    assert {name: openid[name] for name in openid.keys() - oauth.keys()} == {
        "authorization_endpoint": f"{ISSUER}/oauth/authorize",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    assert oauth.items() <= openid.items()
    assert openid["response_types_supported"] == ["none"]
    assert openid["refresh_token_expiration_types_supported"] == ["authorization", "token_timeout"]


def test_the_protected_resource_is_described(send: Send) -> None:
    """RFC 9728 section 2: the document has exactly these members."""
    assert document(send, PROTECTED_RESOURCE) == {
        "resource": ISSUER,
        "authorization_servers": [ISSUER],
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "scopes_supported": ["account"],
        "bearer_methods_supported": ["header"],
        "dpop_bound_access_tokens_required": False,
    }


def test_a_401_names_the_resource_metadata(make_device: Callable[..., Device]) -> None:
    """RFC 9728 section 5.1. API Gateway renames the header of the challenge, so the URL is in the body too."""
    phone = make_device()
    phone.register("ada@example.com")
    for said in (phone.get("/me", token="garbage"), phone.post("/transfers", {"to": "Bob", "amount": 20000})):
        assert said.status == 401
        assert said.members["resource_metadata"] == ISSUER + PROTECTED_RESOURCE
        assert f'resource_metadata="{ISSUER}{PROTECTED_RESOURCE}"' in said.headers["x-amzn-remapped-www-authenticate"]
    assert "resource_metadata" not in phone.get("/me/devices?x=1").members


def authorize(send: Send, method: str, accept: str, query: str = CODE_FLOW) -> Said:
    """Request an authorization code."""
    headers = [("host", HOST), ("accept", accept)]
    if method == "GET":
        return send("GET", f"/api/oauth/authorize?{query}", headers, b"")
    return send("POST", "/api/oauth/authorize?prompt=login", [*headers, *FORM.items()], query.encode())


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("accept", [BROWSER, "*/*", "application/json", ""])
def test_the_authorization_endpoint_never_redirects(send: Send, method: str, accept: str) -> None:
    """Baton has no login page, whatever ``redirect_uri`` and the rest of the query contain."""
    said = authorize(send, method, accept)
    assert said.status == 400
    assert "location" not in said.headers
    assert b"evil.example" not in said.body
    assert said.headers["cache-control"] == "no-store"
    if accept == BROWSER:
        assert said.headers["content-type"] == "text/html; charset=utf-8"
        assert b"unsupported_response_type" in said.body
        assert b"<script" not in said.body
        assert said.headers["content-security-policy"].startswith("default-src 'none'")
    else:
        assert said.headers["content-type"] == "application/json"
        assert (said.members["error"], said.members["code"]) == ("unsupported_response_type",) * 2
        assert said.members["action"] == "fix_request"
        assert "POST /login" in said.members["error_description"]


def test_the_answers_of_the_authorization_endpoint_are_described(gateway: Gateway) -> None:
    """OpenAPI names both media types."""
    described = json.loads(through(gateway)("GET", "/api/openapi.json", [("host", HOST)], b"").body)
    for method in ("get", "post"):
        content = described["paths"]["/oauth/authorize"][method]["responses"]["400"]["content"]
        assert content.keys() == {"application/json", "text/html; charset=utf-8"}
