"""Several devices use one account in parallel, over a connection that loses answers. Every request is recorded.

The devices follow no client rules. Owners, their second processes and thieves hold the same tokens, send them late and
again, log in, end each other and change the password. Afterwards the answers are compared with the rule.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NoReturn

import botocore.endpoint
from botocore.exceptions import ConnectionClosedError
from msgspec.structs import replace

from chalicelib.baton.effects import Done
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.login_rules import NoRoom, last_used, removed_by_login, replaced_by_login
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Actor,
    Ended,
    EndReason,
    KeyBinding,
    Lineage,
    PresentedToken,
    Status,
)
from chalicelib.baton.lineages.rules import Current, Exchanged, Inactive, Retry, Reused, exchange, judge
from chalicelib.baton.policy import DAY_S, LINEAGES_MAX
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.items import of_account, state_item
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.testing.contract.values import ACCOUNT, IDLE_S, MINE_LIVE, NOT_BEFORE, NOW, USER, state_with
from tests.baton.proofs.engines.history import FOREVER, UNANSWERED, History, Operation, State
from tests.baton.proofs.engines.together import Meet, Team

FAR = NOW + 1_000_000
FIRST = replace(MINE_LIVE, generation=0, attempts=(NO_ATTEMPT,) * 4, expires_at=FAR)
START = State(USER, state_with(FIRST))

LOST_ANSWERS, LOST_REQUESTS = 0.15, 0.05
LIVING = 0.8
LATE = 0.9
VERBS = ("exchange", "add_lineage", "record_use", "end", "end_device", "end_all", "delete", "set_status", "get")
"""The verbs of the lineage store. ``change_password`` is a verb of the user store."""


@dataclass(slots=True)
class Sending:
    """The time of a request, and the time of its connection loss. It has its effect before the loss, or never."""

    sent: int
    over: int = FOREVER


class Line:
    """The connection of one device to DynamoDB. It loses requests and answers, and records the time of each request."""

    def __init__(self, dynamodb: Any, chance: random.Random, *, embedded: bool) -> None:
        """Register for the events of a botocore client.

        An embedded engine answers in the event that loses answers here.
        """
        self._chance, self._fate = chance, 1.0
        self._carry = None if embedded else dynamodb._endpoint.http_session.send
        self.sendings: list[Sending] = []
        dynamodb.meta.events.register("request-created.dynamodb", self._begin)
        dynamodb.meta.events.register("before-send.dynamodb", self._lose_request)
        dynamodb.meta.events.register_last("before-send", self._lose_answer)

    def _begin(self, **_event: object) -> None:
        self._fate = self._chance.random()
        self.sendings.append(Sending(time.monotonic_ns()))

    def _lose_request(self, **_event: object) -> None:
        if self._fate < LOST_REQUESTS:
            self._break()

    def _lose_answer(self, request: object, **_event: object) -> None:
        if self._fate < LOST_REQUESTS + LOST_ANSWERS:
            if self._carry:
                _ = self._carry(request).content
            self._break()

    def _break(self) -> NoReturn:
        self.sendings[-1].over = time.monotonic_ns()
        raise ConnectionClosedError(endpoint_url="https://dynamodb")


class Recorder:
    """Calls the stores, and records every request and its answer."""

    def __init__(self, who: str, stores: Mapping[str, Any], line: Line) -> None:
        """Use ``stores``, a mapping from verb to store."""
        self._who, self._stores, self._line = who, stores, line
        self.operations: list[Operation] = []

    def ask(self, verb: str, **arguments: object) -> Any:
        """Call a store, and return the answer or ``UNANSWERED``.

        Only the last request of botocore can have an answer.
        """
        self._line.sendings.clear()
        try:
            answer: object = getattr(self._stores[verb], verb)(**arguments)
        except Unavailable:
            answer = UNANSWERED
        else:
            self._line.sendings[-1].over = time.monotonic_ns()
        *earlier, last = self._line.sendings
        for sending, told in (*((one, UNANSWERED) for one in earlier), (last, answer)):
            self.operations.append(Operation(self._who, verb, arguments, sending.sent, sending.over, told))
        return answer


class ReadThenWrite(LineageStore):
    """A seeded fault: it reads the account state, decides and writes without a condition."""

    def exchange(self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int) -> Any:
        """Exchange without a condition."""
        account_state = self.get(presented.account)
        verdict = judge(account_state, presented, now=now, not_before=not_before, idle_s=idle_s)
        if account_state is None or not isinstance(verdict, Current):
            return verdict
        child = exchange(verdict.lineage, presented, now=now)
        item = state_item(replace(account_state, lineages={**account_state.lineages, child.id: child}))
        self._database._dynamodb.call("put_item", TableName=self._database.tables.lineages, Item=item)
        return Exchanged(child)


@dataclass(frozen=True, slots=True)
class Part:
    """The arguments of one device."""

    number: int
    seed: int
    steps: int
    tables: Tables
    embedded: bool
    store: Callable[[DynamoDB], LineageStore] = LineageStore


class Device:
    """One device: the account state that it read last, and its next action."""

    def __init__(self, part: Part, ask: Callable[..., Any], chance: random.Random) -> None:
        """Start with the initial account state."""
        self._part, self._ask, self._chance = part, ask, chance
        self._seen = START.account_state
        self._now = NOW
        self._near_the_end = False

    def act(self, step: int) -> None:
        """Do one action: usually an exchange. The clocks of the devices differ."""
        self._now = NOW + step * 10 + self._part.number
        self._near_the_end = step > self._part.steps * LATE
        living = [one for one in self._seen.lineages.values() if one.ended is None and one.epoch == self._seen.epoch]
        if not living:
            self._log_in()
            return
        # Sometimes use an ended lineage: no action on its behalf may succeed.
        lineage = self._chance.choice(living if self._chance.random() < LIVING else [*self._seen.lineages.values()])
        doings: dict[Callable[[Lineage], object], int] = {
            self._exchange: 60,
            lambda _: self._look(): 14,
            lambda _: self._log_in(): 10,
            self._end: 4,
            self._end_device: 4,
            lambda one: self._ask("end_all", actor=self._actor(one), now=self._now): 2,
            self._record_use: 4,
            self._change_password: 4,
            self._disable: 2,
            self._delete: 4,
        }
        [do] = self._chance.choices([*doings], [*doings.values()])
        do(lineage)

    def _exchange(self, lineage: Lineage) -> None:
        generation = max(0, lineage.generation - self._chance.choice([0, 0, 0, 0, 1, 2, 5]))
        holder = self._chance.choice([b"owner"] * 15 + [b"thief"])
        presented = PresentedToken(
            account=ACCOUNT,
            lineage=lineage.id,
            generation=generation,
            issued_at=lineage.issued_at,
            client=lineage.client,
            binding=lineage.binding,
            # Two processes of one holder use the same attempt, which is in their shared storage.
            attempt=b"%s%03d" % (holder, generation % 1000),
        )
        verdict = self._ask("exchange", presented=presented, now=self._now, not_before=NOT_BEFORE, idle_s=IDLE_S * 1000)
        match verdict:
            case Exchanged(child) | Retry(child):
                self._seen = replace(self._seen, lineages={**self._seen.lineages, child.id: child})
            case Reused():
                self._end(lineage, EndReason.REUSE)
            case Inactive():
                self._look()
            case _:
                pass  # superseded, or no answer: the token is sent again later, or not

    def _look(self) -> AccountState:
        seen = self._ask("get", account=ACCOUNT)
        if seen != UNANSWERED:
            self._seen = seen
        return self._seen

    def _log_in(self) -> None:
        account_state = self._look()
        # Each device has its own key. Sometimes another device begins to use a key.
        owner = self._chance.choice([self._part.number] * 3 + [0])
        binding = KeyBinding(b"%032d" % owner)
        replaced = replaced_by_login(account_state, binding, proved=None)
        idle_s_of = {FIRST.client: IDLE_S * 1000}
        removed = removed_by_login(
            account_state,
            replaced,
            now=self._now,
            not_before=NOT_BEFORE,
            idle_s_of=idle_s_of,
            lineages_max=LINEAGES_MAX,
        )
        if isinstance(removed, NoRoom):
            return
        lineage = replace(
            FIRST,
            id=LineageId(f"AQ{self._chance.getrandbits(80):014x}"[:16]),
            epoch=account_state.epoch,
            issued_at=self._now,
            auth_time=self._now,
            binding=binding,
        )
        done = self._ask(
            "add_lineage",
            lineage=lineage,
            expected=account_state,
            replaced=replaced,
            removed=removed,
            lineages_max=LINEAGES_MAX,
        )
        if done == Done():
            self._look()

    def _end(self, lineage: Lineage, reason: EndReason = EndReason.LOGOUT) -> None:
        self._ask("end", account=ACCOUNT, lineage=lineage.id, reason=reason, now=self._now)
        # An end deletes the attempts, so the state to compare with has none either.
        ended = replace(lineage, ended=Ended(self._now, reason), attempts=FIRST.attempts)
        self._seen = replace(self._seen, lineages={**self._seen.lineages, lineage.id: ended})

    def _change_password(self, lineage: Lineage) -> None:
        password_hash = self._chance.randbytes(8)
        self._ask(
            "change_password",
            actor=self._actor(lineage),
            password_hash=password_hash,
            expected=self._seen,
            now=self._now,
        )
        self._look()

    def _end_device(self, lineage: Lineage) -> None:
        """End another login, or this login, on behalf of this login."""
        other = self._chance.choice([*self._seen.lineages])
        self._ask("end_device", actor=self._actor(lineage), lineage=other, now=self._now)
        self._look()

    def _record_use(self, lineage: Lineage) -> None:
        """Record a use of the lineage as read, which may have advanced or ended since."""
        used = replace(lineage, last_used_day=last_used(lineage, now=self._now) // DAY_S)
        self._ask("record_use", lineage=used, account=ACCOUNT, expected=lineage, now=self._now, not_before=NOT_BEFORE)

    def _delete(self, lineage: Lineage) -> None:
        """Delete the account near the end of the run, or on behalf of an ended login. No action follows a deletion."""
        dead = lineage.ended is not None or lineage.epoch != self._seen.epoch
        if dead or self._near_the_end:
            self._ask("delete", actor=self._actor(lineage), now=self._now)

    def _actor(self, lineage: Lineage) -> Actor:
        return Actor(ACCOUNT, lineage.id, not_before=NOT_BEFORE, credentials_version=self._seen.credentials_version)

    def _disable(self, lineage: Lineage) -> None:
        """Disable the account, try to log in and to exchange, and enable the account."""
        self._ask("set_status", account=ACCOUNT, status=Status.DISABLED, now=self._now)
        self._log_in()
        self._exchange(lineage)
        self._ask("set_status", account=ACCOUNT, status=Status.ACTIVE, now=self._now)


def play(part: Part, meet: Meet) -> list[Operation]:
    """Run one device, and return its recorded operations."""
    chance = random.Random(f"{part.seed} {part.number}")
    service = AwsClient("dynamodb", pause=lambda _seconds: None)
    engine = DynamoDB(part.tables, service)
    line = Line(service.client, chance, embedded=part.embedded)
    lineage_store, users = part.store(engine), Users(engine)
    recorder = Recorder(
        f"device {part.number}",
        {"change_password": users, **dict.fromkeys(VERBS, lineage_store)},
        line,
    )
    device = Device(part, recorder.ask, chance)
    # Do not wait between the retries of botocore.
    botocore.endpoint.time = SimpleNamespace(sleep=lambda _seconds: None, time=time.time)  # type: ignore[attr-defined]
    meet()
    for step in range(part.steps):
        device.act(step)
    return recorder.operations


def record(team: Team, tables: Tables, *, seed: int, devices: int, steps: int, **named: Any) -> History:
    """Run several devices on one account, and return the history of its account state."""
    engine = DynamoDB(tables, AwsClient("dynamodb"))
    Users(engine).forget(ACCOUNT, START.user.email_index, now=0)
    engine.write("delete_item", TableName=tables.lineages, Key=of_account(ACCOUNT))
    Users(engine).register(START.user, START.account_state)
    embedded = "AWS_ENDPOINT_URL_DYNAMODB" not in os.environ
    told = team(play, [Part(number, seed, steps, tables, embedded, **named) for number in range(devices)])
    sent = time.monotonic_ns()
    last = Operation(
        "the end", "get", {"account": ACCOUNT}, sent, time.monotonic_ns(), LineageStore(engine).get(ACCOUNT)
    )
    operations = sorted((operation for one in told for operation in one), key=lambda operation: operation.sent)
    return History(START, (*operations, last))
