"""A narrowed token has no more rights than the login that it comes from."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from chalicelib.baton import settings
from chalicelib.baton.effects import Done
from chalicelib.baton.ids import LineageId
from chalicelib.baton.testing.phone import Phone
from chalicelib.baton.testing.world import World
from tests.baton.fixture import APP, FOLDER

SECRET = "the billing server's long and random secret"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "audience": "billing",
}


@pytest.fixture
def world() -> World:
    """Make a deployment with another server."""
    servers = f"billing:{hashlib.sha256(SECRET.encode()).hexdigest()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        return World(APP, settings={"BATON_RESOURCE_SERVERS": servers}, environments=1)


@pytest.fixture
def phone(world: World) -> Phone:
    """Log in without a key, so that a narrowed token needs no signature."""
    return world.phone("ada@example.com", client_id="simple", binding="none")


def send(world: World, path: str, form: dict[str, str], authorization: str = "") -> dict[str, Any]:
    """Send a form."""
    fields = [("host", "api.example.com"), ("content-type", "application/x-www-form-urlencoded")]
    fields += [("authorization", authorization)] if authorization else []
    answer = world.gateway.call("POST", f"/api{path}", fields, urlencode(form).encode())
    read: dict[str, Any] = json.loads(answer.body)
    assert answer.status == 200, read
    return read


def narrowed(world: World, phone: Phone) -> str:
    """Get a narrowed token."""
    form = EXCHANGE | {"subject_token": str(phone.session.tokens["access_token"])}
    return str(send(world, "/oauth/token", form)["access_token"])


def is_active(world: World, token: str) -> bool:
    """Introspect a token as the other server."""
    basic = base64.b64encode(f"billing:{SECRET}".encode()).decode()
    return bool(send(world, "/oauth/introspect", {"token": token}, f"Basic {basic}")["active"])


def test_a_narrowed_token_of_a_retired_client_is_not_active(world: World, phone: Phone) -> None:
    """The logins of the client have ended (E4), and so have their narrowed tokens."""
    token, clients = narrowed(world, phone), world._baton.clients
    assert is_active(world, token)
    retired = replace(clients._by_id["simple"], retired=True)
    clients._by_id["simple"] = clients._by_code[retired.code] = retired
    assert not is_active(world, token)


def test_a_narrowed_token_is_not_of_a_later_login_with_the_same_id(world: World, phone: Phone) -> None:
    """The earlier login was removed, and a repetition of its request began a login with the same id."""
    token, store = narrowed(world, phone), world._baton.storage.lineages
    account_state = store.get(phone.account)
    assert account_state is not None
    login = account_state.lineages[LineageId(phone.device_id)]
    later = replace(login, auth_time=login.auth_time + 1)
    stored = store.record_use(later, account=phone.account, expected=login, now=world.clock.now, not_before=0)
    assert stored == Done()
    assert not is_active(world, token)
