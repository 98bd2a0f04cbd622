"""Mail by AWS: the queue of orders in SQS, and Amazon SES, which sends the mails."""

from typing import Final

from chalicelib.baton.mail.ports import Mail
from chalicelib.baton.storage.aws.service import AwsClient

SEND_READ_TIMEOUT_S: Final = 3
"""How long to wait for SES, which usually answers within a second. Only the function ``jobs`` waits."""


class SqsOutbox:
    """``mail.ports.Outbox`` on a queue of SQS."""

    def __init__(self, queue_url: str, sqs: AwsClient) -> None:
        """Use the queue with this URL."""
        self._queue_url = queue_url
        self._sqs = sqs

    def put(self, order: str, *, delay_s: int = 0) -> None:
        """Add an order for a mail or a deletion."""
        self._sqs.call("send_message", QueueUrl=self._queue_url, MessageBody=order, DelaySeconds=delay_s)


class SesSender:
    """``mail.ports.Sender`` by Amazon SES. Only the function ``jobs`` uses it. The first mail imports botocore."""

    def __init__(self, sender: str, *, configuration_set: str, ses: AwsClient) -> None:
        """Send from ``sender``. The configuration set reports bounces and complaints."""
        self._sender = sender
        self._configuration_set = configuration_set
        self._ses = ses

    def __call__(self, mail: Mail) -> None:
        """Send a mail. A repetition after a lost answer sends it twice, which is harmless."""
        content = {
            "Simple": {
                "Subject": _utf8(mail.subject),
                "Body": {"Text": _utf8(mail.text), "Html": _utf8(mail.html)},
            }
        }
        self._ses.call(
            "send_email",
            FromEmailAddress=self._sender,
            Destination={"ToAddresses": [mail.to]},
            Content=content,
            ConfigurationSetName=self._configuration_set,
        )


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}
