"""The app of the simulation and the reference client make the same decisions after the same answers."""

import itertools
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from baton_client import Answer, BatonClient, LoggedOut, MemoryStorage, NoResponse, Refused, Request, Session
from baton_client import Record as Stored
from chalicelib.baton import errors
from chalicelib.baton.ids import LineageId
from chalicelib.baton.proof.refusals import ClockSkew, WrongKey
from chalicelib.baton.tokens.issue import TokenResponse
from chalicelib.baton.tokens.refusals import TokenReused
from tests.baton.proofs.relay.runner import Pause, Read, Record, Replace, Revoke, Runner, Send, SetClock
from tests.baton.wire.fake_server import answered, problem

NOW = 1_750_000_000
SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYw"
REFUSALS: dict[str, errors.Refusal] = {
    "unavailable": errors.Unavailable(),
    "superseded": errors.Superseded(),
    "login_required": errors.LoginRequired(),
    "token_reused": TokenReused(),
    "clock_skew": ClockSkew(),
    "wrong_key": WrongKey(),
}
ANSWERS = ("child", "lost", *REFUSALS)
SCRIPTS = [script for length in (1, 2, 3) for script in itertools.product(ANSWERS, repeat=length)]
"""Scripts of answers to the requests, in order. After the end of a script, each answer is a child."""

Decisions = tuple[list[str], list[str], str, str]
"""The attempt of each request, the revoked tokens, the token that is stored at the end, and the result."""


def of_the_reference_client(script: tuple[str, ...], moved_at: int | None) -> Decisions:
    """Let the reference client exchange. Another process stores its own child during request number ``moved_at``."""
    session = Session("device", "parent", "parent", NOW, "attempt-of-parent", "key", SECRET)
    storage, sent, revoked = MemoryStorage(Stored(session=session)), list[str](), list[str]()

    def transport(request: Request, _: float, /) -> Answer:
        if request.url.endswith("/oauth/revoke"):
            revoked.append(dict(parse_qsl(request.body.decode()))["token"])
            return answered(200)
        said = script[len(sent)] if len(sent) < len(script) else "child"
        if len(sent) == moved_at:
            elsewhere = replace(session, access_token="elsewhere", refresh_token="elsewhere", attempt="a" * 16)
            storage.update(lambda record: replace(record, session=elsewhere))
        sent.append(request.headers["idempotency-key"].strip('"'))
        if said == "lost":
            raise NoResponse("lost")
        if said == "child":
            tokens = {"access_token": "child", "refresh_token": "child", "expires_in": 900, "server_time": NOW}
            return answered(200, tokens)
        refusal = REFUSALS[said]
        # At /oauth/token a refusal of the token is `invalid_grant` (wire.md).
        error = "invalid_grant" if isinstance(refusal, errors.InvalidToken) else refusal.error
        return problem(400, error, refusal.code, refusal.action, server_time=NOW)

    client = BatonClient(
        "https://api.example.com/api",
        "mobile",
        storage,
        binding="hmac",
        clock=lambda: NOW,
        transport=transport,
        sleep=lambda _: None,
        random=lambda: 0.0,
    )
    try:
        ended = client.exchange(deadline_s=None).access_token
    except LoggedOut:
        ended = "logged out"
    except Refused as refusal:
        ended = refusal.code
    standing = storage.read().session
    return sent, revoked, standing.access_token if standing else "nothing", ended


def of_the_runner(script: tuple[str, ...], moved_at: int | None) -> Decisions:  # noqa: C901 - one case for each request
    """Let the app of the simulation exchange, under the same conditions."""
    parent = Record("device", "parent", "parent", NOW, "attempt-of-parent")
    standing: Record | None = parent
    sent, revoked = list[str](), list[str]()
    renewing = Runner(lambda: "attempt-of-child", lambda: NOW).renewed()
    answer: Any = None
    while True:
        try:
            need = renewing.send(answer)
        except StopIteration as stopped:
            ended = stopped.value.access_token if stopped.value else "logged out"
            break
        except errors.Refusal as refusal:
            ended = refusal.code
            break
        answer = None
        match need:
            case Read():
                answer = standing
            case Send(record):
                said = script[len(sent)] if len(sent) < len(script) else "child"
                if len(sent) == moved_at:
                    standing = replace(parent, access_token="elsewhere", refresh_token="elsewhere", attempt="a" * 16)
                sent.append(record.attempt or "")
                if said == "child":
                    answer = TokenResponse(
                        access_token="child",
                        refresh_token="child",
                        expires_in=900,
                        scope="account",
                        device_id=LineageId("device"),
                        authorization_expires_in=9_000,
                        server_time=NOW,
                    )
                elif said != "lost":
                    answer = REFUSALS[said]
            case Replace(expected, child):
                if standing == expected:
                    standing = child
                answer = standing
            case Revoke(record):
                revoked.append(record.refresh_token or "")
            case Pause() | SetClock():
                pass
    return sent, revoked, standing.access_token if standing else "nothing", ended


@pytest.mark.parametrize("moved_at", [None, 0, 1, 2])
def test_the_runner_makes_the_decisions_of_the_reference_client(moved_at: int | None) -> None:
    """For every sequence of up to three answers, runner and client send, revoke and store the same."""
    for script in SCRIPTS:
        decided = of_the_runner(script, moved_at)
        assert decided == of_the_reference_client(script, moved_at), script


def test_the_sequences_lead_to_every_result() -> None:
    """Sequences of up to three of eight answers lead to a child, a logout, a revocation and two refusals."""
    assert len(SCRIPTS) == 8 + 8**2 + 8**3
    ends = {(tuple(revoked), *end) for _, revoked, *end in (of_the_runner(script, None) for script in SCRIPTS)}
    assert ends == {
        ((), "child", "child"),
        ((), "nothing", "logged out"),
        (("parent",), "nothing", "logged out"),
        ((), "parent", "wrong_key"),
        ((), "parent", "clock_skew"),
    }


def test_a_runner_that_loses_its_attempt_decides_differently() -> None:
    """So the comparison includes the attempt of each request."""
    right = of_the_runner(("lost",), None)
    assert right[0] == ["attempt-of-parent"] * 2
    assert right == of_the_reference_client(("lost",), None)
    assert right != of_the_reference_client(("lost", "lost"), None)
