"""The function ``operate`` answers every request of an operator with a value."""

import json
from collections.abc import Iterator

import pytest

from chalicelib.baton import settings
from chalicelib.baton.testing.phone import Phone
from chalicelib.baton.testing.world import World
from tests.baton.fixture import APP, FOLDER

EMAIL = "ada@example.com"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Make a deployment on DynamoDB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        made = World(APP, storage="moto", environments=1)
    with made:
        yield made


@pytest.fixture(scope="module")
def phone(world: World) -> Phone:
    """Register on a phone."""
    return world.phone(EMAIL)


@pytest.mark.parametrize("lineage", ["", "x", "\ud800", "AAAAAAAAAAAAAAAA", "a" * 3000])
def test_no_login_with_this_id_is_ended(world: World, phone: Phone, lineage: str) -> None:
    """The function returns an error value. The login of the phone stays active."""
    request = {"op": "end", "operator": "ops", "account": phone.account, "lineage": lineage, "confirm": EMAIL}
    assert world._baton._operate(request)["error"] == {
        "status": 404,
        "code": "not_found",
        "detail": "the account has no active login with this id",
    }
    assert phone.get("/me").status == 200


@pytest.mark.parametrize("event", [{"op": "\ud800", "operator": "ops"}, {"\ud800": ""}, "\ud800", None, [], {}])
def test_a_request_that_is_not_one_is_malformed(world: World, event: object) -> None:
    """The test also has half of a surrogate pair, which JSON can contain."""
    answer = world._baton._operate(event)
    assert answer["error"]["status"] == 400  # type: ignore[index] # the error of the answer
    json.dumps(answer, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "x" * 3000, "@", "\ud800@example.com", "é@example.com"])
def test_no_account_is_found(world: World, text: str) -> None:
    """The search uses an address and an id that no account has."""
    assert world._baton._operate({"op": "find", "operator": "ops", "q": text}).get("accounts", []) == []
    for op in ("account", "activity", "end_all"):
        answer = world._baton._operate({"op": op, "operator": "ops", "account": text})
        assert answer["error"]["status"] in {400, 404}  # type: ignore[index] # the error of the answer
