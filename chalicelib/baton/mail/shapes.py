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
    """``POST /register/start`` and ``POST /password/forgot``.

    For a registration, ``device`` must have the same key as in the later ``POST /register``. For a forgotten password,
    send ``device`` as in ``POST /login``.
    """

    email: Text
    client_id: Name
    device: DeviceShape = msgspec.field(default_factory=DeviceShape)
    language: Language = ""


LinkText = Annotated[
    str,
    msgspec.Meta(max_length=2048, description="The ticket of a link in a mail: only the text after `#t=` or `#n=`."),
]


class Reset(Body):
    """``POST /password/reset``. If a key signed the request for the code, the same key must sign this request.

    With ``link`` in place of ``mail_session`` and ``code``, no signature is needed.
    """

    new_password: str
    mail_session: MailSessionText | None = None
    code: Code | None = None
    link: LinkText | None = None


class AddressCode(Body):
    """``POST /me/email/code``: send a code to the address of the account."""

    language: Language = ""


class AddressVerification(Body):
    """``POST /me/email/verify``. Send ``mail_session`` and ``code`` with the login that requested the code.

    Or send only ``link``, with any login of the account.
    """

    mail_session: MailSessionText | None = None
    code: Code | None = None
    link: LinkText | None = None


class NewAddress(Body):
    """``POST /me/email``: send a code to the new address."""

    new_email: Text
    language: Language = ""


class NewAddressCode(Body):
    """``POST /me/email/confirm``: change the address, with the code from the new mailbox."""

    mail_session: MailSessionText
    code: Code


class UndoLink(Body):
    """``POST /mail/undo`` and ``POST /mail/not-me``. These requests need no signature."""

    link: LinkText
