"""Races of Baton: sixteen concurrent exchanges of one token, as whole requests through the app, on a separate engine.

Each login has two races. First, one app sends the same attempt sixteen times. Then sixteen clients send the child
token, each with its own attempt. The requests use the small AWS client, as in production.
"""

import functools
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from chalicelib.baton.storage.aws import service as engine
from tests.baton.fixture import load_environment
from tests.baton.proofs.engines.together import PATIENCE_S, Meet, Team
from tests.baton.wire.conversation import FORM, HOST, Device, Said, Send, through
from tools.dev.gateway import Gateway

RACERS = 16
HEAT = 250
"""The number of logins that are created before they race."""


@dataclass(frozen=True, slots=True)
class Life:
    """The first token of a login, the repeated attempt, and one attempt for each rival."""

    token: str
    attempt: str
    rivals: tuple[str, ...]


Answers = list[Said]

REUSED, ENDED = "400 token_reused reuse", "400 login_required reuse"


def patient(patch: pytest.MonkeyPatch) -> None:
    """Use long time-outs to DynamoDB: the test is about Baton, not about the load of this machine.

    If the database is overloaded, the production time-outs make Baton answer 503 after three attempts of two seconds.
    That is correct, but the race then has one answer too few.
    """
    for name in ("CONNECT_TIMEOUT_S", "READ_TIMEOUT_S"):
        patch.setattr(engine, name, PATIENCE_S)


@functools.cache
def _gateway(prefix: str, hands: int) -> Gateway:
    """Put environments of this process behind a gateway: one for each parallel request."""
    with pytest.MonkeyPatch.context() as patch:
        patient(patch)
        return Gateway([load_environment().app for _ in range(hands)])


def _sending(hands: int) -> Send:
    return through(_gateway(os.environ["BATON_TABLE_PREFIX"], hands))


@functools.cache
def _pool(hands: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(hands)


def run(lives: Sequence[Life], meet: Meet) -> list[tuple[Answers, Answers]]:
    """Send one process's requests in both races of each login, in parallel with the others, and return the answers."""
    told = []
    for life in lives:
        meet()
        repeated = _at_once(life.token, [life.attempt] * len(life.rivals))
        child = str(repeated[0].members.get("refresh_token", life.token))
        meet()
        told.append((repeated, _at_once(child, life.rivals)))
    return told


def exchanged(send: Send, token: str, attempt: str) -> Said:
    """Exchange a bearer token with an attempt."""
    body = urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode()
    return send("POST", "/api/oauth/token", [("host", HOST), *FORM.items(), ("idempotency-key", attempt)], body)


def _at_once(token: str, attempts: Sequence[str]) -> Answers:
    send = _sending(len(attempts))
    return list(_pool(len(attempts)).map(lambda attempt: exchanged(send, token, attempt), attempts))


def race(team: Team, size: int, races: int) -> Iterator[Counter[str]]:
    """Run this number of races with a team, and count the answers of each heat.

    A wrong race raises ``AssertionError``.
    """
    lives = range(races // 2)
    for first in lives[::HEAT]:
        phones = [_registered(f"ada{number}@example.com", RACERS // size) for number in lives[first : first + HEAT]]
        attempts = [[secrets.token_urlsafe(16) for _ in range(1 + RACERS)] for _ in phones]
        parts = [
            [
                Life(str(phone.tokens["refresh_token"]), own[0], tuple(own[1:][part::size]))
                for phone, own in zip(phones, attempts, strict=True)
            ]
            for part in range(size)
        ]
        yield _tally(phones, team(run, parts))


def _registered(email: str, hands: int) -> Device:
    phone = Device(_sending(hands), lambda: int(time.time()), client_id="simple", bound=False)
    assert phone.register(email).status == 201
    return phone


def _tally(phones: Sequence[Device], told: Sequence[Sequence[tuple[Answers, Answers]]]) -> Counter[str]:
    """Check the races of a heat, check that each login has ended, and count the answers."""
    tally: Counter[str] = Counter()
    for phone, of_each in zip(phones, zip(*told, strict=True), strict=True):
        repeated, rivalled = ([said for part in kind for said in part] for kind in zip(*of_each, strict=True))
        only_child(repeated, rivals=False)
        last = phone.exchange(only_child(rivalled, rivals=True))
        assert (last.code, last.members["reason"]) == ("login_required", "reuse"), last
        tally.update(f"one attempt: {_words(said)}" for said in repeated)
        tally.update(f"rivals: {_words(said)}" for said in rivalled)
        tally["children"] += 2
    return tally


def only_child(answers: Answers, *, rivals: bool) -> str:
    """Check the answers of one race, and return the child.

    If the requests have different attempts, one of them exchanges the token. Every other request gets 401: either it
    ended the login, or the login had ended before.
    """
    told = Counter(map(_words, answers))
    children = {str(answer.members["refresh_token"]) for answer in answers if answer.status == 200}
    assert len(children) == 1, f"{len(children)} children: {told}"
    assert told["200"] == (1 if rivals else RACERS), told
    assert told["200"] + told[REUSED] + told[ENDED] == len(answers) == RACERS, told
    assert bool(told[REUSED]) is rivals, told
    return children.pop()


def _words(said: Said) -> str:
    return " ".join(filter(None, (str(said.status), said.code, str(said.members.get("reason", "")))))
