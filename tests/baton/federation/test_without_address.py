"""An account without an e-mail address: nothing is mailed to it, and an operator names it by its id."""

import pytest

from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import Said


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment with mail."""
    return Scene(environ={"BATON_MAIL": "mailbox", "BATON_CLIENTS": "clients-mail.toml"})


def signed_up(scene: Scene) -> Federated:
    """Sign up with Google, without an address."""
    phone = scene.phone()
    said: Said = phone.enter(create=True)
    assert said.status == 201
    assert phone.get("/me").members["email"] == ""
    return phone


def test_no_code_is_mailed_to_an_account_without_an_address(scene: Scene) -> None:
    """Bug: the code went to an empty address, and proved it."""
    phone = signed_up(scene)
    said = phone.post("/me/email/code", {})
    assert (said.status, said.code) == (422, "invalid_email")
    assert not scene.mailbox.mails


def test_an_operator_confirms_with_the_id_if_there_is_no_address(scene: Scene) -> None:
    """Bug: nothing could be typed, so the account could not be disabled."""
    phone = signed_up(scene)
    (account,) = scene.tables.users
    operate = scene.baton._operate
    event = {"op": "disable", "operator": "eve", "account": account}
    for wrong in ("", "ada@example.com", account[:-1]):
        assert operate({**event, "confirm": wrong})["error"]["code"] == "confirmation_wrong"
    assert operate({**event, "confirm": account})["status"] == "disabled"
    assert phone.get("/me").status == 401
