"""Device Bound Session Credentials in Chromium, over https with a certificate that only this browser trusts."""

import json
import threading
import time

from tests.baton.chromium.bound import BOUND, SESSION, Town, town, wait
from tests.baton.chromium.chromium import PlatformError
from tests.baton.chromium.visit import EMAIL, ENTRY, Visit

__all__ = ["town"]
LINK = "const a = document.createElement('a'); a.href = given.url; document.body.append(a); a.click();"
FORM = """
const form = document.createElement("form");
form.method = "POST"; form.action = given.action;
for (const [name, value] of Object.entries(given.fields)) {
  const field = document.createElement("input"); field.name = name; field.value = value; form.append(field);
}
document.body.append(form);
form.submit();
"""


def test_a_login_by_script_is_bound(town: Town) -> None:
    """T25. The browser makes a key, proves it, and sends the cookie. Scripts see neither key nor cookie."""
    visit = town.bound()
    cookie = town.cookies()[BOUND]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    session = json.loads(visit.send(f"{town.api}/session")["body"])
    assert (session["active"], session["device_bound"]) == (True, "dbsc")
    assert visit.send(f"{town.api}/me")["page"] == ""
    (bind,) = town.sent("/session/bind")
    assert bind["secure-session-response"].count(".") == 2
    assert not town.sent("/session/proof")


def test_an_expired_proof_is_renewed_before_the_request(town: Town) -> None:
    """The page does not notice. The first refresh gets a challenge, and the next refresh has one already."""
    visit = town.bound()
    for proofs in (2, 3):
        town.expire()
        assert visit.send(f"{town.api}/me")["status"] == 200
        assert len(town.sent("/session/proof")) == proofs
    assert all(BOUND in fields.get("cookie", "") for fields in town.sent("/me"))


def test_a_form_and_a_303_renew_the_proof(town: Town) -> None:
    """T25. A page without a script of its own works as well."""
    visit = town.bound()
    town.expire()
    visit.run(FORM, action=f"{town.api}/home", fields={"text": "hello"})
    shown = town.browser.ask("at", page=visit.page, url="**/home?*")
    account = json.loads(town.visit().send(f"{town.api}/session")["body"])["account_id"]
    assert shown.startswith(account)
    assert [method for method, path, _ in town.site.seen if path.startswith("/api/home")] == ["POST", "GET"]
    assert len(town.sent("/session/proof")) == 2


def test_the_first_page_overtakes_the_binding(town: Town) -> None:
    """T25. The first page after the login is not refused, although the binding is not complete."""
    held = town.site.holds["/api/session/bind"] = threading.Event()
    visit = town.visit()
    assert visit.send(f"{town.api}/register", "POST", ENTRY)["status"] == 201
    wait(lambda: bool(town.sent("/session/bind")))
    assert visit.send(f"{town.api}/me")["status"] == 200
    assert BOUND not in town.cookies()
    town.site.holds.clear()
    held.set()
    wait(lambda: BOUND in town.cookies())


def test_a_link_from_another_site_reloads_the_page_once(town: Town) -> None:
    """T25. For such a link the browser does not renew the proof. For the reload it does."""
    town.bound()
    town.expire()
    port = town.site.port
    stranger = town.visit(f"https://evil.test:{port}")
    stranger.run(LINK, url=f"{town.api}/home")
    wait(lambda: len(town.sent("/home")) == 2)
    first, second = town.sent("/home")
    assert (first["sec-fetch-site"], BOUND in first["cookie"]) == ("cross-site", False)
    assert (second["sec-fetch-site"], BOUND in second["cookie"]) == ("same-origin", True)
    time.sleep(0.5)
    assert len(town.sent("/home")) == 2
    account = json.loads(town.visit().send(f"{town.api}/session")["body"])["account_id"]
    assert town.browser.ask("at", page=stranger.page, url="**/api/home").startswith(account)


def test_a_typed_address_renews_the_proof(town: Town) -> None:
    """No page initiates this request. It needs at most one reload."""
    visit = town.bound()
    town.expire()
    visit.go(f"{town.api}/home")
    wait(lambda: BOUND in town.sent("/home")[-1]["cookie"])
    assert len(town.sent("/home")) <= 2


def test_a_lost_answer_to_a_refresh_ends_nothing(town: Town) -> None:
    """T28. The browser sends its proof again, with the same challenge or a new one."""
    visit = town.bound()
    town.expire()
    town.site.loses += ["/api/session/proof"]
    for _ in range(3):
        if visit.send(f"{town.api}/me")["status"] == 200:
            break
    assert visit.send(f"{town.api}/me")["status"] == 200
    assert json.loads(visit.send(f"{town.api}/session")["body"])["device_bound"] == "dbsc"


def test_a_stale_challenge_is_a_retry(town: Town) -> None:
    """T28. The computer slept for longer than the life of a challenge."""
    visit = town.bound()
    town.expire()
    assert visit.send(f"{town.api}/me")["status"] == 200
    town.site.world.clock.skip(minutes=25)
    town.browser.ask("forget", person=town.person, name=BOUND)
    assert visit.send(f"{town.api}/me")["status"] == 200
    assert len(town.sent("/session/proof")) == 4


def test_sixteen_requests_at_once_renew_the_proof(town: Town) -> None:
    """T28. All of them wait for one refresh."""
    visit = town.bound()
    town.expire()
    source = (
        "const all = Array.from({ length: 16 }, () => fetch(given.url));"
        "return (await Promise.all(all)).map((one) => one.status);"
    )
    assert visit.run(source, url=f"{town.api}/me") == [200] * 16
    assert len(town.sent("/session/proof")) == 2


def test_server_trouble_at_a_refresh_keeps_the_session(town: Town) -> None:
    """T31. The browser reports that it skipped the refresh, and renews its proof at the next request."""
    visit = town.bound()
    town.expire()
    town.site.world.storage.fail(verb="get")
    refused = visit.send(f"{town.api}/me")
    assert (refused["status"], json.loads(refused["body"])["code"]) == (401, "device_proof_required")
    skipped = town.sent("/me")[-1].get("secure-session-skipped", "")
    assert skipped.startswith("server_error")
    wait(lambda: visit.send(f"{town.api}/me")["status"] == 200)
    assert SESSION in town.cookies()


def test_a_login_that_ended_elsewhere_is_forgotten(town: Town) -> None:
    """T32. The browser deletes its binding and its cookies, and sends no refresh any more."""
    visit = town.bound()
    town.site.world.disable(EMAIL)
    town.expire()
    refused = visit.send(f"{town.api}/me")
    assert refused["status"] == 401
    wait(lambda: SESSION not in town.cookies())
    proofs = len(town.sent("/session/proof"))
    assert json.loads(visit.send(f"{town.api}/session")["body"]) == {"active": False}
    assert len(town.sent("/session/proof")) == proofs


def test_the_next_login_of_the_browser_is_bound_again(town: Town) -> None:
    """The key of the earlier login is forgotten. The end of the earlier login does not affect the later login."""
    visit = town.bound()
    town.site.before["/api/session/bind"] = lambda _: time.sleep(0.2)  # the clock must not move on before the binding
    with town.binding():
        assert visit.send(f"{town.api}/login", "POST", ENTRY)["status"] == 200
    assert len(town.sent("/session/bind")) == 2
    town.site.world.clock.skip(seconds=61)
    for _ in range(2):
        town.expire()
        assert visit.send(f"{town.api}/me")["status"] == 200
    assert json.loads(visit.send(f"{town.api}/session")["body"])["device_bound"] == "dbsc"


def test_an_app_opens_the_browser_and_a_person_taps(town: Town) -> None:
    """T33, T34. The code is not used before the tap. No request line has it, and it is no longer in the address."""
    phone = town.site.world.phone(EMAIL)
    code = phone.post("/session/handover", json={"client_id": "web", "next": "/api/home"}).json["code"]
    visit = town.visit()
    visit.go(f"{town.api}/session/open#{code}")
    text = town.browser.ask("find", page=visit.page, role="button", name="Continue", click=False)
    assert "Continue as a…a@example.com?" in text
    assert "test phone" in text
    assert town.cookies() == {}
    assert visit.run("return location.hash") == ""
    town.browser.ask("find", page=visit.page, role="button", name="Continue", click=True)
    assert town.browser.ask("at", page=visit.page, url="**/api/home").startswith(phone.account)
    assert set(town.cookies()) == {SESSION}
    assert code not in " ".join(path for _, path, _ in town.site.seen)
    phone.post("/logout", json={})
    assert town.visit().send(f"{town.api}/me")["status"] == 401
    assert town.cookies() == {}


def test_an_old_link_of_an_app_says_what_to_do(town: Town) -> None:
    """T33. The page then has no button."""
    visit = town.visit()
    visit.go(f"{town.api}/session/open#ho.used")
    assert "no longer valid" in town.browser.ask(
        "find", page=visit.page, role="heading", name="This link is no longer valid", click=False
    )
    buttons = visit.run("return document.querySelectorAll('button:not([hidden])').length")
    assert (buttons, town.cookies()) == (0, {})


def shown_of(visit: Visit) -> str:
    """Return the address of the next page, or the text that asks to try again. Empty: neither is there yet."""
    try:
        text = str(visit.run("return location.pathname + document.body.innerText"))
    except PlatformError:  # the page is just changing
        return ""
    return text if "Try again" in text or text.startswith("/api/home") else ""


def test_a_lost_tap_is_sent_again(town: Town) -> None:
    """T33. The second request has the same attempt, so it gets the same session.

    Chromium may repeat the lost request automatically. Then no second tap is necessary.
    """
    phone = town.site.world.phone(EMAIL)
    code = phone.post("/session/handover", json={"client_id": "web", "next": "/api/home"}).json["code"]
    visit = town.visit()
    visit.go(f"{town.api}/session/open#{code}")
    town.browser.ask("find", page=visit.page, role="button", name="Continue", click=False)
    town.site.loses += ["/api/session/redeem"]
    town.browser.ask("find", page=visit.page, role="button", name="Continue", click=True)
    wait(lambda: shown_of(visit) != "")
    if "Try again" in shown_of(visit):
        town.browser.ask("find", page=visit.page, role="button", name="Continue", click=True)
    assert town.browser.ask("at", page=visit.page, url="**/api/home").startswith(phone.account)
    keys = {fields["idempotency-key"] for fields in town.sent("/session/redeem")}
    assert len(keys) == 1
    listed = phone.get("/me/devices").json["devices"]
    assert [one["client_id"] for one in listed].count("web") == 1
