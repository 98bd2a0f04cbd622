"""Scenarios H: every mechanism with every binding."""

import pytest

from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Scene, scenarios

pytestmark = pytest.mark.prove(ci=True)

CLIENTS = ("mobile", "mobile-opaque", "simple", "session-api", "legacy", "oauth", "iot")
BINDINGS = ("key", "hmac", "none")


@scenarios(91)
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("client_id", CLIENTS)
def test_91_a_mechanism_and_a_binding(scene: Scene, client_id: str, binding: str) -> None:
    """The client registers, calls, exchanges, calls and logs out.

    A client that requires a binding refuses a login without a binding.
    """
    agent = scene.agent(client_id=client_id, binding=binding)
    if binding == "none" and client_id.startswith("mobile"):
        assert agent.fails("register", email=EMAIL, password=PASSWORD).code == "signature_required"
        return
    agent("register", email=EMAIL, password=PASSWORD)
    scene.exchanged(agent)
    agent("me")
    agent("logout")
    agent("login", email=EMAIL, password=PASSWORD)
    assert sorted(scene.reasons(agent), key=str) == [None, "logout"]
