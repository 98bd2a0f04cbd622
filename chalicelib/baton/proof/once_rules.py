"""Exactly-once calls: the verdict on a repeated call, from the call that is stored. No I/O.

A phone sends a payment and loses the answer. It cannot know whether this first request took effect. The phone therefore
creates a key for each operation, stores the key, and sends it as ``Idempotency-Key`` with every request.

1. The first request *claims* the key: it stores a running call. Then the view runs, and its answer is stored.
2. A call is identified by account, method, route template and key, never by the device. If another phone of the person
   sends the key, it gets the stored answer too.
3. The *mark* is 16 random bytes that Baton makes for one request. Every later write for this request has the condition
   that the stored mark is still this mark. So if another request takes the call over, a late write changes nothing.
4. Lambda stops a run within ``ONCE_RUN_MAX_S``. So a running call that is older will never have an answer.
5. Baton cannot find out whether a stopped run took effect. So the author of the view sets ``retry_safe`` if a second
   run does no harm. Without ``retry_safe``, such a call does not run again before it expires.

| the next request finds | verdict | answer |
|---|---|---|
| no call, an expired call, or its own mark | ``Claimed`` | the view runs |
| a call with another path, query or body | ``Reused`` | 422 ``idempotency_key_reused`` |
| a stored answer | ``Replay`` | the same answer |
| a running call younger than ``ONCE_RUN_MAX_S`` | ``InProgress`` | 409 ``in_progress`` |
| an older running call, ``retry_safe`` | ``TakeOver`` | the view runs again, for one request |
| an older running call, not ``retry_safe`` | ``OutcomeUnknown`` | 409 ``outcome_unknown`` |

Example: a phone sends an order and loses the answer. It repeats the request 3 seconds later with the same key and body,
and a new signature. The answer is stored by then, so Baton returns it, and no second order is created.

The store is in ``storage/dynamodb/once.py``, the flow in ``http/once.py``.
Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import hashlib
from typing import NewType

from msgspec import Struct

from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.policy import ONCE_RUN_MAX_S
from chalicelib.baton.routing import Message

OnceKey = NewType("OnceKey", str)
"""The name of a call: ``O#`` and a SHA-256 in base64url. It is the key of the stored item."""

MARK_BYTES = 16


class OnceCall(Struct, frozen=True):
    """A call as it is stored.

    - ``digest``: the result of `request_digest` for the request that claimed the call.
    - ``started``, ``expires_at``: in seconds since the epoch.
    - ``mark``: the mark of the last request that claimed the call or took it over.
    - ``answer``: the encrypted answer, or ``None`` while the call is running.
    """

    digest: bytes
    started: int
    mark: bytes
    expires_at: int
    answer: bytes | None = None


class Claimed(Struct, frozen=True):
    """The call belongs to this request: run the view."""


class Replay(Struct, frozen=True):
    """The call has ended: decrypt and return its answer."""

    answer: bytes


class Reused(Struct, frozen=True):
    """The ``Idempotency-Key`` belongs to a call with another path, query or body. Never return the stored answer."""


class InProgress(Struct, frozen=True):
    """Another request of this call may still be running."""


class TakeOver(Struct, frozen=True):
    """The run with this mark has stopped, and the call may run again."""

    mark: bytes


class OutcomeUnknown(Struct, frozen=True):
    """A run has stopped without an answer, and the call must not run again."""


Verdict = Claimed | Replay | Reused | InProgress | TakeOver | OutcomeUnknown


def once_key(account: AccountId, method: str, route: str, key: str) -> OnceKey:
    """Return the key under which a call is stored.

    ``route`` is the template, such as ``/orders/{order_id}``. ``key`` is the value of ``Idempotency-Key``.
    """
    parts = [part.encode() for part in (account, method, route, key)]
    return OnceKey(f"O#{encode_base64url(_digest(*parts))}")


def request_digest(message: Message) -> bytes:
    """Hash the parts that every request of a call must have in common: method, path as sent, query and body."""
    query = [part.encode("utf-8", "surrogatepass") for pair in message.query for part in pair]
    return _digest(message.method.encode(), message.path.encode(), *query, message.body)


def is_free(stored: OnceCall | None, *, now: int) -> bool:
    """Decide whether a call may be claimed: no call is stored, or the stored call has expired."""
    return stored is None or stored.expires_at <= now


def judge(stored: OnceCall, *, digest: bytes, mark: bytes, now: int, retry_safe: bool) -> Verdict:
    """Return the verdict for the request with this ``mark``.

    Only a request that claimed the call, or took it over from an earlier request, runs the view. The caller tries to
    claim the call, or to take it over, before it calls this function. If the try succeeded, ``stored`` has this
    ``mark``.

    ``stored``: the call as it is stored after the try.
    """
    if stored.mark == mark:
        return Claimed()
    if stored.digest != digest:
        return Reused()
    if stored.answer is not None:
        return Replay(stored.answer)
    if now - stored.started < ONCE_RUN_MAX_S:
        return InProgress()
    return TakeOver(stored.mark) if retry_safe else OutcomeUnknown()


def _digest(*parts: bytes) -> bytes:
    """Hash parts, each after its length: two different lists of parts never give the same bytes."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()
