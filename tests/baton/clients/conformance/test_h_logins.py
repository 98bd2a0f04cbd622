"""Scenarios H: logins with a second factor, refused logins, mechanisms and bindings."""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.factors.totp import code_at, step_at
from chalicelib.baton.testing.world import World
from tests.baton.clients.conformance.line import Line
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Agent, Scene, scenarios

pytestmark = pytest.mark.prove(ci=True)


@pytest.fixture
def scene(client: str, line: Line, make_world: Callable[..., World], tmp_path: Path) -> Iterator[Scene]:
    """Begin a scenario at a deployment whose client `strict` requires a second factor."""
    with Scene(client, line, make_world(BATON_CLIENTS="clients-factors.toml", BATON_MAIL="off"), tmp_path) as made:
        yield made


def enrolled(scene: Scene) -> tuple[Agent, Any]:
    """Register at the strict client, with an authenticator app. Return the agent and the secret."""
    agent = scene.agent(client_id="strict")
    begun = agent("register", email=EMAIL, password=PASSWORD)
    assert not begun["done"]
    assert "totp" in begun["enrol"]
    enrolment = agent("enrolment")
    done = agent("prove", totp=code(scene, enrolment["secret"]), enrolment=enrolment["enrolment"])
    assert done["done"]
    return agent, enrolment["secret"]


@scenarios(85, 86, 87)
def test_85_to_87_a_second_factor(scene: Scene) -> None:
    """The server requires the factor, a wrong code is refused, the app is killed, and the right code logs in."""
    first, secret = enrolled(scene)
    agent = scene.agent("b", client_id="strict")
    begun = agent("login", email=EMAIL, password=PASSWORD)
    assert not begun["done"]
    assert "totp" in begun["factors"]
    scene.world.clock.skip(seconds=90)
    assert agent.fails("prove", totp="000000").code == "invalid_factor"
    agent.kill()
    again = scene.agent("b", client_id="strict")
    assert again("pending_step")
    assert again("prove", totp=code(scene, secret))["done"]
    again("me")
    assert scene.reasons(first) == [None, None]


@scenarios(36)
def test_36_a_portal_at_a_factor(scene: Scene) -> None:
    """The call fails as offline, and the login still waits for its factor."""
    _, secret = enrolled(scene)
    agent = scene.agent("b", client_id="strict")
    assert not agent("login", email=EMAIL, password=PASSWORD)["done"]
    scene.world.clock.skip(seconds=60)
    agent("set", skew=scene.world.clock.time() - time.time())
    page = (200, [("Content-Type", "text/html")], b"<html>Welcome to the hotel</html>")
    portal = scene.line.fault("POST", "/login/factor", "replace", times=999, answer=page)
    assert agent.fails("prove", totp=code(scene, secret)).kind == "offline"
    assert agent("record")["pending"]
    portal.times = 0
    assert agent("prove", totp=code(scene, secret))["done"]


@scenarios(88)
def test_88_a_void_session_of_a_factor(scene: Scene) -> None:
    """The login must begin again."""
    _, secret = enrolled(scene)
    agent = scene.agent("b", client_id="strict")
    agent("login", email=EMAIL, password=PASSWORD)
    scene.world.clock.skip(minutes=11)
    assert agent.fails("prove", totp=code(scene, secret)).code == "invalid_session"
    assert not agent("record")["pending"]
    agent("login", email=EMAIL, password=PASSWORD)
    assert agent("prove", totp=code(scene, secret))["done"]


@scenarios(89, 90)
def test_89_and_90_a_refused_login(scene: Scene) -> None:
    """After a wrong password, or a registration of a taken address, no session is stored."""
    scene.registered(client_id="plain")
    agent = scene.agent("b", client_id="plain")
    assert agent.fails("login", email=EMAIL, password="wrong wrong wrong wrong").code == "invalid_credentials"
    assert agent.fails("register", email=EMAIL, password=PASSWORD).code == "account_exists"
    assert agent("record")["token"] is None


def code(scene: Scene, secret: str) -> str:
    """Return the code of an authenticator app."""
    raw = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return code_at(raw, step_at(int(scene.world.clock.time())))
