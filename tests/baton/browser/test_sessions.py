"""The life of a login in cookies, through the gateway. T10 to T22 are rows of docs/baton/attacks.md."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Moved
from chalicelib.baton.storage.memory.key_ring import MemoryKeyRing
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import EMAIL, LOGIN, PAGE, REMEMBER, SESSION, Browser, cleared
from tests.baton.factors.authenticator import Authenticator
from tests.baton.wire.conversation import NEW_PASSWORD
from tests.baton.wire.second_factor import totp

MINUTE, HOUR, DAY = 60, 3600, 86_400
CROSS = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
HANDED_OUT = r"__Host-baton=baton_[\w-]{60,130}; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_a_login_is_in_cookies_and_in_no_body(browser: Browser) -> None:
    """T15, T21. The attributes are exact, and the body has no token."""
    registered = browser.register()
    (line, forget) = registered.set_cookies
    assert re.fullmatch(HANDED_OUT, line)
    assert forget == f"{REMEMBER}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    assert registered.members.keys() == {
        *("account_id", "device_id", "expires_in", "remembered", "csrf_token", "server_time")
    }
    assert (registered.members["remembered"], registered.members["expires_in"]) == (False, 1800)
    assert b"baton_" not in registered.body
    assert registered.headers["cache-control"] == "no-store"
    assert registered.headers["vary"] == "Cookie, Origin"
    remembered = browser.login(remember=True)
    assert remembered.members["remembered"] is True
    (_, kept) = remembered.set_cookies
    assert re.fullmatch(rf"{REMEMBER}=baton_[\w-]+; Path=/; Max-Age=15552000; Secure; HttpOnly; SameSite=Lax", kept)
    assert browser.request("GET", "/me").members["email"] == EMAIL


def test_an_answer_depends_on_the_origin_where_no_other_origin_may_call(make_world: Callable[..., World]) -> None:
    """The site rule reads ``Origin``, so no cache may give the answer for one page to another.

    The registry ``clients.toml`` allows no other origin.
    """
    browser = Browser(make_world(clients="clients.toml"))
    assert browser.register().headers["vary"] == "Cookie, Origin"
    assert browser.request("GET", "/me").headers["vary"] == "Cookie, Origin"
    assert browser.request("GET", "/me", page=CROSS).code == "cross_site"
    assert browser.request("GET", "/time").headers.get("vary") is None


def test_a_token_of_a_cookie_opens_nothing_elsewhere(browser: Browser, world: World) -> None:
    """T16. Otherwise a stolen cookie could be sent in a header, without the site rule.

    A bearer token in a cookie is refused too.
    """
    browser.register(remember=True)
    plain = Browser(world)
    for token in browser.cookies.values():
        bearer = [("authorization", f"Bearer {token}")]
        assert plain.request("GET", "/me", page={}, extra=bearer).code == "token_invalid"
        form = f"grant_type=refresh_token&refresh_token={token}".encode()
        fields = [("host", "api.example.com"), ("content-type", "application/x-www-form-urlencoded")]
        refused = world.gateway.call("POST", "/api/oauth/token", fields, form)
        assert (refused.status, b"invalid_grant" in refused.body) == (400, True)
        revoked = world.gateway.call("POST", "/api/oauth/revoke", fields, f"token={token}".encode())
        assert revoked.status == 200
    assert browser.request("GET", "/me").status == 200
    api = world.phone("bob@example.com", client_id="session-api", binding="none")
    for token in (api.session.tokens["access_token"], api.session.tokens["refresh_token"]):
        swapped = Browser(world, cookies={SESSION: token, REMEMBER: token})
        assert swapped.request("GET", "/me").code == "token_invalid"


def test_a_remember_token_is_no_session_id(browser: Browser, world: World) -> None:
    """Neither token is accepted in place of the other."""
    browser.register(remember=True)
    swapped = Browser(world, cookies={SESSION: browser.cookies[REMEMBER], REMEMBER: browser.cookies[SESSION]})
    assert swapped.request("GET", "/me").code == "token_invalid"


def test_beside_authorization_cookies_are_ignored(browser: Browser) -> None:
    """T16. If the request has ``Authorization``, only this field is judged."""
    browser.register()
    both = browser.request("GET", "/me", extra=[("authorization", "Bearer baton_x")])
    assert both.code == "token_invalid"


def test_two_cookies_of_one_name_are_refused_and_a_split_field_is_read(browser: Browser, world: World) -> None:
    """T16. HTTP/2 may split the field (RFC 9113)."""
    browser.register(remember=True)
    plain = Browser(world)
    lines = [("cookie", f"theme=dark; theme=light; {REMEMBER}={browser.cookies[REMEMBER]}")]
    split = [*lines, ("cookie", f"{SESSION}={browser.cookies[SESSION]}")]
    assert plain.request("GET", "/me", extra=split).status == 200
    twice = [*split, ("cookie", f"{SESSION}={browser.cookies[SESSION]}")]
    assert plain.request("GET", "/me", extra=twice).code == "duplicate_field"
    long = plain.request("GET", "/me", extra=[("cookie", f"{SESSION}={'x' * 4096}")])
    assert (long.status, long.code) == (431, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "members"),
    [
        ("POST", "/logout", {}),
        ("POST", "/me/password", {"new_password": NEW_PASSWORD}),
        ("DELETE", "/me", None),
        ("POST", "/step-up", {}),
    ],
)
def test_no_other_site_changes_anything(
    browser: Browser, world: World, method: str, path: str, members: object
) -> None:
    """T11. The request is refused before any database call, and no cookie is deleted."""
    browser.register()
    for page in (CROSS, {"sec-fetch-site": "none"}, {"origin": "null"}, {"sec-fetch-site": "same-site"}, {}):
        read = len(world.lines)
        refused = browser.request(method, path, members, page=page)
        assert (refused.status, refused.code, refused.set_cookies) == (403, "cross_site", [])
        assert "cross_site_refused" in [line.get("message") for line in world.lines[read:]]
    assert browser.request("GET", "/me").status == 200


def test_another_site_causes_no_call_of_the_storage(
    browser: Browser, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key ring is not read either: requests of other sites cost nothing."""
    browser.register()
    world.storage.fail(next=1)  # the next call of any store
    with monkeypatch.context() as patch:
        patch.delattr(MemoryKeyRing, "current")
        for path, members in (("/logout", {}), ("/login", browser.entry()), ("/register", browser.entry())):
            assert browser.request("POST", path, members, page=CROSS).code == "cross_site"
    assert browser.request("POST", "/logout", {}).code == "unavailable"


def test_another_site_cannot_log_a_person_in(browser: Browser, world: World) -> None:
    """T12. Otherwise the person would work in the account of an attacker."""
    browser.register()
    victim = Browser(world)
    for path in ("/login", "/register"):
        for page in (CROSS, {"origin": "null"}, {}, {"sec-fetch-site": "none"}):
            refused = victim.request("POST", path, victim.entry("eve@example.com"), page=page)
            assert (refused.status, refused.code, refused.set_cookies) == (403, "cross_site", [])
    assert victim.request("POST", "/login", victim.entry(), page={"origin": PAGE}).status == 200


def test_a_page_of_another_client_is_another_site(browser: Browser, world: World) -> None:
    """The origins of one client may not use the cookies of another."""
    browser.register()
    other = {"sec-fetch-site": "same-site", "origin": "https://other.example.com"}
    assert browser.request("GET", "/me", page=other).code == "cross_site"
    assert browser.request("POST", "/logout", {}, page=other).code == "cross_site"
    own = Browser(world, "other")
    assert own.request("POST", "/login", own.entry(), page=other).status == 200
    assert own.request("GET", "/me", page=other).status == 200


def test_only_pages_of_the_client_read_answers_with_cookies(browser: Browser) -> None:
    """CORS with credentials is for the origins of a cookie client, not for all origins that may call."""
    browser.register()
    answer = browser.request("GET", "/me", page={"sec-fetch-site": "same-site", "origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-credentials"] == "true"
    foreign = browser.request("GET", "/me", page=CROSS)
    assert "access-control-allow-origin" not in foreign.headers
    assert "access-control-allow-credentials" not in foreign.headers
    preflight = browser.request("OPTIONS", "/me", page={"origin": PAGE})
    assert (preflight.status, preflight.headers["access-control-allow-credentials"]) == (204, "true")
    assert "Baton-CSRF" in preflight.headers["access-control-allow-headers"]


def test_an_origin_that_signs_gets_no_credentials(make_world: Callable[..., World]) -> None:
    """``BATON_ORIGINS`` is for pages with a key."""
    browser = Browser(make_world(origins="https://spa.example.com"))
    answer = browser.request("GET", "/time", page={"origin": "https://spa.example.com"})
    assert answer.headers["access-control-allow-origin"] == "https://spa.example.com"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_link_from_another_site_shows_the_page_and_its_script_gets_nothing(browser: Browser) -> None:
    """T14. A person who follows a link in a mail must still be logged in."""
    browser.register()
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert browser.request("GET", "/me", page=link).status == 200
    assert browser.request("GET", "/me", page={**link, "sec-fetch-mode": "no-cors"}).code == "cross_site"


def test_an_old_browser_sends_the_csrf_token(browser: Browser, world: World) -> None:
    """T22. Without ``Origin`` and Fetch Metadata, only the token of this session passes, and never for a login."""
    token = browser.register().members["csrf_token"]
    other = Browser(world)
    foreign = other.register("bob@example.com").members["csrf_token"]
    of_another_login = Browser(world).login().members["csrf_token"]
    unmasked = "A" * 43 + token[43:]
    for wrong in ("", "x", foreign, of_another_login, unmasked, token[:-1]):
        refused = browser.request("POST", "/logout", {}, page={"baton-csrf": wrong})
        assert refused.code == "cross_site"
    fresh = browser.request("GET", "/session").members["csrf_token"]
    assert fresh != token  # a new mask each time
    old = browser.copy()
    assert browser.request("POST", "/logout", {}, page={"baton-csrf": token}).status == 204
    assert old.request("POST", "/logout", {}, page={"baton-csrf": fresh}).code == "login_required"
    assert old.request("POST", "/login", old.entry(), page={"baton-csrf": fresh}).code == "cross_site"


def test_nothing_is_adopted(browser: Browser, world: World, make_world: Callable[..., World]) -> None:
    """T10. An invented id, an id of another deployment, and an id from before the login are not accepted."""
    planted = Browser(world, cookies={SESSION: "baton_" + "A" * 90})
    assert planted.request("GET", "/me").code == "token_invalid"
    elsewhere = Browser(make_world())
    elsewhere.register()
    assert Browser(world, cookies=elsewhere.cookies).request("GET", "/me").code == "token_invalid"
    browser.register()
    before = browser.copy()
    browser.login()
    assert before.cookies != browser.cookies
    gone = before.request("GET", "/me")
    assert (gone.code, gone.members["reason"], cleared(gone)) == ("login_required", "replaced", True)


def test_a_login_over_the_cookie_of_another_account_ends_that_login(browser: Browser) -> None:
    """The browser has one login."""
    browser.register()
    ada = browser.copy()
    browser.register("bob@example.com")
    assert ada.request("GET", "/me").members["reason"] == "replaced"
    bob = browser.copy()
    browser.login(EMAIL)
    assert bob.request("GET", "/me").members["reason"] == "replaced"
    assert browser.request("GET", "/me").members["email"] == EMAIL


def test_use_extends_a_session_and_sets_a_new_id(browser: Browser, world: World) -> None:
    """T17. The session ends after 30 minutes without use, and after twelve hours in any case."""
    browser.register()
    for _ in range(23):
        world.clock.skip(seconds=29 * MINUTE)
        before = browser.cookies[SESSION]
        assert browser.request("GET", "/me").status == 200
        assert browser.cookies[SESSION] != before
    world.clock.skip(seconds=29 * MINUTE)
    assert browser.request("GET", "/me").status == 200
    world.clock.skip(seconds=29 * MINUTE)
    over = browser.request("GET", "/me")
    assert (over.code, over.members["reason"], cleared(over)) == ("login_required", "expired", True)
    browser.login()
    world.clock.skip(seconds=30 * MINUTE)
    idle = browser.request("GET", "/me")
    assert (idle.code, idle.members["reason"], cleared(idle)) == ("login_required", "idle", True)


def test_a_remembered_session_goes_on_in_the_same_request(browser: Browser, world: World) -> None:
    """T17. It continues after a night, or without the id of a closed browser.

    It ends after 30 days without use, and after 180 days.
    """
    browser.register(remember=True)
    world.clock.skip(seconds=9 * HOUR)
    answer = browser.request("GET", "/me")
    assert answer.status == 200
    assert [line.partition("=")[0] for line in answer.set_cookies] == [SESSION, REMEMBER]
    del browser.cookies[SESSION]  # the browser was closed
    assert browser.request("GET", "/me").status == 200
    assert SESSION in browser.cookies
    for _ in range(6):
        world.clock.skip(seconds=29 * DAY)
        assert browser.request("GET", "/me").status == 200
    world.clock.skip(seconds=7 * DAY)
    assert browser.request("GET", "/me").members["reason"] == "expired"
    browser.login(remember=True)
    world.clock.skip(seconds=31 * DAY)
    assert browser.request("GET", "/me").members["reason"] == "idle"


def test_a_remember_token_of_another_login_renews_nothing(browser: Browser, world: World) -> None:
    """Both cookies must be of the same login."""
    browser.register()
    other = Browser(world)
    other.register("bob@example.com", remember=True)
    mixed = Browser(world, cookies={SESSION: browser.cookies[SESSION], REMEMBER: other.cookies[REMEMBER]})
    assert mixed.request("GET", "/me").members["email"] == EMAIL
    world.clock.skip(seconds=31 * MINUTE)
    assert mixed.request("GET", "/me").code == "login_required"


def test_an_old_id_dies_after_a_newer_one_is_used(browser: Browser, world: World) -> None:
    """T18. The old id ends no login: a crashed browser may restore an old cookie.

    The owner sees the event once a day.
    """
    account = browser.register().members["account_id"]
    old = browser.copy()
    world.clock.skip(seconds=6 * MINUTE)
    assert browser.request("GET", "/me").status == 200
    world.clock.skip(seconds=6 * MINUTE)
    assert browser.request("GET", "/me").status == 200  # the newer id is in use now
    for _ in range(3):
        refused = old.request("GET", "/me")
        assert (refused.status, refused.code, refused.set_cookies) == (401, "session_superseded", [])
    assert browser.request("GET", "/me").status == 200
    assert [event.event for event in world.audit(account)].count("session_superseded") == 1


def test_the_owner_is_told_of_an_old_id_where_the_counter_fails(browser: Browser, world: World) -> None:
    """The count may be stored although its answer is lost.

    Then the next request would not be the first, so the event is recorded now.
    """
    account = browser.register().members["account_id"]
    old = browser.copy()
    for _ in range(2):
        world.clock.skip(seconds=6 * MINUTE)
        browser.request("GET", "/me")
    world.storage.fail(when="after", verb="consume_ticket")
    assert [old.request("GET", "/me").code for _ in range(2)] == ["session_superseded"] * 2
    assert [event.event for event in world.audit(account)].count("session_superseded") == 1


def test_a_lost_set_cookie_logs_nobody_out(browser: Browser, world: World) -> None:
    """T18. The newer id was never used, so the old id still works."""
    browser.register()
    for _ in range(20):
        world.clock.skip(seconds=7 * MINUTE)
        assert browser.request("GET", "/me", keeps=False).status == 200


def test_a_superseded_id_with_a_remember_token_goes_on(browser: Browser, world: World) -> None:
    """A browser that lost the newest cookies in a crash is not logged out."""
    browser.register(remember=True)
    old = browser.copy()
    for _ in range(3):
        world.clock.skip(seconds=6 * MINUTE)
        assert browser.request("GET", "/me").status == 200
    assert old.request("GET", "/me").status == 200


@pytest.mark.parametrize("how", ["logout", "everywhere", "password", "disabled", "deleted"])
def test_the_old_cookies_are_dead_at_once(browser: Browser, world: World, how: str) -> None:
    """T19. After the end of the login, the remember token renews nothing either."""
    browser.register(remember=True)
    second = Browser(world)
    second.login(remember=True)
    if how == "logout":
        assert cleared(second.request("POST", "/logout", {}))
        second.cookies = browser.cookies
        browser.request("POST", "/logout", {}, keeps=False)
    elif how == "everywhere":
        grant = second.step_up("POST", "/logout", {"everywhere": True})
        gone = second.request("POST", "/logout", {"everywhere": True}, extra=[("baton-grant", grant)])
        assert (gone.status, cleared(gone)) == (204, True)
    elif how == "password":
        members = {"new_password": NEW_PASSWORD}
        grant = second.step_up("POST", "/me/password", members)
        before = second.cookies[SESSION]
        world.clock.skip(seconds=1)
        changed = second.request("POST", "/me/password", members, extra=[("baton-grant", grant)])
        assert changed.status == 204
        assert second.cookies[SESSION] != before  # a new id after a proof of the person
        assert second.request("GET", "/me").status == 200
    elif how == "disabled":
        world.disable(EMAIL)
    else:
        grant = second.step_up("DELETE", "/me")
        gone = second.request("DELETE", "/me", extra=[("baton-grant", grant)])
        assert (gone.status, cleared(gone)) == (204, True)
    for cookies in (dict(browser.cookies), {REMEMBER: browser.cookies[REMEMBER]}):
        refused = Browser(world, cookies=cookies).request("GET", "/me")
        assert (refused.status, refused.code, cleared(refused)) == (401, "login_required", True)


def test_a_step_up_sets_a_new_id(browser: Browser, world: World) -> None:
    """After each proof of the person, the session id changes."""
    browser.register()
    before = browser.cookies[SESSION]
    world.clock.skip(seconds=1)
    browser.step_up("POST", "/logout", {})
    assert browser.cookies[SESSION] != before


def test_the_page_learns_whether_it_is_logged_in(browser: Browser) -> None:
    """The route is ``GET /session``."""
    assert browser.request("GET", "/session").members == {"active": False}
    registered = browser.register()
    answer = browser.request("GET", "/session")
    members = {**registered.members, "active": True, "csrf_token": answer.members["csrf_token"]}
    members["device_bound"] = "none"
    assert answer.members == {**members, "server_time": answer.members["server_time"]}
    assert answer.headers["vary"] == "Cookie, Origin"
    assert browser.request("GET", "/session", page={**CROSS, "sec-fetch-mode": "cors"}).code == "cross_site"
    browser.request("POST", "/logout", {})
    assert browser.request("GET", "/session").members == {"active": False}


def test_one_of_two_requests_sets_the_new_id(browser: Browser, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another request stored the use first. A renewal is tried again, because it must set a new id."""
    browser.register(remember=True)
    genuine, lost = MemoryLineageStore.record_use, [Moved()]

    def second(self: MemoryLineageStore, *arguments: Any, **named: Any) -> object:
        return lost.pop() if lost else genuine(self, *arguments, **named)

    monkeypatch.setattr(MemoryLineageStore, "record_use", second)
    world.clock.skip(seconds=6 * MINUTE)
    answer = browser.request("GET", "/me")
    assert (answer.status, answer.set_cookies) == (200, [])
    world.clock.skip(seconds=HOUR)
    lost.append(Moved())
    answer = browser.request("GET", "/me")
    assert (answer.status, len(answer.set_cookies)) == (200, 2)
    world.clock.skip(seconds=HOUR)
    lost += [Moved()] * 10
    answer = browser.request("GET", "/me")
    assert (answer.status, answer.set_cookies) == (503, [])


def test_many_tabs_renew_at_the_same_time(browser: Browser, world: World) -> None:
    """A browser opens its tabs with only the remember token. Each tab gets an id, and each id works."""
    browser.register(remember=True)
    world.clock.skip(seconds=HOUR)
    tabs = [browser.copy() for _ in range(8)]
    with ThreadPoolExecutor(len(tabs)) as pool:
        statuses = list(pool.map(lambda tab: tab.request("GET", "/me").status, tabs))
    assert statuses == [200] * len(tabs)
    assert [tab.request("GET", "/me").status for tab in tabs] == statuses


def test_the_sessions_of_a_client_out_of_service_have_ended(make_world: Callable[..., World]) -> None:
    """The client has ``retired = true`` in the registry."""
    world = make_world(environments=1)
    browser = Browser(world)
    browser.register(remember=True)
    clients = world._baton.clients
    client = clients.get("web")
    assert client is not None
    clients._by_code[client.code] = replace(client, retired=True)
    refused = browser.request("GET", "/me")
    assert (refused.code, cleared(refused)) == ("login_required", True)


@pytest.mark.parametrize("path", ["/me", "/session"])
@pytest.mark.parametrize(("verb", "when"), [("get", "before"), ("record_use", "before"), ("record_use", "after")])
def test_server_trouble_keeps_the_cookies(
    browser: Browser, world: World, path: str, verb: str, when: Literal["before", "after"]
) -> None:
    """T20. The answer is 503, and no cookie is set or deleted. The same cookies work afterwards."""
    browser.register(remember=True)
    world.clock.skip(seconds=HOUR)
    world.storage.fail(when=when, verb=verb)
    refused = browser.request("GET", path)
    assert (refused.status, refused.code, refused.set_cookies) == (503, "unavailable", [])
    answer = browser.request("GET", path)
    assert (answer.status, len(answer.set_cookies)) == (200, 2)


def test_the_second_step_of_a_login_is_in_a_cookie(world: World) -> None:
    """The ``auth_session`` is not in the body, and no other site can finish the login."""
    browser = Browser(world, "web-strict")
    asked = browser.request("POST", "/register", browser.entry())
    assert (asked.status, asked.code) == (403, "enrolment_required")
    assert "auth_session" not in asked.members
    (line,) = asked.set_cookies
    assert line.startswith(f"{LOGIN}=as.")
    assert line.endswith("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Strict")
    assert browser.request("POST", "/login/enrol", {"kind": "totp"}, page=CROSS).code == "cross_site"
    in_body = {"kind": "totp", "auth_session": browser.cookies[LOGIN]}
    assert Browser(world).request("POST", "/login/enrol", in_body, page=CROSS).code == "cross_site"
    assert Browser(world).request("POST", "/login/enrol", {"kind": "totp"}).code == "invalid_session"


def test_a_browser_finishes_a_login_with_a_second_factor(make_world: Callable[..., World]) -> None:
    """It enrols an app at its registration, and proves it at the next login.

    The steps send the ``auth_session`` only as a cookie.
    """
    world = make_world(mail="off")
    browser = Browser(world, "web-strict")
    assert browser.request("POST", "/register", browser.entry(remember=True)).code == "enrolment_required"
    begun = browser.request("POST", "/login/enrol", {"kind": "totp"}).members
    step = world.clock.now // 30
    first = {"totp": totp(begun["secret"], step), "enrolment": begun["enrolment"]}
    done = browser.request("POST", "/login/factor", first)
    assert (done.status, len(done.members["recovery_codes"]), done.members["remembered"]) == (200, 10, True)
    assert set(browser.cookies) == {SESSION, REMEMBER}
    assert b"baton_" not in done.body
    assert browser.request("GET", "/me").members["acr"] == "aal2"
    again = Browser(world, "web-strict")
    asked = again.request("POST", "/login", again.entry())
    assert (asked.code, "auth_session" in asked.members, set(again.cookies)) == ("factor_required", False, {LOGIN})
    world.clock.skip(seconds=60)
    proof = {"totp": totp(begun["secret"], step + 2)}
    assert again.request("POST", "/login/factor", proof, page=CROSS).code == "cross_site"
    done = again.request("POST", "/login/factor", proof)
    assert (done.status, done.members["remembered"], set(again.cookies)) == (200, False, {SESSION})


def test_a_browser_logs_in_with_a_passkey(make_world: Callable[..., World]) -> None:
    """The login is remembered."""
    world = make_world(mail="off")
    browser = Browser(world)
    browser.register()
    key = Authenticator(origin=PAGE)
    grant = browser.step_up("POST", "/me/passkeys/options")
    options = browser.request("POST", "/me/passkeys/options", extra=[("baton-grant", grant)]).members["options"]
    added = browser.request("POST", "/me/passkeys", {"credential": key.create(options), "name": "key"})
    assert added.status == 201, added
    other = Browser(world)
    asked = {"client_id": "web"}
    assert other.request("POST", "/login/passkey/options", asked, page=CROSS).code == "cross_site"
    options = other.request("POST", "/login/passkey/options", asked).members["options"]
    sent = {**asked, "credential": key.get(options), "remember": True}
    assert other.request("POST", "/login/passkey", sent, page=CROSS).code == "cross_site"
    done = other.request("POST", "/login/passkey", sent)
    assert (done.status, done.members["remembered"], b"baton_" in done.body) == (200, True, False)
    assert set(other.cookies) == {SESSION, REMEMBER}
    assert other.request("GET", "/me").members["acr"] == "phr"


def test_a_cookie_client_takes_no_key_and_another_client_nothing_to_remember(browser: Browser, world: World) -> None:
    """The members ``device`` and ``remember`` are refused at a client where they would have no effect."""
    hmac = browser.request("POST", "/login", browser.entry(device={"binding": "hmac"}))
    assert (hmac.code, hmac.members["pointer"]) == ("malformed", "/device")
    api = Browser(world, "session-api")
    asked = api.request("POST", "/login", api.entry(remember=True))
    assert (asked.code, asked.members["pointer"]) == ("malformed", "/remember")
