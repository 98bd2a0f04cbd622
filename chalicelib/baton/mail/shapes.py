"""The bodies of the mail routes. App developers read the docstrings in OpenAPI."""

from typing import Annotated

import msgspec

from chalicelib.baton.accounts.shapes import Code, DeviceShape, MailSessionText, Name, Text
from chalicelib.baton.routing import Body

Language = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4})?$",
        max_length=35,
        description="The language of the mail (RFC 5646). There are texts in `en` and `zh`.",
    ),
]


class CodeRequest(Body):
    """``POST /register/start`` and ``POST /password/forgot``. Send the same ``device`` as at registration and login."""

    email: Text
    client_id: Name
    device: DeviceShape = msgspec.field(default_factory=DeviceShape)
    language: Language = ""


class Reset(Body):
    """``POST /password/reset``. The key of the request that requested the code must sign this one."""

    mail_session: MailSessionText
    code: Code
    new_password: str


class AddressCode(Body):
    """``POST /me/email/code``."""

    language: Language = ""


class AddressVerification(Body):
    """``POST /me/email/verify``."""

    mail_session: MailSessionText
    code: Code
