"""Pages with a key of their own, in Chromium: what a hostile script, another origin or a closed storage can do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.baton.chromium.chromium import Chromium
from tests.baton.chromium.site import served
from tests.baton.chromium.test_pages import CLIENT, REGISTER, Town
from tests.baton.chromium.visit import EMAIL, Visit
from tests.baton.wire.conversation import PASSWORD

READ = """
const opening = indexedDB.open("baton.mobile");
const database = await new Promise((done) => { opening.onsuccess = () => done(opening.result); });
const records = database.transaction("records").objectStore("records");
const reading = records.get("record");
return await new Promise((done) => { reading.onsuccess = () => done(reading.result); });
"""
WRITE = """
const opening = indexedDB.open("baton.mobile");
const database = await new Promise((done) => { opening.onsuccess = () => done(opening.result); });
const records = database.transaction("records", "readwrite").objectStore("records");
const writing = records.put(given.record, "record");
await new Promise((done) => { writing.onsuccess = done; });
"""
ME = CLIENT + "return await baton.me().then((me) => me.email, (error) => error.code ?? error.kind);"
COLLECT = (
    CLIENT
    + """
const genuine = window.fetch;
const kept = [];
window.fetch = async (url, options) => {
  if (!String(url).endsWith("/transfers")) return genuine(url, options);
  const headers = [...new Headers(options.headers)];
  kept.push({ url: String(url), method: options.method, body: [...options.body], headers });
  throw new TypeError("Failed to fetch");
};
for (const to of ["a", "b"]) await baton.call("POST", "/transfers", { json: { to, amount: 1 } }).catch(() => {});
return kept;
"""
)
"""A hostile script keeps signed requests of the client, and lets none of them through."""
AGAIN = """
const { url, method, body, headers } = given.kept;
const answer = await fetch(url, { method, headers, body: new Uint8Array(body) });
return { status: answer.status, body: await answer.text() };
"""
FORM = """
const answer = await fetch(given.url, { method: "POST", body: new URLSearchParams(given.form), ...given.more });
return { status: answer.status, body: await answer.text() };
"""
FETCH = """
return await fetch(given.url, { method: given.method, ...given.more })
  .then((answer) => [answer.status, Boolean(answer.headers.get("baton-request-id"))], (error) => [0, String(error)]);
"""
SANDBOX = """
const frame = document.createElement("iframe");
frame.sandbox = "allow-scripts allow-forms";
const told = new Promise((done) => {
  addEventListener("message", (event) => done([event.origin, event.data]), { once: true });
});
frame.srcdoc = `<script>(async () => { ${given.script} })().then((said) => parent.postMessage(said, "*"),
  (error) => parent.postMessage(String(error), "*"))</script>`;
document.body.append(frame);
return await told;
"""
"""Run a script in a frame whose origin is ``null``."""


@pytest.fixture
def town(pages_driver: Chromium, tmp_path: Path) -> Iterator[Town]:
    """Serve a site, and open a browser without a login."""
    with served(tmp_path) as (site, listed, unlisted):
        person = pages_driver.ask("person")
        yield Town(pages_driver, site, listed, unlisted, person)
        pages_driver.ask("close", person=person)
        assert pages_driver.ask("troubles") == []


def registered(town: Town) -> Visit:
    """Register from a page of the client."""
    page = town.visit(f"http://localhost:{town.listed}")
    page.run(REGISTER, api=town.api, email=EMAIL, password=PASSWORD)
    return page


def thief(town: Town) -> Visit:
    """Open a page of the client on another machine."""
    person = town.browser.ask("person")
    return Visit(town.browser, town.browser.ask("open", person=person, url=f"http://localhost:{town.listed}/page"))


def code(answer: Any) -> str:
    """Return the error code of an answer."""
    return str(json.loads(answer["body"]).get("code", ""))


KEY = """
const opening = indexedDB.open("baton.mobile");
const database = await new Promise((done) => { opening.onsuccess = () => done(opening.result); });
const all = database.transaction("keys").objectStore("keys").getAll();
const [{ pair }] = await new Promise((done) => { all.onsuccess = () => done(all.result); });
"""
GIVE_AWAY = (
    KEY
    + """
const frame = document.createElement("iframe");
frame.sandbox = "allow-scripts";
frame.srcdoc = `<script>
  addEventListener("message", async ({ data: key }) => {
    const algorithm = { name: "ECDSA", hash: "SHA-256" };
    const signed = await crypto.subtle.sign(algorithm, key, new Uint8Array(3)).then((bytes) => bytes.byteLength);
    const exported = await crypto.subtle.exportKey("pkcs8", key).catch((error) => error.name);
    parent.postMessage({ signed, exported }, "*");
  });
  parent.postMessage("ready", "*");
</script>`;
const next = () => new Promise((done) => {
  addEventListener("message", ({ origin, data }) => done({ origin, data }), { once: true });
});
const ready = next();
document.body.append(frame);
await ready;
const told = next();
frame.contentWindow.postMessage(pair.privateKey, "*");
return await told;
"""
)
POPUP = (
    KEY
    + """
const popup = window.open(given.url);
await new Promise((done) => setTimeout(done, 0));
const end = Date.now() + 5000;
while (!popup.closed && given.closes && Date.now() < end) await new Promise((done) => setTimeout(done, 20));
return popup.closed;
"""
)


def test_a_key_can_be_given_to_another_origin_of_the_browser_and_not_exported_there(town: Town) -> None:
    """T1. The key stays in this browser. A page of another origin can sign with a copy of it: docs/baton/web.md."""
    page = registered(town)
    given = page.run(GIVE_AWAY)
    assert given == {"origin": "null", "data": {"signed": 64, "exported": "InvalidAccessError"}}


def test_a_page_with_an_opener_policy_reaches_no_window_of_another_origin(town: Town) -> None:
    """T1. The header is ``Cross-Origin-Opener-Policy: same-origin``. A Content-Security-Policy stops no new window."""
    page = registered(town)
    evil = f"http://evil.test:{town.unlisted}/page"
    assert page.run(POPUP, url=evil, closes=False) is False
    page.go(f"http://localhost:{town.listed}/alone")
    assert page.run(POPUP, url=evil, closes=True) is True


def test_a_copied_record_is_useless_and_ends_nothing(town: Town) -> None:
    """T2. Another machine has token and attempt, but no key: no call and no exchange succeeds. The owner continues."""
    page = registered(town)
    stolen = json.loads(page.run(READ))["session"]
    copy = thief(town)
    bearer = {"authorization": f"Bearer {stolen['access_token']}"}
    refused = copy.send(f"{town.api}/me", credentials="omit", headers=bearer)
    assert refused["status"] == 401, refused
    form = {"grant_type": "refresh_token", "refresh_token": stolen["access_token"], "client_id": "mobile"}
    more = {"headers": {"idempotency-key": stolen["attempt"]}, "credentials": "omit"}
    refused = copy.run(FORM, url=f"{town.api}/oauth/token", form=form, more=more)
    assert (refused["status"], code(refused)) in {(401, "signature_required"), (400, "signature_required")}, refused
    copy.run(REGISTER, api=town.api, email="eve@example.com", password=PASSWORD)
    own = json.loads(copy.run(READ))
    copy.run(WRITE, record=json.dumps({**own, "session": {**stolen, "key_id": own["session"]["key_id"]}}))
    assert copy.run(ME, api=town.api) != EMAIL
    town.site.world.clock.skip(minutes=16)
    assert copy.run(ME, api=town.api) != EMAIL
    assert page.run(ME, api=town.api) == EMAIL


def test_collected_requests_are_good_once_and_for_five_minutes(town: Town) -> None:
    """T3. A hostile script cannot sign later. It can send an earlier signed request once, from any machine."""
    page = registered(town)
    first, second = page.run(COLLECT, api=town.api)
    elsewhere = thief(town)
    assert elsewhere.run(AGAIN, kept=first)["status"] == 201
    assert elsewhere.run(AGAIN, kept=first)["status"] == 401
    town.site.world.clock.skip(seconds=305)
    late = elsewhere.run(AGAIN, kept=second)
    assert (late["status"], code(late)) == (401, "clock_skew"), late


def test_a_page_of_no_listed_origin_reads_nothing(town: Town) -> None:
    """T6. The origins are another port, a look-alike host with the listed port, and ``null``."""
    listed = town.visit(f"http://localhost:{town.listed}")
    assert listed.run(FETCH, url=f"{town.api}/time", method="GET", more={}) == [200, True]
    for origin in (f"http://localhost:{town.unlisted}", f"http://localhost.test:{town.listed}"):
        page = town.visit(origin)
        assert page.run(FETCH, url=f"{town.api}/time", method="GET", more={})[0] == 0
    said = listed.run(SANDBOX, script=f"return (await fetch('{town.api}/time')).status;")
    assert said == ["null", "TypeError: Failed to fetch"]


def test_a_page_reads_the_answer_of_every_route(town: Town) -> None:
    """T7. The page sends a preflight with the headers of the client. It can also read the gateway's own refusals."""
    page = town.visit(f"http://localhost:{town.listed}")
    headers = ("authorization", "signature", "signature-input", "content-digest", "idempotency-key", "baton-grant")
    more: dict[str, object] = {"headers": dict.fromkeys(headers, "x")}
    routes = [(method, path) for path, methods in town.site.world.gateway._routes.items() for method in methods]
    told = {
        (method, path): page.run(FETCH, url=town.api + path.replace("{", "").replace("}", ""), method=method, more=more)
        for method, path in routes
        if method not in {"OPTIONS", "HEAD"}
    }
    assert len(told) > 50
    assert {route: one for route, one in told.items() if one[0] == 0 or not one[1]} == {}
    for path, status in (("/nothing", 404), ("/time?a=b", 400)):
        assert page.run(FETCH, url=town.api + path, method="GET", more={}) == [status, True]
    huge = {"headers": {"baton-grant": "x" * 11_000}}
    assert page.run(FETCH, url=f"{town.api}/me", method="GET", more=huge) == [431, True]


CLOSED = """
Object.defineProperty(window, "indexedDB", { value: { open() { throw new DOMException("no", "SecurityError"); } } });
"""
NO_KEYS = """
const stock = IDBObjectStore.prototype.put;
IDBObjectStore.prototype.put = function (value, key) {
  if (value?.pair) throw new DOMException("a key cannot be stored", "DataCloneError");
  return stock.call(this, value, key);
};
"""


def test_a_blocked_storage_is_said_without_a_request(town: Town) -> None:
    """T9. The page has no IndexedDB. The client reports this before it sends a password."""
    page = town.visit(f"http://localhost:{town.listed}")
    before = len(town.site.seen)
    source = CLOSED + CLIENT + "return await baton.register('a@example.com', 'x', {}).then(() => '', (e) => e.kind);"
    assert page.run(source, api=town.api) == "storage_unavailable"
    assert len(town.site.seen) == before


def test_a_private_window_keeps_its_key_in_memory(town: Town) -> None:
    """T9. Some private windows store no key. The record then has ``memory``, and the login ends with the page."""
    page = town.visit(f"http://localhost:{town.listed}")
    source = NO_KEYS + REGISTER + "return (await baton.me()).email;"
    assert page.run(source, api=town.api, email=EMAIL, password=PASSWORD) == EMAIL
    assert json.loads(page.run(READ))["key"]["store"] == "memory"
    page.go(f"http://localhost:{town.listed}/page")
    before = len(town.site.seen)
    kinds = [page.run(ME, api=town.api) for _ in range(3)]
    assert EMAIL not in kinds
    assert kinds[1:] == ["not_logged_in"] * 2, "one login screen, no loop"
    assert len(town.site.seen) - before <= 1


def test_a_change_from_the_origin_null_is_refused(town: Town) -> None:
    """T13. A frame without an origin, and a look-alike host, send what a form can send. Nothing changes."""
    visit = town.logged_in()
    logout = f"fetch('{town.api}/logout', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }})"
    assert visit.run(SANDBOX, script=f"return (await {logout}).type;") == ["null", "opaque"]
    method, path, fields = town.site.seen[-1]
    assert (method, path, fields["origin"]) == ("POST", "/api/logout", "null")
    assert town.site.answered[-1][1] in {401, 403}
    refused = town.visit(f"http://localhost.test:{town.listed}").submit(f"{town.api}/logout")
    assert refused["status"] in {401, 403}
    assert json.loads(visit.send(f"{town.api}/session")["body"])["active"] is True
