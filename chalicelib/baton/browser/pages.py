"""The login page to which a browser is sent, and the page to which it returns. No I/O."""

import re
from typing import Final
from urllib.parse import quote, urlencode

from chalicelib.baton.routing import Answer, Message

NEXT_BYTES_MAX: Final = 512
_NEXT: Final = re.compile(r"/(?![/\\])[^\x00-\x1f\x7f]*\Z")
"""A path of this site. Browsers read ``//host`` and ``/\\host`` as the address of another site."""


def is_next(text: str) -> bool:
    """Check whether a browser may be sent to this path. It must be a path of this site, of at most 512 bytes."""
    return _NEXT.match(text) is not None and len(text.encode(errors="replace")) <= NEXT_BYTES_MAX


def login_url(login: str, message: Message) -> str:
    """Return the address of the login page. Its query has the requested page in ``next``, if `is_next` accepts it."""
    asked = message.path + (f"?{urlencode(message.query)}" if message.query else "")
    return f"{login}?next={quote(asked, safe='')}" if is_next(asked) else login


def navigates(message: Message) -> bool:
    """Check whether the browser shows the answer as a page.

    The result is also true for an old browser without ``Sec-Fetch-Mode``.
    """
    return list(message.fields.get("sec-fetch-mode", ("navigate",))) == ["navigate"]


def comes_from_elsewhere(message: Message) -> bool:
    """Check whether the request comes from a page of another origin, or from the person (such as from a bookmark).

    The result is false for a reload that the page itself starts, so `reloading_page` reloads only once.
    It is also false for an old browser without ``Sec-Fetch-Site``.
    """
    return list(message.fields.get("sec-fetch-site", ())) in (["cross-site"], ["same-site"], ["none"])


def reloading_page() -> Answer:
    """Return a page that reloads itself immediately."""
    return Answer.html(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0">'
        "<title>One moment</title><p>One moment. If this page stays, reload it.</p></html>"
    )
