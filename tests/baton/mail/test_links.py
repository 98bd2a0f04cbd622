"""Links in mails: they open the app, are safe from scanners, and do not depend on headers of a request.

The numbers of cases are those of docs/baton/attacks.md.
"""

import base64
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.baton.policy import HOUR_S, MAIL_CODE_TRIES_MAX, MAIL_RESET_LINK_S, MAIL_RESET_S
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD, Said

EVE = "eve@example.com"


def reset(town: Town, link: str, password: str = NEW_PASSWORD) -> Said:
    """Reset with a link, on a device that signs nothing."""
    return town.device(bound=False).post("/password/reset", {"link": link, "new_password": password}, token=None)


def test_a_link_of_a_reset_sets_the_password_on_any_device(linked: Town) -> None:
    """The link has the host of the registry. It lives for six hours: as long as strangers can use up the sessions."""
    linked.registered()
    phone = linked.device()
    session = linked.forgot(phone).members["mail_session"]
    code, link = linked.code(), linked.link()
    assert f"https://app.example.com/baton/reset#t={link}" in linked.mails()[-1].text
    linked.world.clock.skip(seconds=MAIL_RESET_S)
    assert linked.reset(phone, session, code).code == "invalid_code"
    linked.world.clock.skip(seconds=MAIL_RESET_LINK_S - MAIL_RESET_S - 1)
    assert reset(linked, link, "short").code == "too_short"
    assert reset(linked, link).status == 204
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200


def test_a_link_of_a_reset_ends(linked: Town) -> None:
    """The link is refused after six hours, after a reset, and if it is altered."""
    linked.registered()
    linked.forgot(linked.device())
    link = linked.link()
    assert reset(linked, link[:-1] + ("A" if link[-1] != "A" else "B")).code == "invalid_code"
    linked.world.clock.skip(seconds=MAIL_RESET_LINK_S)
    assert reset(linked, link).code == "invalid_code"
    linked.forgot(linked.device())
    first = linked.link()
    linked.reset_by_mail(linked.device())
    assert reset(linked, first).code == "invalid_code"


def test_a_lost_answer_of_a_link_is_repeated_and_another_password_is_not(linked: Town) -> None:
    """The rule is the same as with a code."""
    linked.registered()
    linked.forgot(linked.device())
    link = linked.link()
    assert reset(linked, link).status == 204
    assert reset(linked, link).status == 204
    assert reset(linked, link, "another passphrase entirely").code == "invalid_code"
    assert linked.device().login(ADA, password=NEW_PASSWORD).status == 200


def test_a_used_link_tells_five_guesses_of_the_password(linked: Town) -> None:
    """Bug: a used link told without limit whether a password is the present password."""
    linked.registered()
    linked.forgot(linked.device())
    link = linked.link()
    assert reset(linked, link).status == 204
    for number in range(MAIL_CODE_TRIES_MAX):
        assert reset(linked, link, f"granite umbrella sentence {number}").code == "invalid_code"
    assert reset(linked, link).code == "invalid_code", "the sixth try is not compared"


@pytest.mark.guarantee(8)
def test_of_eight_uses_of_a_link_one_sets_the_password(linked: Town) -> None:
    """Each use has another password."""
    linked.registered()
    linked.forgot(linked.device())
    link = linked.link()
    passwords = [f"granite umbrella sentence {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda password: reset(linked, link, password).status, passwords))
    assert statuses.count(204) == 1
    assert [linked.device().login(ADA, password=one).status for one in passwords].count(200) == 1


def test_a_link_proves_the_address_on_any_login_of_its_account(linked: Town) -> None:
    """The person reads the mail on another device. After an hour, the link is void."""
    phone, tablet = linked.registered(), linked.device()
    assert tablet.login(ADA).status == 200
    assert phone.post("/me/email/code", {}).status == 202
    link = linked.link()
    linked.world.clock.skip(seconds=HOUR_S - 1)
    assert tablet.exchange().status == 200
    assert tablet.post("/me/email/verify", {"link": link}).status == 204
    assert tablet.post("/me/email/verify", {"link": link}).status == 204
    assert tablet.get("/me").members["email_verified"] is True
    linked.world.clock.skip(seconds=1)
    assert tablet.post("/me/email/verify", {"link": link}).code == "invalid_code"


def test_the_owner_taps_the_link_of_a_squatter_and_nothing_happens(linked: Town) -> None:
    """Case 52: the app sends the link with the owner's own login. The account of the squatter stays unproved."""
    squatter, owner = linked.registered(), linked.registered(EVE)
    assert squatter.post("/me/email/code", {}).status == 202
    link = linked.link()
    said = owner.post("/me/email/verify", {"link": link})
    assert (said.status, said.code) == (401, "invalid_code")
    assert owner.post("/me/email/verify", {"link": link}, token=None).status == 401
    assert linked.device().request("GET", f"/mail/action#t={link}", token=None).status == 200
    for device in (squatter, owner):
        assert device.get("/me").members["email_verified"] is False


def test_a_link_counts_for_its_own_use_alone(linked: Town) -> None:
    """The link of a reset proves no address, that of a proof resets nothing, and neither of them undoes a change."""
    phone = linked.registered()
    linked.forgot(phone)
    of_reset = linked.link()
    assert phone.post("/me/email/code", {}).status == 202
    of_proof = linked.link()
    assert phone.post("/me/email/verify", {"link": of_reset}).code == "invalid_code"
    assert reset(linked, of_proof).code == "invalid_code"
    for link in (of_reset, of_proof):
        assert linked.undo(link).code == "invalid_code"
    assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    of_undo = linked.link()
    assert reset(linked, of_undo).code == "invalid_code"
    assert phone.post("/me/email/verify", {"link": of_undo}).code == "invalid_code"
    assert phone.post("/me/email/verify", {"link": of_proof}).code == "invalid_code", "of earlier credentials"
    assert phone.get("/me").status == 200


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"mail_session": "ms.x"},
        {"code": "1234 5678"},
        {"link": "ml.x", "code": "1234 5678"},
        {"link": "ml.x", "mail_session": "ms.x", "code": "1234 5678"},
    ],
)
def test_a_proof_is_a_code_with_its_session_or_a_link(linked: Town, members: dict[str, str]) -> None:
    """A request with both proofs, with half of a proof, or with no proof is refused with an explanation."""
    phone = linked.registered()
    for said in (
        phone.post("/password/reset", {"new_password": NEW_PASSWORD, **members}, token=None),
        phone.post("/me/email/verify", members),
    ):
        assert (said.status, said.code) == (400, "malformed")
        assert "`link`" in said.members["detail"]


def test_a_forged_host_changes_no_link(linked: Town) -> None:
    """Case 49: settings define the host of links, and header fields of a request do not change it."""
    phone = linked.registered()
    for field in ("x-forwarded-host", "x-original-host", "forwarded", "origin", "referer"):
        entry = phone.entry(ADA)
        del entry["password"]
        said = phone.post("/password/forgot", entry, {field: "evil.example"}, token=None)
        assert said.status == 202
    assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    found = re.findall(r"https://([^/]+)/", "".join(mail.text for mail in linked.mails()))
    assert set(found) == {"app.example.com", "api.example.com"}


def test_without_a_link_host_codes_have_no_link(town: Town) -> None:
    """The mail has no empty paragraph in place of the link."""
    town.registered()
    town.forgot(town.device())
    mail = town.mails()[-1]
    assert "http" not in mail.text + mail.html
    assert "\n\n\n" not in mail.text


def test_a_mail_that_is_delivered_twice_has_one_link(linked: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an undo could be used twice."""
    from chalicelib.baton.http import jobs
    from chalicelib.baton.mail.outbox import PendingOrders

    phone = linked.registered()
    orders: list[str] = []
    monkeypatch.setattr(PendingOrders, "put", lambda _, order: orders.append(order))
    assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    records = [{"messageId": str(place), "body": body} for place, body in enumerate([*orders, *orders])]
    jobs.jobs({"Records": records})
    assert linked.link(mail=-1) == linked.link(mail=-2)


def test_a_scanner_that_opens_every_link_changes_nothing(linked: Town) -> None:
    """Case 49: the scanner sends GET and HEAD for the page, with any query. It does not send the fragment."""
    phone = linked.verified(linked.registered())
    linked.forgot(phone)
    linked.moved(phone, "ada@example.net")
    before = linked.world._stores.accounts.get(linked.world.account_of("ada@example.net"))
    scanner = linked.device(bound=False)
    for method in ("GET", "HEAD"):
        for path in ("/mail/action", "/mail/action?utm_source=mail", f"/mail/action?t={linked.link()}"):
            assert scanner.request(method, path, token=None).status == 200
    assert scanner.request("GET", "/mail/undo", token=None).status in {403, 404, 405}
    assert linked.world._stores.accounts.get(linked.world.account_of("ada@example.net")) == before
    assert phone.get("/me").status == 200


def test_the_page_runs_its_own_script_and_nothing_else(town: Town) -> None:
    """The Content-Security-Policy allows two hashes and requests to this API, no frame and no form.

    No cache stores the page.
    """
    said = town.device(bound=False).request("GET", "/mail/action", token=None)
    html = said.body.decode()
    policy = dict(part.split(" ", 1) for part in said.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": _source(html, "script"),
        "style-src": _source(html, "style"),
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert said.headers["content-type"] == "text/html; charset=utf-8"
    assert said.headers["referrer-policy"] == "no-referrer"
    assert said.headers["cache-control"] == "no-store"
    assert not re.search(r"\s(?:src|href|on\w+)=", html)
    assert "https://" not in html


def _source(html: str, element: str) -> str:
    (text,) = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_a_link_is_in_no_log_line(linked: Town) -> None:
    """The test has the links of a reset and of an undo."""
    phone = linked.verified(linked.registered())
    linked.forgot(phone)
    of_reset = linked.link()
    assert reset(linked, of_reset).status == 204
    of_undo = linked.link()
    assert linked.undo(of_undo).status == 204
    written = str(linked.world.lines)
    assert of_reset[:40] not in written
    assert of_undo[:40] not in written
