"""Cookies that are bound to the key of a browser (DBSC), on the wire. tests/baton/chromium has a real browser.

Numbers such as T25 are rows of docs/baton/attacks.md.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.testing.phone import PHONE_PASSWORD, new_key, public_key
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import EMAIL, REMEMBER, SESSION, Browser, cleared
from tests.baton.browser.dbsc import BOUND, CHALLENGE, OFFER, REFRESH, BoundBrowser, encoded
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD

MINUTE = 60
DIGEST = f"sha-256=:{'A' * 43}=:"
HTTP = "http://localhost:8000/api"


@pytest.fixture
def browser(world: World) -> BoundBrowser:
    """Open a browser that binds its cookies."""
    return BoundBrowser(world)


def events(world: World) -> list[object]:
    """Return the names of the log lines."""
    return [line.get("message") for line in world.lines]


def test_a_login_is_offered_a_binding_and_bound(browser: BoundBrowser, world: World) -> None:
    """T25. The instructions are exact, because Chromium reads them."""
    registered = browser.register()
    assert browser.request("GET", "/session").members["device_bound"] == "none"
    answer = browser.bind(registered.headers[OFFER])
    members = registered.members
    assert answer.members == {
        "session_identifier": f"{members['account_id']}{members['device_id']}",
        "refresh_url": "/api/session/proof",
        "scope": {
            "include_site": False,
            "scope_specification": [{"type": "exclude", "path": "/api/.well-known"}],
        },
        "credentials": [{"type": "cookie", "name": BOUND, "attributes": "Path=/; Secure; HttpOnly; SameSite=Lax"}],
    }
    (cookie,) = answer.set_cookies
    assert re.fullmatch(rf"{BOUND}=bc\.[\w-]{{80,110}}; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax", cookie)
    assert CHALLENGE not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert browser.request("GET", "/session").members["device_bound"] == "dbsc"
    world.clock.skip(seconds=61)
    assert browser.request("GET", "/me").status == 200


def test_the_export_has_the_key_of_the_browser(browser: BoundBrowser, world: World) -> None:
    """The export also names the app that handed a login over."""
    browser.log_in_bound()
    grant = browser.step_up("GET", "/me/export")
    export = browser.request("GET", "/me/export", extra=[("baton-grant", grant)]).members
    (device,) = export["devices"]
    point = browser.key.public_key().public_numbers()
    assert device["browser_key"] == encoded(bytes([2 + point.y % 2]) + point.x.to_bytes(32, "big"))
    assert device["browser_key_bound_at"] == world.clock.now - 61
    assert device["handed_over_from"] is None


def test_the_first_pages_can_overtake_the_binding(browser: BoundBrowser, world: World) -> None:
    """T25. For a minute, no proof is needed.

    After that, a request without the cookie is refused, and no cookie is deleted.
    """
    offer = browser.register().headers[OFFER]
    early = browser.copy()
    browser.bind(offer)
    world.clock.skip(seconds=60)
    assert early.request("GET", "/me").status == 200
    world.clock.skip(seconds=1)
    refused = early.request("GET", "/me")
    assert (refused.status, refused.code, refused.members["action"]) == (401, "device_proof_required", "retry")
    assert refused.set_cookies == []
    assert early.request("GET", "/session").code == "device_proof_required"
    assert browser.request("GET", "/me").status == 200


def test_a_proof_lasts_for_ten_minutes(browser: BoundBrowser, world: World) -> None:
    """The cookie ends after 600 seconds. The server accepts the proof for 660 seconds, for requests on their way."""
    browser.log_in_bound()
    world.clock.skip(seconds=660 - 61 - 1)
    assert browser.request("GET", "/me").status == 200
    world.clock.skip(seconds=1)
    assert browser.request("GET", "/me").code == "device_proof_required"
    asked = browser.send_proof("/session/proof", None, session=browser.session)
    assert (asked.status, asked.body, asked.set_cookies) == (403, b"", [])
    browser.note(asked)
    renewed = browser.refresh()
    assert (renewed.status, renewed.body) == (200, b"")
    assert CHALLENGE in renewed.headers
    assert [line.partition("=")[0] for line in renewed.set_cookies] == [BOUND]
    assert browser.request("GET", "/me").status == 200


def test_stolen_cookies_are_worth_eleven_minutes(browser: BoundBrowser, world: World) -> None:
    """T26. A thief has all cookies on another machine. They stop working, and the owner's browser continues."""
    browser.log_in_bound(remember=True)
    thief, without = browser.stolen(), browser.stolen(SESSION, REMEMBER)
    assert thief.request("GET", "/me").status == 200
    assert without.request("GET", "/me").code == "device_proof_required"
    for _ in range(5):
        world.clock.skip(seconds=599)
        assert browser.refresh().status == 200
        assert browser.request("GET", "/me").status == 200
    refused = thief.request("GET", "/me")
    assert (refused.status, refused.code) == (401, "device_proof_required")
    renewing = Browser(world, cookies={REMEMBER: browser.cookies[REMEMBER]})
    assert renewing.request("GET", "/me").code == "device_proof_required"
    assert browser.request("GET", "/me").status == 200


def test_the_proof_of_another_login_is_none(browser: BoundBrowser, world: World) -> None:
    """T26. A thief with a login of his own has a genuine proof, but only for his own login."""
    browser.log_in_bound()
    thief = BoundBrowser(world)
    thief.log_in_bound(email="eve@example.com")
    mixed = Browser(world, cookies={SESSION: browser.cookies[SESSION], BOUND: thief.cookies[BOUND]})
    assert mixed.request("GET", "/me").code == "device_proof_required"


def test_a_thief_ends_no_bound_login_by_a_login_over_its_cookies(browser: BoundBrowser, world: World) -> None:
    """T26. The thief registers over the stolen cookies.

    This ends the login of the owner only while the thief also has a valid proof: at most eleven minutes.
    """
    browser.log_in_bound(remember=True)
    for names in ((SESSION,), (REMEMBER,), (SESSION, REMEMBER)):
        thief = browser.stolen(*names)
        assert thief.register(f"eve{len(names)}{names[0][-1]}@example.com").status == 201
        assert browser.request("GET", "/me").status == 200
    with_proof = browser.stolen()
    assert with_proof.register("mallory@example.com").status == 201
    assert browser.request("GET", "/me").members["reason"] == "replaced"


def test_the_floor_is_checked_after_the_device(browser: BoundBrowser, world: World) -> None:
    """A thief with an old id learns nothing about newer ids."""
    browser.log_in_bound()
    old = browser.stolen(SESSION)
    for _ in range(2):
        world.clock.skip(seconds=6 * MINUTE)
        browser.refresh()
        assert browser.request("GET", "/me").status == 200
    assert old.request("GET", "/me").code == "device_proof_required"
    with_proof = Browser(world, cookies={**old.cookies, BOUND: browser.cookies[BOUND]})
    assert with_proof.request("GET", "/me").code == "session_superseded"


def test_only_a_fresh_proof_of_the_person_is_offered_a_binding(browser: BoundBrowser, world: World) -> None:
    """T27. Login and step-up get the offer.

    A request with only a cookie gets none, because its thief could bind his own key. A bound login gets none.
    """
    assert OFFER in browser.register().headers
    assert OFFER not in browser.request("GET", "/me").headers
    world.clock.skip(seconds=6 * MINUTE)
    slid = browser.request("GET", "/session")
    assert (len(slid.set_cookies), OFFER in slid.headers) == (1, False)
    body = {"operation": {"method": "POST", "path": "/api/x", "digest": DIGEST}, "password": PASSWORD}
    stepped = browser.request("POST", "/step-up", body)
    assert stepped.status == 200
    assert browser.bind(stepped.headers[OFFER]).status == 200
    assert OFFER not in browser.request("POST", "/step-up", body).headers
    wrong = browser.request("POST", "/step-up", {**body, "password": "wrong"})
    assert (wrong.status, OFFER in wrong.headers) == (401, False)


def test_a_handed_over_login_is_bound_after_a_step_up(browser: BoundBrowser, world: World) -> None:
    """A handover does not prove the person, so it gets no offer. The binding ends with the app's login."""
    phone = world.phone(EMAIL)
    code = phone.post("/session/handover", json={"client_id": "web"}).json["code"]
    done = browser.request("POST", "/session/redeem", {"code": code, "confirm": True})
    assert (done.status, OFFER in done.headers) == (200, False)
    operation = {"method": "POST", "path": "/api/x", "digest": DIGEST}
    stepped = browser.request("POST", "/step-up", {"operation": operation, "password": PHONE_PASSWORD})
    offer = stepped.headers[OFFER]
    assert browser.bind(offer).status == 200
    assert browser.refresh().status == 200
    phone.post("/logout", json={})
    assert browser.refresh().members["continue"] is False
    assert browser.bind(offer).code == "proof_invalid"


@pytest.mark.parametrize("client_id", ["other", "session-api"])
def test_a_client_that_does_not_want_it_is_offered_nothing(world: World, client_id: str) -> None:
    """``device_bound`` of the client is ``off``."""
    browser = Browser(world, client_id)
    page = {"sec-fetch-site": "same-site", "origin": "https://other.example.com"}
    assert OFFER not in browser.request("POST", "/register", browser.entry(), page=page).headers


def test_nothing_is_offered_over_plain_http(make_world: Callable[..., World]) -> None:
    """Over plain http no browser binds cookies."""
    world = make_world(issuer=HTTP, development="1", clients="clients.toml")
    browser = Browser(world)
    own = {"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}
    fields = [("host", "localhost:8000"), *own.items(), ("content-type", "application/json")]
    body = b'{"email":"ada@example.com","password":"copper lantern drifting sideways","client_id":"web"}'
    answer = browser.world.gateway.call("POST", "/api/register", fields, body)
    assert (answer.status, [n for n, _ in answer.headers if n.lower() == OFFER]) == (201, [])


def test_a_lost_read_costs_the_offer_and_not_the_login(
    browser: BoundBrowser, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The login has begun, and its answer has no offer."""
    browser.register()
    genuine = MemoryLineageStore.add_lineage

    def added(self: MemoryLineageStore, *arguments: Any, **named: Any) -> object:
        world.storage.fail(verb="get")
        return genuine(self, *arguments, **named)

    monkeypatch.setattr(MemoryLineageStore, "add_lineage", added)
    answer = browser.request("POST", "/login", browser.entry())
    assert (answer.status, SESSION in browser.cookies, OFFER in answer.headers) == (200, True, False)


def test_one_key_for_each_login(browser: BoundBrowser, world: World) -> None:
    """T27. The first key stays. If the same key is sent again, the answer is the same."""
    offer = browser.register().headers[OFFER]
    first = browser.bind(offer)
    again = browser.bind(offer)
    assert (again.status, again.members) == (200, first.members)
    for key in (new_key(), new_key()):
        refused = browser.bind(offer, key=key)
        assert (refused.status, refused.code, refused.set_cookies) == (400, "proof_invalid", [])
    world.clock.skip(seconds=61)
    assert browser.refresh().status == 200
    other = BoundBrowser(world)
    second = other.register("bob@example.com").headers[OFFER]
    own, foreign = re.findall(r'challenge="([\w-]+)"', offer + second)
    assert other.bind(second, challenge=own).code == "proof_invalid"
    assert other.bind(second, challenge=foreign).status == 200


@pytest.mark.parametrize("how", ["late", "password", "logout", "other deployment", "garbage"])
def test_a_ticket_that_is_void_binds_nothing(
    browser: BoundBrowser, world: World, how: str, make_world: Callable[..., World]
) -> None:
    """T27. The stored ``w`` (the key of the browser) is unchanged, and the login stays active."""
    offer = browser.register().headers[OFFER]
    if how == "late":
        world.clock.skip(seconds=300)
    elif how == "password":
        members = {"new_password": NEW_PASSWORD}
        grant = browser.step_up("POST", "/me/password", members)
        extra = [("baton-grant", grant)]
        assert browser.request("POST", "/me/password", members, extra=extra).status == 204
    elif how == "logout":
        browser.request("POST", "/logout", {})
    elif how == "other deployment":
        elsewhere = BoundBrowser(make_world())
        offer = elsewhere.register().headers[OFFER]
    else:
        offer = re.sub(r'authorization="bd\.[\w-]+"', f'authorization="bd.{"A" * 100}"', offer)
    refused = browser.bind(offer)
    assert (refused.status, refused.code, refused.set_cookies) == (400, "proof_invalid", [])
    if how != "logout":
        assert browser.request("GET", "/session").members["device_bound"] == "none"


def test_a_lost_answer_is_a_retry_and_no_theft(browser: BoundBrowser, world: World) -> None:
    """T28. The challenge can be sent again for 15 minutes. After that, the answer has a new challenge."""
    browser.log_in_bound()
    browser.refresh()
    same = browser.challenge
    for _ in range(3):
        answer = browser.send_proof("/session/proof", browser.proof(same), session=browser.session)
        assert answer.status == 200
    world.clock.skip(seconds=900)
    late = browser.send_proof("/session/proof", browser.proof(same), session=browser.session)
    assert (late.status, late.code, CHALLENGE in late.headers) == (403, "", True)
    assert browser.refresh().status == 200
    for unreadable in ("", "x", "dc.x", browser.cookies[BOUND]):
        stale = browser.send_proof("/session/proof", browser.proof(unreadable), session=browser.session)
        assert (stale.status, stale.set_cookies) == (403, [])


def test_a_challenge_of_another_login_is_none(browser: BoundBrowser, world: World) -> None:
    """T28. Such a challenge does not show when this proof was made."""
    browser.log_in_bound()
    other = BoundBrowser(world)
    other.log_in_bound(email="bob@example.com")
    other.refresh()
    jwt = browser.proof(other.challenge)
    assert browser.send_proof("/session/proof", jwt, session=browser.session).status == 403


def test_sixteen_refreshes_at_once(browser: BoundBrowser, world: World) -> None:
    """T28. A refresh writes nothing, so parallel refreshes cannot conflict."""
    browser.log_in_bound()
    browser.refresh()
    world.storage.fail(when="before", verb="bind_browser")
    with ThreadPoolExecutor(16) as pool:
        statuses = list(
            pool.map(
                lambda _: (
                    browser.send_proof(
                        "/session/proof", browser.proof(browser.challenge), session=browser.session
                    ).status
                ),
                range(16),
            )
        )
    assert statuses == [200] * 16


def forgeries(browser: BoundBrowser) -> dict[str, str]:
    """Return every malformed proof of a refresh."""
    challenge = browser.challenge
    good = browser.proof(challenge)
    head, payload, signature = good.split(".")
    der = encoded(browser.key.sign(f"{head}.{payload}".encode(), ECDSA(SHA256())))
    twice = encoded(b'{"typ":"dbsc+jwt","alg":"none","alg":"ES256"}')
    return {
        "alg none": f"{encoded({**REFRESH, 'alg': 'none'})}.{payload}.",
        "alg none, signed": browser.proof(challenge, header={**REFRESH, "alg": "none"}),
        "RS256": browser.proof(challenge, header={**REFRESH, "alg": "RS256"}),
        "HS256": browser.proof(challenge, header={**REFRESH, "alg": "HS256"}),
        "alg of another case": browser.proof(challenge, header={**REFRESH, "alg": "es256"}),
        "DER signature": f"{head}.{payload}.{der}",
        "no signature": f"{head}.{payload}.",
        "short signature": f"{head}.{payload}.{signature[:-4]}",
        "jwk at refresh": browser.proof(challenge, header={**REFRESH, "jwk": public_key(browser.key).to_jwk()}),
        "own jwk": browser.proof(challenge, header={**REFRESH, "jwk": public_key(key := new_key()).to_jwk()}, key=key),
        "typ JWT": browser.proof(challenge, header={**REFRESH, "typ": "JWT"}),
        "no typ": browser.proof(challenge, header={"alg": "ES256"}),
        "crit": browser.proof(challenge, header={**REFRESH, "crit": ["b64"], "b64": False}),
        "kid": browser.proof(challenge, header={**REFRESH, "kid": "../../etc"}),
        "a member twice": f"{twice}.{payload}.{signature}",
        "3 kB": browser.proof(challenge, filler="x" * 3000),
        "two parts": f"{head}.{payload}",
        "four parts": f"{good}.{signature}",
        "no JSON": f"{encoded(b'x')}.{payload}.{signature}",
        "nested": f"{encoded(b'[' * 1500)}.{payload}.{signature}",
        "a list": f"{encoded([1])}.{payload}.{signature}",
        "padding": f"{head}=.{payload}.{signature}",
        "jti a number": browser.proof(challenge, jti=7),
        "another key": browser.proof(challenge, key=new_key()),
        "another payload": f"{head}.{encoded({'jti': challenge, 'x': 1})}.{signature}",
        "empty": '""',
    }


FORGERIES = (
    *("alg none", "alg none, signed", "RS256", "HS256", "alg of another case", "DER signature", "no signature"),
    *("short signature", "jwk at refresh", "own jwk", "typ JWT", "no typ", "crit", "kid", "a member twice", "3 kB"),
    *("two parts", "four parts", "no JSON", "nested", "a list", "padding", "jti a number", "another key"),
    *("another payload", "empty"),
)


def test_every_forgery_is_tested(browser: BoundBrowser) -> None:
    """The parametrized names are the names of ``forgeries``."""
    assert set(FORGERIES) == forgeries(browser).keys()


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_proof_is_refused_and_the_login_lives(browser: BoundBrowser, world: World, name: str) -> None:
    """T29. The answer is 400 with a clear reason. A thief must not be able to end the login of the owner."""
    browser.log_in_bound()
    browser.refresh()
    forged = forgeries(browser)[name]
    refused = browser.send_proof("/session/proof", forged, session=browser.session)
    assert (refused.status, refused.code, refused.set_cookies) == (400, "proof_invalid", [])
    if name not in {"another key", "another payload"}:
        assert refused.members["hint"].startswith("The proof in `Secure-Session-Response`: ")
    assert "proof_wrong_key" in events(world)
    assert browser.refresh().status == 200
    assert browser.request("GET", "/me").status == 200


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-384", "x": "A" * 43, "y": "A" * 43},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "oct", "k": "AQAB"},
        "no object",
        None,
    ],
    ids=["off the curve", "P-384", "Ed25519", "RSA", "oct", "text", "null"],
)
def test_a_key_that_is_no_key_is_not_bound(browser: BoundBrowser, jwk: object) -> None:
    """T29. A malformed JWK is refused."""
    offer = browser.register().headers[OFFER]
    ticket, challenge = re.findall(r'="((?:bd\.)?[\w-]{22,})"', offer)[::-1]
    header = {"typ": "dbsc+jwt", "alg": "ES256", "jwk": jwk}
    jwt = browser.proof(challenge, header=header, authorization=ticket)
    refused = browser.send_proof("/session/bind", jwt)
    assert (refused.status, refused.code) == (400, "proof_invalid")
    with_private = {**public_key(browser.key).to_jwk(), "d": "AQAB"}
    jwt = browser.proof(challenge, header={**header, "jwk": with_private}, authorization=ticket)
    assert browser.send_proof("/session/bind", jwt).code == "proof_invalid"
    by_another = {**header, "jwk": public_key(new_key()).to_jwk()}
    jwt = browser.proof(challenge, header=by_another, authorization=ticket)
    assert browser.send_proof("/session/bind", jwt).code == "proof_invalid"
    assert browser.bind(offer).status == 200


def test_a_key_of_another_curve_is_not_bound_although_it_signs(browser: BoundBrowser) -> None:
    """T29. ``alg`` is ES256, but the key is an Ed25519 key."""
    offer = browser.register().headers[OFFER]
    ticket, challenge = re.findall(r'="((?:bd\.)?[\w-]{22,})"', offer)[::-1]
    key = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().public_bytes_raw())}
    signed = f"{encoded({**REFRESH, 'jwk': jwk})}.{encoded({'jti': challenge, 'authorization': ticket})}"
    refused = browser.send_proof("/session/bind", f"{signed}.{encoded(key.sign(signed.encode()))}")
    assert (refused.code, "P-256" in refused.members["hint"]) == ("proof_invalid", True)


def test_a_proof_and_an_id_may_be_quoted(browser: BoundBrowser) -> None:
    """The draft defines a quoted string, but Chromium sends the bare text. Baton accepts both."""
    browser.log_in_bound()
    browser.refresh()
    quoted = f'"{browser.proof(browser.challenge)}"'
    assert browser.send_proof("/session/proof", quoted, session=f'"{browser.session}"').status == 200
    twice = [("secure-session-response", quoted)] * 2 + [("sec-secure-session-id", browser.session)]
    assert browser.request("POST", "/session/proof", extra=twice).code == "duplicate_field"


@pytest.mark.parametrize("reason", ["quota_exceeded", "server_error", "unreachable", "made up"])
def test_a_browser_that_says_it_skipped_is_not_believed(browser: BoundBrowser, world: World, reason: str) -> None:
    """T30. The answer is still 401, and the event is counted by its reason."""
    browser.log_in_bound()
    thief = browser.stolen(SESSION)
    extra = [("secure-session-skipped", f"{reason};session_identifier={browser.session}")]
    assert thief.request("GET", "/me", extra=extra).code == "device_proof_required"
    counted = f"proof_skipped_{'other' if reason == 'made up' else reason}"
    assert events(world).count(counted) == 1


def test_server_trouble_at_a_refresh_keeps_the_session(browser: BoundBrowser, world: World) -> None:
    """T31. The answer is 503 without a cookie, and the next refresh works."""
    browser.log_in_bound()
    browser.refresh()
    world.storage.fail(verb="get")
    failed = browser.send_proof("/session/proof", browser.proof(browser.challenge), session=browser.session)
    assert (failed.status, failed.set_cookies, "retry-after" in failed.headers) == (503, [], True)
    assert browser.refresh().status == 200


def test_a_login_that_ended_is_forgotten(browser: BoundBrowser, world: World) -> None:
    """T32. Another device ended the login: the browser forgets the binding, and its cookies are deleted."""
    browser.log_in_bound()
    other = Browser(world)
    other.login()
    device = browser.request("GET", "/session").members["device_id"]
    grant = other.step_up("DELETE", f"/me/devices/{device}")
    assert other.request("DELETE", f"/me/devices/{device}", extra=[("baton-grant", grant)]).status == 204
    over = browser.refresh()
    assert (over.status, over.members) == (200, {"session_identifier": browser.session, "continue": False})
    assert cleared(over)
    unknown = browser.send_proof("/session/proof", None, session="A" * 32)
    assert (unknown.status, unknown.members["continue"]) == (200, False)


def test_the_binding_of_an_earlier_login_does_not_end_a_later_one(browser: BoundBrowser, world: World) -> None:
    """T32. The browser still has both bindings. The cookies of the later login stay."""
    browser.log_in_bound()
    first = browser.session
    world.clock.skip(seconds=700)
    browser.login()
    over = browser.send_proof("/session/proof", None, session=first)
    assert (over.status, over.members["continue"], over.set_cookies) == (200, False, [])
    assert browser.request("GET", "/me").status == 200
    not_bound = browser.request("GET", "/session").members
    live = f"{not_bound['account_id']}{not_bound['device_id']}"
    kept = browser.send_proof("/session/proof", None, session=live)
    assert (kept.status, kept.members["continue"], kept.set_cookies) == (200, False, [])


@pytest.mark.parametrize("session", [None, "", "x", "A" * 31, "A" * 33, "é" * 32])
def test_a_page_of_another_site_deletes_no_cookie(browser: BoundBrowser, session: str | None) -> None:
    """A form cannot send the header ``Sec-Secure-Session-Id``, so it gets no answer that deletes cookies."""
    browser.log_in_bound()
    answer = browser.send_proof("/session/proof", None, session=session)
    assert (answer.status, answer.code, answer.set_cookies) == (400, "proof_invalid", [])


def test_a_proof_needs_neither_cookie_nor_origin(browser: BoundBrowser, world: World) -> None:
    """The browser itself sends the proof, not a page."""
    browser.log_in_bound()
    bare = BoundBrowser(world, key=browser.key, session=browser.session)
    assert bare.refresh().status == 200


def test_logout_deletes_the_proof_too(browser: BoundBrowser) -> None:
    """A logout deletes all four cookies."""
    browser.log_in_bound(remember=True)
    assert cleared(browser.request("POST", "/logout", {}))
