"""Mail with SQS and SES, emulated by moto.

The function of the queue sends the mails that the API queues. It uses exactly the rights of its policy.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib.baton.http import jobs
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.mail import outbox
from chalicelib.baton.service import Baton
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from chalicelib.baton.testing.clock import DevelopmentClock
from chalicelib.baton.testing.gateway import Gateway
from tests.baton.fixture import load_environment
from tests.baton.repository import ours_only
from tests.baton.wire.conversation import Device, through
from tests.baton.witness import Use, allowed, unlike, uses

SENDER = "login@example.com"
ADA = "ada@example.com"
CHALICE = Path(__file__).parents[3] / ".chalice"
BY_LAMBDA = {Use(f"sqs:{action}", "") for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")}
"""The rights that Lambda itself uses, with the role of the function."""


@dataclass
class Post:
    """A deployment that sends mails with SQS and SES."""

    gateway: Gateway
    clock: DevelopmentClock
    queue: str
    baton: Baton
    used: set[Use] = field(default_factory=set)

    def device(self) -> Device:
        """Make a device."""
        return Device(through(self.gateway), lambda: int(self.clock.time()))

    def orders(self) -> list[dict[str, Any]]:
        """Receive the messages of the queue, and delete them, as Lambda does."""
        sqs = boto3.client("sqs")
        received = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in received:
            sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return [{"messageId": message["MessageId"], "body": message["Body"]} for message in received]

    def work_off(self) -> None:
        """Run the function of the queue for each message, and record the rights that it uses."""
        for order in self.orders():
            with noted(self.used):
                jobs.jobs({"Records": [order]})

    def sent(self) -> list[str]:
        """List the addresses of the mails that SES got, in order."""
        return [address for mail in sent_messages() for address in mail.destinations["ToAddresses"]]


def sent_messages() -> list[Any]:
    """Return the mails of moto."""
    from moto.ses.models import ses_backends

    found: list[Any] = ses_backends["123456789012"]["us-east-1"].sent_messages
    return found


@contextmanager
def noted(used: set[Use]) -> Iterator[None]:
    """Record the rights of every AWS call in this context."""
    call = AwsClient.call

    @wraps(call)
    def called(service: AwsClient, operation: str, **request: object) -> dict[str, Any]:
        used.update(uses(service._name, operation, request))
        return call(service, operation, **request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsClient, "call", called)
        yield


@pytest.fixture
def post(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Post:
    """Deploy with a queue, a verified sender, and a key ring that KMS encrypts."""
    queue = boto3.client("sqs").create_queue(QueueName=f"{tables.prefix}-mail")["QueueUrl"]
    boto3.client("ses").verify_email_identity(EmailAddress=SENDER)
    sent_messages().clear()
    boto3.client("sesv2").create_configuration_set(ConfigurationSetName=f"{tables.prefix}-mail")
    key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    KeyRing(DynamoDB(tables), KmsWrapper(key), os.urandom).create(now=int(clock.time()))
    for name, value in {
        "BATON_TABLE_PREFIX": tables.prefix,
        "BATON_KEY_RING": f"kms:{key}",
        "BATON_MAIL": "ses",
        "BATON_MAIL_FROM": f"Example <{SENDER}>",
        "BATON_MAIL_QUEUE": queue,
    }.items():
        monkeypatch.setenv(name, value)
    gateway = Gateway([load_environment(clock).app])
    # The second environment is for the functions of the queue and of feedback: they use the last loaded environment.
    return Post(gateway, clock, queue, load_environment(clock).baton)


@ours_only
@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_function_of_the_queue_has_exactly_the_rights_that_it_uses(
    post: Post, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue delivers a code, a notice and a deletion. The rights that Lambda itself uses are added."""
    ada = post.device()
    assert ada.register(ADA).status == 201
    tablet = post.device()
    assert tablet.login(ADA).status == 200  # a notice
    assert ada.post("/me/email/code", {}).status == 202
    post.work_off()
    assert post.sent() == [ADA, ADA]
    monkeypatch.setattr(outbox, "FORGET_AFTER_S", 0)
    assert tablet.confirmed("DELETE", "/me").status == 204
    post.work_off()
    assert post.sent() == [ADA, ADA, ADA]
    policy = json.loads((CHALICE / f"policy-{stage}-jobs.json").read_text("utf-8"))
    assert unlike(post.used | BY_LAMBDA, allowed(policy)) == []


@pytest.mark.guarantee(10)
def test_an_order_in_the_queue_is_encrypted(post: Post) -> None:
    """The message does not contain the address in readable form."""
    ada = post.device()
    assert ada.register(ADA).status == 201
    assert ada.post("/me/email/code", {}).status == 202
    (order,) = post.orders()
    assert order["body"].startswith("mo.")
    assert "ada" not in order["body"].lower()


def feedback(post: Post, to: str) -> dict[str, Any]:
    """Write the event with which SNS calls the function after a complaint."""
    name = post.queue.rpartition("/")[2]
    tags = {"ses:configuration-set": [name]}
    said = {"eventType": "Complaint", "complaint": {}, "mail": {"destination": [to], "tags": tags}}
    arn = f"arn:aws:sns:us-east-1:123456789012:{name}-feedback"
    sns = {"Type": "Notification", "MessageId": "m", "TopicArn": arn, "Message": json.dumps(said)}
    return {"Records": [{"EventSource": "aws:sns", "Sns": sns}]}


@ours_only
@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_function_of_feedback_has_exactly_the_rights_that_it_uses(
    post: Post, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only reads the key ring, and only writes suppressions. The leading keys are those of its policy."""
    keys: set[str] = set()
    call = AwsClient.call

    def called(service: AwsClient, operation: str, **request: Any) -> dict[str, Any]:
        if "TableName" in request:
            keys.add(f"{operation} {(request.get('Key') or request['Item'])['pk']['S'][:2]}")
        return call(service, operation, **request)

    monkeypatch.setattr(AwsClient, "call", called)
    with noted(post.used):
        jobs.mail_feedback(feedback(post, ADA))
    policy = json.loads((CHALICE / f"policy-{stage}-mail_feedback.json").read_text("utf-8"))
    assert unlike(post.used, allowed(policy)) == []
    assert keys == {"get_item K#", "put_item S#"}


@pytest.mark.parametrize("route", ["/password/forgot", "/register/start"])
def test_the_calls_of_aws_are_the_same_for_every_address(
    post: Post, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operation, table and the length of each value are equal (cases 55 to 58 of docs/baton/attacks.md)."""
    others = ("bob@example.com", "sue@example.com")
    for email in (ADA, *others):
        assert post.device().register(email).status == 201
    disable(post, others[0])
    jobs.mail_feedback(feedback(post, others[1]))
    call, sent = AwsClient.call, list[tuple[str, str, object]]()

    def called(service: AwsClient, operation: str, **request: Any) -> dict[str, Any]:
        sent.append((service._name, operation, shape(request)))
        return call(service, operation, **request)

    monkeypatch.setattr(AwsClient, "call", called)
    seen = []
    for email in (ADA, "eve@example.com", *others):
        device = post.device()
        entry = device.entry(email)
        del entry["password"]
        sent.clear()
        assert device.post(route, entry, token=None).status == 202
        seen.append(list(sent))
    assert seen == [seen[0]] * 4
    assert [operation for _, operation, _ in seen[0]][-1] == "send_message"


def disable(post: Post, email: str) -> None:
    """Disable an account, as the operator does."""
    ring = post.baton.key_ring.current(now=int(post.clock.time()))
    account = post.baton.users.find(ring.email_index(email))
    assert account is not None
    post.baton.lineage_store.set_status(account, Status.DISABLED, now=int(post.clock.time()))


def shape(value: object) -> object:
    """Return the members of a request, with the length of each text."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return len(value) if isinstance(value, str | bytes) else value
