"""The function that carries out the queue, as Lambda calls it: messages that are repeated, late or altered."""

import sys
from typing import Any

import pytest
from chalice.app import Chalice, SQSEventConfig

from chalicelib.baton import errors
from chalicelib.baton.http import jobs
from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.mail.ports import Mail
from chalicelib.baton.policy import MAIL_RESET_S
from chalicelib.baton.storage.aws.mail import SesSender, SqsOutbox
from chalicelib.baton.storage.aws.service import AwsClient
from tests.baton.mail.town import ADA, Town

ORDER_S = 2 * 3600


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep the orders in the queue, and return them. Nothing is delivered after an answer."""
    kept: list[str] = []
    monkeypatch.setattr(PendingOrders, "put", lambda _, order, **__: kept.append(order))
    return kept


def event(*bodies: str) -> dict[str, Any]:
    """Build the event of SQS."""
    return {"Records": [{"messageId": f"message-{place}", "body": body} for place, body in enumerate(bodies)]}


def test_a_mail_that_is_delivered_twice_has_the_same_code(town: Town, orders: list[str]) -> None:
    """A code derives from its session. The log lines have the id of the message in the queue."""
    town.registered()
    phone = town.device()
    session = town.forgot(phone).members["mail_session"]
    jobs.jobs(event(*orders, *orders))
    first, second = town.mails()
    assert first == second
    assert {line["request_id"] for line in town.world.lines if line.get("message") == "mail_sent"} == {
        "message-0",
        "message-1",
    }
    assert town.reset(phone, session, town.code()).status == 204


def test_an_order_is_unreadable_in_the_queue(town: Town, orders: list[str]) -> None:
    """The message does not contain the address in readable form."""
    town.registered()
    town.forgot(town.device())
    (order,) = orders
    assert order.startswith("mo.")
    assert ADA not in order
    assert "ada" not in order.lower()[3:40]


@pytest.mark.parametrize("change", [lambda order: order[:-2] + "AA", lambda _: "hello", lambda _: "mo.AAAA"])
def test_an_altered_order_is_dropped(town: Town, orders: list[str], change: Any) -> None:
    """A repetition could never succeed."""
    town.registered()
    town.forgot(town.device())
    jobs.jobs(event(change(orders[0])))
    assert town.mails() == []
    assert town.world.events[-1] == "mail_dropped"


def test_an_order_that_is_too_old_is_dropped(town: Town, orders: list[str]) -> None:
    """The code in the order has expired."""
    town.registered()
    town.forgot(town.device())
    town.world.clock.skip(seconds=ORDER_S)
    jobs.jobs(event(*orders))
    assert town.mails() == []


def test_a_code_that_expired_in_the_queue_is_not_sent(town: Town, orders: list[str]) -> None:
    """After a failure of the mail service, a person would type a void code, and use up tries."""
    town.registered()
    town.forgot(town.device())
    town.world.clock.skip(seconds=MAIL_RESET_S - 1)
    jobs.jobs(event(*orders))
    assert len(town.mails()) == 1
    town.world.clock.skip(seconds=1)
    jobs.jobs(event(*orders))
    assert len(town.mails()) == 1
    assert town.world.events[-1] == "mail_dropped"


def test_an_address_that_the_mail_service_refuses_is_dropped(town: Town, orders: list[str]) -> None:
    """Amazon SES accepts no local part outside ASCII.

    Every stranger can type such an address, and must not fill the dead letters.
    """
    phone = town.device()
    entry = phone.entry("\u00e4da@example.com")
    del entry["password"]
    assert phone.post("/register/start", entry, token=None).status == 202
    jobs.jobs(event(*orders))
    assert town.world.mails == []
    assert town.world.events[-1] == "mail_dropped"


def test_a_mail_that_cannot_be_sent_stays_in_the_queue(
    town: Town, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception goes to Lambda, which delivers the message again. The failure is logged."""
    town.registered()
    town.forgot(town.device())

    def fail(*_: object) -> None:
        raise errors.Unavailable("planted")

    with monkeypatch.context() as patch:
        patch.setattr(type(town.world._mailbox), "__call__", fail)
        with pytest.raises(errors.Unavailable):
            jobs.jobs(event(*orders))
    assert town.world.events[-1] == "internal_error"
    jobs.jobs(event(*orders))
    assert len(town.mails()) == 1


def test_a_code_goes_to_the_address_that_the_account_has_now(town: Town, orders: list[str]) -> None:
    """An account that was deleted in the meantime gets no code, only the notice of the deletion."""
    phone = town.registered()
    town.forgot(town.device())
    assert phone.confirmed("DELETE", "/me").status == 204
    jobs.jobs(event(orders[0]))
    assert town.mails() == []
    jobs.jobs(event(*orders[1:]))  # what is left to do, and the notice
    assert [mail.subject for mail in town.mails()] == ["Your api.example.com account was deleted"]


def test_a_disabled_account_gets_no_code(town: Town, orders: list[str]) -> None:
    """The operator disabled it while the order was in the queue. Its credentials version is the same."""
    town.registered()
    town.forgot(town.device())
    town.world.disable(ADA)
    jobs.jobs(event(*orders))
    assert town.mails() == []
    assert town.world.events[-1] == "mail_dropped"


def test_chalice_makes_a_function_of_it_for_the_queue() -> None:
    """The function has the handler that Lambda finds without `app`, and gets one message at a time."""
    app = Chalice("baton")
    jobs.register_queue(app, "baton-prod-mail")
    (source,) = app.event_sources
    assert isinstance(source, SQSEventConfig)
    assert (source.name, source.handler_string) == ("jobs", "chalicelib.baton.http.jobs.jobs")
    assert (source.queue, source.batch_size) == ("baton-prod-mail", 1)
    module, _, name = source.handler_string.rpartition(".")
    assert callable(getattr(sys.modules[module], name))


class Heard(AwsClient):
    """An AWS client that only records its calls."""

    def __init__(self) -> None:
        """Start with an empty record."""
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def call(self, operation: str, **request: object) -> dict[str, Any]:
        """Record a call."""
        self.heard.append((operation, request))
        return {}


def test_what_is_asked_of_sqs_and_ses() -> None:
    """The parameters of the calls are valid in botocore's own model of the services."""
    import botocore.session
    from botocore.validate import ParamValidator

    sqs, ses = Heard(), Heard()
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/baton-prod-mail"
    SqsOutbox(url, sqs).put("mo.order", delay_s=60)
    SesSender("Example <a@example.com>", configuration_set="baton-prod-mail", ses=ses)(Mail("b@c.d", "s", "t", "<p>"))
    session = botocore.session.get_session()
    for service, name, operation in ((sqs, "sqs", "SendMessage"), (ses, "sesv2", "SendEmail")):
        ((called, request),) = service.heard
        shape = session.get_service_model(name).operation_model(operation).input_shape
        assert called == {"SendMessage": "send_message", "SendEmail": "send_email"}[operation]
        assert shape is not None
        assert not ParamValidator().validate(request, shape).has_errors()
    assert sqs.heard[0][1]["DelaySeconds"] == 60
    assert ses.heard[0][1]["ConfigurationSetName"] == "baton-prod-mail"
