"""Scenarios C: clocks that are wrong."""

from collections.abc import Callable

import pytest

from tests.baton.clients.conformance.line import Headers
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Scene, scenarios

DAY_S = 86_400


@scenarios(28, 29)
@pytest.mark.parametrize("skew", [DAY_S, -DAY_S])
def test_28_and_29_a_day_ahead_or_behind(scene: Scene, skew: int) -> None:
    """The client needs one more request, to correct its clock."""
    agent = scene.registered(skew=skew)
    assert len(scene.line.sent("/register")) == 2
    agent("me")
    assert len(scene.line.sent("/me", "GET")) == 1


@scenarios(30)
def test_30_the_clock_is_set_back_later(scene: Scene) -> None:
    """The client needs one more request, to correct its clock again."""
    agent = scene.registered()
    agent("set", skew=-DAY_S)
    agent("me")
    assert len(scene.line.sent("/me", "GET")) == 2


def _with(*fields: tuple[str, str]) -> Callable[[Headers], Headers]:
    names = {name.lower() for name, _ in fields}

    def change(headers: Headers) -> Headers:
        kept = [(name, value) for name, value in headers if name.lower() not in names]
        return kept + [(name, value) for name, value in fields if value]

    return change


@scenarios(31, 32, 33)
@pytest.mark.parametrize(
    "fields",
    [
        (("Age", "295"), ("Cache-Control", "max-age=300"), ("Baton-Time", "7")),
        (("Baton-Time", ""),),
        (("Baton-Time", "soon"),),
        (("Baton-Time", "7, 8"),),
        (("Baton-Time", "-7"),),
        (("Baton-Time", "18000000000000"),),
    ],
    ids=["31 an age", "32 no time", "33 a malformed time", "33 two times", "33 a negative time", "33 too many digits"],
)
def test_31_to_33_a_time_that_does_not_count(scene: Scene, fields: tuple[tuple[str, str], ...]) -> None:
    """The client does not change its clock, and uses the answer."""
    agent = scene.registered()
    agent("sync_clock")
    scene.line.fault("GET", "/me", "changed", change=_with(*fields))
    agent("me")
    assert abs(agent("sync_clock")) < 60, "each of these times would be years away"
    assert len(scene.line.sent("/me", "GET")) == 1


@scenarios(34)
def test_34_a_slow_answer(scene: Scene) -> None:
    """The client does not change its clock: the time of the answer lies between sending and receiving."""
    agent = scene.registered()
    held = scene.line.fault("GET", "/me", "hold")
    number = agent.begin("me")
    assert held.held.wait(10)
    agent("set", skew=agent.opening["skew"] + 40)  # It took 40 s, by the clock of the device.
    held.release.set()
    agent.wait(number)
    assert len(scene.line.sent("/me", "GET")) == 1


@scenarios(35)
def test_35_a_clock_error_without_end(scene: Scene) -> None:
    """The client reports the refusal, and does not repeat without end."""
    agent = scene.agent()
    agent("set", skew=DAY_S)
    scene.line.fault("POST", "/login", "changed", times=9, change=_with(("Baton-Time", "7")))
    refused = agent.fails("login", email=EMAIL, password=PASSWORD)
    assert (refused.kind, refused.code) == ("refused", "clock_skew")
    assert len(scene.line.sent("/login")) == 2
