"""Run a view exactly once for an ``Idempotency-Key``, and return its stored answer to each later request with the key.

The rules and their table are in ``proof/once_rules.py``. This module does not use Chalice: ``RunOnce.run`` takes a
function that runs the view, and returns a ``RenderedAnswer``.

A signed route with ``once=True`` calls ``RunOnce.run`` in place of consuming the nonce. The order of the checks:

1. Read the request. Verify token, signature, digest and time. Convert query and body. ``proof/signature.py`` refuses a
   signature that does not cover ``Idempotency-Key``, so this module does not check the coverage.
2. Read the account state. Check scope, role and ``acr``. If the route has ``step_up=``, a request without
   ``Baton-Grant`` is refused here (401 ``step_up_required``), even if it repeats an earlier request.
3. ``RunOnce.run``: claim the key. If an answer is stored, return it here, and do not consume the grant.
4. Within ``view``: consume the grant, then run the view of the route. A refused grant releases the key.

``http/signed.py`` implements this order. If a route has no ``once`` and takes no attempt, a state-changing request with
the key is refused in step 1, after the signature is verified.
"""

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.once_answers import decrypt_answer, encrypt_answer
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import NONCE_BYTES, CannotDecrypt
from chalicelib.baton.policy import ONCE_ANSWER_BYTES_MAX, ONCE_RETRY_AFTER_S
from chalicelib.baton.proof.once_rules import (
    MARK_BYTES,
    Claimed,
    InProgress,
    OnceCall,
    OnceKey,
    OutcomeUnknown,
    Replay,
    Reused,
    TakeOver,
    Verdict,
    judge,
    once_key,
    request_digest,
)
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.proof.refusals import (
    CallInProgress,
    CallOutcomeUnknown,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
)
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.presented import attempt_header
from chalicelib.baton.tokens.refusals import InsufficientUserAuthentication

REPLAYED: Final = "Baton-Replayed"
"""The header field of a replayed answer. Its value is ``1``."""

NOTHING_DONE: Final = (errors.TryAgain, InsufficientUserAuthentication)
"""The refusals that release the ``Idempotency-Key``, because they mean that the view changed nothing."""

FINAL_ACTIONS: Final[frozenset[errors.Action]] = frozenset({"fix_request", "check_outcome"})
"""The actions of the refusals that are stored. A stored ``retry`` would make a client repeat its request for 24 hours.

A stored ``log_in`` would make the app log in again at each repetition.
"""


class RenderedAnswer(Struct, frozen=True, array_like=True):
    """An answer as it is sent. ``cookies`` are values of ``Set-Cookie``.

    ``headers`` lacks the header fields that Baton adds to every answer after ``RunOnce.run``, such as ``Baton-Time``.
    These fields are not stored: a replayed answer gets new values.
    """

    status: int
    headers: dict[str, str] = {}
    cookies: tuple[str, ...] = ()
    body: bytes = b""


class _Sending(Struct, frozen=True):
    """One request of a call. Each repetition of the call is another request."""

    key: OnceKey
    digest: bytes
    mark: bytes
    now: int


class RunOnce(Struct, frozen=True, kw_only=True):
    """Run the views of routes with ``once=True``. One object serves all requests."""

    store: OnceStore
    key_ring: KeyRing
    clock: Clock
    entropy: Entropy
    log: Log

    def run(
        self,
        account: AccountId,
        message: Message,
        view: Callable[[], RenderedAnswer],
        *,
        route: str,
        render: Callable[[errors.Refusal], RenderedAnswer],
        retry_safe: bool = False,
    ) -> RenderedAnswer:
        """Claim the key of this request, run ``view`` and store its answer. If an answer is stored, return it instead.

        The result of ``view`` decides the answer to the next request with this key:

        - An answer of at most 64 KB: the same answer, for 24 hours.
        - A refusal in ``NOTHING_DONE``: ``view`` runs again.
        - Another refusal of 400 to 499 with an action in ``FINAL_ACTIONS``: the same refusal, for 24 hours.
        - A larger answer, an answer that could not be stored, any other exception, or no result because Lambda stopped
          the run: ``CallInProgress`` until ``ONCE_RUN_MAX_S`` after the start of the run. After that:
          ``CallOutcomeUnknown`` or, if ``retry_safe`` is true, ``view`` runs again.

        The code that calls ``run`` must render a raised refusal with the same ``render``. Then the bodies of this
        refusal and of its replays are equal, byte for byte.

        The arguments:

        - ``account``: the account of the caller. The login of the caller must be live.
        - ``message``: the verified request.
        - ``view``: consumes the grant, runs the view of the route and renders its answer.
        - ``route``: the path template of the route.
        - ``render``: renders a refusal for this request.
        - ``retry_safe``: a second run does no harm.

        Raises the exceptions of ``view``. If ``view`` does not run, raises:

        - ``IdempotencyKeyRequired``, ``Malformed``: the ``Idempotency-Key`` is missing or malformed.
        - ``IdempotencyKeyReused``: an earlier request with this key had another path, query or body.
        - ``CallInProgress``: an earlier request of this call may still be running.
        - ``CallOutcomeUnknown``: an earlier run left no answer, and ``retry_safe`` is false.
        - ``Unavailable``: the claim failed, or the stored answer does not decrypt.
        """
        key = once_key(account, message.method, route, required_key(message))
        sending = _Sending(key, request_digest(message), self.entropy(MARK_BYTES), self.clock())
        match self._claim(sending, retry_safe=retry_safe):
            case Claimed():
                return self._run(sending, view, render)
            case Replay(answer):
                return self._replayed(sending, answer)
            case Reused():
                raise IdempotencyKeyReused
            case InProgress() | TakeOver():
                raise CallInProgress(retry_after=ONCE_RETRY_AFTER_S)
            case OutcomeUnknown():
                raise CallOutcomeUnknown

    def _claim(self, sending: _Sending, *, retry_safe: bool) -> Verdict:
        try:
            stored = self.store.claim(sending.key, digest=sending.digest, mark=sending.mark, now=sending.now)
            verdict = _judged(stored, sending, retry_safe=retry_safe)
            if isinstance(verdict, TakeOver):
                taken = self.store.take_over(sending.key, old_mark=verdict.mark, mark=sending.mark, now=sending.now)
                # `None`: another request released the call. The next request with this key claims it.
                verdict = InProgress() if taken is None else _judged(taken, sending, retry_safe=retry_safe)
        except errors.Unavailable:
            # The claim may be stored, and no view has run. Without this release the key would be unusable for a day.
            self._release(sending)
            raise
        return verdict

    def _run(
        self,
        sending: _Sending,
        view: Callable[[], RenderedAnswer],
        render: Callable[[errors.Refusal], RenderedAnswer],
    ) -> RenderedAnswer:
        try:
            answer = view()
        except NOTHING_DONE:
            self._release(sending)
            raise
        except errors.Refusal as refusal:
            if _is_final(refusal):
                self._store(sending, render(refusal))
            raise
        self._store(sending, answer)
        return answer

    def _store(self, sending: _Sending, answer: RenderedAnswer) -> None:
        """Store an answer. A failure is logged and not raised: the view has run, and its answer must be sent."""
        try:
            encrypted = encrypt_answer(
                msgspec.msgpack.encode(answer),
                item=sending.key,
                ring=self.key_ring.current(now=sending.now),
                now=sending.now,
                nonce=self.entropy(NONCE_BYTES),
            )
            if len(encrypted) > ONCE_ANSWER_BYTES_MAX:
                self.log.record("answer_not_stored", reason="over 64 KB")
                return
            stored = self.store.store(sending.key, mark=sending.mark, answer=encrypted, now=sending.now)
        except errors.Unavailable as unavailable:
            self.log.record("answer_not_stored", reason=unavailable.reason)
            return
        if not isinstance(stored, Done):
            self.log.record("answer_not_stored", reason="taken over by another request")

    def _release(self, sending: _Sending) -> None:
        """Release the key. If this fails, the next request finds a running call."""
        with contextlib.suppress(errors.Unavailable):
            self.store.release(sending.key, mark=sending.mark)

    def _replayed(self, sending: _Sending, encrypted: bytes) -> RenderedAnswer:
        answer = self._decrypted(sending, encrypted)
        self.log.record("call_replayed")
        return replace(answer, headers={**answer.headers, REPLAYED: "1"})

    def _decrypted(self, sending: _Sending, encrypted: bytes) -> RenderedAnswer:
        """Decrypt a stored answer with the cached key ring. If this fails, read the key ring again, and use it."""
        for ring in (self.key_ring.current, self.key_ring.refreshed):
            with contextlib.suppress(CannotDecrypt, msgspec.DecodeError):
                answer = decrypt_answer(encrypted, item=sending.key, ring=ring(now=sending.now))
                return msgspec.msgpack.decode(answer, type=RenderedAnswer)
        raise errors.Unavailable("a stored answer does not decrypt")


def required_key(message: Message) -> str:
    """Read the ``Idempotency-Key`` that a route with ``once=True`` requires.

    Raises ``IdempotencyKeyRequired`` if it is missing, ``Malformed`` if it does not have 16 to 128 allowed characters.
    """
    key = attempt_header(message)
    if key is None:
        raise IdempotencyKeyRequired
    return key


def _judged(stored: OnceCall, sending: _Sending, *, retry_safe: bool) -> Verdict:
    return judge(stored, digest=sending.digest, mark=sending.mark, now=sending.now, retry_safe=retry_safe)


def _is_final(refusal: errors.Refusal) -> bool:
    """Decide whether a refusal is final: an error of the client that no repetition corrects."""
    return 400 <= refusal.status < 500 and refusal.action in FINAL_ACTIONS  # noqa: PLR2004 - client errors
