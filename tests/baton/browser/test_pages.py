"""A team's own pages and routes, for callers with a cookie. T15 and T23: docs/baton/attacks.md."""

from pathlib import Path

import pytest

from chalicelib.baton import Baton, settings
from chalicelib.baton.browser.pages import is_next
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import OWN, SESSION, Browser, Form
from tests.baton.fixture import FOLDER

APP = Path(__file__).with_name("pages_app.py")
OPENS = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture
def world() -> World:
    """Load the app of this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        return World(APP, settings={"BATON_CLIENTS": "clients-web.toml"})


def test_a_page_sends_a_browser_without_login_to_the_login(browser: Browser, world: World) -> None:
    """The address of the login page contains the requested page. A script gets the error."""
    answer = browser.request("GET", "/home?page=2", page=OPENS)
    assert (answer.status, answer.headers["location"]) == (303, "/api/login-page?next=%2Fapi%2Fhome%3Fpage%3D2")
    script = browser.request("GET", "/home", page={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"})
    assert (script.status, script.code) == (401, "token_invalid")
    account = browser.register().members["account_id"]
    page = browser.request("GET", "/home?page=2", page=OPENS)
    assert page.body.decode().startswith(f"<p>{account} 2 ")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    world.clock.skip(minutes=31)
    over = browser.request("GET", "/home", page=OPENS)
    assert (over.status, SESSION in browser.cookies) == (303, False)
    assert over.headers["vary"] == "Cookie, Origin"


def test_a_change_is_never_sent_to_the_login(browser: Browser) -> None:
    """After the login, the browser would repeat the change as a GET, and the person would believe that it happened."""
    form = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "origin": OWN}
    assert browser.request("POST", "/home", page=form).code == "token_invalid"
    browser.register()
    assert browser.request("POST", "/home", page=form).status == 303


def test_a_form_of_a_page_is_read(browser: Browser) -> None:
    """A modern browser sends its origin, and an old browser the token in a field. Any other token is refused."""
    account = browser.register().members["account_id"]
    said = browser.request("POST", "/home", Form((("text", "hello"),)), page={"origin": OWN})
    assert (said.status, said.headers["location"]) == (303, f"/api/home?by={account}&said=hello")
    assert browser.request("POST", "/home", {"text": "hello"}, page={"origin": OWN}).code == "unsupported_media_type"
    token = browser.request("GET", "/session").members["csrf_token"]
    old = Form((("text", "hello"), ("csrf_token", token)))
    assert browser.request("POST", "/home", old, page={}).status == 303
    wrong = [
        Form((("text", "hello"),)),
        Form((("csrf_token", "x"),)),
        Form((("csrf_token", token), ("csrf_token", token))),
        Form((*((f"f{number}", "") for number in range(40)), ("csrf_token", token))),
        {"csrf_token": token},
    ]
    for members in wrong:
        assert browser.request("POST", "/home", members, page={}).code == "cross_site", members
    assert browser.request("POST", "/home", old, page={"baton-csrf": "x"}).code == "cross_site"
    cookie = f"{SESSION}={browser.cookies[SESSION]}"
    plain = [("host", "api.example.com"), ("cookie", cookie), ("content-type", "text/plain")]
    assert browser.world.gateway.call("POST", "/api/home", plain, f"csrf_token={token}".encode()).status == 403
    assert browser.request("POST", "/home", old, page={"origin": "https://evil.example"}).code == "cross_site"


def test_a_server_error_after_a_new_id_sets_no_cookie(browser: Browser, world: World) -> None:
    """T15. The browser sends the same cookies again."""
    browser.register()
    world.clock.skip(minutes=6)
    answer = browser.request("GET", "/busy")
    assert (answer.status, answer.set_cookies) == (503, [])


def test_the_csrf_token_of_a_page_is_valid(browser: Browser) -> None:
    """The token is ``caller.csrf_token``."""
    browser.register()
    token = browser.request("GET", "/home", page=OPENS).body.decode().split()[-1].removesuffix("</p>")
    assert browser.request("POST", "/logout", {}, page={"baton-csrf": token}).status == 204


def test_another_refusal_of_a_page_is_no_reason_to_log_in(browser: Browser) -> None:
    """The login is live, and its level is too low."""
    browser.register()
    assert browser.request("GET", "/admin", page=OPENS).code == "insufficient_acr"


def test_another_site_opens_a_page_in_no_frame(browser: Browser) -> None:
    """The answer is 403, without a redirect to the login."""
    browser.register()
    framed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert browser.request("GET", "/home", page=framed).code == "cross_site"
    assert browser.request("GET", "/home", page={**framed, "sec-fetch-dest": "document"}).status == 200


def test_a_route_for_bound_logins_refuses_every_cookie(browser: Browser, world: World) -> None:
    """With a cookie, no key signed the request."""
    browser.register()
    assert browser.request("GET", "/keys").code == "signature_required"
    assert world.phone("bob@example.com").get("/keys").status == 200


def test_a_call_that_runs_once_works_with_a_cookie(browser: Browser, world: World) -> None:
    """The stored answer has no session id. A replay sets the newest session id and the cookie of the app."""
    browser.register()
    world.clock.skip(minutes=6)
    grant = browser.step_up("POST", "/orders", {"item": "tea"})
    extra = [("idempotency-key", "order-of-tea-0001"), ("baton-grant", grant)]
    first = browser.request("POST", "/orders", {"item": "tea"}, extra=extra)
    assert (first.status, [line.partition("=")[0] for line in first.set_cookies]) == (201, ["ordered", SESSION])
    again = browser.request("POST", "/orders", {"item": "tea"}, extra=extra)
    assert (again.status, again.body, again.headers["baton-replayed"]) == (201, first.body, "1")
    assert [line.partition("=")[0] for line in again.set_cookies] == ["ordered"]
    world.clock.skip(minutes=6)
    later = browser.request("POST", "/orders", {"item": "tea"}, extra=extra)
    assert [line.partition("=")[0] for line in later.set_cookies] == ["ordered", SESSION]
    assert later.headers["cache-control"] == "no-store"


def test_a_new_id_is_in_no_cache(browser: Browser, world: World) -> None:
    """No cache may store an answer with a cookie. The header ``Vary`` of a page names the cookies."""
    browser.register()
    kept = browser.request("GET", "/kept")
    assert (kept.headers["cache-control"], kept.headers["vary"]) == (
        "private, max-age=60",
        "Accept-Language, Cookie, Origin",
    )
    world.clock.skip(minutes=6)
    fresh = browser.request("GET", "/kept")
    assert (fresh.headers["cache-control"], len(fresh.set_cookies)) == ("no-store", 1)


def test_no_login_page_is_on_another_site(world: World) -> None:
    """The path is checked when the app starts."""
    baton = Baton.from_environment({**world_settings(), "BATON_TABLE_PREFIX": "x"})
    for login in ("//evil.example", "https://evil.example", "/\\evil.example", "login", "/login?x=1", "/a\nb"):
        with pytest.raises(TypeError, match="path of this site"):
            baton.page(login=login)
    del world


def world_settings() -> dict[str, str]:
    """Return the minimum settings."""
    return {"BATON_DEVELOPMENT": "1", "BATON_ISSUER": f"{OWN}/api", "BATON_KEY_RING": "local"}


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("/", True),
        ("/home?page=2", True),
        ("/" + "a" * 511, True),
        ("/" + "a" * 512, False),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("https:evil.example", False),
        ("https://evil.example", False),
        ("home", False),
        ("", False),
        ("/a\nb", False),
        ("/a\x7f", False),
    ],
)
def test_a_way_back_leads_to_this_site(text: str, *, accepted: bool) -> None:
    """T23. ``next`` of the login page must be a path of this site."""
    assert is_next(text) is accepted
