"""Bounces and complaints: valid reports, the mails that are not sent, and the status that the owner sees."""

import json
import sys
from typing import Any

import pytest
from chalice.app import Chalice, SNSEventConfig

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.http import jobs
from chalicelib.baton.policy import BOUNCE_SUPPRESSED_S, MAIL_FEEDBACK_BYTES_MAX
from tests.baton.mail.town import ADA, Town

BOB = "bob@example.com"


def report(town: Town, kind: str, to: str = ADA, **changes: Any) -> dict[str, Any]:
    """Write a report as Amazon SES does: the members that its documentation shows."""
    about: dict[str, Any] = {
        "Bounce": {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [{"emailAddress": "forwarded-to@elsewhere.example", "action": "failed"}],
            "timestamp": "2026-11-29T09:31:00.000Z",
            "feedbackId": "0100-1",
        },
        "Complaint": {
            "complainedRecipients": [{"emailAddress": to}],
            "timestamp": "2026-11-29T09:31:00.000Z",
            "feedbackId": "0100-2",
            "complaintFeedbackType": "abuse",
        },
    }[kind]
    said = {
        "eventType": kind,
        kind.lower(): about,
        "mail": {
            "timestamp": "2026-11-29T09:30:00.000Z",
            "source": "Example <login@example.com>",
            "messageId": "0100",
            "destination": [to],
            "headersTruncated": False,
            "tags": {"ses:configuration-set": [f"{town.world.deployment}-mail"], "ses:from-domain": ["example.com"]},
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = said
        for parent in parents:
            place = place[parent]
        place[last] = value
    return said


def told(town: Town, *messages: object, **changes: Any) -> None:
    """Call the function as Lambda does for an SNS message."""
    arn = f"arn:aws:sns:eu-west-1:123456789012:{town.world.deployment}-mail-feedback"
    for message in messages:
        text = message if isinstance(message, str) else json.dumps(message)
        sns = {"Type": "Notification", "MessageId": "m-1", "TopicArn": arn, "Message": text} | changes
        jobs.mail_feedback({"Records": [{"EventSource": sns.pop("EventSource", "aws:sns"), "Sns": sns}]})


def status(phone: Any) -> object:
    """Return the status of the address in `GET /me`."""
    return phone.get("/me").members["email_status"]


def test_a_bounce_ends_all_mails_to_its_address_for_ninety_days(town: Town) -> None:
    """No code and no notice is sent. The owner sees the status in the app. Another address gets its mails."""
    phone, other = town.registered(), town.registered(BOB)
    assert status(phone) == "ok"
    told(town, report(town, "Bounce"))
    assert status(phone) == "bouncing"
    assert town.forgot(town.device()).status == 202
    assert phone.post("/me/email/code", {}).status == 202
    assert town.device().login(ADA).status == 200  # a notice
    assert town.mails() == []
    assert town.world.events[-1] == "mail_dropped"
    assert status(other) == "ok"
    assert town.forgot(town.device(), BOB).status == 202
    assert len(town.mails(BOB)) == 1
    town.world.clock.skip(seconds=BOUNCE_SUPPRESSED_S)
    assert town.forgot(town.device()).status == 202
    assert len(town.mails()) == 1


def test_a_complaint_has_no_end_until_an_operator_lifts_it(town: Town) -> None:
    """A later report of a bounce does not shorten the suppression."""
    phone = town.registered()
    told(town, report(town, "Complaint"), report(town, "Bounce"))
    town.world.clock.skip(seconds=2 * BOUNCE_SUPPRESSED_S)
    assert town.forgot(town.device()).status == 202
    assert (town.mails(), town.world.events[-1]) == ([], "mail_dropped")
    baton = town.world._baton
    index = baton.key_ring.current(now=town.world.clock.now).email_index(ADA)
    baton.storage.suppressions.lift(index)
    assert town.forgot(town.device()).status == 202
    assert len(town.mails()) == 1
    assert phone.tokens


def test_an_address_without_an_account_is_suppressed_too(town: Town) -> None:
    """A stranger typed the address. The owner of a later account with this address sees the status."""
    told(town, report(town, "Bounce", BOB))
    assert status(town.registered(BOB)) == "bouncing"


@pytest.mark.parametrize("written", ["Ada@Example.com", " ada@example.com ", "ada@EXAMPLE.COM"])
def test_an_address_is_found_in_each_of_its_forms(town: Town, written: str) -> None:
    """The address is made canonical as at a registration."""
    phone = town.registered()
    told(town, report(town, "Bounce", written))
    assert status(phone) == "bouncing"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param("Bounce", {"bounce__bounceType": "Transient"}, id="a full mailbox"),
        pytest.param("Bounce", {"bounce__bounceType": "Undetermined"}, id="an unknown bounce"),
        pytest.param("Bounce", {"bounce__bounceType": "permanent"}, id="another word"),
        pytest.param("Bounce", {"bounce__bounceType": None}, id="no type"),
        pytest.param("Complaint", {"complaint__complaintFeedbackType": "not-spam"}, id="not spam"),
        pytest.param("Complaint", {"complaint": None}, id="a complaint without contents"),
        pytest.param("Bounce", {"eventType": "Complaint"}, id="a bounce that is called a complaint"),
        pytest.param("Bounce", {"eventType": "Delivery"}, id="another event"),
        pytest.param("Bounce", {"mail__destination": [ADA, BOB]}, id="two addresses"),
        pytest.param("Bounce", {"mail__destination": []}, id="no address"),
        pytest.param("Bounce", {"mail__destination": ["x"]}, id="not an address"),
        pytest.param("Bounce", {"mail__destination": ADA}, id="not a list"),
        pytest.param("Bounce", {"mail__destination": ["\ud800@example.com"]}, id="half a character"),
        pytest.param("Bounce", {"mail__tags": {}}, id="no configuration set"),
        pytest.param(
            "Bounce", {"mail__tags": {"ses:configuration-set": ["other-mail"]}}, id="another configuration set"
        ),
    ],
)
def test_a_report_that_does_not_count_changes_nothing(town: Town, kind: str, changes: dict[str, Any]) -> None:
    """The report is logged without the address, and no error is raised: SNS would send it again."""
    phone = town.registered()
    told(town, report(town, kind, **changes))
    assert status(phone) == "ok"
    assert "mail_feedback_ignored" in town.world.events
    assert "ada@" not in json.dumps(town.world.lines)


@pytest.mark.parametrize(
    "message",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        "",
        "[]",
        "{}",
        "null",
        '{"eventType": "Bounce"}',
        "[" * 5000,
        "x" * (MAIL_FEEDBACK_BYTES_MAX + 1),
    ],
)
def test_what_is_no_report_is_ignored(town: Town, message: str) -> None:
    """SES itself sends the first of these messages when the deployment creates the topic."""
    town.registered()
    told(town, message)
    assert town.world.events[-1] == "mail_feedback_ignored"


def test_a_report_that_is_too_long_is_ignored(town: Town) -> None:
    """SNS delivers 256 kB at most, and a report of one mail is far smaller."""
    phone = town.registered()
    long = json.dumps(report(town, "Bounce")).ljust(MAIL_FEEDBACK_BYTES_MAX)
    told(town, long + " ")
    assert status(phone) == "ok"
    told(town, long)
    assert status(phone) == "bouncing"


@pytest.mark.parametrize(
    "changes",
    [
        {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:another-topic"},
        {"TopicArn": ""},
        {"Type": "SubscriptionConfirmation"},
        {"EventSource": "aws:sqs"},
    ],
)
def test_a_message_of_another_source_is_ignored(town: Town, changes: dict[str, str]) -> None:
    """Only the topic of this deployment is accepted, because only SES may publish there."""
    phone = town.registered()
    told(town, report(town, "Bounce"), **changes)
    assert status(phone) == "ok"
    assert "mail_feedback_ignored" in town.world.events


def test_a_report_that_cannot_be_stored_is_taken_again(town: Town) -> None:
    """The function raises an exception, so Lambda calls it again."""
    phone = town.registered()
    town.world.storage.fail(verb="suppress")
    with pytest.raises(Unavailable):
        told(town, report(town, "Bounce"))
    assert status(phone) == "ok"
    told(town, report(town, "Bounce"))
    assert status(phone) == "bouncing"


def test_a_suppression_is_in_the_export(town: Town) -> None:
    """The suppression is data about the owner of the address."""
    phone = town.registered()
    told(town, report(town, "Bounce"))
    assert phone.confirmed("GET", "/me/export").members["account"]["email_status"] == "bouncing"


def test_without_mail_no_suppression_is_read(make_town: Any) -> None:
    """A deployment without mail does not need the suppressions."""
    town = make_town(mail="off")
    phone = town.registered()
    read: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(town.world._stores.suppressions), "get", lambda *_: read.append("read"))
        assert status(phone) == "ok"
    assert read == []


def test_chalice_makes_a_function_of_it_for_the_topic() -> None:
    """The function has the handler that Lambda finds without `app`."""
    app = Chalice("baton")
    jobs.register_feedback(app, "baton-prod-mail-feedback")
    (source,) = app.event_sources
    assert isinstance(source, SNSEventConfig)
    assert (source.name, source.handler_string) == ("mail_feedback", "chalicelib.baton.http.jobs.mail_feedback")
    assert source.topic == "baton-prod-mail-feedback"
    module, _, name = source.handler_string.rpartition(".")
    assert callable(getattr(sys.modules[module], name))
