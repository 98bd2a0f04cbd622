"""The smoke test of a deployment: it uses a client of the deployed registry."""

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


def test_a_deployment_is_tested_with_a_client_of_its_registry() -> None:
    """Bug: the test used `mobile` of the demonstration registry, so every deployment with its own registry failed."""
    assert smoke.exchanging(Clients.from_toml(OWN)) == "wallet"
    assert smoke.exchanging(Clients.from_toml(OWN.partition("[client.wallet]")[0])) is None
    shipped = (FOLDER / "clients-dev.toml").read_text("utf-8")
    assert smoke.exchanging(Clients.from_toml(shipped)) == "mobile"


def test_without_a_usable_client_the_manual_step_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the health check runs. The operator must test a browser login."""

    def healthy(request: Request, _: float, /) -> Answer:
        assert request.url == "https://api.example.com/health"
        return answered(200, {"version": "1", "region": "x"})

    smoke.show("https://api.example.com", healthy, None)
    assert "next: test a login by hand" in capsys.readouterr().out


@pytest.mark.parametrize("registered", [False, True])
def test_a_foreign_answer_is_reported_in_one_line(registered: bool) -> None:  # noqa: FBT001 - before or after the health check
    """Bug: a proxy's page at `/health` raised `KeyError`, and at a later step `Offline`, both with a traceback."""

    def line(request: Request, _: float, /) -> Answer:
        if registered and request.url.endswith("/health"):
            return answered(200, {"version": "1", "region": "x"})
        return Answer(200, {"content-type": "text/html"}, b"<h1>Welcome</h1>")

    with pytest.raises(smoke.NotServing, match="without Baton-Request-Id"):
        list(smoke.smoke("https://api.example.com", line, "mobile", pause=lambda _: None))
