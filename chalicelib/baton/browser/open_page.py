"""The page on which a person continues the login of the app in a browser. Its script redeems the code.

The code is in the fragment of the address. A browser sends the fragment to no server, so the code is in no log. The
page first shows the account, and uses the code only after the person taps the button. This protects against a link with
the code of another person.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from chalicelib.baton.routing import PAGE, Answer


@lru_cache(maxsize=1)
def open_page() -> Answer:
    """Return the page. Its Content-Security-Policy allows exactly its own script and style, by their digests."""
    page = Path(__file__).with_name("open.html").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src {inline_source(page, 'script')}; style-src {inline_source(page, 'style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Answer(200, page, headers=headers, media_type=PAGE)


def inline_source(html: str, element: str) -> str:
    """Return the source expression (``'sha256-…'``) with which a Content-Security-Policy allows an inline element.

    ``element`` is ``script`` or ``style``. The page ``html`` has only one such element.
    Source: Content Security Policy Level 3.
    """
    from base64 import b64encode  # noqa: PLC0415 - cold start

    (text,) = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
