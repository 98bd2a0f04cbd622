"""Every interleaving of a handover and the end of the app's login.

After that end, no browser login begins or is used. As in `test_factors`, each call of a store is a step, and one write
of each schedule may be sent twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from chalicelib.baton.factors.password_hash import TEST_COST
from chalicelib.baton.lineages import rules
from tests.baton.proofs.interleavings.scheduler import Course, Refuted, explore
from tests.baton.proofs.interleavings.test_factors import ADMIT, END, Deployment, refute
from tests.baton.wire.conversation import Device, Said, through
from tests.baton.wire.second_factor import EMAIL, attempt

pytestmark = pytest.mark.guarantee(2, 6, 7, 8)

USE = "lineages.record_use"
PAGE = {"sec-fetch-site": "same-origin"}


@dataclass
class Scene:
    """Ada's phone, and a browser without cookies."""

    deployment: Deployment
    phone: Device
    browser: Device

    def code(self) -> str:
        """Request a code."""
        return str(self.phone.post("/session/handover", {"client_id": "web"}).members["code"])

    def redeem(self, code: str, key: str) -> Said:
        """Redeem a code."""
        headers = {**PAGE, "idempotency-key": key}
        return self.browser.post("/session/redeem", {"code": code, "confirm": True}, headers, token=None)

    def use(self, cookies: str) -> Said:
        """Use the session of the browser."""
        return self.browser.request("GET", "/me", headers={**PAGE, "cookie": cookies}, token=None)

    def log_out(self) -> Said:
        """Log the phone out."""
        return self.phone.post("/logout", {})


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Make the scene."""
    token = TEST_COST.set((8, 1, 1))
    deployment = Deployment(clients="clients.toml")
    phone, browser = (
        Device(through(deployment.gateway), lambda: deployment.now, client, bound=bound)
        for client, bound in (("mobile", True), ("web", False))
    )
    assert phone.register(EMAIL).status == 201
    yield Scene(deployment, phone, browser)
    TEST_COST.reset(token)


def late(written: list[str], write: str) -> bool:
    """Check whether a write came after the end of the login that it needs."""
    return write in written and END in written and written.index(write) > written.index(END)


def redeem_against_a_logout(scene: Scene) -> Callable[[Course], None]:
    """Redeem a code while the phone logs out."""
    code, key = scene.code(), attempt()
    acts = {"redeem": lambda: scene.redeem(code, key), "logout": scene.log_out}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        if late(scene.deployment.written, ADMIT):
            refute(course, "begun after the logout", scene.deployment)
        begun = said["redeem"].status == 200
        if said["logout"].status != 204 or (begun and ADMIT not in scene.deployment.written):
            refute(course, f"answered {said}", scene.deployment)
        if begun and scene.use(said["redeem"].cookies).code != "login_required":
            refute(course, "used after the logout", scene.deployment)

    return against


def use_against_a_logout(scene: Scene) -> Callable[[Course], None]:
    """Use the session of a browser while the phone logs out. This use must be stored, because the last one is old."""
    cookies = scene.redeem(scene.code(), attempt()).cookies
    scene.deployment.now += 600
    acts = {"use": lambda: scene.use(cookies), "logout": scene.log_out}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        if late(scene.deployment.written, USE):
            refute(course, "used after the logout", scene.deployment)
        if said["logout"].status != 204 or said["use"].status not in {200, 401}:
            refute(course, f"answered {said}", scene.deployment)
        if scene.use(cookies).code != "login_required":
            refute(course, "live after the logout", scene.deployment)

    return against


def test_no_browser_begins_after_the_end_of_its_app(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """The logout may come after the code is opened, and before the login is admitted."""
    record_property("schedules", explore(redeem_against_a_logout(scene)).schedules)


def test_no_use_of_a_browser_is_stored_after_the_end_of_its_app(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """The session was still live when the request was read."""
    record_property("schedules", explore(use_against_a_logout(scene)).schedules)


def test_a_code_begins_one_session(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """The code is redeemed twice at the same time, with two attempts. One of them gets a session."""
    code, keys = scene.code(), (attempt(), attempt())
    acts: dict[str, Callable[[], Said]] = {key: partial(scene.redeem, code, key) for key in keys}
    rewind = scene.deployment.remember()

    def one(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        ((_account, state),) = scene.deployment.tables.lineages.items()
        if sorted(each.status for each in said.values()) != [200, 400] or len(state.lineages) != 2:
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(one).schedules)


@pytest.mark.parametrize("against", [use_against_a_logout, redeem_against_a_logout])
def test_a_rule_that_forgets_the_app_is_noticed(
    scene: Scene, against: Callable[[Scene], Callable[[Course], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seeded fault lets a browser continue without its app, and the scene must fail."""
    monkeypatch.setattr(rules, "_end_of_app", lambda *_, **__: None)
    with pytest.raises(Refuted, match="after the logout"):
        explore(against(scene))
