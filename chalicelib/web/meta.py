"""Routes that anybody may ask: the time, the health, the public keys, the metadata."""

from chalice.app import Blueprint
from msgspec import Struct

from chalicelib import __version__
from chalicelib.core import tokens
from chalicelib.core.model import AccountId
from chalicelib.core.policy import MINUTE_S
from chalicelib.core.ports import Gates, KeyRing
from chalicelib.core.tokens import Names
from chalicelib.web.edge import Answer, Edge
from chalicelib.web.request import Request

_NOBODY = AccountId("health")
"""No account's id: asking for its gate exercises the whole way to the engine and finds nothing."""

_JWKS_KEPT_S = 5 * MINUTE_S


class Public(Struct, frozen=True):
    """What these routes tell of."""

    key_ring: KeyRing
    gates: Gates
    names: Names
    region: str


def meta(edge: Edge, public: Public) -> Blueprint:
    """Make the blueprint."""
    routes = Blueprint(__name__)

    @routes.route("/time", methods=["GET"], content_types=[])
    @edge.view()
    def time(_: Request) -> Answer:
        return Answer(200, {"server_time": edge.clock()})

    @routes.route("/health", methods=["GET"], content_types=[])
    @edge.view()
    def health(_: Request) -> Answer:
        public.key_ring.current(now=edge.clock())
        public.gates.get(_NOBODY)
        return Answer(200, {"status": "ok", "version": __version__, "region": public.region, "engine": "reachable"})

    @routes.route("/.well-known/jwks.json", methods=["GET"], content_types=[])
    @edge.view()
    def jwks(_: Request) -> Answer:
        now = edge.clock()
        return Answer(200, tokens.jwks(public.key_ring.current(now=now)), kept_s=_JWKS_KEPT_S)

    @edge.view()
    def metadata(_: Request) -> Answer:
        return Answer(200, _metadata(public.names.issuer), kept_s=_JWKS_KEPT_S)

    # Stock clients append the second to the issuer; under a stage that is the only place they find it.
    for name in ("oauth-authorization-server", "openid-configuration"):
        routes.route(f"/.well-known/{name}", methods=["GET"], content_types=[])(metadata)

    return routes


def _metadata(issuer: str) -> dict[str, object]:
    """Describe the authorization server (RFC 8414 section 2)."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "grant_types_supported": ["refresh_token"],
        "response_types_supported": [],
        "acr_values_supported": ["aal1"],
    }
