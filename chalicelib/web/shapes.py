"""The shapes of request bodies (wire.md, "Routes"). What they mean is decided in ``flows`` and ``core``."""

from typing import Annotated, Any, Literal

import msgspec

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Name = Annotated[str, msgspec.Meta(max_length=256)]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A JSON object whose members are all known. Put your own routes' bodies under it."""

    def __repr__(self) -> str:
        """Mask: bodies hold passwords."""
        return f"{type(self).__name__}('**********')"


class DeviceShape(Body):
    """A device: its name, and the public key (JWK) it introduces or the HMAC secret it asks for."""

    name: Name = ""
    public_key: dict[str, Any] | None = None
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
