"""The bodies and queries of the account routes (wire.md, "Routes"). App developers read the docstrings in OpenAPI."""

from typing import Annotated, Any, Literal

import msgspec

from chalicelib.baton.attestation.shapes import EvidenceShape
from chalicelib.baton.factors.passkey_routes import Credential
from chalicelib.baton.factors.routes import TicketText, TotpCode
from chalicelib.baton.routing import Body, Query

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
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


_CODE_WORDS = "Eight digits, with or without a blank after the fourth."
Code = Annotated[str, msgspec.Meta(pattern=r"^ *[0-9]{4} ?[0-9]{4} *$", max_length=32, description=_CODE_WORDS)]
OptionalCode = Annotated[
    str, msgspec.Meta(pattern=r"^( *[0-9]{4} ?[0-9]{4} *)?$", max_length=32, description=_CODE_WORDS)
]
MailSessionText = Annotated[
    str, msgspec.Meta(max_length=2048, description="The `mail_session` from the answer to the request for the code.")
]


class DeviceShape(Body):
    """A device: its name and its public key (JWK). Without a key, ``binding`` can request an HMAC secret."""

    name: Name = ""
    public_key: PublicJwk | None = None
    binding: Literal["hmac"] | None = None


class Entry(Body):
    """``POST /register`` and ``POST /login``.

    ``password``: its minimum length is in characters, its maximum length is in bytes.
    ``remember``: the browser stays logged in after it is closed. Only a client that delivers cookies may send this.
    """

    email: Text
    password: str
    client_id: Name
    device: DeviceShape = msgspec.field(default_factory=DeviceShape)
    remember: bool = False
    attestation: EvidenceShape | None = None


class Registration(Entry):
    """``POST /register``. ``POST /register/start`` returns ``mail_session`` and sends ``code`` by mail."""

    mail_session: MailSessionText = ""
    code: OptionalCode = ""


class FactorShape(Body):
    """``POST /login/factor``. Send one of ``totp``, ``recovery_code``, ``passkey`` and ``email_code``.

    ``email_code``: the code that ``POST /login/email-code`` sent.
    ``enrolment``: the value from ``POST /login/enrol``. Send it with the new factor: ``totp`` is its first code, or
    ``passkey`` is its registration.
    ``remember_device``: later logins with this device's key need no second factor for some days. This member has no
    effect with ``recovery_code``.
    """

    auth_session: TicketText = ""
    totp: TotpCode | None = None
    recovery_code: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    passkey: Credential | None = None
    email_code: Code | None = None
    enrolment: TicketText | None = None
    remember_device: bool = True


class SessionShape(Body):
    """``POST /login/email-code``: send a code to the address of the account that logs in."""

    auth_session: TicketText = ""


class EnrolShape(Body, kw_only=True):
    """``POST /login/enrol``. ``kind`` is the kind of factor that the login enrols."""

    auth_session: TicketText = ""
    kind: Literal["totp", "passkey"]


class FactorOptionsShape(Body):
    """``POST /login/factor/options``: get the options to prove a passkey as the second factor of a login."""

    auth_session: TicketText = ""


class PasskeyLoginOptionsShape(Body):
    """``POST /login/passkey/options`` and ``POST /login/restore/options``: client and device of the login."""

    client_id: Name
    device: DeviceShape = msgspec.field(default_factory=DeviceShape)


class RestoreLoginShape(PasskeyLoginOptionsShape, kw_only=True):
    """``POST /login/restore``. ``device`` must have the same key as at ``POST /login/restore/options``."""

    credential: Credential
    attestation: EvidenceShape | None = None


class PasskeyLoginShape(RestoreLoginShape, kw_only=True):
    """``POST /login/passkey``. ``device`` must have the same key as at ``POST /login/passkey/options``.

    ``remember``: see ``POST /login``.
    """

    remember: bool = False


class PasswordShape(Body):
    """``POST /me/password``: replace the password."""

    new_password: str


class ActivityQuery(Query):
    """``GET /me/activity``. ``before`` is the ``next`` of an earlier page."""

    before: Annotated[str, msgspec.Meta(max_length=75)] = ""
