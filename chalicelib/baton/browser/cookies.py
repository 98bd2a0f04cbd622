"""Baton's cookies: their names and attributes, and how they are read (RFC 6265). No I/O.

A browser accepts a cookie with the prefix ``__Host-`` only if the cookie is ``Secure``, has ``Path=/`` and has no
``Domain``. So another host of the same site cannot set this cookie.
"""

from collections.abc import Mapping
from typing import Final

from chalicelib.baton import errors
from chalicelib.baton.browser.refusals import CookiesTooLarge
from chalicelib.baton.policy import BOUND_COOKIE_S, COOKIE_BYTES_MAX
from chalicelib.baton.routing import Cookie, Message
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES

SESSION: Final = "__Host-baton"
"""The session id: a token for calls. The cookie is deleted when the browser is closed."""
REMEMBER: Final = "__Host-baton-remember"
"""The remember token, which renews the session. Only a login with ``"remember": true`` has this token."""
LOGIN: Final = "__Host-baton-login"
"""The ``auth_session`` between the password and the second factor."""
BOUND: Final = "__Host-baton-bound"
"""A recent proof of the key of the browser (DBSC)."""

_OURS: Final = frozenset({SESSION, REMEMBER, LOGIN, BOUND})


def session_cookie(token: str) -> Cookie:
    """Return the cookie with the session id."""
    return Cookie(SESSION, token, same_site="Lax")


def remember_cookie(token: str, *, max_age: int) -> Cookie:
    """Return the cookie with the remember token. The browser keeps it for ``max_age`` seconds."""
    return Cookie(REMEMBER, token, max_age=max_age, same_site="Lax")


def login_cookie(auth_session: str) -> Cookie:
    """Return the cookie with the ``auth_session``.

    The cookie is ``SameSite=Strict``: a request from a link on another site does not need this cookie.
    """
    return Cookie(LOGIN, auth_session, max_age=TICKET_PURPOSES["auth_session"].life_s, same_site="Strict")


def bound_cookie(ticket: str) -> Cookie:
    """Return the cookie with the proof of the browser's key.

    Baton accepts the proof for one minute longer than the browser keeps the cookie, because some requests are already
    on their way.
    """
    return Cookie(BOUND, ticket, max_age=BOUND_COOKIE_S, same_site="Lax")


CLEARED: Final = (
    Cookie(SESSION, "", max_age=0, same_site="Lax"),
    Cookie(REMEMBER, "", max_age=0, same_site="Lax"),
    Cookie(LOGIN, "", max_age=0),
    Cookie(BOUND, "", max_age=0, same_site="Lax"),
)
"""The empty cookies with which an answer deletes the cookies of an ended login."""
LOGIN_CLEARED: Final = CLEARED[2]


def read_cookies(message: Message) -> Mapping[str, str]:
    """Return Baton's cookies of a request, by name.

    HTTP/2 may split the field ``Cookie`` (RFC 9113 section 8.2.3), so its parts are joined first. Raises
    ``DuplicateField`` for two cookies of one name, and ``CookiesTooLarge``.
    """
    text = "; ".join(message.fields.get("cookie", ()))
    if len(text) > COOKIE_BYTES_MAX:
        raise CookiesTooLarge(limit=COOKIE_BYTES_MAX)
    found: dict[str, str] = {}
    for pair in text.split(";"):
        name, _, value = pair.strip(" \t").partition("=")
        if name not in _OURS:
            continue
        if name in found:
            raise errors.DuplicateField(field=f"cookie {name}")
        found[name] = value
    return {name: value for name, value in found.items() if value}
