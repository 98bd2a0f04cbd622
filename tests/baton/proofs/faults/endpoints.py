"""Scenarios: every endpoint, with each different sequence of calls to DynamoDB and KMS."""

import base64
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from baton_client import BatonClient, NotLoggedIn
from chalicelib.baton.factors import password_hash as passwords
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.policy import FAILURES_PER_ACCOUNT_MAX, LINEAGE_KEPT_S, LINEAGES_MAX, THROTTLE_WINDOW_S
from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.shortcuts import CHEAP
from tests.baton.wire.conversation import FORM, HOST, NEW_PASSWORD, PASSWORD, Device, Said

EMAIL = "ada@example.com"
ATTEMPT = "the one attempt of this act"


@dataclass(frozen=True)
class Scenario:
    """A scenario on a stage: ``prepare`` sets it up and returns its action.

    ``outcomes`` lists the accepted results other than the result without a fault: a fault can come after the write, and
    a repeated request then gets another answer. ``may_leave`` lists facts that a fault may leave in the tables.
    """

    route: str
    name: str
    prepare: Callable[[Stage], Act]
    outcomes: frozenset[str]
    may_leave: frozenset[str]
    asks_nobody: bool

    def __str__(self) -> str:
        """Return the name of the scenario."""
        return f"{self.route} {self.name}".strip()


SCENARIOS: list[Scenario] = []


def scenario(
    route: str,
    name: str = "",
    *,
    outcomes: tuple[str, ...] = (),
    may_leave: tuple[str, ...] = (),
    asks_nobody: bool = False,
) -> Callable[[Callable[[Stage], Act]], Callable[[Stage], Act]]:
    """Add a scenario to the list."""

    def add(prepare: Callable[[Stage], Act]) -> Callable[[Stage], Act]:
        SCENARIOS.append(Scenario(route, name, prepare, frozenset(outcomes), frozenset(may_leave), asks_nobody))
        return prepare

    return add


def registered(stage: Stage, client_id: str = "mobile", **options: object) -> Device:
    """Register a device that sends raw requests."""
    device = stage.device(client_id, **options)
    assert device.register(EMAIL).status == 201
    return device


def entered(device: Device, path: str, password: str = PASSWORD) -> Said:
    """Register or log in, with the attempt of the scenario."""
    said = device.post(path, device.entry(EMAIL, password), {"idempotency-key": ATTEMPT.replace(" ", "-")}, token=None)
    return device._kept(said)


def log_out(phone: BatonClient) -> None:
    """End this login by its own route. A login that ended before this answer counts as ended."""
    with contextlib.suppress(NotLoggedIn):
        phone.call("POST", "/logout", json={}, repeat=True)
    phone.forget()


def log_out_everywhere(phone: BatonClient) -> None:
    """End every login, with the password. A login that ended before this answer counts as ended."""
    with contextlib.suppress(NotLoggedIn):
        phone.logout_everywhere(password=PASSWORD)
    phone.forget()


def public(stage: Stage, path: str, method: str = "GET") -> Act:
    """Send a request that needs no token."""
    return stage.by_device(stage.device(), lambda device: device.send(method, f"/api{path}", [("host", HOST)], b""))


# --- Public routes


@scenario("GET /time", asks_nobody=True)
def _(stage: Stage) -> Act:
    return public(stage, "/time")


@scenario("GET /.well-known/oauth-authorization-server", asks_nobody=True)
def _(stage: Stage) -> Act:
    return public(stage, "/.well-known/oauth-authorization-server")


@scenario("GET /.well-known/openid-configuration", asks_nobody=True)
def _(stage: Stage) -> Act:
    return public(stage, "/.well-known/openid-configuration")


@scenario("GET /.well-known/oauth-protected-resource", asks_nobody=True)
def _(stage: Stage) -> Act:
    return public(stage, "/.well-known/oauth-protected-resource")


@scenario("GET /oauth/authorize", asks_nobody=True)
def _(stage: Stage) -> Act:
    return public(stage, "/oauth/authorize?response_type=code")


@scenario("POST /oauth/authorize", asks_nobody=True)
def _(stage: Stage) -> Act:
    return public(stage, "/oauth/authorize", "POST")


@scenario("GET /openapi.json", asks_nobody=True)
def _(stage: Stage) -> Act:
    return public(stage, "/openapi.json")


@scenario("GET /.well-known/jwks.json")
def _(stage: Stage) -> Act:
    return public(stage, "/.well-known/jwks.json")


@scenario("GET /health")
def _(stage: Stage) -> Act:
    return public(stage, "/health")


# --- Registration and login


@scenario("POST /register")
def _(stage: Stage) -> Act:
    return stage.by_client(stage.client(), lambda phone: phone.register(EMAIL, PASSWORD, "phone"))


@scenario("POST /register", "for a shared secret")
def _(stage: Stage) -> Act:
    phone = stage.client("mobile-opaque", binding="hmac")
    return stage.by_client(phone, lambda phone: phone.register(EMAIL, PASSWORD, "phone"))


@scenario("POST /register", "again, after it was answered")
def _(stage: Stage) -> Act:
    phone = stage.device()
    assert entered(phone, "/register").status == 201
    return stage.by_device(phone, lambda phone: entered(phone, "/register"))


@scenario("POST /register", "an address that is taken")
def _(stage: Stage) -> Act:
    registered(stage)
    return stage.by_device(stage.device(), lambda phone: entered(phone, "/register"))


@scenario("POST /register", "an address whose deletion died half-way")
def _(stage: Stage) -> Act:
    account = AccountId(registered(stage).get("/me").members["account_id"])
    stage.module.baton.lineage_store.set_status(account, Status.DELETED, now=int(stage.clock.time()))
    return stage.by_device(stage.device(), lambda phone: entered(phone, "/register"))


@scenario("POST /login")
def _(stage: Stage) -> Act:
    registered(stage)
    return stage.by_client(stage.client(), lambda phone: phone.login(EMAIL, PASSWORD, "tablet"))


@scenario("POST /login", "of a known device")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.login(EMAIL, PASSWORD, "again"))


@scenario("POST /login", "again, after it was answered")
def _(stage: Stage) -> Act:
    registered(stage)
    tablet = stage.device()
    assert entered(tablet, "/login").status == 200
    return stage.by_device(tablet, lambda tablet: entered(tablet, "/login"))


@scenario("POST /login", "in the place of another")
def _(stage: Stage) -> Act:
    registered(stage)
    for _ in range(LINEAGES_MAX - 1):
        assert stage.device().login(EMAIL).status == 200
    stage.clock.skip(LINEAGE_KEPT_S)
    return stage.by_client(stage.client(), lambda phone: phone.login(EMAIL, PASSWORD, "one more"))


@scenario("POST /login", "with no room for it")
def _(stage: Stage) -> Act:
    registered(stage)
    for _ in range(LINEAGES_MAX - 1):
        assert stage.device().login(EMAIL).status == 200
    return stage.by_device(stage.device(), lambda phone: entered(phone, "/login"))


@scenario("POST /login", "with a verifier of yesterday's cost")
def _(stage: Stage) -> Act:
    with pytest.MonkeyPatch.context() as yesterday:
        yesterday.setattr(passwords, "_CURRENT", (CHEAP[0], CHEAP[1] + 1, CHEAP[2]))
        registered(stage)
    return stage.by_client(stage.client(), lambda phone: phone.login(EMAIL, PASSWORD, "tablet"))


@scenario("POST /login", "with a wrong password")
def _(stage: Stage) -> Act:
    registered(stage)
    return stage.by_device(stage.device(), lambda phone: entered(phone, "/login", NEW_PASSWORD))


@scenario("POST /login", "of nobody")
def _(stage: Stage) -> Act:
    return stage.by_device(stage.device(), lambda phone: entered(phone, "/login"))


@scenario("POST /login", "once too often")
def _(stage: Stage) -> Act:
    stage.clock.skip(THROTTLE_WINDOW_S - stage.clock.time() % THROTTLE_WINDOW_S)  # a new rate limit window has begun
    registered(stage)
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        stage.device().login(EMAIL, password=NEW_PASSWORD)
    return stage.by_device(stage.device(), lambda phone: entered(phone, "/login"))


# --- Exchange and the other OAuth routes


@scenario("POST /oauth/token")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.exchange())


@scenario("POST /oauth/token", "without a key")
def _(stage: Stage) -> Act:
    phone = stage.client("oauth", binding="none")
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.exchange())


@scenario("POST /oauth/token", "again, after it was answered")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    parent = phone.token
    assert phone.exchange(attempt="an-attempt-to-keep").status == 200
    return stage.by_device(phone, lambda phone: phone.exchange(parent, attempt="an-attempt-to-keep"))


@scenario("POST /oauth/token", "by a restored backup")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    grandparent = phone.token
    phone.exchange(attempt="an-attempt-to-keep")
    phone.exchange()
    return stage.by_device(phone, lambda phone: phone.exchange(grandparent, attempt="an-attempt-to-keep"))


# The lineage is ended before the answer is sent. A thief without an answer who repeats the request finds an ended
# lineage.
@scenario("POST /oauth/token", "by a thief", outcomes=("400 login_required",))
def _(stage: Stage) -> Act:
    phone = registered(stage)
    parent = phone.token
    phone.exchange()
    return stage.by_device(phone, lambda thief: thief.exchange(parent, attempt="an-attempt-of-a-thief"))


@scenario("POST /oauth/token", "of a login that has ended")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    assert phone.post("/logout", {}).status == 204
    return stage.by_device(phone, lambda phone: phone.exchange())


@scenario("POST /oauth/token", "of a session")
def _(stage: Stage) -> Act:
    browser = stage.client("session-api", binding="none")
    browser.register(EMAIL, PASSWORD, "browser")
    stage.clock.skip(60)
    return stage.by_client(browser, lambda browser: browser.exchange())


@scenario("POST /oauth/token", "that may be repeated")
def _(stage: Stage) -> Act:
    phone = stage.client("legacy", binding="none")
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.exchange())


@scenario("POST /oauth/revoke")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    body = urlencode({"token": phone.token}).encode()
    return stage.by_device(phone, lambda phone: phone.request("POST", "/oauth/revoke", body, FORM, token=None))


@scenario("POST /oauth/introspect")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    basic = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".encode()).decode()
    headers = [("host", HOST), ("authorization", f"Basic {basic}"), *FORM.items()]
    body = urlencode({"token": phone.token}).encode()
    return stage.by_device(phone, lambda phone: phone.send("POST", "/api/oauth/introspect", headers, body))


# --- Signed calls


@scenario("GET /me")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.me())


@scenario("GET /me", "by a session that slides")
def _(stage: Stage) -> Act:
    browser = stage.client("session-api", key="p256")
    browser.register(EMAIL, PASSWORD, "browser")
    stage.clock.skip(10 * 60)
    return stage.by_client(browser, lambda browser: browser.me())


@scenario("GET /me", "by a login that has ended")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    assert phone.post("/logout", {}).status == 204
    return stage.by_device(phone, lambda phone: phone.get("/me"))


@scenario("GET /me/devices")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.devices())


@scenario("GET /me/activity")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.activity())


@scenario("GET /me/export")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.export_account(PASSWORD))


@scenario("DELETE /me/devices/{device_id}")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    other = str(stage.device().login(EMAIL).members["device_id"])
    return stage.by_client(phone, lambda phone: phone.end_device(other, password=PASSWORD))


@scenario("DELETE /me/devices/{device_id}", "of nobody")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    path = "/me/devices/AAAAAAAAAAAAAAAA"
    return stage.by_device(phone, lambda phone: phone.confirmed("DELETE", path))


@scenario("DELETE /me/devices/{device_id}", "without a grant")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    return stage.by_device(phone, lambda phone: phone.request("DELETE", "/me/devices/AAAAAAAAAAAAAAAA"))


@scenario("POST /step-up")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.step_up(PASSWORD, "DELETE", "/me"))


@scenario("POST /step-up", "with a wrong password")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.step_up(NEW_PASSWORD, "DELETE", "/me"))


@scenario("POST /transfers")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(
        phone,
        lambda phone: phone.call(
            "POST", "/transfers", json={"to": "Bob", "amount": 20_000}, confirm=lambda _: PASSWORD
        ),
    )


@scenario("POST /transfers", "with a grant that was made up")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    return stage.by_device(
        phone, lambda phone: phone.post("/transfers", {"to": "Bob", "amount": 20_000}, {"baton-grant": "made up"})
    )


def forgot(device: Device, path: str = "/password/forgot") -> Said:
    """Request the code of a reset, or of a registration."""
    entry = device.entry(EMAIL)
    del entry["password"]
    return device.post(path, entry, token=None)


@scenario("POST /register/start")
def _(stage: Stage) -> Act:
    return stage.by_device(stage.device(), lambda phone: forgot(phone, "/register/start"))


@scenario("POST /register", "with a code")
def _(stage: Stage) -> Act:
    phone = stage.device()
    proof = {"mail_session": forgot(phone, "/register/start").members["mail_session"], "code": stage.code()}
    body, attempt = phone.entry(EMAIL) | proof, {"idempotency-key": ATTEMPT.replace(" ", "-")}
    return stage.by_device(phone, lambda phone: phone.post("/register", body, attempt, token=None))


@scenario("POST /password/forgot")
def _(stage: Stage) -> Act:
    registered(stage)
    return stage.by_device(stage.device(), forgot)


@scenario("POST /password/forgot", "of nobody")
def _(stage: Stage) -> Act:
    return stage.by_device(stage.device(), forgot)


@scenario("POST /password/reset")
def _(stage: Stage) -> Act:
    registered(stage)
    lost = stage.device()
    body = {"mail_session": forgot(lost).members["mail_session"], "code": stage.code(), "new_password": NEW_PASSWORD}
    return stage.by_device(lost, lambda lost: lost.post("/password/reset", body, token=None))


@scenario("POST /password/reset", "with a wrong code")
def _(stage: Stage) -> Act:
    registered(stage)
    lost = stage.device()
    body = {"mail_session": forgot(lost).members["mail_session"], "code": "00000000", "new_password": NEW_PASSWORD}
    return stage.by_device(lost, lambda lost: lost.post("/password/reset", body, token=None))


@scenario("POST /me/email/code")
def _(stage: Stage) -> Act:
    return stage.by_device(registered(stage), lambda phone: phone.post("/me/email/code", {}))


@scenario("POST /me/email/verify")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    session = phone.post("/me/email/code", {}).members["mail_session"]
    body = {"mail_session": session, "code": stage.code()}
    return stage.by_device(phone, lambda phone: phone.post("/me/email/verify", body))


NEW_EMAIL = "ada@example.net"


def proved(stage: Stage, phone: Device) -> Device:
    """Prove the address of a phone's account."""
    session = phone.post("/me/email/code", {}).members["mail_session"]
    assert phone.post("/me/email/verify", {"mail_session": session, "code": stage.code()}).status == 204
    return phone


def moving(stage: Stage) -> tuple[Device, str]:
    """Prove the address of a phone's account, and request the code for another address.

    Return the session of the code.
    """
    phone = proved(stage, registered(stage))
    return phone, str(phone.confirmed("POST", "/me/email", {"new_email": NEW_EMAIL}).members["mail_session"])


# A grant is valid once: a client that repeats the request must step up again.
@scenario("POST /me/email", outcomes=("401 grant_invalid",))
def _(stage: Stage) -> Act:
    phone = registered(stage)
    body = json.dumps({"new_email": NEW_EMAIL}).encode()
    headers = {"content-type": "application/json", "baton-grant": phone.step_up("POST", "/me/email", body)}
    return stage.by_device(phone, lambda phone: phone.request("POST", "/me/email", body, headers))


@scenario("POST /me/email/confirm")
def _(stage: Stage) -> Act:
    phone, session = moving(stage)
    body = {"mail_session": session, "code": stage.code()}
    return stage.by_device(phone, lambda phone: phone.post("/me/email/confirm", body))


@scenario("POST /mail/undo")
def _(stage: Stage) -> Act:
    phone, session = moving(stage)
    assert phone.post("/me/email/confirm", {"mail_session": session, "code": stage.code()}).status == 204
    link = stage.link()
    return stage.by_device(stage.device(), lambda browser: browser.post("/mail/undo", {"link": link}, token=None))


@scenario("POST /mail/not-me")
def _(stage: Stage) -> Act:
    assert registered(stage).post("/me/email/code", {}).status == 202
    link = stage.link(unproved=True)
    return stage.by_device(stage.device(), lambda browser: browser.post("/mail/not-me", {"link": link}, token=None))


@scenario("GET /mail/action", asks_nobody=True)
def _(stage: Stage) -> Act:
    return stage.by_device(stage.device(), lambda browser: browser.get("/mail/action", token=None))


# If the request is repeated after its effect, the old password in it is wrong. The client contract allows this.
@scenario("POST /me/password", outcomes=("refused (invalid_credentials), then done",))
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    assert stage.device().login(EMAIL).status == 200
    return stage.by_client(phone, lambda phone: phone.change_password(PASSWORD, NEW_PASSWORD))


@scenario("POST /logout")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, log_out)


@scenario("POST /logout", "everywhere")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    assert stage.device().login(EMAIL).status == 200
    return stage.by_client(phone, log_out_everywhere)


# The account state is deleted first, with its logins. A repeated request gets `login_required`. The rest of the user
# item is removed when the address is registered again: see "an address whose deletion died half-way".
@scenario(
    "DELETE /me",
    outcomes=("logged out (login_required), then NotLoggedIn",),
    may_leave=("1 E", "1 U", "verifier 1"),
)
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    return stage.by_client(phone, lambda phone: phone.delete_account(PASSWORD))
