"""Routes that anybody may ask: the time, the health, the public keys, the metadata, the description of the API."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from chalice.app import Blueprint
from msgspec import Struct

from chalicelib import __version__
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.http.shapes import Health, Metadata, OpenIdMetadata, ProtectedResource, ServerTime
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.policy import MINUTE_S
from chalicelib.baton.routing import Answer, Message
from chalicelib.baton.tokens.jwt import jwks as published_keys
from chalicelib.baton.tokens.token import Names

_NOBODY = AccountId("health")
"""No account's id: asking for its account state exercises the whole way to the engine and finds nothing."""

_KEPT_S = 5 * MINUTE_S
_JWKS = "/.well-known/jwks.json"
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"

READ = ["GET", "HEAD"]
"""How a public document is read (RFC 9110 section 9.1). The gateway leaves the body of an answer to HEAD out."""


class Public(Struct, frozen=True):
    """What these routes tell of."""

    key_ring: KeyRing
    lineage_store: LineageStore
    names: Names
    clients: Clients
    region: str


def meta(dispatch: Dispatch, public: Public) -> Blueprint:
    """Make the blueprint."""
    routes = Blueprint(__name__)

    @routes.route("/time", methods=READ, content_types=[])
    @dispatch.view()
    def time(_: Message) -> Answer:
        return Answer(200, ServerTime(dispatch.clock()))

    @routes.route("/health", methods=READ, content_types=[])
    @dispatch.view()
    def health(_: Message) -> Answer:
        public.key_ring.current(now=dispatch.clock())
        public.lineage_store.get(_NOBODY)
        return Answer(200, Health("ok", __version__, public.region, "reachable"))

    @routes.route(_JWKS, methods=READ, content_types=[])
    @dispatch.view()
    def jwks(_: Message) -> Answer:
        now = dispatch.clock()
        return Answer(200, published_keys(public.key_ring.current(now=now)), cache_s=_KEPT_S)

    @routes.route("/.well-known/oauth-authorization-server", methods=READ, content_types=[])
    @dispatch.view()
    def metadata(_: Message) -> Answer:
        return Answer(200, Metadata(**_metadata(public.names.issuer)), cache_s=_KEPT_S)

    # Stock clients append this to the issuer; under a stage that is the only place where they find anything.
    @routes.route("/.well-known/openid-configuration", methods=READ, content_types=[])
    @dispatch.view()
    def openid_metadata(_: Message) -> Answer:
        issuer = public.names.issuer
        described = OpenIdMetadata(
            **_metadata(issuer),
            authorization_endpoint=f"{issuer}/oauth/authorize",
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["ES256"],
        )
        return Answer(200, described, cache_s=_KEPT_S)

    @routes.route(PROTECTED_RESOURCE, methods=READ, content_types=[])
    @dispatch.view()
    def protected_resource(_: Message) -> Answer:
        issuer = public.names.issuer
        described = ProtectedResource(
            resource=issuer,
            authorization_servers=[issuer],
            jwks_uri=f"{issuer}{_JWKS}",
            scopes_supported=sorted(set().union(*(client.scope for client in public.clients))),
            bearer_methods_supported=["header"],
            dpop_bound_access_tokens_required=False,
        )
        return Answer(200, described, cache_s=_KEPT_S)

    @routes.route("/openapi.json", methods=READ, content_types=[])
    @dispatch.view()
    def openapi(_: Message) -> Answer:
        return Answer(200, _description(public.names.issuer), cache_s=_KEPT_S)

    return routes


@lru_cache(maxsize=1)
def _description(issuer: str) -> msgspec.Raw:
    """Read the OpenAPI description that ships (``tools/openapi.py`` writes it), and say where this API stands."""
    described = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    return msgspec.Raw(msgspec.json.encode({**described, "servers": [{"url": issuer}]}))


def _metadata(issuer: str) -> dict[str, Any]:
    """Describe the authorization server (RFC 8414 section 2)."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "jwks_uri": f"{issuer}{_JWKS}",
        "grant_types_supported": ["refresh_token"],
        "response_types_supported": ["none"],  # stock libraries refuse an empty list
        "refresh_token_expiration_types_supported": ["authorization", "token_timeout"],
        "acr_values_supported": ["aal1"],
    }
