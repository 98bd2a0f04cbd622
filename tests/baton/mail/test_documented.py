"""docs/baton/mail.md: its code runs, its numbers are those of the policy, its settings and texts are there."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chalicelib.baton import policy
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.mail import templates
from chalicelib.baton.settings import KNOWN
from tests.baton.mail.town import Town

PAGE = (Path(__file__).parents[3] / "docs" / "baton" / "mail.md").read_text("utf-8")
CLIENT = '[client.mobile]\ncode = 1\nmechanism = "exchange"\nform = "jwt"\nbinding = "required"\nscope = "account"\n'


def blocks(language: str) -> list[str]:
    """Give the fenced blocks of the page in a language, those inside of lists too."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_of_the_page_passes(town: Town) -> None:
    """As a test of a team, in a world."""
    (source,) = blocks("python")
    names: dict[str, Any] = {"World": type(town.world)}
    exec(compile(source, "mail.md", "exec"), names)  # noqa: S102 - the page's own code
    tests: list[Callable[..., None]] = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0](town.world)


def test_the_registry_of_the_page_is_read() -> None:
    """Beside a client."""
    (table,) = blocks("toml")
    assert Clients.from_toml(table + CLIENT).mail.product == "Example"


def test_the_numbers_are_those_of_the_policy() -> None:
    """Each in the words of the page."""
    for words in (
        f"| tries of a session | {policy.MAIL_CODE_TRIES_MAX} |",
        f"| {policy.MAIL_SESSIONS_MAX} in {policy.MAIL_SESSIONS_WINDOW_S // policy.HOUR_S} hours |",
        f"| {policy.MAIL_SESSIONS_PER_SOURCE_MAX} in an hour |",
        f"| life of the code of a reset | {policy.MAIL_RESET_S // 60} minutes |",
        f"| life of another code | {policy.TICKET_PURPOSES['mail_session'].life_s // 60} minutes |",
        f"at most {policy.NOTICES_PER_DAY_MAX} notices",
        f"the last {policy.MAILBOX_MAX} mails",
        "older than two hours",
    ):
        assert words in PAGE, words
    assert policy.MAIL_ORDER.life_s == 2 * policy.HOUR_S


def test_every_setting_and_every_notice_is_on_the_page() -> None:
    """And no other."""
    assert set(re.findall(r"^\| `(BATON_\w+)` \|", PAGE, re.MULTILINE)) == {
        name for name in KNOWN if name.startswith(("BATON_MAIL", "BATON_REGISTRATION"))
    }
    told = set(re.findall(r"^\| `(\w+)`[^|]* \| [A-Z]", PAGE.partition("## Notices")[2], re.MULTILINE))
    assert told == {event for event, kind in EVENTS.items() if kind.notice}
    for name in re.findall(r"`\$(\w+)`", PAGE):
        assert name in {"product", "code", "minutes", "device", "time", "link", "undo"}
    assert templates.LANGUAGES == ("en", "zh")


def test_the_policies_of_the_page_allow_what_mail_does() -> None:
    """Each call that the API and the job make for a mail, on the queue and the tables of the stage, and no other."""
    of_api, of_jobs = (json.loads(block) for block in blocks("json"))
    assert of_api["Action"] == ["sqs:SendMessage"]
    allowed = {action for statement in of_jobs["Statement"] for action in statement["Action"]}
    assert allowed == {
        *("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "ses:SendEmail"),
        *("dynamodb:GetItem", "dynamodb:UpdateItem", "logs:CreateLogStream", "logs:PutLogEvents"),
    }
    for statement in (of_api, *of_jobs["Statement"]):
        open_to_all = statement["Resource"] == ["*"]
        assert open_to_all is (statement["Sid"] == "Send")
        assert not open_to_all or statement["Condition"]
