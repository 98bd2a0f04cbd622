"""The site rule: which page may send a request with cookies."""

import pytest

from chalicelib.baton.browser.sites import Verdict, judge_site, own_origins
from chalicelib.baton.routing import Message
from tests.baton.browser.browser import OWN, PAGE

ORIGINS = frozenset({OWN, PAGE})
EVIL = "https://evil.example"
LOOK_ALIKES = (
    f"{PAGE}.evil.example",
    "https://evilapp.example.com",
    "http://app.example.com",
    f"{PAGE}:8443",
    f"{PAGE}/",
)
PASS, REFUSE, TOKEN = Verdict.PASS, Verdict.REFUSE, Verdict.TOKEN


def judged(*, changes: bool, **fields: str | tuple[str, ...]) -> Verdict:
    """Judge a request with these header fields."""
    given = {name.replace("_", "-"): (value,) if isinstance(value, str) else value for name, value in fields.items()}
    message = Message("POST" if changes else "GET", "api.example.com", "/api/me", (), given, b"")
    return judge_site(message, ORIGINS, changes=changes)


@pytest.mark.parametrize(
    ("site", "origin", "verdict"),
    [
        ("same-origin", None, PASS),
        ("same-origin", OWN, PASS),
        ("same-origin", PAGE, PASS),
        ("same-origin", EVIL, REFUSE),
        ("same-origin", "null", REFUSE),
        ("none", None, REFUSE),
        ("none", OWN, REFUSE),
        ("same-site", None, REFUSE),
        ("same-site", PAGE, PASS),
        ("same-site", "https://blog.example.com", REFUSE),
        ("same-site", "null", REFUSE),
        ("cross-site", None, REFUSE),
        ("cross-site", EVIL, REFUSE),
        ("cross-site", PAGE, PASS),
        ("Same-Origin", None, REFUSE),
        ("made-up", None, REFUSE),
        ("", None, REFUSE),
        (("same-origin", "same-origin"), None, REFUSE),
        (None, OWN, PASS),
        (None, PAGE, PASS),
        (None, EVIL, REFUSE),
        (None, "null", REFUSE),
        (None, (PAGE, PAGE), REFUSE),
        ("same-origin", (OWN, OWN), REFUSE),
        (None, None, TOKEN),
        *((None, origin, REFUSE) for origin in LOOK_ALIKES),
        *(("cross-site", origin, REFUSE) for origin in LOOK_ALIKES),
    ],
)
def test_a_change_comes_from_a_page_of_the_client(
    site: str | tuple[str, ...] | None, origin: str | tuple[str, ...] | None, verdict: Verdict
) -> None:
    """The test has every cell of the table, and origins that only look like an origin of the client."""
    given = {"sec_fetch_site": site, "origin": origin}
    assert judged(changes=True, **{name: value for name, value in given.items() if value is not None}) is verdict


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"sec_fetch_site": "same-origin"}, PASS),
        ({"sec_fetch_site": "none"}, PASS),
        ({}, PASS),
        ({"sec_fetch_site": "cross-site"}, REFUSE),
        ({"sec_fetch_site": "same-site"}, REFUSE),
        ({"sec_fetch_site": "made-up"}, REFUSE),
        ({"sec_fetch_site": ("none", "none")}, REFUSE),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, PASS),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, REFUSE),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "document"}, REFUSE),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "cors", "origin": PAGE}, PASS),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "cors", "origin": EVIL}, REFUSE),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "cors", "origin": PAGE}, PASS),
    ],
)
def test_another_site_may_only_open_a_page(fields: dict[str, str | tuple[str, ...]], verdict: Verdict) -> None:
    """A script or a frame of another site gets no answer to a request with cookies."""
    assert judged(changes=False, **fields) is verdict


def test_the_own_origins_are_those_of_the_authorities() -> None:
    """A page may be served by http only in development. A pattern of host names is not an origin."""
    hosts = {"api.example.com", "localhost:8000", "*.local"}
    secure = {"https://api.example.com", "https://localhost:8000"}
    assert own_origins(hosts, development=False) == secure
    assert own_origins(hosts, development=True) == secure | {"http://api.example.com", "http://localhost:8000"}
