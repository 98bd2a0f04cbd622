"""The page for undo links and "this was not me" links. It describes the action, and a button starts the action.

A ``GET`` changes nothing.

The ticket of the link is behind ``#``, so only the script of the page reads the ticket. The page may run only this
script, and the script may send requests only to this API (Content-Security-Policy). Nothing is loaded from elsewhere.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from chalicelib.baton.browser.open_page import inline_source
from chalicelib.baton.routing import PAGE, Answer

_FILE: Final = Path(__file__).with_name("action.html")


@lru_cache(maxsize=1)
def action_page() -> Answer:
    """Return the page. It is the same for every link."""
    html = _FILE.read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src {inline_source(html, 'script')}; style-src {inline_source(html, 'style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Answer(200, html, headers=headers, media_type=PAGE)
