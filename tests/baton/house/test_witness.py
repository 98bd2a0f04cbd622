"""Tests of the tests: the witness sees what the function does, and notices what is planted."""

import json
import logging
from collections.abc import Callable

import pytest

from chalicelib.baton.events.log import Log
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.testing.contract.values import ACCOUNT, NOW
from tests.baton.memory import MemoryLog
from tests.baton.repository import ours_only
from tests.baton.wire.conversation import PASSWORD, Device
from tests.baton.witness import POLICIES, Use, Witness, allowed, unlike, uses

ATTEMPT = "an-attempt-that-nobody-else-has"


@pytest.fixture
def life(make_device: Callable[..., Device]) -> Device:
    """Live a little."""
    phone = make_device()
    phone.register("ada@example.com")
    assert phone.exchange(attempt=ATTEMPT).status == 200
    return phone


@pytest.mark.guarantee(10)
def test_a_life_tells_the_witness_its_secrets_and_leaks_none(life: Device, witness: Witness) -> None:
    """Password, attempt and both tokens are known to it, so that it could find them; it finds none."""
    assert {PASSWORD, ATTEMPT, life.token} <= witness.secrets
    assert len(witness.kept) >= 3
    assert any("exchanged" in line for line in witness.said)
    assert witness.leaks() == []


def test_a_secret_in_a_signal_is_noticed(life: Device, witness: Witness) -> None:
    """At whatever level, written or not."""
    Log(service="baton-test", level="ERROR", metrics=False).record("planted", token=life.token)
    assert ["logged" in leak for leak in witness.leaks()] == [True]
    witness.forget()


def test_a_secret_in_a_traceback_is_noticed(life: Device, witness: Witness) -> None:
    """Errors love to quote what they were given."""
    try:
        raise ValueError(PASSWORD)
    except ValueError:
        logging.getLogger("planted").exception("something failed")
    assert ["logged" in leak for leak in witness.leaks()] == [True]
    witness.forget()


def test_a_secret_in_a_table_is_noticed(life: Device, witness: Witness, tables: Tables) -> None:
    """In the details of an event, say."""
    Audit(DynamoDB(tables), MemoryLog()).append(
        AuditEvent(NOW, "planted", ACCOUNT, details={"attempt": ATTEMPT}), event_id="a"
    )
    assert ["stored" in leak for leak in witness.leaks()] == [True]
    witness.forget()


def test_bytes_hide_no_secret(life: Device, witness: Witness, tables: Tables) -> None:
    """Neither as they are."""
    item = {"pk": {"S": "planted"}, "token": {"B": life.token.encode()}}
    AwsClient("dynamodb").call("put_item", TableName=tables.ephemeral, Item=item)
    assert ["stored" in leak for leak in witness.leaks()] == [True]
    witness.forget()


@ours_only
def test_a_right_too_many_and_one_too_few_are_noticed() -> None:
    """Of every policy that is deployed."""
    for path in POLICIES:
        policy = json.loads(path.read_text("utf-8"))
        used = allowed(policy)
        assert unlike(used, allowed(policy)) == []
        assert unlike(used - {Use("kms:Decrypt", "")}, allowed(policy)) == ["allowed, and never used: kms:Decrypt "]
        scan = Use("dynamodb:Scan", "users")
        assert unlike(used | {scan}, allowed(policy)) == ["not allowed, and used: dynamodb:Scan users"]
        elsewhere = used | {Use("dynamodb:DeleteItem", "lineages")}
        assert unlike(elsewhere, allowed(policy)) == ["not allowed, and used: dynamodb:DeleteItem lineages"]


def test_a_transaction_needs_what_its_parts_need() -> None:
    """IAM knows no transactions."""
    writes = [{"Put": {"TableName": "baton-x-users"}}, {"Update": {"TableName": "baton-x-lineages"}}]
    assert set(uses("dynamodb", "transact_write_items", {"TransactItems": writes})) == {
        Use("dynamodb:PutItem", "users"),
        Use("dynamodb:UpdateItem", "lineages"),
    }
    assert set(uses("kms", "decrypt", {"KeyId": "x"})) == {Use("kms:Decrypt", "")}


def test_what_is_done_while_nobody_is_answered_is_not_the_functions(tables: Tables, witness: Witness) -> None:
    """The operator has rights of its own, and tests do as they like."""
    before = set(witness.used)
    AwsClient("dynamodb").call("scan", TableName=tables.users)
    assert witness.used == before
