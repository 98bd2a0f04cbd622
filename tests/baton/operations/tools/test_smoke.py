"""Trying a deployment: by a client that it has."""

import pytest

from baton_client import Answer, Request
from chalicelib.baton.lineages.clients import Clients
from tests.baton.fixture import FOLDER
from tests.baton.wire.fake_server import answered
from tools import smoke

OWN = """
[client.browser]
code = 1
mechanism = "session"
form = "opaque"
binding = "optional"
scope = "account"

[client.wallet]
code = 2
mechanism = "exchange"
form = "opaque"
binding = "required"
scope = "account"
"""


def test_a_deployment_with_a_registry_of_its_own_is_tried_by_a_client_of_it() -> None:
    """Its operator was told to write one, and `mobile` is the demonstration's alone: every deployment failed."""
    assert smoke.exchanging(Clients.from_toml(OWN)) == "wallet"
    assert smoke.exchanging(Clients.from_toml(OWN.partition("[client.wallet]")[0])) is None
    shipped = (FOLDER / "clients-dev.toml").read_text("utf-8")
    assert smoke.exchanging(Clients.from_toml(shipped)) == "mobile"


def test_without_a_client_to_try_it_says_what_is_left_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Health alone is asked; a browser's login is its operator's to try."""

    def healthy(request: Request, _: float, /) -> Answer:
        assert request.url == "https://api.example.com/health"
        return answered(200, {"version": "1", "region": "x"})

    smoke.show("https://api.example.com", healthy, None)
    assert "next: test a login by hand" in capsys.readouterr().out


@pytest.mark.parametrize("registered", [False, True])
def test_another_partys_answer_is_told_in_one_line(registered: bool) -> None:  # noqa: FBT001 - before or after health
    """A proxy's page at `/health` ended in a `KeyError`, one at a later step in an `Offline`: both in a traceback."""

    def line(request: Request, _: float, /) -> Answer:
        if registered and request.url.endswith("/health"):
            return answered(200, {"version": "1", "region": "x"})
        return Answer(200, {"content-type": "text/html"}, b"<h1>Welcome</h1>")

    with pytest.raises(smoke.NotServing, match="without Baton-Request-Id"):
        list(smoke.smoke("https://api.example.com", line, "mobile", pause=lambda _: None))
