"""The doctor reports the sandbox of SES, an unverified sender, a missing queue and dead letters, with the remedy."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.sesv2.responses import SESV2Response
from msgspec.structs import replace

from chalicelib.baton.settings import Settings, read_settings
from tools.doctor import remedy_for
from tools.doctor_mail import PRODUCTION_ACCESS, RUNBOOK, Found, mail_rows

DEPLOY = "make deploy STAGE=dev"


@pytest.fixture
def settings(embedded_engine: None) -> Iterator[Settings]:
    """Return the settings of a deployment with mail, and create its queues, its sender and its configuration set."""
    del embedded_engine
    name = f"baton-{secrets.token_hex(4)}"
    read = read_settings(
        {
            "BATON_CLIENTS": "clients-dev.toml",
            "BATON_ISSUER": "https://api.example.com/api",
            "BATON_KEY_RING": "kms:alias/x",
            "BATON_TABLE_PREFIX": name,
            "BATON_MAIL": "ses",
            "BATON_MAIL_FROM": f"Example <login@mail.{name}.example>",
            "BATON_MAIL_QUEUE": f"https://sqs.REGION.amazonaws.com/ACCOUNT/{name}-mail",
        }
    )
    sqs, ses = boto3.client("sqs"), boto3.client("sesv2")
    for queue in (f"{name}-mail", f"{name}-mail-dead"):
        sqs.create_queue(QueueName=queue)
    ses.create_email_identity(EmailIdentity=f"{name}.example")
    ses.create_configuration_set(ConfigurationSetName=f"{name}-mail")
    yield read
    ses.delete_configuration_set(ConfigurationSetName=f"{name}-mail")
    ses.delete_email_identity(EmailIdentity=f"{name}.example")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the state of the SES account, which moto does not have."""

    def answer(**state: bool) -> None:
        import json

        monkeypatch.setattr(SESV2Response, "get_account", lambda _: json.dumps(state), raising=False)

    answer(SendingEnabled=True, ProductionAccessEnabled=True)
    return answer


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set whether identities are verified."""
    from moto.ses.models import EmailIdentity

    def answer(*, verified: bool) -> None:
        described = EmailIdentity.get_response_object

        def described_so(identity: EmailIdentity) -> dict[str, Any]:
            return {**described.fget(identity), "VerifiedForSendingStatus": verified}  # type: ignore[attr-defined]

        monkeypatch.setattr(EmailIdentity, "get_response_object", property(described_so))

    return answer


def rows(settings: Settings) -> dict[str, Found]:
    """Run the checks of mail."""
    return {row[0]: row for row in mail_rows(settings, deploy=DEPLOY, remedy_for=remedy_for)}


def problems(settings: Settings) -> dict[str, str]:
    """Return the checks that found a problem, with the remedy."""
    return {name: remedy for name, _, remedy in rows(settings).values() if remedy}


def test_a_stage_without_mail_has_no_check(settings: Settings) -> None:
    """No request is sent."""
    assert rows(replace(settings, mail="off", mail_queue="")) == {}


def test_a_stage_with_the_queue_only_has_no_check_of_ses(settings: Settings) -> None:
    """The stage sends no mail."""
    assert rows(replace(settings, mail="off")).keys() == {"queue", "dead letters"}


def test_complete_mail_has_no_problem(settings: Settings, account: Any, verified: Any) -> None:
    """The sender is verified by its domain, or by a parent of the domain."""
    verified(verified=True)
    assert problems(settings) == {}
    assert "verified as" in rows(settings)["sender"][1]


def test_the_sandbox_is_reported(settings: Settings, account: Any, verified: Any) -> None:
    """A new SES account is in the sandbox: only verified addresses get its mails."""
    verified(verified=True)
    account(SendingEnabled=True, ProductionAccessEnabled=False)
    assert problems(settings) == {"SES account": PRODUCTION_ACCESS}
    account(SendingEnabled=False, ProductionAccessEnabled=True)
    assert problems(settings) == {"SES account": RUNBOOK}


def test_a_sender_that_is_not_verified_is_reported(settings: Settings, account: Any, verified: Any) -> None:
    """The report has the DNS records to publish. Without an identity, the remedy is a deployment."""
    verified(verified=False)
    (remedy,) = problems(settings).values()
    assert remedy.startswith("publish TOKEN._domainkey.")
    address = "login@verify-me.example"
    boto3.client("sesv2").create_email_identity(EmailIdentity=address)
    assert problems(replace(settings, mail_from=address)) == {"sender": "open the link that AWS sent to that address"}
    assert problems(replace(settings, mail_from="a@unknown.example")) == {"sender": DEPLOY}


def test_a_missing_queue_and_a_missing_configuration_set_are_reported(
    settings: Settings, account: Any, verified: Any
) -> None:
    """The remedy is a deployment, which makes both."""
    verified(verified=True)
    missing = replace(settings, mail_queue="https://sqs.us-east-1.amazonaws.com/123456789012/gone", deployment="gone")
    assert problems(missing) == {"queue": DEPLOY, "dead letters": DEPLOY, "configuration set": DEPLOY}


def test_a_dead_letter_is_reported(settings: Settings, account: Any, verified: Any) -> None:
    """A person is still waiting for that mail."""
    verified(verified=True)
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{settings.deployment}-mail-dead")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="mo.x")
    assert problems(settings) == {"dead letters": RUNBOOK}
