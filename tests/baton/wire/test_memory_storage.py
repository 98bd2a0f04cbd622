"""Baton with ``BATON_STORAGE=memory``: everything works, and no request is sent to AWS."""

from typing import Any

import pytest

from baton_client import BatonClient, LoggedOut, MemoryStorage
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.memory import storage
from chalicelib.baton.storage.memory.tables import MemoryTables
from tests.baton.fixture import load_environment
from tests.baton.wire.conftest import BASE_URL, PASSWORD, Line
from tools.dev.gateway import Gateway


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Serve two environments with shared tables, in a process that cannot call AWS."""

    def unreachable(*_: Any, **__: Any) -> None:
        raise AssertionError("a request to AWS")

    monkeypatch.setenv("BATON_STORAGE", "memory")
    monkeypatch.setattr(AwsClient, "call", unreachable)
    monkeypatch.setattr(storage, "OF_THIS_PROCESS", MemoryTables())
    return Line(Gateway([load_environment().app for _ in range(2)]))


def phone_of(line: Line) -> BatonClient:
    """Make a phone that is not logged in."""
    return BatonClient(BASE_URL, "mobile", MemoryStorage(), transport=line, sleep=lambda _: None)


@pytest.mark.guarantee(2)
def test_an_account_in_memory_works(line: Line) -> None:
    """Register, call, exchange with a lost answer, step up, log in on a second phone, log out.

    The environments alternate.
    """
    phone = phone_of(line)
    phone.register("ada@example.com", PASSWORD, "Ada's phone")
    line.lose_answers = 1
    phone.exchange()
    assert phone.me()["email"] == "ada@example.com"
    paid = phone.call("POST", "/transfers", json={"to": "Bob", "amount": 10}, confirm=lambda _: PASSWORD)
    assert paid.status == 201
    tablet = phone_of(line)
    tablet.login("ada@example.com", PASSWORD, "Ada's tablet")
    phone.change_password(PASSWORD, "another lantern drifting sideways")
    with pytest.raises(LoggedOut):
        tablet.me()
    phone.logout()
    assert line.gateway.call("GET", "/api/health").status == 200


def test_environments_with_separate_tables_share_no_login(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control of the test above: a login exists only in its own tables."""
    phone = phone_of(line)
    phone.register("ada@example.com", PASSWORD, "Ada's phone")
    monkeypatch.setattr(storage, "OF_THIS_PROCESS", MemoryTables())
    line.gateway.replace(lambda: [load_environment().app for _ in range(2)])
    with pytest.raises(LoggedOut):
        phone.exchange()
