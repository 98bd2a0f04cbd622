"""The bodies of federation (wire.md, "Routes"). App developers read the docstrings in OpenAPI."""

import msgspec

from chalicelib.baton.accounts.shapes import DeviceShape, Name
from chalicelib.baton.attestation.shapes import EvidenceShape
from chalicelib.baton.factors.routes import IdToken, ProviderName
from chalicelib.baton.routing import Body


class FederatedLoginShape(Body, kw_only=True):
    """``POST /login/federated``. ``create``: make an account if none has the identity."""

    provider: ProviderName
    id_token: IdToken
    client_id: Name
    device: DeviceShape = msgspec.field(default_factory=DeviceShape)
    create: bool = False
    attestation: EvidenceShape | None = None


class LinkShape(Body):
    """``POST /me/identities``."""

    provider: ProviderName
    id_token: IdToken
