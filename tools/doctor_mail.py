"""The checks of mail in ``make doctor``: the queue, the dead letters, and the account and the sender in Amazon SES."""

from collections.abc import Callable, Iterator
from email.utils import parseaddr
from typing import Any, Final

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.settings import Settings
from chalicelib.baton.storage.aws.service import AwsClient
from tools.printed import counted

RUNBOOK: Final = "docs/baton/runbooks/mail.md"
PRODUCTION_ACCESS: Final = (
    "request production access: aws sesv2 put-account-details --production-access-enabled "
    "--mail-type TRANSACTIONAL --website-url URL"
)

Found = tuple[str, str, str]
"""The name of a check, its finding, and the remedy. The remedy is empty if there is no problem."""
Remedy = Callable[[str, str], str]
"""A function that returns the remedy for a reason. Its second argument is the remedy for an unknown reason."""


def mail_rows(settings: Settings, *, deploy: str, remedy_for: Remedy) -> Iterator[Found]:
    """Check the queue, if the deployment has one. With ``BATON_MAIL=ses``, check Amazon SES too."""
    if settings.mail_queue:
        sqs, name = AwsClient("sqs"), settings.mail_queue.rpartition("/")[2]
        yield from _queue(sqs, name, deploy=deploy, remedy_for=remedy_for)
        yield from _dead_letters(sqs, f"{name}-dead", deploy=deploy, remedy_for=remedy_for)
    if settings.mail == "ses":
        ses, address = AwsClient("sesv2"), parseaddr(settings.mail_from)[1]
        yield from _account(ses, remedy_for=remedy_for)
        yield from _sender(ses, address, deploy=deploy, remedy_for=remedy_for)
        configuration_set = f"{settings.deployment}-mail"
        try:
            ses.call("get_configuration_set", ConfigurationSetName=configuration_set)
            yield "configuration set", configuration_set, ""
        except Unavailable as trouble:
            yield "configuration set", trouble.reason, remedy_for(trouble.reason, deploy)


def _queue(sqs: AwsClient, name: str, *, deploy: str, remedy_for: Remedy) -> Iterator[Found]:
    try:
        waiting = _waiting(sqs, name)
    except Unavailable as trouble:
        yield "queue", f"{name}: {trouble.reason}", remedy_for(trouble.reason, deploy)
    else:
        yield "queue", f"{name}, {counted(waiting, 'order')} waiting", ""


def _dead_letters(sqs: AwsClient, name: str, *, deploy: str, remedy_for: Remedy) -> Iterator[Found]:
    try:
        failed = _waiting(sqs, name)
    except Unavailable as trouble:
        yield "dead letters", f"{name}: {trouble.reason}", remedy_for(trouble.reason, deploy)
    else:
        yield "dead letters", counted(failed, "order"), RUNBOOK if failed else ""


def _waiting(sqs: AwsClient, name: str) -> int:
    """Return the approximate number of messages that wait in a queue."""
    url = sqs.call("get_queue_url", QueueName=name)["QueueUrl"]
    asked = ["ApproximateNumberOfMessages"]
    attributes: dict[str, Any] = sqs.call("get_queue_attributes", QueueUrl=url, AttributeNames=asked)["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def _account(ses: AwsClient, *, remedy_for: Remedy) -> Iterator[Found]:
    """Check that SES may send to every address. A new account is in the sandbox, which restricts the addresses."""
    try:
        account = ses.call("get_account")
    except Unavailable as trouble:
        yield "SES account", trouble.reason, remedy_for(trouble.reason, RUNBOOK)
        return
    if not account.get("SendingEnabled", False):
        yield "SES account", "AWS has stopped its mails", RUNBOOK
    elif not account.get("ProductionAccessEnabled", False):
        yield "SES account", "in the sandbox: only verified addresses get mails", PRODUCTION_ACCESS
    else:
        yield "SES account", "sends to every address", ""


def _sender(ses: AwsClient, address: str, *, deploy: str, remedy_for: Remedy) -> Iterator[Found]:
    """Check that SES has verified the sender: the first identity that exists decides.

    The identities are, in this order: the address, its domain, and the parents of the domain.
    """
    labels = address.rpartition("@")[2].split(".")
    identities = [address, *(".".join(labels[at:]) for at in range(len(labels) - 1))]
    for identity in identities:
        try:
            found = ses.call("get_email_identity", EmailIdentity=identity)
        except Unavailable as trouble:
            if "NotFound" in trouble.reason:
                continue
            yield "sender", trouble.reason, remedy_for(trouble.reason, deploy)
            return
        if found.get("VerifiedForSendingStatus"):
            yield "sender", f"{address}, verified as {identity}", ""
        elif "@" in identity:
            yield "sender", f"{identity} is not verified", "open the link that AWS sent to that address"
        else:
            shown = f"aws sesv2 get-email-identity --email-identity {identity} --query DkimAttributes.Tokens"
            publish = f"TOKEN._domainkey.{identity} CNAME TOKEN.dkim.amazonses.com"
            yield "sender", f"{identity} is not verified", f"publish {publish} for each token of: {shown}"
        return
    yield "sender", f"SES has no identity for {address}", deploy
