"""The bodies of federation (wire.md, "Routes"). App developers read the docstrings in OpenAPI."""

from typing import Annotated

import msgspec

from chalicelib.baton.accounts.shapes import DeviceShape, Name
from chalicelib.baton.attestation.shapes import EvidenceShape
from chalicelib.baton.factors.routes import IdToken, ProviderName
from chalicelib.baton.federation.model import CODE_CHARACTERS_MAX
from chalicelib.baton.routing import Body

AuthorizationCode = Annotated[
    str, msgspec.Meta(max_length=CODE_CHARACTERS_MAX, description="The `authorizationCode` of Sign in with Apple.")
]


class NoticeShape(Body, forbid_unknown_fields=False):
    """``POST /federation/apple/notifications``, as Apple sends it. Apple may add members."""

    payload: Annotated[str, msgspec.Meta(max_length=8192, description="A JWT that Apple signed.")]


class FederatedLoginShape(Body, kw_only=True):
    """``POST /login/federated``. ``create``: make an account if no account has the identity."""

    provider: ProviderName
    id_token: IdToken
    client_id: Name
    device: DeviceShape = msgspec.field(default_factory=DeviceShape)
    create: bool = False
    authorization_code: AuthorizationCode = ""
    attestation: EvidenceShape | None = None


class LinkShape(Body):
    """``POST /me/identities``. ``authorization_code`` is only for Apple: Baton ignores it for any other provider."""

    provider: ProviderName
    id_token: IdToken
    authorization_code: AuthorizationCode = ""
