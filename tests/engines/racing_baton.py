"""Baton raced: sixteen exchanges of one token, from eight processes, each with environments of its own."""

import functools
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlencode

from chalicelib.stores import engine
from tests.engines.together import PATIENCE_S, Meet, Team
from tests.web.conversation import FORM, HOST, Device, Said, through
from tools.dev.gateway import DevelopmentClock, Gateway, load_environment

PROCESSES, EACH = 8, 2
RACERS = PROCESSES * EACH
RIVALS_EVERY = 10
"""In so many races one is between rivals. It ends the login, and the next login costs a password."""


@dataclass(frozen=True, slots=True)
class Presenter:
    """One process's part: a token, and the attempts it is presented with, at once."""

    token: str
    attempts: tuple[str, ...]


@functools.cache
def _gateway() -> Gateway:
    """Put environments of this process behind a gateway, as many as it sends requests at once.

    They wait for the engine as long as it takes: this machine may be busy, and that is no answer of Baton's.
    """
    engine.READ_TIMEOUT_S = engine.CONNECT_TIMEOUT_S = PATIENCE_S  # type: ignore[misc] # final, elsewhere
    return Gateway([load_environment().app for _ in range(EACH)])


@functools.cache
def _hands() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(EACH)


def present(presenter: Presenter, _: Meet) -> list[Said]:
    """Exchange the token under each attempt, at once, and give the answers."""
    send = through(_gateway())
    body = urlencode({"grant_type": "refresh_token", "refresh_token": presenter.token}).encode()

    def exchange(attempt: str) -> Said:
        return send("POST", "/api/oauth/token", [("host", HOST), *FORM.items(), ("idempotency-key", attempt)], body)

    return list(_hands().map(exchange, presenter.attempts))


def race(team: Team, races: int, email: str) -> Iterator[int]:
    """Race so often, giving the number of each race that was as promised. The first that was not is an error."""
    clock = DevelopmentClock()
    phone = Device(through(_gateway()), lambda: int(clock.time()), client_id="simple", bound=False)
    assert phone.register(email).status == 201
    for number in range(1, races + 1):
        rivals = number % RIVALS_EVERY == 0
        attempts = _attempts(rivals=rivals)
        token = str(phone.tokens["refresh_token"])
        parts = [Presenter(token, attempts[first : first + EACH]) for first in range(0, RACERS, EACH)]
        answers = [answer for told in team(present, parts) for answer in told]
        child = only_child(answers, rivals=rivals)
        if rivals:
            last = phone.exchange(child)
            assert (last.code, last.members["reason"]) == ("login_required", "reuse"), last
            assert phone.login(email).status == 200
        else:
            phone.tokens["refresh_token"] = child
        yield number


def only_child(answers: list[Said], *, rivals: bool) -> str:
    """Hold the answers of one race against the promise, and give the child."""
    told = Counter((answer.status, answer.code) for answer in answers)
    children = {str(answer.members["refresh_token"]) for answer in answers if answer.status == 200}
    assert len(children) == 1, f"{len(children)} children: {told}"
    assert told[200, ""] == (1 if rivals else len(answers)), told
    assert told.keys() <= {(200, ""), (400, "token_reused"), (400, "login_required")}, told
    return children.pop()


def _attempts(*, rivals: bool) -> tuple[str, ...]:
    """Draw one attempt for all, or one for each."""
    if rivals:
        return tuple(secrets.token_urlsafe(16) for _ in range(RACERS))
    return (secrets.token_urlsafe(16),) * RACERS
