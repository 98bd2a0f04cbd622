"""The forms and answers of the OAuth routes (wire.md, "Routes"). App developers read these docstrings in OpenAPI."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from chalicelib.baton.lineages.assurance import Attested
from chalicelib.baton.tokens.issue import Seconds

TokenUse = Literal["access", "refresh", "both", "narrowed"]
"""A value of ``token.Kind``, or ``narrowed`` for a narrowed token."""


class TokenForm(msgspec.Struct):
    """``POST /oauth/token``: renew a token (RFC 6749 section 6), or get a narrowed token (RFC 8693 section 2.1)."""

    grant_type: Literal["refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"]
    refresh_token: str = ""
    client_id: str = ""
    scope: str = ""
    subject_token: str = ""
    subject_token_type: str = ""
    audience: str = ""
    resource: str = ""
    requested_token_type: str = ""
    actor_token: str = ""
    actor_token_type: str = ""


class RevocationForm(msgspec.Struct):
    """``POST /oauth/revoke`` (RFC 7009 section 2.1)."""

    token: str
    token_type_hint: str = ""
    client_id: str = ""


class IntrospectionForm(msgspec.Struct):
    """``POST /oauth/introspect`` (RFC 7662 section 2.1)."""

    token: str
    token_type_hint: str = ""


class Confirmation(msgspec.Struct, kw_only=True):
    """The binding of a token (RFC 7800): the thumbprint of a key (``jkt``), or the id of an HMAC secret (``kid``)."""

    jkt: str | UnsetType = UNSET
    kid: str | UnsetType = UNSET


class Introspection(msgspec.Struct, kw_only=True):
    """The facts of an active token (RFC 7662 section 2.2).

    For any other token, the only member is ``active``, and it is ``false``.
    """

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
    token_use: TokenUse | UnsetType = UNSET
    auth_time: Seconds | UnsetType = UNSET
    acr: str | UnsetType = UNSET
    amr: tuple[str, ...] | UnsetType = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    attested: Attested | UnsetType = UNSET
    idp: str | UnsetType = UNSET
    cnf: Confirmation | UnsetType = UNSET
