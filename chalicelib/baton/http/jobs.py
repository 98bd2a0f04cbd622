"""The jobs beside the API: each is a separate Lambda function with a separate policy (.chalice/config.json).

Four jobs are scheduled. ``operate`` answers an operator. ``jobs`` carries out the queue of mails and deletions, one
message at a time. ``mail_feedback`` gets the bounces and complaints of Amazon SES.

Chalice names each handler after its function, for example ``chalicelib.baton.http.jobs.rotate_keys``. To run a handler,
Lambda imports this module and not ``app.py``. So the first job of an environment imports ``app``, whose
``Baton.install`` sets the functions of the jobs.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from chalice.app import Blueprint, Chalice, CloudWatchEvent, Rate
from msgspec import Struct

from chalicelib.baton.http.dispatch import Dispatch

Event = TypeVar("Event")

blueprint = Blueprint(__name__)

_BY_HAND: dict[str, Any] = {
    **dict.fromkeys(("version", "account", "region", "detail-type", "source", "time", "id"), ""),
    "detail": {},
    "resources": [],
}
"""The members of a scheduled event that Chalice reads. A manual start does not send these members."""


class Jobs(Struct, frozen=True, kw_only=True):
    """The functions that the jobs call. ``Baton.install`` sets them."""

    dispatch: Dispatch
    rotate_keys: Callable[[], object]
    audit_configuration: Callable[[], object]
    fetch_revocations: Callable[[], object]
    revoke_tokens: Callable[[], object]
    carry_out: Callable[[str], object]
    """Carry out one order of the queue."""
    take_feedback: Callable[[str], object]
    """Process one report of Amazon SES."""
    feedback_topic: str
    """The name of the SNS topic for the reports of Amazon SES."""
    operate: Callable[[object], dict[str, object]]
    """Answer a request of an operator."""

    def run(self, event: CloudWatchEvent, job: Callable[[], object]) -> None:
        """Run a job, with the id of the event in its log lines. An exception is logged and raised again."""
        as_job(self.dispatch, lambda _: job())(event)


_installed: list[Jobs] = []
"""The jobs of this environment. The list is empty before ``Baton.install``."""


def install(jobs: Jobs) -> None:
    """Set the functions of the jobs.

    A later call replaces them. In a test or under ``make dev``, one process has several environments. There, only the
    functions of the last call run.
    """
    _installed[:] = [jobs]


def as_job(
    dispatch: Dispatch,
    handler: Callable[[Event], object],
    *,
    id_of: Callable[[Event], object] = lambda event: getattr(event, "event_id", ""),
) -> Callable[[Event], None]:
    """Return a job that runs ``handler``, with the id of the event in its log lines.

    An exception is logged and raised again. So Lambda counts the failure and runs the job again.
    """

    @functools.wraps(handler)
    def job(event: Event) -> None:
        request_id = id_of(event) or dispatch.entropy(8).hex()
        dispatch.log.start_request(request_id=str(request_id))
        try:
            handler(event)
        except Exception as defect:
            dispatch.note_defect(defect)
            raise
        finally:
            dispatch.log.end_request()

    return job


def _by_hand(handler: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Make a handler accept an event without members: ``aws lambda invoke`` without a payload sends such an event."""

    @functools.wraps(handler)
    def run(event: dict[str, Any] | None, context: object = None) -> None:
        handler(_BY_HAND | (event or {}), context)

    return run


def _jobs() -> Jobs:
    if not _installed:
        importlib.import_module("app")
    return _installed[0]


@_by_hand
@blueprint.schedule(Rate(1, unit=Rate.DAYS))
def rotate_keys(event: CloudWatchEvent) -> None:
    """Rotate the signing key and the root secret of the key ring, each only if it is due."""
    jobs = _jobs()
    jobs.run(event, jobs.rotate_keys)


@_by_hand
@blueprint.schedule(Rate(1, unit=Rate.DAYS))
def audit_configuration(event: CloudWatchEvent) -> None:
    """Check the configuration of tables, keys, logs and API, and report each difference from the requirements."""
    jobs = _jobs()
    jobs.run(event, jobs.audit_configuration)


@_by_hand
@blueprint.schedule(Rate(1, unit=Rate.DAYS))
def android_revocations(event: CloudWatchEvent) -> None:
    """Fetch Google's list of revoked certificates of Android devices."""
    jobs = _jobs()
    jobs.run(event, jobs.fetch_revocations)


@_by_hand
@blueprint.schedule(Rate(1, unit=Rate.HOURS))
def apple_revocations(event: CloudWatchEvent) -> None:
    """Revoke Apple's refresh tokens of identities that were removed from their accounts."""
    jobs = _jobs()
    jobs.run(event, jobs.revoke_tokens)


@blueprint.lambda_function(name="operate")
def operate(event: object, context: object = None) -> dict[str, object]:
    """Answer a request of an operator (``accounts/operate.py``). No route of the API leads to this function.

    Its log lines have the id of the invocation.
    """
    installed = _jobs()
    request_id = getattr(context, "aws_request_id", "") or installed.dispatch.entropy(8).hex()
    installed.dispatch.log.start_request(request_id=str(request_id))
    try:
        return installed.operate(event)
    except Exception as defect:
        installed.dispatch.note_defect(defect)
        raise
    finally:
        installed.dispatch.log.end_request()


def jobs(event: dict[str, Any], context: object = None) -> None:
    """Carry out the orders of a batch of the queue (SQS). An exception leaves the batch in the queue.

    ``event`` is the raw event, not an object of Chalice.
    """
    del context
    installed = _jobs()
    for record in event["Records"]:

        def carry_out(message: dict[str, Any]) -> None:
            installed.carry_out(str(message["body"]))

        as_job(installed.dispatch, carry_out, id_of=lambda message: message.get("messageId", ""))(record)


def mail_feedback(event: dict[str, Any], context: object = None) -> None:
    """Process the bounces and complaints of Amazon SES (SNS). A message of another source or topic is ignored.

    ``event`` is the raw event, as for ``jobs``.
    """
    del context
    installed = _jobs()
    for record in event["Records"]:

        def take(message: dict[str, Any]) -> None:
            sns = message.get("Sns", {})
            own = message.get("EventSource") == "aws:sns" and sns.get("Type") == "Notification"
            if not own or str(sns.get("TopicArn", "")).rpartition(":")[2] != installed.feedback_topic:
                installed.dispatch.log.record("mail_feedback_ignored", reason="not from the topic of this deployment")
                return
            installed.take_feedback(str(sns.get("Message", "")))

        as_job(installed.dispatch, take, id_of=lambda message: message.get("Sns", {}).get("MessageId", ""))(record)


def register_feedback(app: Chalice, topic: str) -> None:
    """Register ``mail_feedback`` for the SNS topic with this name (see ``register_queue``)."""
    own = Blueprint(__name__)
    own.on_sns_message(topic=topic)(mail_feedback)
    app.register_blueprint(own)


def register_queue(app: Chalice, queue: str) -> None:
    """Register ``jobs`` for the queue with this name, so that Chalice makes a Lambda function for the queue.

    Each call makes a new blueprint: in one process, such as a test run, two applications can have different queues.
    """
    own = Blueprint(__name__)
    own.on_sqs_message(queue=queue, batch_size=1)(jobs)
    app.register_blueprint(own)
