"""Scenarios B: several callers, processes and devices at the same time."""

import pytest

from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Scene, scenarios


@scenarios(19)
def test_19_fifty_callers(scene: Scene) -> None:
    """The token has expired: the client sends one exchange, and all 50 calls are answered."""
    agent = scene.registered()
    agent("expire")
    answers = agent("parallel", n=50, of={"do": "me"})
    assert [("ok" in one) for one in answers] == [True] * 50
    assert len(scene.line.sent("/oauth/token")) == 1


@scenarios(20)
def test_20_two_processes(scene: Scene) -> None:
    """Both processes get the same child."""
    first = scene.registered()
    second = scene.agent()
    first("expire")
    numbers = [agent.begin("me") for agent in (first, second)]
    for agent, number in zip((first, second), numbers, strict=True):
        agent.wait(number)
    assert first("record")["token"] == second("record")["token"]
    assert scene.reasons(first) == [None]


@scenarios(21)
def test_21_eight_processes_five_rounds(scene: Scene) -> None:
    """In each round, all processes get the same child."""
    agents = [scene.registered(), *(scene.agent() for _ in range(7))]
    for _ in range(5):
        agents[0]("expire")
        numbers = [agent.begin("me") for agent in agents]
        for agent, number in zip(agents, numbers, strict=True):
            agent.wait(number)
    assert len({one.body for one in scene.line.sent("/oauth/token")}) == 5
    assert scene.reasons(agents[0]) == [None]


@scenarios(22)
def test_22_frozen_during_an_exchange(scene: Scene) -> None:
    """Meanwhile a sibling process exchanges twice, so the late child is discarded."""
    frozen, sibling = scene.registered(), scene.agent()
    frozen("expire")
    held = scene.line.fault("POST", "/oauth/token", "hold")
    number = frozen.begin("me")
    assert held.held.wait(10)
    frozen.freeze()
    scene.exchanged(sibling)
    scene.exchanged(sibling)
    token = sibling("record")["token"]
    held.release.set()
    frozen.freeze(on=False)
    frozen.wait(number)
    assert frozen("record")["token"] == token
    assert scene.reasons(frozen) == [None]


@scenarios(23)
def test_23_a_logout_beside_an_exchange(scene: Scene) -> None:
    """The late answer to the exchange does not restore the session."""
    first, second = scene.registered(), scene.agent()
    first("expire")
    held = scene.line.fault("POST", "/oauth/token", "hold")
    number = first.begin("me")
    assert held.held.wait(10)
    second("forget")
    held.release.set()
    with pytest.raises(Exception, match="not_logged_in"):
        first.wait(number)
    assert first("record")["token"] is None


@scenarios(24)
def test_24_another_person_logs_in_beside_an_exchange(scene: Scene) -> None:
    """The late answer to the exchange does not replace the session of the other person."""
    first, second = scene.registered(), scene.agent()
    first("expire")
    held = scene.line.fault("POST", "/oauth/token", "hold")
    number = first.begin("me")
    assert held.held.wait(10)
    device = second("register", email="bob@example.com", password=PASSWORD)["device_id"]
    held.release.set()
    first.wait(number)
    assert first("record")["device_id"] == device
    assert first("me")["email"] == "bob@example.com"


@scenarios(25)
def test_25_the_first_caller_cancels(scene: Scene) -> None:
    """The other callers are answered, with the same exchange."""
    if scene.client == "python":
        pytest.skip("python: a thread cannot be cancelled")
    agent = scene.registered()
    agent("expire")
    held = scene.line.fault("POST", "/oauth/token", "hold")
    first = agent.begin("call", method="GET", path="/me")
    assert held.held.wait(10)
    others = [agent.begin("me") for _ in range(10)]
    agent("cancel", of=first)
    with pytest.raises(Exception, match="cancelled"):
        agent.wait(first)
    held.release.set()
    for number in others:
        agent.wait(number)
    assert len(scene.line.sent("/oauth/token")) == 1


def test_fifty_callers_in_five_processes(scene: Scene) -> None:
    """The token has expired: there is one child, and all 50 calls are answered.

    Each process sends at most one exchange.
    """
    agents = [scene.registered(), *(scene.agent() for _ in range(4))]
    agents[0]("expire")
    numbers = [agent.begin("parallel", n=10, of={"do": "me"}) for agent in agents]
    answers = [one for agent, number in zip(agents, numbers, strict=True) for one in agent.wait(number)]
    assert [("ok" in one) for one in answers] == [True] * 50
    sent = scene.line.sent("/oauth/token")
    assert len(sent) <= len(agents)
    assert len({one.body for one in sent}) == 1
    assert scene.reasons(agents[0]) == [None]


def test_26_and_27_two_tabs(scene: Scene) -> None:
    """The scenarios need tabs, so they run in Chromium (``tests/baton/chromium/test_tabs.py``)."""
    pytest.skip(f"{scene.client}: tabs exist in a browser only; `make browser` runs 26 and 27")


def test_a_second_login_of_the_same_person(scene: Scene) -> None:
    """The key is the same, so the earlier login ends. The record has the newer login."""
    agent = scene.registered()
    agent("login", email=EMAIL, password=PASSWORD)
    assert sorted(scene.reasons(agent), key=str) == [None, "replaced"]
