"""Pages in Chromium: cookies, Fetch Metadata and preflights from real origins, and a key that no script can read."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.baton.chromium.chromium import Chromium, PlatformError
from tests.baton.chromium.site import Site, served
from tests.baton.chromium.visit import EMAIL, ENTRY, SEND, Visit
from tests.baton.wire.conversation import PASSWORD


@dataclass
class Town:
    """A site, its further ports, and one person's browser."""

    browser: Chromium
    site: Site
    listed: int
    unlisted: int
    person: int

    def visit(self, origin: str) -> Visit:
        """Open an empty page at an origin."""
        return Visit(self.browser, self.browser.ask("open", person=self.person, url=f"{origin}/page"))

    @property
    def api(self) -> str:
        """Return the URL of the API."""
        return f"{self.site.url}/api"

    def logged_in(self, **members: object) -> Visit:
        """Register from a page of the API's own origin."""
        visit = self.visit(self.site.url)
        answer = visit.send(f"{self.api}/register", "POST", ENTRY | members)
        assert answer["status"] == 201, answer
        return visit


@pytest.fixture
def town(pages_driver: Chromium, tmp_path: Path) -> Iterator[Town]:
    """Serve a site, and open a browser without cookies."""
    with served(tmp_path) as (site, listed, unlisted):
        person = pages_driver.ask("person")
        yield Town(pages_driver, site, listed, unlisted, person)
        pages_driver.ask("close", person=person)
        assert pages_driver.ask("troubles") == []


def test_no_script_sees_the_login(town: Town) -> None:
    """T15, T21. The browser keeps the cookies, and sends them only to the API."""
    visit = town.logged_in(remember=True)
    kept = {cookie["name"]: cookie for cookie in town.browser.ask("cookies", person=town.person)}
    assert set(kept) == {"__Host-baton", "__Host-baton-remember"}
    for cookie in kept.values():
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    assert kept["__Host-baton"]["expires"] == -1
    answer = visit.send(f"{town.api}/session")
    assert (answer["status"], answer["page"]) == (200, "")
    assert json.loads(answer["body"])["active"] is True
    assert "baton_" not in answer["body"]
    out = visit.send(f"{town.api}/logout", "POST", {})
    assert (out["status"], town.browser.ask("cookies", person=town.person)) == (204, [])


def test_a_page_of_the_client_on_another_origin_may_call(town: Town) -> None:
    """A script calls with a preflight and cookies."""
    town.logged_in()
    page = town.visit(f"http://localhost:{town.listed}")
    answer = page.send(f"{town.api}/me")
    assert (answer["status"], json.loads(answer["body"])["email"]) == (200, EMAIL)
    assert page.send(f"{town.api}/logout", "POST", {})["status"] == 204
    methods = [method for method, path, _ in town.site.seen if path == "/api/logout"]
    assert methods == ["OPTIONS", "POST"]
    assert page.send(f"{town.api}/login", "POST", ENTRY)["status"] == 200
    assert page.send(f"{town.api}/me")["status"] == 200


def test_another_port_sends_the_cookies_and_is_refused(town: Town) -> None:
    """T11. ``SameSite`` does not stop the request, because the host is the same site. Baton's own check stops it."""
    visit = town.logged_in()
    other = town.visit(f"http://localhost:{town.unlisted}")
    for more in ({"mode": "no-cors", "headers": {"content-type": "text/plain"}, "body": "{}"}, {"mode": "no-cors"}):
        other.run(SEND, url=f"{town.api}/logout", method="POST", more=more)
        method, path, fields = town.site.seen[-1]
        assert (method, path, fields["sec-fetch-site"]) == ("POST", "/api/logout", "same-site")
        assert "__Host-baton=" in fields["cookie"]
    with pytest.raises(PlatformError, match="Failed to fetch"):
        other.send(f"{town.api}/me")
    with pytest.raises(PlatformError, match="Failed to fetch"):
        other.send(f"{town.api}/logout", "POST", {})
    refused = other.submit(f"{town.api}/logout")
    assert (refused["status"], json.loads(refused["body"])["code"]) == (403, "cross_site")
    assert json.loads(visit.send(f"{town.api}/session")["body"])["active"] is True


def test_another_site_opens_a_page_and_changes_nothing(town: Town) -> None:
    """T11, T14. A link finds the person logged in. A form, a script and a frame of another site have no effect."""
    visit = town.logged_in()
    evil = f"http://evil.test:{town.unlisted}"
    refused = town.visit(evil).submit(f"{town.api}/logout")
    assert (refused["status"], json.loads(refused["body"])["code"]) == (401, "token_invalid")
    assert "cookie" not in town.site.seen[-1][2]  # here SameSite=Lax is enough
    with pytest.raises(PlatformError, match="Failed to fetch"):
        town.visit(evil).send(f"{town.api}/me")
    linked = town.visit(evil).browser.ask(
        "leave",
        page=town.visit(evil).page,
        source=f"const a = document.createElement('a'); a.href = '{town.api}/me'; document.body.append(a); a.click();",
    )
    assert (linked["status"], json.loads(linked["body"])["email"]) == (200, EMAIL)
    assert town.site.seen[-1][2]["sec-fetch-site"] == "cross-site"
    framing = town.visit(evil)
    framing.run(
        "const f = document.createElement('iframe'); f.src = given.url; document.body.append(f);"
        "await new Promise((done) => { f.onload = done; });",
        url=f"{town.api}/me",
    )
    assert (town.site.seen[-1][2]["sec-fetch-dest"], "cookie" in town.site.seen[-1][2]) == ("iframe", False)
    assert json.loads(visit.send(f"{town.api}/session")["body"])["active"] is True


def test_another_site_logs_no_person_in(town: Town) -> None:
    """T12. The other site sends a form whose body is also valid JSON."""
    town.logged_in()
    town.browser.ask("close", person=town.person)
    town.person = town.browser.ask("person")
    body = json.dumps(ENTRY | {"device": {"name": "x"}})
    name, _, value = body.rpartition("x")
    refused = town.visit(f"http://evil.test:{town.unlisted}").submit(f"{town.api}/login", name=name, value=f"y{value}")
    assert refused["status"] in {403, 415}
    assert town.browser.ask("cookies", person=town.person) == []
    town.visit(f"http://evil.test:{town.unlisted}").run(
        SEND,
        url=f"{town.api}/login",
        method="POST",
        more={"mode": "no-cors", "headers": {"content-type": "text/plain"}, "body": body},
    )
    assert town.browser.ask("cookies", person=town.person) == []


CLIENT = """
const { browserBaton } = await import("/src/browser.js");
const baton = browserBaton({ baseUrl: given.api, clientId: "mobile", plainHttp: true });
"""
REGISTER = CLIENT + "await baton.register(given.email, given.password, {});"


def test_no_script_takes_the_key_of_a_page_away(town: Town) -> None:
    """T1. The key signs, but a script can neither export it nor write it as text. The login survives a reload."""
    page = town.visit(f"http://localhost:{town.listed}")
    page.run(REGISTER, api=town.api, email=EMAIL, password=PASSWORD)
    me = page.run(CLIENT + "return await baton.me();", api=town.api)
    assert me["email"] == EMAIL
    page.go(f"http://localhost:{town.listed}/page")
    assert page.run(CLIENT + "return await baton.me();", api=town.api)["email"] == EMAIL
    found = page.run(
        """
        const database = await new Promise((done) => {
          const opening = indexedDB.open("baton.mobile");
          opening.onsuccess = () => done(opening.result);
        });
        const keys = await new Promise((done) => {
          const all = database.transaction("keys").objectStore("keys").getAll();
          all.onsuccess = () => done(all.result);
        });
        const privates = keys.flatMap((one) => Object.values(one)).flatMap((one) => [one, one?.privateKey])
          .filter((one) => one instanceof CryptoKey && one.type === "private");
        const refused = [];
        for (const key of privates) {
          for (const format of ["pkcs8", "jwk"])
            await crypto.subtle.exportKey(format, key).catch((error) => refused.push(error.name));
        }
        return { refused, written: privates.map((key) => JSON.stringify(key)) };
        """
    )
    assert found == {"refused": ["InvalidAccessError"] * 2, "written": ["{}"]}


def test_four_tabs_exchange_once(town: Town) -> None:
    """T4. The lock makes three exchanges unnecessary, and each tab has the new token."""
    tabs = [town.visit(f"http://localhost:{town.listed}") for _ in range(4)]
    tabs[0].run(REGISTER, api=town.api, email=EMAIL, password=PASSWORD)
    town.site.world.clock.skip(minutes=16)
    at = int(time.time() * 1000) + 2000
    for tab in tabs:
        tab.run(
            "window.outcome = (async () => {"
            + CLIENT
            + "await new Promise((done) => setTimeout(done, given.at - Date.now()));"
            + "return (await baton.me()).email; })().catch((error) => String(error));",
            api=town.api,
            at=at,
        )
    assert [tab.run("return await window.outcome;") for tab in tabs] == [EMAIL] * 4
    exchanges = [path for method, path, _ in town.site.seen if (method, path) == ("POST", "/api/oauth/token")]
    assert len(exchanges) == 1


def test_a_tab_is_killed_between_send_and_store(town: Town) -> None:
    """T5. The attempt is stored before the request. So the next tab sends it again, and gets the same child."""
    page = town.visit(f"http://localhost:{town.listed}")
    page.run(REGISTER, api=town.api, email=EMAIL, password=PASSWORD)
    town.site.world.clock.skip(minutes=16)
    path = "/api/oauth/token"
    town.site.holds[path] = threading.Event()
    page.run(
        "window.outcome = (async () => {" + CLIENT + "await baton.me(); })().catch(() => {});",
        api=town.api,
    )
    end = time.monotonic() + 10
    while (exchanges := [fields for method, at, fields in town.site.seen if (method, at) == ("POST", path)]) == []:
        assert time.monotonic() < end, "no exchange"
        time.sleep(0.02)
    held = town.site.holds.pop(path)
    town.browser.ask("end", page=page.page)
    again = town.visit(f"http://localhost:{town.listed}")
    assert again.run(CLIENT + "return (await baton.me()).email;", api=town.api) == EMAIL
    held.set()  # not earlier: a tab that is closing may still take the answer
    (first, second) = [fields for method, at, fields in town.site.seen if (method, at) == ("POST", path)]
    assert [first] == exchanges
    assert first["idempotency-key"] == second["idempotency-key"]
    told = [line["message"] for line in town.site.world.lines if line["message"].startswith("exchange")]
    assert told == ["exchanged", "exchange_retried"]


def test_lost_storage_is_one_login_screen(town: Town) -> None:
    """T9. The client neither loops nor sends a request."""
    page = town.visit(f"http://localhost:{town.listed}")
    page.run(REGISTER, api=town.api, email=EMAIL, password=PASSWORD)
    page.go(f"http://localhost:{town.listed}/page")
    page.run("await new Promise((done) => { indexedDB.deleteDatabase('baton.mobile').onsuccess = done; });")
    before = len(town.site.seen)
    kind = page.run(CLIENT + "return await baton.me().then(() => 'me', (error) => error.kind);", api=town.api)
    assert kind == "not_logged_in"
    assert len(town.site.seen) == before
