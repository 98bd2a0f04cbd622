"""Nothing that a stranger can see depends on the account of an address (cases 55 to 58 of docs/baton/attacks.md).

The tests compare four addresses of the same length: one with an account, one without, one of a disabled account, and
one that gets no mails.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.baton.mail.test_suppression import report, told
from tests.baton.mail.town import Town

KNOWN, UNKNOWN, DISABLED, SUPPRESSED = (f"{name}@example.com" for name in ("ada", "eve", "bob", "sue"))
ADDRESSES = (KNOWN, UNKNOWN, DISABLED, SUPPRESSED)
VARIES = frozenset({"date", "baton-request-id"})
"""The headers that differ between any two answers."""


@pytest.fixture
def four(make_town: Callable[..., Town]) -> Town:
    """Make a deployment with the four addresses, and limits as deployed."""
    town = make_town(rate_limits="on")
    for email in (KNOWN, DISABLED, SUPPRESSED):
        town.registered(email)
    town.world.disable(DISABLED)
    told(town, report(town, "Complaint", SUPPRESSED))
    return town


def answer(town: Town, route: str, email: str) -> tuple[list[str], object]:
    """Send a request for an address. Return the calls, and everything in the answer but the ticket."""
    device = town.device()
    entry = device.entry(email)
    del entry["password"]
    with town.calls() as calls:
        said = device.post(route, entry, token=None)
    members: dict[str, Any] = json.loads(said.body)
    ticket = members.pop("mail_session")
    headers = {name: value for name, value in said.headers.items() if name not in VARIES}
    return calls, (said.status, headers, members, len(ticket), len(said.body))


@pytest.mark.parametrize(
    ("route", "calls"),
    [
        ("/password/forgot", ["find", "get", "count", "count", "put"]),
        ("/register/start", ["count", "count", "put"]),
    ],
)
def test_the_answer_and_the_calls_are_the_same_for_every_address(four: Town, route: str, calls: list[str]) -> None:
    """The test compares the calls of every verb of the stores and of the queue.

    All bytes of the answer are equal, except for those of the ticket.
    """
    answers = [answer(four, route, email) for email in ADDRESSES]
    assert [called for called, _ in answers] == [calls] * len(ADDRESSES)
    assert [said for _, said in answers] == [answers[0][1]] * len(ADDRESSES)


def test_only_the_mailbox_shows_the_difference(four: Town) -> None:
    """At a reset, the mailbox of the account gets a code. The other mailboxes get nothing."""
    before = len(four.world.mails)
    for email in ADDRESSES:
        answer(four, "/password/forgot", email)
    assert [mail.to for mail in four.world.mails[before:]] == [KNOWN]


def test_only_the_mailbox_shows_that_an_address_is_taken(four: Town) -> None:
    """At a registration, a mailbox gets a code, or a mail which says that there is an account.

    A suppressed address gets nothing.
    """
    before = len(four.world.mails)
    for email in ADDRESSES:
        answer(four, "/register/start", email)
    subjects = {mail.to: mail.subject for mail in four.world.mails[before:]}
    assert subjects.keys() == {KNOWN, UNKNOWN, DISABLED}
    assert "already" in subjects[KNOWN]
    assert subjects[UNKNOWN] != subjects[KNOWN] == subjects[DISABLED]
