"""A password change in a browser replaces the cookies of its login: copies of the old ones stop working."""

from baton_client import content_digest
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import EMAIL, REMEMBER, SESSION, Browser, Shown, cleared
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD

HOUR = 3600
OPERATION = {"method": "POST", "path": "/api/logout", "digest": content_digest(b"{}")}


def change_password(browser: Browser, *, keeps: bool = True) -> Shown:
    """Change the password in this browser. ``keeps``: the browser gets the answer."""
    members = {"new_password": NEW_PASSWORD}
    grant = browser.step_up("POST", "/me/password", members)
    return browser.request("POST", "/me/password", members, extra=[("baton-grant", grant)], keeps=keeps)


def test_a_copy_of_the_cookies_dies_with_the_password_change(browser: Browser, world: World) -> None:
    """The session id and the remember token of the copy renew nothing. The browser of the owner continues."""
    account = browser.register(remember=True).members["account_id"]
    thieves = [browser.copy(), Browser(world, cookies={REMEMBER: browser.cookies[REMEMBER]})]
    world.clock.skip(seconds=HOUR)
    fresh = browser.copy()
    assert fresh.request("GET", "/me").status == 200  # the thief has the newest session id
    changed = change_password(browser)
    assert (changed.status, [line.partition("=")[0] for line in changed.set_cookies]) == (204, [SESSION, REMEMBER])
    for thief in (fresh, *thieves):
        refused = thief.request("GET", "/me")
        assert (refused.status, refused.code, refused.set_cookies) == (401, "session_superseded", [])
        assert thief.request("GET", "/session").members == {"active": False}
    mixed = Browser(world, cookies={SESSION: browser.cookies[SESSION], REMEMBER: fresh.cookies[REMEMBER]})
    world.clock.skip(seconds=HOUR // 6)
    assert [line.partition("=")[0] for line in mixed.request("GET", "/me").set_cookies] == [SESSION]
    assert browser.request("GET", "/me").members["email"] == EMAIL
    world.clock.skip(seconds=9 * HOUR)
    assert browser.request("GET", "/me").status == 200
    assert [event.event for event in world.audit(account)].count("session_superseded") == 1


def test_a_lost_answer_to_a_password_change_needs_a_login(browser: Browser, world: World) -> None:
    """The old cookies may be the copy of a thief. The owner logs in with the new password."""
    browser.register(remember=True)
    assert change_password(browser, keeps=False).status == 204
    assert browser.request("GET", "/me").code == "session_superseded"
    assert browser.login(password=NEW_PASSWORD).status == 200
    assert browser.request("GET", "/me").status == 200


def test_a_refused_password_change_replaces_nothing(browser: Browser, world: World) -> None:
    """A short password is refused, and the cookies stay valid."""
    browser.register(remember=True)
    copy = browser.copy()
    members = {"new_password": "short"}
    grant = browser.step_up("POST", "/me/password", members)
    refused = browser.request("POST", "/me/password", members, extra=[("baton-grant", grant)])
    assert (refused.status, refused.code, cleared(refused)) == (422, "too_short", False)
    assert copy.request("GET", "/me").status == 200


def test_an_old_cookie_ends_no_login_of_its_owner(browser: Browser, world: World) -> None:
    """A login replaces the login whose cookies it sends. A copy from before the password change replaces nothing."""
    browser.register(remember=True)
    thief = browser.copy()
    change_password(browser)
    thief.register("eve@example.com")
    assert browser.request("GET", "/me").members["email"] == EMAIL


def test_a_late_answer_overwrites_no_remember_token(browser: Browser, world: World) -> None:
    """A request that ran before the password change may be answered after it, with a session id of that time."""
    browser.register(remember=True)
    world.clock.skip(seconds=HOUR // 6)
    late = [browser.request("GET", "/me", keeps=False), browser.request("POST", "/step-up", {}, keeps=False)]
    assert [line.partition("=")[0] for line in late[0].set_cookies] == [SESSION]
    change_password(browser)
    for answer in late:
        browser.keep(answer)
    assert browser.request("GET", "/me").status == 200


def test_a_superseded_id_ends_no_login(browser: Browser, world: World) -> None:
    """A thief registers over a copied session id that is older than the floor. The owner stays logged in."""
    browser.register()
    thief = browser.copy()
    for _ in range(2):
        world.clock.skip(seconds=HOUR // 10)
        assert browser.request("GET", "/me").status == 200
    assert thief.request("GET", "/me").code == "session_superseded"
    thief.register("eve@example.com")
    assert browser.request("GET", "/me").members["email"] == EMAIL


def test_a_login_over_an_old_session_id_ends_the_login_of_the_remember_token(browser: Browser, world: World) -> None:
    """The browser lost the newest session id, but has the remember token of the same login."""
    browser.register(remember=True)
    old = browser.cookies[SESSION]
    change_password(browser)
    other = Browser(world, cookies={SESSION: old, REMEMBER: browser.cookies[REMEMBER]})
    other.register("bob@example.com")
    refused = browser.request("GET", "/me")
    assert (refused.code, refused.members["reason"]) == ("login_required", "replaced")


def test_a_remember_token_lasts_as_long_as_its_login(browser: Browser, world: World) -> None:
    """A page that is in use all the time gets no new remember cookie. It must not lose the cookie after 30 days."""
    registered = browser.register(remember=True)
    assert f"Max-Age={180 * 24 * HOUR};" in registered.set_cookies[1]
    world.clock.skip(seconds=HOUR)
    renewed = browser.request("GET", "/me")
    assert f"Max-Age={180 * 24 * HOUR - HOUR};" in renewed.set_cookies[1]
    world.clock.skip(seconds=HOUR)
    proved = browser.request("POST", "/step-up", {"password": PASSWORD, "operation": OPERATION})  # a renewal too
    assert (proved.status, len(proved.set_cookies)) == (200, 2)


def test_an_idle_session_id_ends_no_login(browser: Browser, world: World) -> None:
    """A thief registers over a copied session id that has expired. The remembered login of the owner goes on."""
    browser.register(remember=True)
    thief = Browser(world, cookies={SESSION: browser.cookies[SESSION]})
    world.clock.skip(seconds=HOUR)
    assert thief.request("GET", "/me", keeps=False).code == "login_required"
    thief.register("eve@example.com")
    assert browser.request("GET", "/me").members["email"] == EMAIL


def test_a_login_ends_the_logins_of_both_cookies(browser: Browser, world: World) -> None:
    """The cookies may be of two logins, after answers that arrived late."""
    browser.register(remember=True)
    other = Browser(world)
    other.register("bob@example.com")
    mixed = Browser(world, cookies={SESSION: other.cookies[SESSION], REMEMBER: browser.cookies[REMEMBER]})
    mixed.register("eve@example.com")
    for ended in (browser, other):
        refused = ended.request("GET", "/me")
        assert (refused.code, refused.members["reason"]) == ("login_required", "replaced")
