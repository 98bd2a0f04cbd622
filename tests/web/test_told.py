"""What a newcomer does first and wrong is answered with what to do instead."""

import json
from collections.abc import Iterator

import pytest

from chalicelib.core.passwords import GUESSES_MIN
from chalicelib.stores.engine import Tables
from tests.web.conversation import HOST, JSON, PASSWORD, Said, Send, through
from tools.dev.engine import client, create_tables
from tools.dev.gateway import Gateway, load_environment


@pytest.fixture(scope="module")
def told(embedded_engine: None) -> Iterator[Send]:
    """Give one gateway to all of these: they change nothing, or have an address of their own."""
    del embedded_engine
    create_tables(Tables("baton-test"))
    yield through(Gateway([load_environment().app]))
    for name in client().list_tables()["TableNames"]:
        if name.startswith("baton-test-"):
            client().delete_table(TableName=name)


def entry(send: Send, **members: object) -> Said:
    """Register, as curl does."""
    body = {"email": "new@example.com", "password": PASSWORD, "client_id": "simple"} | members
    return send("POST", "/api/register", [("host", HOST), *JSON.items()], json.dumps(body).encode())


@pytest.mark.parametrize("sent", [None, "Basic YTpi", "eyJhbGciOi"])
def test_a_call_without_a_token_is_told_to_send_one(told: Send, sent: str | None) -> None:
    """Nothing came that could be a token: it is not called a wrong one."""
    said = told("GET", "/api/me", [("host", HOST), *([("authorization", sent)] if sent else [])], b"")
    assert said.code == "token_invalid"
    assert "Authorization: Bearer <token>" in said.members["detail"]


def test_an_unknown_client_is_told_where_clients_are_registered(told: Send) -> None:
    """Not that it may not do what no client may do."""
    said = entry(told, client_id="my-app")
    assert said.code == "unauthorized_client"
    assert "client_id is not registered" in said.members["detail"]
    assert "chalicelib/clients.toml" in said.members["detail"]


def test_a_login_without_a_key_is_told_that_its_client_asks_for_one(told: Send) -> None:
    """And what to take for a first try."""
    said = entry(told, client_id="mobile")
    assert said.code == "signature_required"
    assert "device.public_key" in said.members["detail"]
    assert "client `simple`" in said.members["detail"]


def test_a_long_password_of_common_words_is_told_what_counts(told: Send) -> None:
    """It is not among the first to be tried: it is a few words long, and each of them counts as one."""
    said = entry(told, password="password dragon monkey football baseball")
    assert said.code == "too_common"
    assert f"fewer than {GUESSES_MIN} units" in said.members["detail"]
    assert "a common word" in said.members["detail"]
