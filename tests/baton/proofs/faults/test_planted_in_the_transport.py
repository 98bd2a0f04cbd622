"""Tests of the fault tests: a seeded fault in the small AWS client is noticed."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest

from chalicelib.baton.storage.aws import connection as connection_module
from chalicelib.baton.storage.aws import connection as transport
from chalicelib.baton.storage.aws.connection import NoResponse
from chalicelib.baton.storage.aws.small_client import ErrorResponse, SmallDynamoDB
from tests.baton.proofs.faults.stage import Stage
from tests.baton.proofs.faults.test_planted import Patch, found

pytestmark = [pytest.mark.guarantee(9), pytest.mark.parametrize("stage", ["small"], indirect=True)]


def test_a_lost_answer_treated_as_a_failed_condition_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """The write may have happened. A false "condition failed" would log out the client."""
    update_item = SmallDynamoDB.update_item

    def hasty(client: SmallDynamoDB, **request: object) -> dict[str, Any]:
        try:
            return update_item(client, **request)
        except NoResponse:
            refused = {"Code": "ConditionalCheckFailedException"}
            raise ErrorResponse({"Error": refused, "ResponseMetadata": {"HTTPStatusCode": 400}}) from None

    complained = found(
        stage,
        "POST /oauth/token",
        "answer_lost for good",
        "UpdateItem lineages",
        lambda: monkeypatch.setattr(SmallDynamoDB, "update_item", hasty),
    )
    assert any("our own trouble was answered" in one for one in complained)
    assert any("it ended 'logged out" in one for one in complained)


def test_an_unchecked_checksum_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """An item that was lost on the way would become "no such account"."""
    complained = found(
        stage,
        "GET /me",
        "corrupted for good",
        "GetItem lineages",
        lambda: monkeypatch.setattr(transport, "zlib", SimpleNamespace(crc32=lambda _: ANY)),
    )
    assert any("our own trouble was answered" in one for one in complained)
    assert any("it ended 'logged out" in one for one in complained)


def test_a_connection_that_stays_open_after_a_time_out_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """The late answer would be read as the answer to the next request, and so on."""
    exchange = connection_module._Connection.exchange
    kept = []

    def again(connection: connection_module._Connection, request: bytes, *, within_s: float) -> tuple[int, bytes]:
        try:
            return exchange(connection, request, within_s=within_s)
        except TimeoutError:
            kept.append(connection)
            return exchange(connection, request, within_s=within_s)

    def plant() -> None:
        monkeypatch.setattr(connection_module._Connection, "exchange", again)
        monkeypatch.setattr(connection_module._Connection, "is_quiet", lambda _: True)

    complained = found(
        stage,
        "GET /me",
        "timed_out once",
        "GetItem users",
        plant,
    )
    assert any("it ended" in one for one in complained)
    for connection in kept:  # otherwise the connection would serve the later tests
        connection.close()
