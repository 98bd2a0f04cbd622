"""Routes of a team that require evidence: ``@baton.signed(attested=True)``."""

import json
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton import Answer, Caller
from chalicelib.baton.lineages.model import Attestation
from chalicelib.baton.testing.gateway import Gateway
from tests.baton.attestation.scene import Scene
from tests.baton.wire.conversation import through
from tools.openapi import describe

EMAIL: Final = "ada@example.com"


@pytest.fixture
def scene() -> Scene:
    """Return a deployment whose team has two routes."""
    scene = Scene()
    for app, baton in zip(scene.apps, scene.batons, strict=True):

        @app.route("/vault", methods=["POST"])  # type: ignore[untyped-decorator]
        @baton.signed(attested=True)  # type: ignore[untyped-decorator]
        def vault(caller: Caller) -> Answer:
            return Answer(200, {"attested": caller.attested})

        @app.route("/lobby", methods=["POST"])  # type: ignore[untyped-decorator]
        @baton.signed()  # type: ignore[untyped-decorator]
        def lobby(caller: Caller) -> Answer:
            return Answer(200, {"attested": caller.attested})

    scene.send = through(Gateway(scene.apps, clock=scene.clock))
    return scene


def test_only_an_attested_login_opens_the_route(scene: Scene) -> None:
    """After ``POST /attest`` the earlier token works too, because the account state is compared."""
    phone = scene.phone("mobile")
    phone.register(EMAIL)
    said = phone.post("/vault", {})
    assert (said.status, said.code, said.members["action"]) == (403, "attestation_required", "attest")
    assert phone.post("/lobby", {}).members == {"attested": None}
    assert phone.attest(phone.evidence()).status == 200
    assert phone.post("/vault", {}).members == {"attested": "tee"}
    assert phone.post("/lobby", {}).members == {"attested": "tee"}


def test_a_token_that_says_more_than_the_account_state_opens_nothing(scene: Scene) -> None:
    """After a rollback of the table, the token has the claim, but the login does not."""
    phone = scene.phone("mobile")
    phone.register(EMAIL, attestation=phone.evidence())
    [(account, state)] = scene.tables.lineages.items()
    plain = {key: replace(one, attestation=Attestation.NONE) for key, one in state.lineages.items()}
    scene.tables.lineages[account] = replace(state, lineages=plain)
    assert phone.post("/vault", {}).code == "attestation_required"


def test_the_description_tells_the_refusal(scene: Scene) -> None:
    """The OpenAPI description of the team's app lists the refusal."""
    described = json.loads(json.dumps(describe(scene.apps[0])))
    assert described["paths"]["/vault"]["post"]["responses"]["403"]["x-codes"]["attestation_required"] == "attest"
    assert "attestation_required" not in json.dumps(described["paths"]["/lobby"])
