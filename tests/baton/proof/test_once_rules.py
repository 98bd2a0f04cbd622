"""The rules of exactly-once calls: each row of their table, the name of a call, and the digest of a request."""

from itertools import product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.baton.policy import ONCE_KEPT_S, ONCE_RUN_MAX_S, REQUEST_MAX_S
from chalicelib.baton.proof import once_rules
from chalicelib.baton.proof.once_rules import (
    Claimed,
    InProgress,
    OnceCall,
    OutcomeUnknown,
    Replay,
    Reused,
    TakeOver,
    Verdict,
    is_free,
    judge,
    once_key,
    request_digest,
)
from chalicelib.baton.routing import Message
from chalicelib.baton.storage.dynamodb.one_time import key_of
from chalicelib.baton.testing.contract.values import ACCOUNT, NOW, SOMEBODY_ELSE

DIGEST: Final = b"d" * 32
MARK: Final = b"mark of this one"
RUNNING: Final = OnceCall(DIGEST, NOW, b"mark of another ", NOW + ONCE_KEPT_S)
ANSWERED: Final = replace(RUNNING, answer=b"encrypted")
MESSAGE: Final = Message("POST", "api.example.com", "/api/orders", (("a", "b"),), {}, b"{}")


def verdict(stored: OnceCall, *, digest: bytes = DIGEST, after: int = 0, retry_safe: bool = False) -> Verdict:
    """Judge a request with ``MARK``, this number of seconds after the call began."""
    return judge(stored, digest=digest, mark=MARK, now=NOW + after, retry_safe=retry_safe)


@pytest.mark.parametrize("retry_safe", [False, True])
@pytest.mark.parametrize("after", [-5, 0, ONCE_RUN_MAX_S - 1, ONCE_RUN_MAX_S, ONCE_KEPT_S - 1])
def test_every_row_of_the_table(after: int, *, retry_safe: bool) -> None:
    """Each age is tested, on routes of both kinds."""
    ours = replace(RUNNING, mark=MARK)
    assert verdict(ours, after=after, retry_safe=retry_safe) == Claimed()
    for stored in (RUNNING, ANSWERED):
        assert verdict(stored, digest=b"e" * 32, after=after, retry_safe=retry_safe) == Reused()
    assert verdict(ANSWERED, after=after, retry_safe=retry_safe) == Replay(b"encrypted")
    old: Verdict = TakeOver(RUNNING.mark) if retry_safe else OutcomeUnknown()
    assert verdict(RUNNING, after=after, retry_safe=retry_safe) == (InProgress() if after < 20 else old)


def test_an_empty_answer_is_a_stored_answer() -> None:
    """An answer of zero bytes is not a running call."""
    assert verdict(replace(RUNNING, answer=b""), after=100) == Replay(b"")


def test_a_run_ends_before_its_call_counts_as_stopped() -> None:
    """The limit is longer than Lambda's time-out plus the difference of two clocks."""
    assert ONCE_RUN_MAX_S == 20
    assert REQUEST_MAX_S == 15


def test_a_key_is_free_before_its_call_and_after_24_hours() -> None:
    """An answered call and an unanswered call are both tested."""
    assert is_free(None, now=NOW)
    for stored in (RUNNING, ANSWERED):
        assert not is_free(stored, now=stored.expires_at - 1)
        assert is_free(stored, now=stored.expires_at)


def test_a_call_is_named_by_account_method_route_and_key() -> None:
    """The name has the form of all one-time items.

    Each part counts, and two different lists of parts have different names.
    """
    name = once_key(ACCOUNT, "POST", "/orders", "order-7-abcdefgh")
    assert {"pk": {"S": name}} == key_of("O", ACCOUNT, "POST", "/orders", "order-7-abcdefgh")
    others = {
        once_key(SOMEBODY_ELSE, "POST", "/orders", "order-7-abcdefgh"),
        once_key(ACCOUNT, "PUT", "/orders", "order-7-abcdefgh"),
        once_key(ACCOUNT, "POST", "/orders/{id}", "order-7-abcdefgh"),
        once_key(ACCOUNT, "POST", "/orders", "order-7-abcdefgi"),
        once_key(ACCOUNT, "POST/orders", "", "order-7-abcdefgh"),
        once_key(ACCOUNT, "POST", "/order", "sorder-7-abcdefgh"),
    }
    assert len(others | {name}) == 7


OTHER_REQUESTS: Final = [
    replace(MESSAGE, method="PUT"),
    replace(MESSAGE, path="/api/orders/7"),
    replace(MESSAGE, path="/api/%6Frders"),
    replace(MESSAGE, query=()),
    replace(MESSAGE, query=(("a", "b"), ("a", "b"))),
    replace(MESSAGE, query=(("ab", ""),)),
    replace(MESSAGE, query=(("", "ab"),)),
    replace(MESSAGE, body=b"{} "),
    replace(MESSAGE, body=b""),
    replace(MESSAGE, query=(("a", "b{}"),), body=b""),
]


def test_another_request_has_another_digest() -> None:
    """Method, path as sent, query in its order and body are part of the digest."""
    digests = {request_digest(message) for message in [MESSAGE, *OTHER_REQUESTS]}
    assert len(digests) == 1 + len(OTHER_REQUESTS)


def test_a_repetition_has_the_same_digest() -> None:
    """Header fields do not count: a new signature has a new nonce and a new time."""
    again = replace(MESSAGE, fields={"signature": ("sig=:YQ==:",)}, authority="localhost:8000")
    assert request_digest(again) == request_digest(MESSAGE)
    request_digest(replace(MESSAGE, query=(("\ud800", "\udfff"),)))


PARTS = st.lists(st.binary(max_size=3), max_size=4)


@given(PARTS, PARTS)
def test_the_parts_of_a_name_cannot_run_together(one: list[bytes], other: list[bytes]) -> None:
    """Two different lists of parts have different digests."""
    assert (once_rules._digest(*one) == once_rules._digest(*other)) is (one == other)


def test_no_two_short_lists_of_parts_have_the_same_digest() -> None:
    """The lists have up to three parts, each of up to two characters that look like lengths."""
    parts = [b"", b"0", b"1", b":", b"0:", b"1:", b"10"]
    lists = [chosen for length in range(4) for chosen in product(parts, repeat=length)]
    assert len({once_rules._digest(*chosen) for chosen in lists}) == len(lists)
