"""The scenarios of browsers: logins and calls with cookies. A repetition sends the cookies of the first sending."""

from collections.abc import Mapping
from typing import Final

from tests.baton.proofs.faults.endpoints import ATTEMPT, EMAIL, registered, scenario
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import Device, Said

PAGE: Final[Mapping[str, str]] = {"sec-fetch-site": "same-origin"}


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
