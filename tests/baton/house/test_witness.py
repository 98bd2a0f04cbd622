"""Tests of the secret scan and of the scan of IAM rights: they detect each seeded fault."""

import json
import logging
from collections.abc import Callable

import pytest

from chalicelib.baton.events.log import Log
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.testing.contract.values import ACCOUNT, NOW
from tests.baton.memory import MemoryLog
from tests.baton.repository import ours_only
from tests.baton.wire.conversation import PASSWORD, Device
from tests.baton.witness import POLICIES, Use, Witness, _answering, allowed, secrets_of, unlike, uses, verdict

ATTEMPT = "an-attempt-that-nobody-else-has"


@pytest.fixture
def life(make_device: Callable[..., Device]) -> Device:
    """Register a phone and exchange its token."""
    phone = make_device()
    phone.register("ada@example.com")
    assert phone.exchange(attempt=ATTEMPT).status == 200
    return phone


@pytest.mark.guarantee(10)
def test_the_scan_has_the_secrets_of_a_login_and_finds_no_leak(life: Device, witness: Witness) -> None:
    """Password, attempt and token are among the secrets that the scan searches for."""
    assert {PASSWORD, ATTEMPT, life.token} <= witness.secrets
    assert len(witness.kept) >= 3
    assert any("exchanged" in line for line in witness.said)
    assert witness.leaks() == []


def test_the_scan_has_cookies_sessions_recovery_codes_and_handover_codes() -> None:
    """The name of an error has the member `code` too, and is no secret."""
    event = {
        "multiValueHeaders": {"Cookie": ["theme=dark; __Host-baton=the-session-id"]},
        "body": json.dumps({"mail_session": "ms.one", "code": "1234 5678"}),
    }
    answer = {
        "multiValueHeaders": {"Set-Cookie": ["__Host-baton-remember=the-remember-token; Path=/; Secure"]},
        "body": json.dumps({"auth_session": "as.two", "recovery_codes": ["three", "four"], "code": "ho.five"}),
    }
    assert sorted(secrets_of(event, answer)) == sorted(
        ["the-session-id", "the-remember-token", "ms.one", "as.two", "three", "four", "ho.five"]
    )
    assert list(secrets_of({}, {"body": json.dumps({"code": "too_many_requests"})})) == []


def test_a_secret_in_a_log_line_is_detected(life: Device, witness: Witness) -> None:
    """The level does not matter, nor whether the line is written."""
    Log(service="baton-test", level="ERROR", metrics=False).record("planted", token=life.token)
    assert ["logged" in leak for leak in witness.leaks()] == [True]
    witness.forget()


def test_a_secret_in_a_traceback_is_detected(life: Device, witness: Witness) -> None:
    """Exceptions often contain their arguments."""
    try:
        raise ValueError(PASSWORD)
    except ValueError:
        logging.getLogger("planted").exception("something failed")
    assert ["logged" in leak for leak in witness.leaks()] == [True]
    witness.forget()


def test_a_secret_in_a_table_is_detected(life: Device, witness: Witness, tables: Tables) -> None:
    """An example is a secret in the details of an event."""
    Audit(DynamoDB(tables), MemoryLog()).append(
        AuditEvent(NOW, "planted", ACCOUNT, details={"attempt": ATTEMPT}), event_id="a"
    )
    assert ["stored" in leak for leak in witness.leaks()] == [True]
    witness.forget()


def test_a_secret_in_binary_data_is_detected(life: Device, witness: Witness, tables: Tables) -> None:
    """The bytes of the token are searched too."""
    item = {"pk": {"S": "planted"}, "token": {"B": life.token.encode()}}
    AwsClient("dynamodb").call("put_item", TableName=tables.ephemeral, Item=item)
    assert ["stored" in leak for leak in witness.leaks()] == [True]
    witness.forget()


@ours_only
def test_an_unused_right_and_a_missing_right_are_detected() -> None:
    """Each deployed policy is tested."""
    for path in POLICIES:
        policy = json.loads(path.read_text("utf-8"))
        used = allowed(policy)
        assert unlike(used, allowed(policy)) == []
        assert unlike(used - {Use("kms:Decrypt", "")}, allowed(policy)) == ["allowed, and never used: kms:Decrypt "]
        scan = Use("dynamodb:Scan", "users")
        assert unlike(used | {scan}, allowed(policy)) == ["not allowed, and used: dynamodb:Scan users"]
        elsewhere = used | {Use("dynamodb:DeleteItem", "lineages")}
        assert unlike(elsewhere, allowed(policy)) == ["not allowed, and used: dynamodb:DeleteItem lineages"]


@ours_only
def test_a_run_of_the_guarantees_alone_may_leave_a_right_unused() -> None:
    """``make prove`` failed although every test had passed. A right that is not allowed still fails it."""
    assert any(verdict((), every_test=True).values())
    assert not any(verdict((), every_test=False).values())
    assert all(verdict((Use("dynamodb:Scan", "users"),), every_test=False).values())


def test_a_transaction_needs_the_rights_of_its_writes() -> None:
    """IAM has no separate right for transactions."""
    writes = [{"Put": {"TableName": "baton-x-users"}}, {"Update": {"TableName": "baton-x-lineages"}}]
    assert set(uses("dynamodb", "transact_write_items", {"TransactItems": writes})) == {
        Use("dynamodb:PutItem", "users"),
        Use("dynamodb:UpdateItem", "lineages"),
    }
    assert set(uses("kms", "decrypt", {"KeyId": "x"})) == {Use("kms:Decrypt", "")}


def test_calls_outside_of_requests_are_not_counted(tables: Tables, witness: Witness) -> None:
    """The operator and the tests have other rights."""
    before = set(witness.used)
    AwsClient("dynamodb").call("scan", TableName=tables.users)
    assert witness.used == before


def test_calls_of_the_queue_are_not_counted(tables: Tables, witness: Witness) -> None:
    """In development an answer waits for the queue, which another function processes with other rights."""
    before, pending = set(witness.used), PendingOrders()
    pending.put("an order")

    def describe(_: str) -> None:
        AwsClient("dynamodb").call("describe_table", TableName=tables.users)

    token = _answering.set(True)
    try:
        pending.work_off(describe)
        assert witness.used == before
        describe("")
        assert witness.used - before == {Use("dynamodb:DescribeTable", "users")}
    finally:
        _answering.reset(token)
        witness.used -= {Use("dynamodb:DescribeTable", "users")}
