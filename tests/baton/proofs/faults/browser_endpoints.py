"""The scenarios of browsers: logins and calls with cookies.

A repeated request sends the cookies of the first request.
"""

from collections.abc import Mapping
from typing import Final

from chalicelib.baton.testing.phone import new_key
from tests.baton.browser.dbsc import CHALLENGE, OFFER, answer_to, make_proof
from tests.baton.proofs.faults.endpoints import ATTEMPT, EMAIL, registered, scenario
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import Device, Said

PAGE: Final[Mapping[str, str]] = {"sec-fetch-site": "same-origin"}
KEY: Final = new_key()
"""The key of the browser."""


def logged_in(stage: Stage, *, remember: bool = False) -> tuple[Device, str]:
    """Register a browser, and return it with its cookies."""
    browser = stage.device("web", bound=False)
    said = browser.post("/register", browser.entry(EMAIL) | {"remember": remember}, PAGE, token=None)
    assert said.status == 201
    return browser, said.cookies


def sent(stage: Stage, browser: Device, cookies: str, method: str, path: str, members: object = None) -> Act:
    """Send a request with these cookies."""
    headers = {**PAGE, "cookie": cookies}

    def act(device: Device) -> Said:
        if members is not None:
            return device.post(path, members, headers, token=None)
        return device.request(method, path, headers=headers, token=None)

    return stage.by_device(browser, act)


@scenario("GET /session", "that slides")
def _(stage: Stage) -> Act:
    browser, cookies = logged_in(stage)
    stage.clock.skip(10 * 60)
    return sent(stage, browser, cookies, "GET", "/session")


@scenario("GET /me", "by a cookie that slides")
def _(stage: Stage) -> Act:
    browser, cookies = logged_in(stage)
    stage.clock.skip(10 * 60)
    return sent(stage, browser, cookies, "GET", "/me")


@scenario("GET /me", "by a remember token")
def _(stage: Stage) -> Act:
    browser, cookies = logged_in(stage, remember=True)
    stage.clock.skip(10 * 60 * 60)
    return sent(stage, browser, cookies, "GET", "/me")


@scenario("GET /me", "by an old session id")
def _(stage: Stage) -> Act:
    browser, cookies = logged_in(stage)
    newer = cookies
    for _ in range(2):
        stage.clock.skip(10 * 60)
        newer = browser.request("GET", "/me", headers={**PAGE, "cookie": newer}, token=None).cookies
    return sent(stage, browser, cookies, "GET", "/me")


@scenario("POST /login", "over a cookie")
def _(stage: Stage) -> Act:
    browser, cookies = logged_in(stage)
    headers = {**PAGE, "cookie": cookies, "idempotency-key": ATTEMPT.replace(" ", "-")}
    return stage.by_device(browser, lambda device: device.post("/login", device.entry(EMAIL), headers, token=None))


@scenario("POST /login", "over the cookie of another account")
def _(stage: Stage) -> Act:
    registered(stage)
    browser = stage.device("web", bound=False)
    said = browser.post("/register", browser.entry("bob@example.com"), PAGE, token=None)
    headers = {**PAGE, "cookie": said.cookies, "idempotency-key": ATTEMPT.replace(" ", "-")}
    return stage.by_device(browser, lambda device: device.post("/login", device.entry(EMAIL), headers, token=None))


@scenario("POST /logout", "by a cookie", outcomes=("401 login_required",))
def _(stage: Stage) -> Act:
    browser, cookies = logged_in(stage)
    return sent(stage, browser, cookies, "POST", "/logout", {})


@scenario("POST /session/handover")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    return stage.by_device(phone, lambda device: device.post("/session/handover", {"client_id": "web"}))


def code_of(stage: Stage) -> tuple[Device, str]:
    """Request a code, and return it with a browser."""
    code = registered(stage).post("/session/handover", {"client_id": "web"}).members["code"]
    return stage.device("web", bound=False), code


@scenario("GET /session/open", asks_nobody=True)
def _(stage: Stage) -> Act:
    browser = stage.device("web", bound=False)
    return stage.by_device(browser, lambda device: device.request("GET", "/session/open", token=None))


@scenario("GET /session/open", "with a code")
def _(stage: Stage) -> Act:
    browser, code = code_of(stage)
    headers = {"baton-handover": code, "idempotency-key": ATTEMPT.replace(" ", "-")}
    return stage.by_device(browser, lambda device: device.request("GET", "/session/open", headers=headers, token=None))


@scenario("POST /session/redeem", "without the tap")
def _(stage: Stage) -> Act:
    browser, code = code_of(stage)
    return stage.by_device(browser, lambda device: device.post("/session/redeem", {"code": code}, PAGE, token=None))


@scenario("POST /session/redeem", "with the tap")
def _(stage: Stage) -> Act:
    browser, code = code_of(stage)
    headers, tap = {**PAGE, "idempotency-key": ATTEMPT.replace(" ", "-")}, {"code": code, "confirm": True}
    return stage.by_device(browser, lambda device: device.post("/session/redeem", tap, headers, token=None))


def offered(stage: Stage) -> tuple[Device, dict[str, str], str]:
    """Register a browser, and return it with the proof of a key and the path of the offer."""
    browser = stage.device("web", bound=False)
    said = browser.post("/register", browser.entry(EMAIL), PAGE, token=None)
    path, proof = answer_to(said.headers[OFFER], KEY)
    return browser, {"secure-session-response": proof}, path


@scenario("POST /session/bind")
def _(stage: Stage) -> Act:
    browser, headers, path = offered(stage)
    return stage.by_device(browser, lambda device: device.request("POST", path, headers=headers, token=None))


@scenario("POST /session/proof", "without a proof")
def _(stage: Stage) -> Act:
    browser, session = bound(stage)
    return proving(stage, browser, {"sec-secure-session-id": session})


@scenario("POST /session/proof", "with a proof")
def _(stage: Stage) -> Act:
    browser, session = bound(stage)
    headers = {"sec-secure-session-id": session}
    asked = browser.request("POST", "/session/proof", headers=headers, token=None)
    proof = make_proof(KEY, asked.headers[CHALLENGE].split('"')[1])
    return proving(stage, browser, headers | {"secure-session-response": proof})


def bound(stage: Stage) -> tuple[Device, str]:
    """Bind a browser, and return it with its session."""
    browser, headers, path = offered(stage)
    return browser, browser.request("POST", path, headers=headers, token=None).members["session_identifier"]


def proving(stage: Stage, browser: Device, headers: dict[str, str]) -> Act:
    """Renew the proof of a browser."""
    return stage.by_device(
        browser, lambda device: device.request("POST", "/session/proof", headers=headers, token=None)
    )
