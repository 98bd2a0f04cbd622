"""The flow of exactly-once calls: each row of its table, each way a view can end, and a store that fails."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.refusals import AccountExists
from chalicelib.baton.http.once import RenderedAnswer, RunOnce, required_key
from chalicelib.baton.http.signed import refuse_key
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.once_answers import encrypt_answer
from chalicelib.baton.keys.rotation import make_ring, rotate_root
from chalicelib.baton.policy import DAY_S, ONCE_ANSWER_BYTES_MAX, ONCE_KEPT_S, ONCE_RUN_MAX_S
from chalicelib.baton.proof.once_rules import OnceKey, once_key
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.proof.refusals import (
    CallInProgress,
    CallOutcomeUnknown,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    IdempotencyUnsupported,
    InsufficientCoverage,
)
from chalicelib.baton.routing import Message
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.testing.contract.values import ACCOUNT, SOMEBODY_ELSE
from chalicelib.baton.tokens.refusals import GrantInvalid, StepUpRequired
from tests.baton.memory import GivenKeyRing, MemoryLog, OwnOnceCalls
from tests.baton.world import START, Clock, World

IDEMPOTENCY_KEY: Final = "order-7-abcdefgh"
ROUTE: Final = "/orders/{order_id}"
BODY: Final = b'{"amount":7}'
ITEM: Final = once_key(ACCOUNT, "POST", ROUTE, IDEMPOTENCY_KEY)
MADE: Final = RenderedAnswer(
    201, {"Content-Type": "application/json", "Location": "/orders/7"}, ("a=1; Secure", "b=2; Secure"), b'{"n":1}\xff'
)


class Failing:
    """A store that fails at the next call of a method, before the write or after it."""

    def __init__(self, calls: OnceStore) -> None:
        """Wrap a store."""
        self.calls = calls
        self.fails: dict[str, str] = {}

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        """Return the method of the store, or a method that fails once."""

        def call(*arguments: Any, **named: Any) -> Any:
            when = self.fails.pop(verb, "")
            answer = None if when == "before" else getattr(self.calls, verb)(*arguments, **named)
            if when:
                raise errors.Unavailable("planted")
            return answer

        return call


def render(refusal: errors.Refusal) -> RenderedAnswer:
    """Render a refusal."""
    return RenderedAnswer(refusal.status, {"Content-Type": "application/problem+json"}, (), refusal.code.encode())


@dataclass
class Shop:
    """A deployment with one route, and a client that sends the same request several times."""

    store: Failing = field(default_factory=lambda: Failing(OwnOnceCalls()))
    clock: Clock = field(default_factory=Clock)
    log: MemoryLog = field(default_factory=MemoryLog)
    retry_safe: bool = False
    runs: int = 0

    def __post_init__(self) -> None:
        """Make the flow."""
        self.key_ring = GivenKeyRing(make_ring(secrets.token_bytes, now=START - DAY_S))
        self.once = RunOnce(
            store=self.store,
            key_ring=self.key_ring,
            clock=self.clock,
            entropy=secrets.token_bytes,
            log=self.log,
        )

    def send(
        self,
        ends: RenderedAnswer | BaseException | Callable[[], RenderedAnswer] = MADE,
        *,
        account: AccountId = ACCOUNT,
        key: str | None = IDEMPOTENCY_KEY,
        route: str = ROUTE,
        **members: Any,
    ) -> RenderedAnswer:
        """Send the request. The view counts its runs and ends with ``ends``."""
        fields = {} if key is None else {"idempotency-key": (key,)}
        message = replace(Message("POST", "api.example.com", "/api/orders/7", (), fields, BODY), **members)

        def view() -> RenderedAnswer:
            self.runs += 1
            if isinstance(ends, BaseException):
                raise ends
            return ends if isinstance(ends, RenderedAnswer) else ends()

        return self.once.run(account, message, view, route=route, render=render, retry_safe=self.retry_safe)

    def stop(self) -> None:
        """Send a request whose view does not end, as if Lambda stopped it."""
        with pytest.raises(SystemExit):
            self.send(SystemExit())

    def events(self) -> list[tuple[str, Any]]:
        """List the recorded events, each with its reason."""
        return [(event, facts.get("reason")) for event, facts in self.log.recorded]


@pytest.fixture(params=["memory", "DynamoDB"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """Make a shop over each of the stores."""
    if request.param == "memory":
        return Shop()
    return Shop(Failing(OnceCalls(DynamoDB(request.getfixturevalue("tables")))))


def replayed(answer: RenderedAnswer) -> RenderedAnswer:
    """Add the header of a replay to an answer."""
    return replace(answer, headers={**answer.headers, "Baton-Replayed": "1"})


# --- The table -----------------------------------------------------------------------------------------------------


def test_a_repeated_call_gets_the_same_answer_byte_for_byte(shop: Shop) -> None:
    """Status, headers, cookies and body are the same. A header marks the replay. The view does not run again."""
    assert shop.send() == MADE
    assert [shop.send(BaseException("not called")) for _ in range(2)] == [replayed(MADE)] * 2
    assert shop.runs == 1
    assert shop.events() == [("call_replayed", None)] * 2


def test_a_key_in_quotes_equals_the_key_without_quotes(shop: Shop) -> None:
    """The header is either a structured-field string or its plain text."""
    shop.send()
    assert shop.send(key=f'"{IDEMPOTENCY_KEY}"') == replayed(MADE)


def test_an_answer_is_replayed_for_24_hours(shop: Shop) -> None:
    """After that time the key can be used again."""
    shop.send()
    shop.clock.skip(ONCE_KEPT_S - 1)
    assert shop.send() == replayed(MADE)
    shop.clock.skip(1)
    assert shop.send() == MADE
    assert shop.runs == 2


@pytest.mark.parametrize(
    "changed",
    [{"body": b"{}"}, {"path": "/api/orders/8"}, {"query": (("a", "b"),)}],
    ids=["body", "path", "query"],
)
@pytest.mark.parametrize("state", ["running", "answered", "stopped"])
def test_a_key_of_another_request_is_refused(shop: Shop, state: str, changed: dict[str, Any]) -> None:
    """The key is refused in each state of the call. The stored answer is never sent."""
    if state == "answered":
        shop.send()
    else:
        shop.stop()
    shop.clock.skip(ONCE_RUN_MAX_S if state == "stopped" else 0)
    for shop.retry_safe in (False, True):
        with pytest.raises(IdempotencyKeyReused):
            shop.send(**changed)
    assert shop.runs == 1


def test_a_running_call_is_in_progress_until_its_run_has_ended(shop: Shop) -> None:
    """A run takes less than 20 seconds. `retry_safe` does not change this."""
    shop.stop()
    for age in (0, ONCE_RUN_MAX_S - 1):
        shop.clock.now = START + age
        for shop.retry_safe in (False, True):
            with pytest.raises(CallInProgress) as refused:
                shop.send()
            assert refused.value.retry_after == 1
    assert shop.runs == 1


def test_a_stopped_call_has_an_unknown_outcome(shop: Shop) -> None:
    """The outcome is unknown from 20 seconds to 24 hours. After that the key can be used again."""
    shop.stop()
    for age in (ONCE_RUN_MAX_S, ONCE_KEPT_S - 1):
        shop.clock.now = START + age
        with pytest.raises(CallOutcomeUnknown):
            shop.send()
    assert shop.runs == 1
    shop.clock.now = START + ONCE_KEPT_S
    assert shop.send() == MADE


def test_a_stopped_call_runs_again_on_a_retry_safe_route(shop: Shop) -> None:
    """The new answer is stored for 24 hours from that run."""
    shop.retry_safe = True
    shop.stop()
    shop.clock.skip(ONCE_RUN_MAX_S)
    assert shop.send() == MADE
    shop.clock.skip(ONCE_KEPT_S - 1)
    assert shop.send() == replayed(MADE)
    assert shop.runs == 2


def test_a_call_that_is_taken_over_restarts_its_times(shop: Shop) -> None:
    """The call is in progress for another 20 seconds and is stored for another 24 hours."""
    shop.retry_safe = True
    shop.stop()
    shop.clock.skip(ONCE_KEPT_S - 1)
    shop.stop()
    shop.clock.skip(ONCE_RUN_MAX_S - 1)
    with pytest.raises(CallInProgress):
        shop.send()
    shop.clock.skip(1)
    assert shop.send() == MADE


@pytest.mark.parametrize("by_then", ["taken over", "answered", "released"])
def test_one_of_two_parallel_take_overs_runs(shop: Shop, by_then: str) -> None:
    """The later request finds the call of the earlier request: running, answered or released."""
    shop.retry_safe = True
    shop.stop()
    shop.clock.skip(ONCE_RUN_MAX_S)
    take_over = shop.store.calls.take_over

    def late(key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> Any:
        take_over(key, old_mark=old_mark, mark=b"of the winner", now=now)
        if by_then == "released":
            shop.store.calls.release(key, mark=b"of the winner")
        if by_then == "answered":
            answer = encrypt_answer(
                msgspec.msgpack.encode(MADE), item=key, ring=shop.key_ring.ring, now=now, nonce=bytes(12)
            )
            shop.store.calls.store(key, mark=b"of the winner", answer=answer, now=now)
        return take_over(key, old_mark=old_mark, mark=mark, now=now)

    shop.store.take_over = late  # type: ignore[attr-defined] # a seeded race
    if by_then == "answered":
        assert shop.send() == replayed(MADE)
    else:
        with pytest.raises(CallInProgress):
            shop.send()
    assert shop.runs == 1


# --- Which call it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [{"account": SOMEBODY_ELSE}, {"route": "/transfers"}, {"method": "PUT"}, {"key": "order-8-abcdefgh"}],
    ids=["account", "route", "method", "key"],
)
def test_another_account_route_method_or_key_is_another_call(shop: Shop, other: dict[str, Any]) -> None:
    """Each of the four is part of the item's name."""
    shop.send()
    assert shop.send(replace(MADE, body=b"another"), **other).body == b"another"
    assert shop.runs == 2


def test_a_call_belongs_to_the_account_and_not_to_the_device(shop: Shop) -> None:
    """A new device of the account gets the stored answer for the key. Its other header fields do not matter."""
    shop.send()
    fields = {"idempotency-key": (IDEMPOTENCY_KEY,), "authorization": ("Bearer of a new phone",)}
    assert shop.send(fields=fields) == replayed(MADE)


def test_an_idempotency_key_is_required() -> None:
    """A key has the form of an attempt."""
    shop = Shop()
    with pytest.raises(IdempotencyKeyRequired):
        shop.send(key=None)
    for key in ("short", "x" * 129, "order 7 abcdefgh"):
        with pytest.raises(errors.Malformed):
            shop.send(key=key)
    assert shop.runs == 0
    assert required_key(Message("POST", "", "/", (), {"idempotency-key": (IDEMPOTENCY_KEY,)}, b"")) == IDEMPOTENCY_KEY


@pytest.mark.parametrize("key", [IDEMPOTENCY_KEY, "short", ""])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS"])
def test_a_key_is_refused_on_a_route_that_would_ignore_it(method: str, key: str) -> None:
    """State-changing requests are refused, with a key of any form. A safe request may have a key."""
    message = Message(method, "", "/", (), {"idempotency-key": (key,)}, b"")
    refuse_key(replace(message, fields={}))
    if method in {"GET", "HEAD", "OPTIONS"}:
        refuse_key(message)
    else:
        with pytest.raises(IdempotencyUnsupported):
            refuse_key(message)


def test_a_signature_must_cover_the_key() -> None:
    """The refusal is 401 `insufficient_coverage`: an unsigned key could be replaced on the way."""
    world = World()
    phone = world.phone()
    token = world.register(phone).access_token
    signed = phone.message("POST", "/api/transfers", token=token)
    world.call.authenticate(signed)
    with_key = replace(signed, fields={**signed.fields, "idempotency-key": (IDEMPOTENCY_KEY,)})
    with pytest.raises(InsufficientCoverage) as refused:
        world.call.authenticate(with_key)
    assert refused.value.members["missing"] == ['"idempotency-key"']


# --- How a view ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing_done", [errors.TryAgain("of the view"), GrantInvalid(), StepUpRequired(max_age=1)])
def test_a_view_that_raises_try_again_releases_the_key(shop: Shop, nothing_done: errors.Refusal) -> None:
    """The next request with this key runs, even if it is a different request."""
    with pytest.raises(type(nothing_done)):
        shop.send(nothing_done)
    assert shop.send(body=b"{}") == MADE
    assert shop.runs == 2


@pytest.mark.parametrize("refusal", [errors.NotFound(), errors.WrongType(pointer="/amount"), CallOutcomeUnknown()])
def test_a_clients_error_is_stored_as_the_answer(shop: Shop, refusal: errors.Refusal) -> None:
    """The first request raises the error unchanged. The replay is the error as a rendered answer."""
    with pytest.raises(type(refusal)) as raised:
        shop.send(refusal)
    assert raised.value is refusal
    assert shop.send() == replayed(render(refusal))
    assert shop.runs == 1


@pytest.mark.parametrize(
    "ends",
    [
        errors.Unavailable("a store of the view"),
        errors.ServerError(),
        errors.OutcomeUnclear(),
        errors.LoginRequired(reason="logout"),
        errors.TooManyRequests(retry_after=1),
        errors.Superseded(),
        AccountExists(),
        ZeroDivisionError(),
        SystemExit(),
    ],
    ids=lambda ends: type(ends).__name__,
)
def test_after_any_other_end_of_the_view_the_outcome_is_unknown(shop: Shop, ends: BaseException) -> None:
    """The view may have acted: no answer is stored and the key is not released.

    The same holds for a refusal that makes a client repeat or log in.
    """
    with pytest.raises(type(ends)):
        shop.send(ends)
    with pytest.raises(CallInProgress):
        shop.send()
    shop.clock.skip(ONCE_RUN_MAX_S)
    with pytest.raises(CallOutcomeUnknown):
        shop.send()
    assert shop.runs == 1


def test_try_again_is_answered_503_with_the_seconds_of_the_view() -> None:
    """The code is `unavailable` and the action is `retry`."""
    refusal = errors.TryAgain("of the view", retry_after=7)
    assert (refusal.status, refusal.code, refusal.action, refusal.retry_after) == (503, "unavailable", "retry", 7)
    assert errors.TryAgain().retry_after == 1


# --- The stored answer ---------------------------------------------------------------------------------------------


def sized(shop: Shop, stored_bytes: int) -> RenderedAnswer:
    """Make an answer whose stored form has this number of bytes."""
    bare = len(msgspec.msgpack.encode(replace(MADE, body=bytes(60_000)))) - 60_000
    return replace(MADE, body=secrets.token_bytes(stored_bytes - bare - 30))


def test_an_answer_of_64_kb_is_replayed(shop: Shop) -> None:
    """The limit holds for the stored, encrypted form."""
    answer = sized(shop, ONCE_ANSWER_BYTES_MAX)
    assert shop.send(answer) == answer
    assert shop.send() == replayed(answer)


def test_an_answer_over_64_kb_is_sent_and_not_stored(shop: Shop) -> None:
    """A repetition has an unknown outcome, and the log has the reason."""
    answer = sized(shop, ONCE_ANSWER_BYTES_MAX + 1)
    assert shop.send(answer) == answer
    assert shop.events() == [("answer_not_stored", "over 64 KB")]
    shop.clock.skip(ONCE_RUN_MAX_S)
    with pytest.raises(CallOutcomeUnknown):
        shop.send()
    assert shop.runs == 1


def test_an_answer_is_stored_encrypted() -> None:
    """The table contains no readable body and no readable cookie, and not the client's key."""
    shop = Shop()
    answer = replace(MADE, body=b"the body of the answer", cookies=("session=the-cookie",))
    shop.send(answer)
    ((key, call),) = shop.store.calls.calls.items()  # type: ignore[attr-defined] # an attribute of the memory store
    assert call.answer is not None
    for told in (b"the body of the answer", b"the-cookie", b"Location", IDEMPOTENCY_KEY.encode()):
        assert told not in call.answer + key.encode() + call.digest + call.mark


def test_an_answer_copied_to_another_account_cannot_be_decrypted() -> None:
    """The answer is 503 and the view does not run. No account gets the answer of another."""
    shop = Shop()
    shop.send()
    calls = shop.store.calls.calls  # type: ignore[attr-defined] # an attribute of the memory store
    theirs = once_key(SOMEBODY_ELSE, "POST", ROUTE, IDEMPOTENCY_KEY)
    calls[theirs] = calls[ITEM]
    with pytest.raises(errors.Unavailable, match="decrypt"):
        shop.send(account=SOMEBODY_ELSE)
    assert shop.runs == 1
    assert shop.events() == []


def test_an_answer_encrypted_under_a_newer_root_is_read_with_a_fresh_ring() -> None:
    """An environment can have an older cached ring than the environment that stored the answer."""
    shop = Shop()
    old = shop.key_ring.ring
    new = rotate_root(old, secrets.token_bytes, now=START - DAY_S)
    shop.key_ring.ring = new
    shop.clock.now = START + DAY_S
    assert shop.send() == MADE
    shop.key_ring.ring = old
    with pytest.raises(errors.Unavailable):
        shop.send()
    shop.key_ring.refreshed = lambda *, now: new  # type: ignore[method-assign] # a seeded fault
    assert shop.send() == replayed(MADE)


def test_a_stored_answer_of_unknown_format_is_503() -> None:
    """The answer can be decrypted, but this release does not write its format."""
    shop = Shop()
    shop.send()
    calls = shop.store.calls.calls  # type: ignore[attr-defined] # an attribute of the memory store
    answer = encrypt_answer(b"\x93", item=ITEM, ring=shop.key_ring.ring, now=shop.clock.now, nonce=bytes(12))
    calls[ITEM] = replace(calls[ITEM], answer=answer)
    with pytest.raises(errors.Unavailable, match="decrypt"):
        shop.send()


# --- A store that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_claim_runs_no_view_and_leaves_the_key_free(shop: Shop, when: str) -> None:
    """The answer is 503. The next request runs, whether the claim was written or not."""
    shop.store.fails["claim"] = when
    with pytest.raises(errors.Unavailable):
        shop.send()
    assert shop.runs == 0
    assert shop.send() == MADE


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_claim_does_not_release_the_call_of_another_request(shop: Shop, when: str) -> None:
    """The release after the failure has the mark of its own request as a condition."""
    shop.stop()
    shop.store.fails["claim"] = when
    with pytest.raises(errors.Unavailable):
        shop.send()
    with pytest.raises(CallInProgress):
        shop.send()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_take_over_runs_no_view(shop: Shop, when: str) -> None:
    """The answer is 503. The next request runs, because the route is `retry_safe`."""
    shop.retry_safe = True
    shop.stop()
    shop.clock.skip(ONCE_RUN_MAX_S)
    shop.store.fails["take_over"] = when
    with pytest.raises(errors.Unavailable):
        shop.send()
    assert shop.runs == 1
    assert shop.send() == MADE


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_cannot_be_stored_is_sent(shop: Shop, when: str) -> None:
    """The effect has happened. The next request gets the stored answer, or learns that the outcome is unknown."""
    shop.store.fails["store"] = when
    assert shop.send() == MADE
    assert shop.events() == [("answer_not_stored", "planted")]
    shop.clock.skip(ONCE_RUN_MAX_S)
    if when == "after":
        assert shop.send() == replayed(MADE)
    else:
        with pytest.raises(CallOutcomeUnknown):
            shop.send()
    assert shop.runs == 1


def test_an_answer_is_sent_when_the_key_ring_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing ring after the view has the same result as a store that fails."""
    shop = Shop()

    def no_ring(*, now: int) -> Any:
        raise errors.Unavailable("no ring")

    monkeypatch.setattr(shop.key_ring, "current", no_ring)
    assert shop.send() == MADE
    assert shop.events() == [("answer_not_stored", "no ring")]


def test_an_answer_of_a_run_that_was_taken_over_is_sent(shop: Shop) -> None:
    """The client of the first run gets its answer. The stored answer is that of the second run."""
    shop.retry_safe = True
    taker = replace(MADE, body=b"of the taker")

    def slow() -> RenderedAnswer:
        shop.clock.skip(ONCE_RUN_MAX_S)
        assert shop.send(taker) == taker
        return MADE

    assert shop.send(slow) == MADE
    assert shop.send() == replayed(taker)
    assert shop.events()[0] == ("answer_not_stored", "taken over by another request")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_release_does_not_change_the_refusal(shop: Shop, when: str) -> None:
    """The client must try again. In the worst case it then learns that the outcome is unknown."""
    shop.store.fails["release"] = when
    with pytest.raises(errors.TryAgain):
        shop.send(errors.TryAgain())
    if when == "after":
        assert shop.send() == MADE
    else:
        with pytest.raises(CallInProgress):
            shop.send()
