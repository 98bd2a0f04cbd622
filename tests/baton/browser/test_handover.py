"""From the app to the browser: ``POST /session/handover``, ``GET /session/open`` and ``POST /session/redeem``.

Numbers such as T33 are rows of docs/baton/attacks.md.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from baton_client import BatonClient, MemoryStorage
from chalicelib.baton import Baton
from chalicelib.baton.accounts.handover import masked
from chalicelib.baton.effects import Done
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.assurance import PASSWORD_AND_TOTP
from chalicelib.baton.mail.sessions import Wanted, known_device
from chalicelib.baton.storage.memory.key_ring import MemoryKeyRing
from chalicelib.baton.testing.phone import PHONE_PASSWORD, Phone
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import EMAIL, PAGE, REMEMBER, SESSION, Browser, Shown
from tests.baton.wire.conftest import BASE_URL, Line
from tests.baton.wire.conversation import NEW_PASSWORD
from tests.baton.wire.second_factor import totp

HOUR = 3600
CROSS = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
OPENS = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
KEY = [("idempotency-key", "the-tap-of-a-person")]


@pytest.fixture
def phone(world: World) -> Phone:
    """Register on a phone."""
    return world.phone(EMAIL)


def baton_of(world: World) -> Baton:
    """Return the Baton object of the first environment, for actions of an operator."""
    return world._baton


def code_of(phone: Phone, **members: object) -> str:
    """Request a code."""
    reply = phone.post("/session/handover", json={"client_id": "web", **members})
    assert reply.status == 200, reply
    assert reply.json.keys() == {"code", "expires_in"}
    assert reply.json["expires_in"] == 60
    return str(reply.json["code"])


def redeem(browser: Browser, code: str, *, confirm: bool = True, key: str = "", **named: Any) -> Shown:
    """Redeem a code, as the page does after the tap of the person."""
    extra = [("idempotency-key", key)] if key else None
    return browser.request("POST", "/session/redeem", {"code": code, "confirm": confirm}, extra=extra, **named)


def handed_over(phone: Phone, browser: Browser) -> str:
    """Hand a login over to a browser, and return the id of the new login."""
    assert redeem(browser, code_of(phone)).status == 200
    return str(browser.request("GET", "/session").members["device_id"])


def devices(phone: Phone) -> dict[str, dict[str, Any]]:
    """List the logins of the account."""
    return {one["device_id"]: one for one in phone.get("/me/devices").json["devices"]}


def test_an_app_hands_its_login_over_to_the_system_browser(phone: Phone, browser: Browser, world: World) -> None:
    """The page shows whose login it is, and the tap begins the login.

    It has the level of the app's login, and no remember token.
    """
    code = code_of(phone, next="/orders?page=2")
    assert code.startswith("ho.")
    asked = redeem(browser, code, confirm=False)
    assert asked.members == {"account": "a…a@example.com", "device": "test phone"}
    assert (asked.set_cookies, asked.headers["cache-control"]) == ([], "no-store")
    done = redeem(browser, code, key="the-tap-of-a-person")
    assert done.members == {"account": "a…a@example.com", "device": "test phone", "next": "/orders?page=2"}
    assert set(browser.cookies) == {SESSION}
    assert b"baton_" not in done.body
    assert done.headers["vary"] == "Cookie, Origin"
    me = browser.request("GET", "/me").members
    assert (me["email"], me["acr"], me["amr"]) == (EMAIL, "aal1", ["pwd"])
    listed = devices(phone)
    (web,) = (one for one in listed.values() if one["client_id"] == "web")
    assert (web["handed_over_from"], web["restored_from"], web["name"]) == (phone.device_id, None, "test phone")
    assert listed[phone.device_id]["handed_over_from"] is None
    row = [event for event in world.audit(phone.account) if event.event == "logged_in"][-1]
    assert row.details == {"client": "web", "handed_over_from": phone.device_id}
    session = browser.request("GET", "/session").members
    assert (session["active"], session["remembered"]) == (True, False)


def test_an_embedded_view_sends_the_code_in_a_header(phone: Phone, browser: Browser) -> None:
    """A link cannot send this header, and CORS allows it to no page. So no tap is needed."""
    code = code_of(phone, next="/orders?q=é b")
    answer = browser.request("GET", "/session/open", page=OPENS, extra=[("baton-handover", code)])
    assert (answer.status, answer.headers["location"]) == (303, "/orders?q=%C3%A9%20b")
    assert browser.request("GET", "/me").members["email"] == EMAIL
    again = Browser(browser.world).request("GET", "/session/open", page=OPENS, extra=[("baton-handover", code)])
    assert (again.status, again.code, again.set_cookies) == (400, "handover_invalid", [])
    fresh = [("baton-handover", code_of(phone)), *KEY]
    first, same = (Browser(browser.world).request("GET", "/session/open", page=OPENS, extra=fresh) for _ in range(2))
    assert (first.status, first.set_cookies) == (same.status, same.set_cookies) == (303, first.set_cookies)
    twice = [("baton-handover", code), ("baton-handover", code)]
    assert browser.request("GET", "/session/open", page=OPENS, extra=twice).code == "duplicate_field"
    script = {**CROSS, "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    other = [("baton-handover", code_of(phone))]
    assert browser.request("GET", "/session/open", page=script, extra=other).code == "cross_site"
    preflight = browser.request("OPTIONS", "/session/open", page={"origin": PAGE})
    assert "handover" not in preflight.headers["access-control-allow-headers"].lower()


def test_a_code_begins_one_session_at_most(phone: Phone, browser: Browser, world: World) -> None:
    """T33. The same tap sent again gets the same session. A second browser gets none."""
    code = code_of(phone)
    first = redeem(browser, code, key="the-tap-of-a-person")
    again = redeem(Browser(world), code, key="the-tap-of-a-person")
    assert (again.status, again.set_cookies) == (200, first.set_cookies)
    thief = Browser(world)
    for key in ("", "the-tap-of-a-thief"):
        refused = redeem(thief, code, key=key)
        assert (refused.status, refused.code, refused.set_cookies) == (400, "handover_invalid", [])
    assert browser.request("GET", "/me").status == 200
    assert redeem(thief, "ho.x").code == redeem(thief, code[:-2]).code == redeem(thief, "x").code == "handover_invalid"


def test_eight_browsers_redeem_one_code(phone: Phone, world: World) -> None:
    """T33. Exactly one of them gets the session."""
    code = code_of(phone)
    browsers = [Browser(world) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: redeem(one, code), browsers))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    assert [one["client_id"] for one in devices(phone).values()].count("web") == 1


def test_a_code_is_late_after_a_minute(phone: Phone, browser: Browser, world: World) -> None:
    """T33. After a minute the code is refused."""
    code, other = code_of(phone), code_of(phone)
    world.clock.skip(seconds=59)
    assert redeem(browser, code).status == 200
    world.clock.skip(seconds=1)
    assert redeem(browser, other).code == redeem(browser, other, confirm=False).code == "handover_invalid"
    world.clock.skip(seconds=1)
    assert redeem(browser, other).code == "handover_invalid"


def end_app(phone: Phone, world: World, how: str) -> None:
    """End the login of the app."""
    if how == "logout":
        assert phone.post("/logout", json={}).status == 204
    elif how == "theft":
        thief = world.thief_of(phone)
        for one in (thief, phone, thief, phone):
            world.clock.skip(minutes=16)
            one.get("/me")
    elif how == "everywhere":
        assert phone.post("/logout", json={"everywhere": True}, password=PHONE_PASSWORD).status == 204
    elif how == "ended by another device":
        other = world.phone(EMAIL)
        assert other.delete(f"/me/devices/{phone.device_id}", password=PHONE_PASSWORD).status == 204
    elif how == "password":
        assert phone.post("/me/password", json={"new_password": NEW_PASSWORD}, password=PHONE_PASSWORD).status == 204
    else:
        world.disable(EMAIL)


ENDS = ["logout", "theft", "everywhere", "ended by another device", "password", "disabled"]


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("how", ENDS)
def test_the_end_of_the_app_ends_the_browser(phone: Phone, browser: Browser, world: World, how: str) -> None:
    """T33. The login of the browser ends immediately, with the same reason. Its cookies are deleted."""
    handed_over(phone, browser)
    end_app(phone, world, how)
    gone = browser.request("GET", "/me")
    assert (gone.status, gone.code, browser.cookies) == (401, "login_required", {})
    reasons = {
        "logout": "logout",
        "theft": "reuse",
        "everywhere": "ended_everywhere",
        "ended by another device": "ended_by_owner",
        "password": "password_changed",
        "disabled": "account_disabled",
    }
    assert gone.members["reason"] == reasons[how]


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("how", ENDS)
def test_a_code_dies_with_the_app(phone: Phone, browser: Browser, world: World, how: str) -> None:
    """T33. If the login of the app has ended, its code begins no session."""
    world.clock.skip(seconds=1)
    if how == "theft":
        thief = world.thief_of(phone)
        for one in (thief, phone, thief):
            world.clock.skip(minutes=16)
            one.get("/me")
        code = code_of(thief)  # the copy hands over, and then the owner exchanges
        phone.get("/me")
    else:
        code = code_of(phone)
        end_app(phone, world, how)
    for confirm in (False, True):
        refused = redeem(browser, code, confirm=confirm)
        assert (refused.code, browser.cookies) == ("handover_invalid", {})


def test_another_client_gets_no_code(phone: Phone, browser: Browser, world: World) -> None:
    """T33. A login without a key gets no code either: a stolen token would be enough to hand it over."""
    for client_id in ("mobile", "unknown", "session-api"):
        refused = phone.post("/session/handover", json={"client_id": client_id})
        assert (refused.status, refused.code) == (400, "invalid_client")
    api = world.phone("bob@example.com", client_id="session-api", binding="none")
    assert api.post("/session/handover", json={"client_id": "web"}).code == "signature_required"
    handed_over(phone, browser)
    assert browser.request("POST", "/session/handover", {"client_id": "web"}).code == "signature_required"


def test_a_client_that_asks_more_gets_no_weak_login(phone: Phone, world: World, browser: Browser) -> None:
    """T33. The client or the account requires a second factor.

    Only a login with a proved second factor is handed over.
    """
    refused = phone.post("/session/handover", json={"client_id": "web-strict"})
    assert (refused.status, refused.code) == (401, "insufficient_acr")
    assert refused.json["action"] == "log_in"
    code = code_of(phone)
    lineages = baton_of(world).storage.lineages
    lineages.set_second_factor(phone.account, required=True)
    assert redeem(browser, code).code == "insufficient_acr"
    assert phone.post("/session/handover", json={"client_id": "web"}).code == "insufficient_acr"
    lineages.set_second_factor(phone.account, required=False)
    assert redeem(browser, code).status == 200


def test_a_second_factor_since_the_login_is_asked_for(make_world: Callable[..., World]) -> None:
    """The owner switched the second factor on after the app's login.

    So this login by password can no longer be handed over.
    """
    world = make_world(mail="off")
    phone, browser = world.phone(EMAIL), Browser(world)
    code = code_of(phone)
    begun = phone.post("/me/factors/totp", password=PHONE_PASSWORD).json
    step = world.clock.now // 30
    proof = {"enrolment": begun["enrolment"], "totp": totp(begun["secret"], step)}
    assert phone.post("/me/factors/totp/confirm", json=proof, password=PHONE_PASSWORD).status == 200
    assert phone.post("/session/handover", json={"client_id": "web"}).code == "insufficient_acr"
    assert redeem(browser, code).code == "handover_invalid"  # the credentials changed
    world.clock.skip(seconds=60)
    asked = browser.request("POST", "/login", browser.entry(password=PHONE_PASSWORD))
    assert asked.code == "factor_required"
    assert browser.request("POST", "/login/factor", {"totp": totp(begun["secret"], step + 2)}).status == 200


def test_a_strong_login_is_handed_over_to_a_strict_client(phone: Phone, world: World) -> None:
    """The browser has the level of the app."""
    store = baton_of(world).storage.lineages
    account_state = store.get(phone.account)
    assert account_state is not None
    login = account_state.lineages[LineageId(phone.device_id)]
    strong = replace(login, assurance=PASSWORD_AND_TOTP)
    stored = store.record_use(strong, account=phone.account, expected=login, now=world.clock.now, not_before=0)
    assert stored == Done()
    own = Browser(world, "web-strict")
    assert redeem(own, code_of(phone, client_id="web-strict")).status == 200
    assert own.request("GET", "/me").members["acr"] == "aal2"


@pytest.mark.parametrize(
    "path", ["//e.example", "/\\e.example", "https:e.example", "/a\nb", "", "orders", "/" + "x" * 512, "/\x7f"]
)
def test_no_page_of_another_site_is_opened(phone: Phone, path: str) -> None:
    """T23. ``next`` must be a path of this site."""
    refused = phone.post("/session/handover", json={"client_id": "web", "next": path})
    assert (refused.status, refused.code) == (400, "next_invalid")
    assert phone.post("/session/handover", json={"client_id": "web", "next": "/" + "x" * 511}).status == 200


def test_the_python_client_hands_a_login_over(world: World, browser: Browser) -> None:
    """If the answer is lost, the client requests the code again. The request writes nothing."""
    line = Line(world.gateway)
    clock = lambda: float(world.clock.now)  # noqa: E731 - a function of the world
    client = BatonClient(BASE_URL, "mobile", MemoryStorage(), clock=clock, transport=line, sleep=lambda _: None)
    client.register(EMAIL, PHONE_PASSWORD, "Ada's phone")
    line.lose_answers = 1
    code = client.handover("web", "/orders")
    assert redeem(browser, code).members["next"] == "/orders"
    assert redeem(Browser(world), client.handover("web")).members["next"] == "/"


def test_no_other_site_redeems(phone: Phone, browser: Browser, world: World) -> None:
    """T12, T34. A page of an attacker cannot log a person in, and the code is not used."""
    code = code_of(phone)
    for page in (CROSS, {"origin": "null"}, {}, {"sec-fetch-site": "none"}):
        for confirm in (True, False):
            refused = redeem(browser, code, confirm=confirm, page=page)
            assert (refused.status, refused.code, refused.set_cookies) == (403, "cross_site", [])
    other = {"sec-fetch-site": "same-site", "origin": "https://other.example.com"}
    assert redeem(browser, code, page=other).code == "cross_site"
    assert redeem(Browser(world), code).status == 200


def test_another_site_causes_no_call_of_the_storage(phone: Phone, browser: Browser, world: World) -> None:
    """A genuine code makes no difference: otherwise a page of another site could send it again and again."""
    code = code_of(phone)
    world.storage.fail(next=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(MemoryKeyRing, "current")
        assert redeem(browser, code, page=CROSS).code == "cross_site"
    assert redeem(browser, code).code == "unavailable"


def test_nothing_happens_without_the_tap(phone: Phone, browser: Browser) -> None:
    """T34. A program that opens the page, or a browser that fetches it in advance, does not use the code."""
    code = code_of(phone)
    page = browser.request("GET", "/session/open", page=OPENS)
    assert (page.status, page.set_cookies) == (200, [])
    for _ in range(3):
        assert redeem(browser, code, confirm=False).status == 200
    assert browser.cookies == {}
    assert redeem(browser, code).status == 200


def test_the_page_is_small_and_runs_its_own_script_alone(browser: Browser) -> None:
    """T24. No cache stores the page, no frame shows it, and no other script runs in it."""
    page = browser.request("GET", "/session/open", page=OPENS)
    assert len(page.body) <= 2000
    policy = page.headers["content-security-policy"]
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; connect-src 'self'; "
        r"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        r"require-trusted-types-for 'script'; trusted-types 'none'",
        policy,
    )
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


def test_a_handed_over_login_ends_after_twelve_hours(phone: Phone, browser: Browser, world: World) -> None:
    """It never ends later than the login of the app."""
    handed_over(phone, browser)
    for _ in range(24):
        world.clock.skip(minutes=29)
        assert browser.request("GET", "/me").status == 200
    world.clock.skip(minutes=29)
    over = browser.request("GET", "/me")
    assert over.members["reason"] == "expired"


def test_a_handed_over_login_ends_with_the_life_of_the_app(phone: Phone, browser: Browser, world: World) -> None:
    """The absolute limit of the app's login is 90 days."""
    for _ in range(89):
        world.clock.skip(minutes=24 * 60)
        assert phone.get("/me").status == 200
    world.clock.skip(minutes=23 * 60 + 50)
    phone.get("/me")
    handed_over(phone, browser)
    world.clock.skip(minutes=9)
    assert browser.request("GET", "/me").status == 200
    world.clock.skip(minutes=1)
    assert browser.request("GET", "/me").members["reason"] == "expired"


def test_a_handover_ends_the_earlier_one_of_the_app(phone: Phone, browser: Browser, world: World) -> None:
    """Each app has one browser login at each client. The browser logins of other apps and of the person stay active."""
    tablet = world.phone(EMAIL)
    of_tablet, own, of_other = Browser(world), Browser(world), Browser(world, "other")
    handed_over(tablet, of_tablet)
    own.login()
    other = {"sec-fetch-site": "same-site", "origin": "https://other.example.com"}
    assert redeem(of_other, code_of(phone, client_id="other"), page=other).status == 200
    handed_over(phone, browser)
    second = Browser(world)
    handed_over(phone, second)
    assert browser.request("GET", "/me").members["reason"] == "replaced"
    for one in (second, of_tablet, own):
        assert one.request("GET", "/me").status == 200
    assert of_other.request("GET", "/me", page=other).status == 200


def test_a_handover_over_a_live_cookie_ends_that_login(phone: Phone, browser: Browser, world: World) -> None:
    """As at a login, the same write ends a login of this account, and a later write that of another account.

    No remember cookie stays.
    """
    browser.login(remember=True)
    before = browser.copy()
    handed_over(phone, browser)
    assert before.request("GET", "/me").members["reason"] == "replaced"
    assert REMEMBER not in browser.cookies
    bob = Browser(world)
    bob.register("bob@example.com")
    of_bob = bob.copy()
    handed_over(phone, bob)
    assert of_bob.request("GET", "/me").members["reason"] == "replaced"


def test_a_handed_over_browser_shares_the_mail_limit_of_the_app(phone: Phone, browser: Browser, world: World) -> None:
    """Bug: each handover had five further mail codes, so a copied phone used up those of the account."""
    handed = LineageId(handed_over(phone, browser))
    account = AccountId(phone.account)
    state = baton_of(world).lineage_store.get(account)
    assert state is not None
    (app,) = state.lineages.keys() - {handed}
    names = {
        known_device(Wanted(use="new_address", address=EMAIL, account=account, account_state=state, lineage=login))
        for login in (app, handed)
    }
    assert len(names) == 1
    assert names != {""}


def test_thirty_handovers_cost_no_other_device_its_login(phone: Phone, world: World) -> None:
    """T33. New handovers replace ended logins. If no ended login is old enough, the answer is 429."""
    tablets = [world.phone(EMAIL) for _ in range(10)]
    world.clock.skip(minutes=12)
    phone.get("/me")
    said = []
    for _ in range(30):
        answer = redeem(Browser(world), code_of(phone))
        said.append(answer.status)
        if answer.status == 429:
            assert 0 < int(answer.headers["retry-after"]) <= 180
    assert said[:13] == [200] * 13
    assert set(said[13:]) == {429}
    for tablet in tablets:
        assert tablet.get("/me").status == 200
    world.clock.skip(minutes=3)
    browser = Browser(world)
    handed_over(phone, browser)
    for tablet in tablets:
        assert tablet.get("/me").status == 200
    assert browser.request("GET", "/me").status == 200


def test_a_full_account_of_live_logins_has_no_room(phone: Phone, world: World) -> None:
    """A login removes the oldest live login to make room. A handover does not."""
    for _ in range(23):
        world.phone(EMAIL)
    world.clock.skip(minutes=14)
    refused = redeem(Browser(world), code_of(phone))
    assert (refused.status, refused.code, "retry-after" in refused.headers) == (429, "too_many_requests", True)


def test_an_outage_uses_no_code_twice(phone: Phone, browser: Browser, world: World) -> None:
    """The tap that is sent again after a 503 gets the session. The test lets the database fail at each write."""
    for when in ("before", "after"):
        for verb in ("consume_ticket", "add_lineage"):
            code = code_of(phone)
            world.storage.fail(when=when, verb=verb)
            key = f"the-tap-of-a-person-{when}-{verb}"
            failed = redeem(browser, code, key=key)
            assert (failed.status, failed.set_cookies) == (503, []), (when, verb)
            assert redeem(browser, code, key=key).status == 200, (when, verb)


def test_a_retired_client_of_an_app_has_no_browsers(make_world: Callable[..., World]) -> None:
    """The logins of a retired client have ended, and the browser logins that they handed over too."""
    world = make_world(environments=1)
    phone, browser = world.phone(EMAIL), Browser(world)
    code = code_of(phone)
    handed_over(phone, browser)
    clients = baton_of(world).clients
    retired = replace(clients._by_id["mobile"], retired=True)
    clients._by_id["mobile"] = clients._by_code[retired.code] = retired
    assert browser.request("GET", "/me").code == "login_required"
    assert redeem(browser, code).code == "handover_invalid"


@pytest.mark.parametrize(
    ("email", "shown"),
    [("ada@example.com", "a…a@example.com"), ("ab@example.com", "a…@example.com"), ("a@example.com", "a…@example.com")],
)
def test_an_address_is_shown_as_its_owner_knows_it(email: str, shown: str) -> None:
    """The address is masked, because the page shows it to every person with the code."""
    assert masked(email) == shown
