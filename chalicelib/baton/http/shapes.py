"""The shapes of what is sent and answered (wire.md, "Routes"). What they mean is decided in ``flows`` and ``core``.

The OpenAPI description is made of them (``tools/openapi.py``), so their docstrings are read by app developers.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from chalicelib.baton.lineages.model import EndReason
from chalicelib.baton.routing import Body
from chalicelib.baton.tokens.token import Kind

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
Seconds = Annotated[int, msgspec.Meta(ge=0, description="Seconds since the epoch.")]

# --- JSON that is sent -------------------------------------------------------------------------------------------


PublicJwk = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="A public key as a JWK (RFC 7517): P-256 (x, y) or Ed25519 (x). Its private part never leaves the "
        "device.",
        extra_json_schema={
            "required": ["kty", "crv", "x"],
            "properties": {
                "kty": {"type": "string", "enum": ["EC", "OKP"]},
                "crv": {"type": "string", "enum": ["P-256", "Ed25519"]},
                "x": {"type": "string"},
                "y": {"type": "string"},
            },
        },
    ),
]


class DeviceShape(Body):
    """A device: its name, and the public key (JWK) it introduces or the HMAC secret it asks for."""

    name: Name = ""
    public_key: PublicJwk | None = None
    binding: Literal["hmac"] | None = None


class Entry(Body):
    """``POST /register`` and ``POST /login``. A password's own limits are in bytes, and told by their own codes."""

    email: Text
    password: str
    client_id: Name
    device: DeviceShape = msgspec.field(default_factory=DeviceShape)


class OperationShape(Body):
    """The operation a step-up is for: the exact method, path and body digest to come."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"]
    path: Annotated[str, msgspec.Meta(pattern=r"^/[!-~]*$", max_length=2048)]
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha-256=:[A-Za-z0-9+/]{43}=:$")]


class StepUpShape(Body):
    """``POST /step-up``."""

    operation: OperationShape
    password: str


class PasswordShape(Body):
    """``POST /me/password``."""

    new_password: str


class LogoutShape(Body):
    """``POST /logout``."""

    everywhere: bool = False


# --- Forms that are sent: their fields, each at most once; others are ignored (RFC 6749 section 3.2) -------------


class TokenForm(msgspec.Struct):
    """``POST /oauth/token`` (RFC 6749 section 6)."""

    grant_type: Literal["refresh_token"]
    refresh_token: str
    client_id: str = ""
    scope: str = ""


class RevocationForm(msgspec.Struct):
    """``POST /oauth/revoke`` (RFC 7009 section 2.1)."""

    token: str
    token_type_hint: str = ""
    client_id: str = ""


class IntrospectionForm(msgspec.Struct):
    """``POST /oauth/introspect`` (RFC 7662 section 2.1)."""

    token: str
    token_type_hint: str = ""


# --- What is answered --------------------------------------------------------------------------------------------


class TokenResponse(msgspec.Struct, kw_only=True):
    """A login's tokens (RFC 6749 section 5.1) and how long it lives (draft-ietf-oauth-refresh-token-expiration-03).

    ``refresh_token`` and ``refresh_token_timeout`` are absent where nothing renews the login. ``key_id`` and ``secret``
    (32 bytes, base64url) come once, with a login that asked for ``"binding": "hmac"``.
    """

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, not a token
    expires_in: Annotated[int, msgspec.Meta(ge=0, description="Seconds.")]
    scope: str
    device_id: str
    server_time: Seconds
    authorization_expires_in: Annotated[int, msgspec.Meta(ge=0, description="Seconds until the login ends anyway.")]
    refresh_token_timeout: (
        Annotated[int, msgspec.Meta(ge=0, description="The login ends when it is not renewed for so many seconds.")]
        | UnsetType
    ) = UNSET
    refresh_token: str | UnsetType = UNSET
    key_id: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET


class ListedDevice(msgspec.Struct, kw_only=True):
    """One login of the account, alive or ended."""

    device_id: str
    name: str
    client_id: str
    created_at: Seconds
    last_exchange_at: Seconds | None
    current: bool
    bound: bool
    ended_at: Seconds | None
    ended_reason: EndReason | None


class Devices(msgspec.Struct):
    """The logins of the account, the newest first."""

    devices: list[ListedDevice]


class Confirmation(msgspec.Struct, kw_only=True):
    """What a token is bound to (RFC 7800): a key, by its thumbprint, or an issued secret, by its id."""

    jkt: str | UnsetType = UNSET
    kid: str | UnsetType = UNSET


class Introspection(msgspec.Struct, kw_only=True):
    """The facts of an active token (RFC 7662 section 2.2). Of any other, ``active`` is false and nothing else told."""

    active: bool
    token_type: Literal["Bearer"] | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    aud: str | UnsetType = UNSET
    iat: Seconds | UnsetType = UNSET
    exp: Seconds | UnsetType = UNSET
    sid: str | UnsetType = UNSET
    gen: int | UnsetType = UNSET
    token_use: Kind | UnsetType = UNSET
    auth_time: Seconds | UnsetType = UNSET
    acr: str | UnsetType = UNSET
    amr: tuple[str, ...] | UnsetType = UNSET
    cnf: Confirmation | UnsetType = UNSET


class ServerTime(msgspec.Struct):
    """The server's clock."""

    server_time: Seconds


class Health(msgspec.Struct):
    """The way to the engine and back works."""

    status: Literal["ok"]
    version: str
    region: str
    engine: Literal["reachable"]


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
    """The same, with what OpenID clients refuse to do without. No ID token is issued."""

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
