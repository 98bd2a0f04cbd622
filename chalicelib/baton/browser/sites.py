"""Which page may send a request with cookies: ``Origin`` and Fetch Metadata (W3C). No I/O, except the log.

| ``Sec-Fetch-Site`` | safe method | other method, and every registration or login of a cookie client |
|---|---|---|
| ``same-origin`` | pass | pass without ``Origin``, or with an ``Origin`` of the client |
| ``none`` | pass | refuse |
| any other, or sent twice | a navigation to a document, or an ``Origin`` of the client | an ``Origin`` of the client |
| missing | pass | an ``Origin`` of the client or, without ``Origin``, a CSRF token |

If a cell names only a condition, the request passes if it meets the condition. Otherwise the request is refused.
An ``Origin`` of the API's own pages counts as an ``Origin`` of the client. A CSRF token never counts for a registration
or a login.

``SameSite`` is not enough: a page on another port of the host sends even ``SameSite=Strict`` cookies.
"""

from collections.abc import Callable, Collection
from enum import Enum
from typing import Final

from msgspec import Struct

from chalicelib.baton.browser.refusals import CrossSite
from chalicelib.baton.events.ports import Log
from chalicelib.baton.routing import Message
from chalicelib.baton.urls import is_listed

_TWICE: Final = "sent twice"
"""The value of a field that was sent twice. It is neither an origin nor a word of Fetch Metadata."""


class Verdict(Enum):
    """Whether a request may pass. ``TOKEN``: only with a CSRF token."""

    PASS = "pass"  # noqa: S105 - a verdict
    REFUSE = "refuse"
    TOKEN = "token"  # noqa: S105 - a verdict


def judge_site(message: Message, origins: Collection[str], *, changes: bool) -> Verdict:
    """Return the verdict on a request.

    ``origins``: the origins whose pages may send it. ``changes``: the request may change something.
    """
    site, origin = _field(message, "sec-fetch-site"), _field(message, "origin")
    ours = origin is not None and is_listed(origin, origins)
    if not changes:
        return Verdict.PASS if site in {"same-origin", "none", None} or ours or _navigates(message) else Verdict.REFUSE
    if site == "none":
        return Verdict.REFUSE
    if site is None and origin is None:
        return Verdict.TOKEN
    return Verdict.PASS if ours or (site == "same-origin" and origin is None) else Verdict.REFUSE


def own_origins(authorities: Collection[str], *, development: bool) -> frozenset[str]:
    """Return the origins of the API's own pages. Authorities with ``*`` are left out. ``development`` adds http."""
    hosts = [authority for authority in authorities if not authority.startswith("*")]
    schemes = ("https", "http") if development else ("https",)
    return frozenset(f"{scheme}://{host}" for scheme in schemes for host in hosts)


class SiteRule(Struct, frozen=True):
    """Refuse requests of other sites. ``own`` are the origins of the API's own pages."""

    own: frozenset[str]
    log: Log

    def check(
        self,
        message: Message,
        origins: Collection[str],
        *,
        changes: bool,
        has_token: Callable[[], bool] = lambda: False,
    ) -> None:
        """Check which page sent a request, as `judge_site` does. Raises ``CrossSite``.

        ``has_token`` checks the CSRF token. It is called only if the verdict is ``TOKEN``.
        """
        verdict = judge_site(message, self.own.union(origins), changes=changes)
        if verdict is Verdict.REFUSE or (verdict is Verdict.TOKEN and not has_token()):
            self.log.record("cross_site_refused")
            raise CrossSite(f"sec-fetch-site {_field(message, 'sec-fetch-site')}, origin {_field(message, 'origin')}")


def _navigates(message: Message) -> bool:
    """Check whether the browser shows the answer as a page of its own, not in a frame."""
    return (_field(message, "sec-fetch-mode"), _field(message, "sec-fetch-dest")) == ("navigate", "document")


def _field(message: Message, name: str) -> str | None:
    values = message.fields.get(name)
    if values is None:
        return None
    return values[0].strip(" \t") if len(values) == 1 else _TWICE
