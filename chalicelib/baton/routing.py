"""Routes: their requirements, requests and answers. No I/O.

A route is a value: the packages return tuples of routes, and ``http/register.py`` registers them with Chalice.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Literal, Self

from msgspec import Struct

from chalicelib.baton.policy import DEMANDED_ACR_LEVELS, GRANT_S

PAGE = "text/html; charset=utf-8"
"""The media type of a page that a person reads."""

_PAGE_FIELDS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Message(Struct, frozen=True):
    """A request as its sender saw it.

    - ``path``: not decoded, with the stage prefix.
    - ``query``: the decoded names and values, in order.
    - ``fields``: the name of each header field, in lower case, with its values in order.
    - ``source``: if the request has the secret of a CDN (``BATON_ORIGIN_SECRET``), the address of the viewer.
      Otherwise the address that the gateway saw.
    """

    method: str
    authority: str
    path: str
    query: tuple[tuple[str, str], ...]
    fields: Mapping[str, Sequence[str]]
    body: bytes
    source: str = ""

    def __repr__(self) -> str:
        """Mask header fields and body: they may contain tokens and passwords."""
        return f"Message({self.method} {self.path})"


class Body(Struct, forbid_unknown_fields=True):
    """The JSON body of a request. Unknown members are refused. Derive the bodies of your own routes from this class."""

    def __repr__(self) -> str:
        """Mask the body: it may contain a password."""
        return f"{type(self).__name__}('**********')"


class Query(Struct, forbid_unknown_fields=True):
    """The query parameters that a route takes, each at most once. Derive your own queries from this class.

    Each value is converted to the type of its member: ``page: int`` takes ``page=2``.
    """


class Cookie(Struct, frozen=True):
    """A cookie to set. It is always ``Secure`` and ``HttpOnly``. ``max_age`` is in seconds. 0 deletes the cookie."""

    name: str
    value: str
    max_age: int | None = None
    path: str = "/"
    same_site: Literal["Strict", "Lax"] = "Strict"

    def __repr__(self) -> str:
        """Mask the value: it may be a session id."""
        return f"Cookie({self.name!r}, '**********')"


class Answer(Struct, frozen=True):
    """The return value of a view.

    - ``body``: ``None``, or a struct, dict or list, which is written as JSON. ``str`` and ``bytes`` need
      ``media_type``.
    - ``cache_s``: how long a cache may keep the answer, in seconds. 0 means ``no-store``. A shared cache may keep the
      answer only if the route is public and the answer sets no cookie.

    Each of these is a defect, and the client gets 500:

    - a header with a line break, or a header that Baton or the gateway sets (docs/baton/routes.md lists them)
    - a status that is not from 200 to 599
    - a body with status 204, 205 or 304
    """

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = {}
    cookies: tuple[Cookie, ...] = ()
    media_type: str = ""
    cache_s: int = 0

    @classmethod
    def redirect(cls, url: str, status: int = 303) -> Self:
        """Redirect the browser to ``url``. Raises ``ValueError`` if ``status`` is not the status of a redirect."""
        if status not in _REDIRECTS:
            raise ValueError(f"{status} is not the status of a redirect: use 301, 302, 303, 307 or 308")
        return cls(status, headers={"Location": url})

    @classmethod
    def html(cls, page: str, status: int = 200) -> Self:
        """Return a page. Its Content-Security-Policy forbids scripts, forms and all resources."""
        return cls(status, page, headers=_PAGE_FIELDS, media_type=PAGE)


class StepUp(Struct, frozen=True):
    """The rule about how recently, and at which level, the person must have proved a factor again (RFC 9470).

    - ``max_age``: the maximum age of the proof, in seconds.
    - ``acr``: the lowest accepted level. ``"account"`` means ``aal2`` if the logins of the account need a second
      factor, otherwise ``aal1``. For ``"account"``, an authenticator app alone is never enough.
    """

    max_age: int = GRANT_S
    acr: str = "account"

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a level that does not exist."""
        if self.acr != "account" and self.acr not in DEMANDED_ACR_LEVELS:
            raise ValueError(
                f"acr {self.acr!r} does not exist: use 'account' or one of {', '.join(DEMANDED_ACR_LEVELS)}"
            )


class Once(Struct, frozen=True):
    """The rule that a view runs once for each ``Idempotency-Key``. A repeated request gets the stored answer.

    If a run stopped without an answer, a repeated request gets 409 ``outcome_unknown``. With ``retry_safe``, the view
    runs again instead. Set ``retry_safe`` only if a second run does no harm.
    """

    retry_safe: bool = False


class Dialect(Enum):
    """The form of the refusals of a route. The value is the media type of the refusals."""

    PROBLEM = "application/problem+json"
    OAUTH = "application/json"


class RouteSpec(Struct, frozen=True, kw_only=True):
    """The requirements and the answers of a route. The OpenAPI description is made from them."""

    signed: bool = True
    """Whether the caller must be logged in. A view of a route without login gets the message as first argument."""
    body: type[Struct] | None = None
    form: type[Struct] | None = None
    """Fields of a form, each at most once. The view gets a dict of the fields that are not empty."""
    query: type[Query] | None = None
    any_query: bool = False
    """Whether the query is ignored. If not, a parameter that ``query`` does not have is refused."""
    scope: frozenset[str] = frozenset()
    """Words that the client's scope must have, all of them."""
    roles: frozenset[str] = frozenset()
    """Roles, of which the login must have at least one."""
    acr: str | None = None
    """The lowest accepted level of the login."""
    step_up: StepUp | None = None
    after_recovery: bool = False
    """Whether ``step_up`` needs only ``aal1``, such as a password, for 15 minutes after a login by recovery code."""
    may_step_up: str = ""
    """A text for the OpenAPI description: for which requests the view itself calls ``require_step_up``."""
    bound: bool = False
    """Whether the login must be bound to a key or to an HMAC secret."""
    attested: bool = False
    """Whether the login must have evidence of the app and its device."""
    once: Once | None = None
    takes_attempt: bool = False
    """Whether the route uses ``Idempotency-Key`` as its attempt: the request may be repeated."""
    repeatable: bool = False
    """Whether a ``POST`` may be sent again unchanged after a server error, because a repetition does no harm."""
    dialect: Dialect = Dialect.PROBLEM
    page: bool = False
    """Whether refusals are written as HTML for a browser that opens the route."""
    answers: Mapping[int, type | None] = {}
    """The shape of the answer by status, for the OpenAPI description."""
    session: Literal["kept", "renewed", "replaced", "ended"] = "kept"
    """The effect of a success on the cookies of the caller.

    - ``kept``: no effect.
    - ``renewed``: the person proved a factor, so the session id changes. On every route, the session id also changes
      after a request that uses a step-up grant.
    - ``replaced``: all other logins ended. The earlier cookies of this login stop working too, and the answer sets new
      cookies.
    - ``ended``: this login ended, so the cookies are deleted.
    """
    login_page: str = ""
    """The login page to which a browser without a login is sent."""


class Route(RouteSpec, frozen=True):
    """One of Baton's own routes.

    ``view`` gets, in this order:

    - the caller, or the message if ``signed`` is false
    - the body, if ``body`` or ``form`` is given
    - the query, if ``query`` is given
    - the path parameters, by name
    """

    method: str
    path: str
    view: Callable[..., Answer]


def source_network(source: str) -> str:
    """Return the network of a source: an IPv4 address itself, or the /64 network of an IPv6 address.

    A subscriber has a whole /64 network. A source that is not an IP address is returned unchanged.
    """
    if ":" not in source:
        return source
    import ipaddress  # noqa: PLC0415 - cold start

    try:
        address = ipaddress.IPv6Address(source)
    except ValueError:
        return source
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
