"""The answers of the public routes. App developers read the docstrings in OpenAPI."""

from typing import Any, Literal

import msgspec

from chalicelib.baton.tokens.issue import Seconds


class ServerTime(msgspec.Struct):
    """The server's clock."""

    server_time: Seconds


class Health(msgspec.Struct):
    """Baton can reach its database."""

    status: Literal["ok"]
    version: str
    region: str
    database: Literal["reachable"]


class Jwk(msgspec.Struct):
    """A public key that verifies tokens (RFC 7517 section 4)."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str
    kid: str
    use: Literal["sig"]
    alg: Literal["ES256"]


class Jwks(msgspec.Struct):
    """Every key that verifies tokens (RFC 7517 section 5)."""

    keys: list[Jwk]


class Metadata(msgspec.Struct, kw_only=True):
    """The authorization server's metadata (RFC 8414 section 2)."""

    issuer: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: list[str]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    jwks_uri: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    refresh_token_expiration_types_supported: list[str]
    acr_values_supported: list[str]


class OpenIdMetadata(Metadata, kw_only=True):
    """The authorization server's metadata with the members that OpenID clients require. Baton issues no ID token."""

    authorization_endpoint: str
    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]


class ProtectedResource(msgspec.Struct, kw_only=True):
    """The metadata of this API as a protected resource (RFC 9728 section 2)."""

    resource: str
    authorization_servers: list[str]
    jwks_uri: str
    scopes_supported: list[str]
    bearer_methods_supported: list[str]
    dpop_bound_access_tokens_required: bool


class AppleFile(msgspec.Struct, kw_only=True):
    """The iOS apps that may use passkeys and links of this site (``apple-app-site-association``)."""

    webcredentials: dict[str, list[str]]
    applinks: dict[str, Any]


class RelatedOrigins(msgspec.Struct, kw_only=True):
    """The origins outside the RP ID that may use its passkeys (WebAuthn Level 3, section 5.11)."""

    origins: list[str]


class PasskeyEndpoints(msgspec.Struct, kw_only=True):
    """The pages on which a person adds and manages passkeys, if there are any."""

    enroll: str = ""
    manage: str = ""
