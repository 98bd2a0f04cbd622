"""B: callers, processes and devices together."""

import pytest

from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Scene


def test_19_fifty_callers(scene: Scene) -> None:
    """An expired token: one exchange, 50 answers."""
    agent = scene.registered()
    agent("expire")
    answers = agent("parallel", n=50, of={"do": "me"})
    assert [("ok" in one) for one in answers] == [True] * 50
    assert len(scene.line.sent("/oauth/token")) == 1


def test_20_two_processes(scene: Scene) -> None:
    """One child."""
    first = scene.registered()
    second = scene.agent()
    first("expire")
    numbers = [agent.begin("me") for agent in (first, second)]
    for agent, number in zip((first, second), numbers, strict=True):
        agent.wait(number)
    assert first("record")["token"] == second("record")["token"]
    assert scene.reasons(first) == [None]


def test_21_four_processes_five_rounds(scene: Scene) -> None:
    """One child a round. The design says eight processes: four are enough for two cores."""
    agents = [scene.registered(), *(scene.agent() for _ in range(3))]
    for _ in range(5):
        agents[0]("expire")
        numbers = [agent.begin("me") for agent in agents]
        for agent, number in zip(agents, numbers, strict=True):
            agent.wait(number)
    assert len({one.body for one in scene.line.sent("/oauth/token")}) == 5
    assert scene.reasons(agents[0]) == [None]


def test_22_frozen_during_an_exchange(scene: Scene) -> None:
    """A sibling exchanges twice meanwhile: the late child is discarded."""
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


def test_23_a_logout_beside_an_exchange(scene: Scene) -> None:
    """Nothing is revived."""
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


def test_24_another_person_logs_in_beside_an_exchange(scene: Scene) -> None:
    """The session of the other person stays."""
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


def test_25_the_first_caller_cancels(scene: Scene) -> None:
    """The others are answered, by the same exchange."""
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


def test_26_and_27_two_tabs(scene: Scene) -> None:
    """Locks and channels of a browser."""
    pytest.skip(f"{scene.client}: no browser here; over fakes in clients/typescript/tests/browser.test.js")


def test_a_second_login_of_the_same_person(scene: Scene) -> None:
    """The key is the same, so the earlier login ends, and the record has the newer one."""
    agent = scene.registered()
    agent("login", email=EMAIL, password=PASSWORD)
    assert sorted(scene.reasons(agent), key=str) == [None, "replaced"]
