"""docs/baton/mail.md: its code runs, its numbers are those of the policy, and its settings and texts exist."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton import policy, ticket_purposes
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.mail import outbox, templates
from chalicelib.baton.settings import KNOWN, read_settings
from tests.baton.mail.town import Town
from tools import template
from tools.dev.gateway import mails_answer

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "baton" / "mail.md").read_text("utf-8")
CLIENT = '[client.mobile]\ncode = 1\nmechanism = "exchange"\nform = "jwt"\nbinding = "required"\nscope = "account"\n'


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the page in a language, those inside of lists too."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_of_the_page_passes(town: Town) -> None:
    """It runs as a test of a team, in a World."""
    (source,) = blocks("python")
    names: dict[str, Any] = {"World": type(town.world)}
    exec(compile(source, "mail.md", "exec"), names)  # noqa: S102 - the page's own code
    tests: list[Callable[..., None]] = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0](town.world)


def test_the_registry_of_the_page_is_read() -> None:
    """The table of the page is added to a registry with a client."""
    (table,) = blocks("toml")
    assert Clients.from_toml(table + CLIENT).mail.product == "Example"


def test_the_numbers_are_those_of_the_policy() -> None:
    """Each number is in the page in these words."""
    for words in (
        f"| tries of a session | {policy.MAIL_CODE_TRIES_MAX} |",
        f"| {policy.MAIL_SESSIONS_MAX} in {policy.MAIL_SESSIONS_WINDOW_S // policy.HOUR_S} hours |",
        f"| {policy.MAIL_SESSIONS_PER_SOURCE_MAX} in an hour |",
        f"| life of the code of a reset | {policy.MAIL_RESET_S // 60} minutes |",
        f"| life of every other code | {ticket_purposes.TICKET_PURPOSES['mail_session'].life_s // 60} minutes |",
        f"at most {policy.NOTICES_PER_DAY_MAX} notices",
        f"the last {policy.MAILBOX_MAX} mails",
        "older than two hours",
    ):
        assert words in PAGE, words
    assert ticket_purposes.MAIL_ORDER.life_s == 2 * policy.HOUR_S


def test_every_setting_and_every_notice_is_on_the_page() -> None:
    """The page has no other setting and no other notice."""
    assert set(re.findall(r"^\| `(BATON_\w+)` \|", PAGE, re.MULTILINE)) == {
        name for name in KNOWN if name.startswith(("BATON_MAIL", "BATON_REGISTRATION"))
    }
    told = set(re.findall(r"^\| `(\w+)`[^|]* \| [A-Z]", PAGE.partition("## Notices")[2], re.MULTILINE))
    assert told == {event for event, kind in EVENTS.items() if kind.notice}
    for name in re.findall(r"`\$(\w+)`", PAGE):
        assert name in {"product", "code", "minutes", "device", "time", "link", "undo", "not_me", "url"}
    assert templates.LANGUAGES == ("en", "zh")


def test_the_mails_of_make_dev_have_the_shape_of_the_page(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """In ``make dev``, mail is on."""
    phone = town.registered()
    phone.post("/me/email/code", {})
    monkeypatch.setattr(outbox.OF_THIS_PROCESS, "_mails", town.mails())
    _, shown = blocks("json")
    (mail,), (told,) = json.loads(mails_answer().body)["mails"], json.loads(shown)["mails"]
    assert (mail.keys(), mail["to"]) == (told.keys(), told["to"])
    assert mail["subject"].partition(" for ")[0] == told["subject"].partition(" for ")[0]
    assert re.sub("[0-9]{4} [0-9]{4}", "1234 5678", mail["text"]).startswith(told["text"].removesuffix("..."))
    (mode,) = re.findall("`BATON_MAIL=(mailbox)`", PAGE)
    assert f'setdefault("BATON_MAIL", "{mode}")' in (ROOT / "tools" / "dev" / "serve.py").read_text("utf-8")


def test_the_settings_of_the_page_are_accepted() -> None:
    """They are accepted as written, before a deployment fills in region and account.

    The queue is that of the data stack.
    """
    block, _ = blocks("json")
    others = {
        "BATON_CLIENTS": "clients-dev.toml",
        "BATON_ISSUER": "https://api.example.com",
        "BATON_KEY_RING": "kms:alias/baton-prod",
        "BATON_TABLE_PREFIX": "baton-prod",
    }
    settings = read_settings(others | json.loads(block))
    assert settings.mail == "ses"
    queue = template.resolve(template.read(template.DATA)["Resources"]["MailQueue"], {"Prefix": settings.deployment})
    assert settings.mail_queue.rpartition("/")[2] == queue["Properties"]["QueueName"]
