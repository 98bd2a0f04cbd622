"""Routes without a login: time, health, public keys, metadata, the files of apps, and the OpenAPI description."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from chalicelib import __version__
from chalicelib.baton import errors
from chalicelib.baton.effects import Clock
from chalicelib.baton.http.shapes import Health, Metadata, OpenIdMetadata, ProtectedResource, ServerTime
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.well_known import WELL_KNOWN, well_known
from chalicelib.baton.policy import ACR_LEVELS, MINUTE_S
from chalicelib.baton.routing import Answer, Message, Route
from chalicelib.baton.tokens.jwt import jwks as published_keys
from chalicelib.baton.tokens.routes import TOKEN_EXCHANGE
from chalicelib.baton.tokens.token import Names

_NOBODY = AccountId("health")
"""An id that no account has. Reading its account state tests the connection to the database, and finds no item."""

_KEPT_S = 5 * MINUTE_S
_JWKS = "/.well-known/jwks.json"
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"

READ = ("GET", "HEAD")
"""The methods that read a public document (RFC 9110 section 9.1). The gateway omits the body for HEAD."""


def routes(  # noqa: PLR0913 - what the documents describe
    *,
    clock: Clock,
    key_ring: KeyRing,
    lineage_store: LineageStore,
    names: Names,
    clients: Clients,
    region: str,
    narrows: bool = False,
) -> tuple[Route, ...]:
    """List the public routes, each for GET and HEAD.

    If ``narrows`` is true, tokens can be narrowed, and the metadata lists the grant type of RFC 8693.
    """
    issuer = names.issuer

    def time(_: Message) -> Answer:
        return Answer(200, ServerTime(clock()))

    def health(_: Message) -> Answer:
        key_ring.current(now=clock())
        lineage_store.get(_NOBODY)
        return Answer(200, Health("ok", __version__, region, "reachable"))

    def jwks(_: Message) -> Answer:
        return Answer(200, published_keys(key_ring.current(now=clock())), cache_s=_KEPT_S)

    def metadata(_: Message) -> Answer:
        return Answer(200, Metadata(**_metadata(issuer, narrows=narrows)), cache_s=_KEPT_S)

    def openid_metadata(_: Message) -> Answer:
        described = OpenIdMetadata(
            **_metadata(issuer, narrows=narrows),
            authorization_endpoint=f"{issuer}/oauth/authorize",
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["ES256"],
        )
        return Answer(200, described, cache_s=_KEPT_S)

    def protected_resource(_: Message) -> Answer:
        described = ProtectedResource(
            resource=issuer,
            authorization_servers=[issuer],
            jwks_uri=f"{issuer}{_JWKS}",
            scopes_supported=sorted(set().union(*(client.scope for client in clients))),
            bearer_methods_supported=["header"],
            dpop_bound_access_tokens_required=False,
        )
        return Answer(200, described, cache_s=_KEPT_S)

    def openapi(_: Message) -> Answer:
        return Answer(200, _description(issuer), cache_s=_KEPT_S)

    views: dict[str, Callable[[Message], Answer]] = {
        "/time": time,
        "/health": health,
        _JWKS: jwks,
        "/.well-known/oauth-authorization-server": metadata,
        # OpenID clients append this path to the issuer. If the issuer ends with a stage of API Gateway, they find only
        # this document: RFC 8414 puts the path of the other document before the stage, where API Gateway has no route.
        "/.well-known/openid-configuration": openid_metadata,
        PROTECTED_RESOURCE: protected_resource,
        "/openapi.json": openapi,
        **{f"/.well-known/{name}": _file_of(name, well_known(clients)) for name in WELL_KNOWN},
    }
    return tuple(Route(method, path, view, signed=False) for path, view in views.items() for method in READ)


def _file_of(name: str, files: Mapping[str, Any]) -> Callable[[Message], Answer]:
    def file(_: Message) -> Answer:
        if name not in files:
            raise errors.NotFound("no client needs the file", detail="This deployment does not have this file.")
        return Answer(200, files[name], cache_s=_KEPT_S)

    return file


@lru_cache(maxsize=1)
def _description(issuer: str) -> msgspec.Raw:
    """Read the included OpenAPI description (``tools/openapi.py`` writes it), and add the URL of this API."""
    described = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    return msgspec.Raw(msgspec.json.encode({**described, "servers": [{"url": issuer}]}))


def _metadata(issuer: str, *, narrows: bool) -> dict[str, Any]:
    """Describe the authorization server (RFC 8414 section 2). ``narrows``: list the grant type of RFC 8693 too."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "jwks_uri": f"{issuer}{_JWKS}",
        "grant_types_supported": ["refresh_token", *([TOKEN_EXCHANGE] if narrows else [])],
        "response_types_supported": ["none"],  # stock libraries refuse an empty list
        "refresh_token_expiration_types_supported": ["authorization", "token_timeout"],
        "acr_values_supported": list(ACR_LEVELS),
    }
