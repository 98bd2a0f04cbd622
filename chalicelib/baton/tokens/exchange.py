"""The exchange: replace the token of generation g by the token of g+1, once (docs/baton/exchange.md, E1 to E10).

A mechanism whose token can be used more than once (``refresh``, ``session``) uses the same route. For such a
mechanism, the generation does not change.
"""

from typing import Literal

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done, Entropy, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.lineages.model import EndReason, Lineage, NoBinding, Rights
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import (
    Ahead,
    Exchanged,
    Inactive,
    Retry,
    Reused,
    Superseded,
    active_lineage,
    record_use,
    rights_of,
)
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.proof.refusals import WrongKey
from chalicelib.baton.proof.signature import VerifiedSignature
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import Issue, TokenResponse
from chalicelib.baton.tokens.presented import RequestVerifier, VerifiedToken, attempt_header, attempt_of
from chalicelib.baton.tokens.refusals import InvalidScope, TokenInvalid, TokenReused, UnauthorizedClient
from chalicelib.baton.tokens.reuse import EndReused, ForeignKeys
from chalicelib.baton.tokens.source import source_of
from chalicelib.baton.tokens.token import Kind

_NO_ATTEMPT_SENT = (
    "This token was used before with another attempt, so Baton ended the login. Log in again. To retry an exchange, "
    "send the same `Idempotency-Key` as the first time."
)


class TokenRequest(Struct, frozen=True):
    """The form of ``/oauth/token`` with ``grant_type=refresh_token`` (RFC 6749 section 6)."""

    refresh_token: str
    client_id: str | None = None
    scope: str | None = None

    def __repr__(self) -> str:
        """Mask the token."""
        return f"TokenRequest('**********', client_id={self.client_id!r})"


class Exchange(Struct, frozen=True, kw_only=True):
    """Renew a login: accept a token of kind ``REFRESH`` or ``BOTH``, and issue the next tokens."""

    clock: Clock
    entropy: Entropy
    proof: RequestVerifier
    lineage_store: LineageStore
    end_reused: EndReused
    foreign_keys: ForeignKeys
    log: Log
    issue: Issue
    revoke_on_wrong_key: bool = False

    def __call__(self, message: Message, request: TokenRequest) -> TokenResponse:
        """Return the next tokens.

        If the mechanism exchanges tokens, a retry with the same attempt gets the same tokens. Every verdict of
        `rules.judge` except ``Current`` and ``Retry`` raises an error. A mechanism without exchange uses `_renew`, and
        not ``judge``.
        """
        now = self.clock()
        proved = self.proof.token_of(request.client_id, request.refresh_token, now=now)
        token, client = proved.token, proved.client
        self.log.set_lineage(lineage=token.lineage)
        if not client.mechanism.renewable:
            raise UnauthorizedClient("the mechanism of the client has no renewal")
        if token.kind is Kind.ACCESS:
            raise TokenInvalid("a token for calls cannot be exchanged")
        signature = self._signature(message, proved, now=now)
        proved.check_in_service()
        attempt = attempt_of(message, signature, self.entropy)
        if request.scope is not None and not set(request.scope.split()) <= client.scope:
            raise InvalidScope
        if client.mechanism.single_use:
            try:
                return self._exchange(message, proved, attempt, now=now)
            except TokenReused as reused:
                if attempt_header(message) is not None:
                    raise
                raise TokenReused(reused.reason, detail=_NO_ATTEMPT_SENT, reason=EndReason.REUSE.value) from None
        return self._renew(proved, now=now)

    def _signature(self, message: Message, proved: VerifiedToken, *, now: int) -> VerifiedSignature | None:
        """Verify the signature of an exchange.

        A wrong key (E2) is refused before a reuse (E8) is detected. So a thief who has a used token, but not the key,
        cannot log the owner out. With ``revoke_on_wrong_key``, the wrong key itself ends the login.
        """
        try:
            return self.proof.signature(message, proved, now=now)
        except WrongKey:
            # Baton does not have the key that signed, so it cannot verify the signature. All other checks have passed.
            self.foreign_keys.report(proved.token.account, proved.token.lineage, client=proved.client.id, now=now)
            if self.revoke_on_wrong_key:
                ended = self.end_reused(
                    proved,
                    message,
                    source=source_of(message, proved.client),
                    attempt="",
                    lineage=None,
                    key="another",
                    now=now,
                )
                raise self._reused(proved, ended, now=now) from None
            raise

    def _exchange(self, message: Message, proved: VerifiedToken, attempt: str, *, now: int) -> TokenResponse:
        verdict = self.lineage_store.exchange(
            proved.presented(attempt), now=now, not_before=proved.ring.not_before, idle_s=proved.client.mechanism.idle_s
        )
        match verdict:
            case Exchanged(lineage, rights):
                self.log.record("exchanged", lineage=lineage.id, generation=lineage.generation)
                return self._child(proved, lineage, rights, now=now)
            case Retry(lineage, rights):
                self.log.record("exchange_retried", lineage=lineage.id, generation=lineage.generation)
                return self._child(proved, lineage, rights, now=now)
            case Superseded():
                self.log.record("exchange_superseded", lineage=proved.token.lineage)
                raise errors.Superseded
            case Reused(lineage):
                key: Literal["own", "none"] = "none" if isinstance(lineage.binding, NoBinding) else "own"
                ended = self.end_reused(
                    proved,
                    message,
                    source=source_of(message, proved.client),
                    attempt=attempt,
                    lineage=lineage,
                    key=key,
                    now=now,
                )
                raise self._reused(proved, ended, now=now)
            case Ahead():
                self.log.record("generation_ahead", lineage=proved.token.lineage)
                raise errors.LoginRequired(
                    "a generation newer than the stored one: the table was rolled back, or a key leaked"
                )
            case Inactive(reason):
                raise errors.LoginRequired(reason=reason.value if reason else None)

    def _reused(self, proved: VerifiedToken, ended: Done | Refused, *, now: int) -> errors.Refusal:
        """Return the error of a reuse, or ``LoginRequired`` if the login had already ended.

        ``ended`` is the result of the write that ends the login.
        """
        if isinstance(ended, Refused):
            return errors.LoginRequired("ended already", reason=self._why(proved, now=now))
        return TokenReused(reason=EndReason.REUSE.value)

    def _why(self, proved: VerifiedToken, *, now: int) -> str | None:
        """Return why another request ended the lineage, or ``None`` if no reason is stored."""
        account_state = self.lineage_store.get(proved.token.account)
        idle_s = proved.client.mechanism.idle_s
        state = active_lineage(
            account_state, proved.presented(), now=now, not_before=proved.ring.not_before, idle_s=idle_s
        )
        return state.reason.value if isinstance(state, Inactive) and state.reason else None

    def _renew(self, proved: VerifiedToken, *, now: int) -> TokenResponse:
        """Renew without an exchange: the generation stays. Store the use if `rules.record_use` requires it."""
        mechanism, presented = proved.client.mechanism, proved.presented()
        not_before = proved.ring.not_before
        for _ in range(START_OVER_MAX):
            account_state = self.lineage_store.get(presented.account)
            lineage = active_lineage(account_state, presented, now=now, not_before=not_before, idle_s=mechanism.idle_s)
            if isinstance(lineage, Inactive):
                raise errors.LoginRequired(reason=lineage.reason.value if lineage.reason else None)
            assert account_state is not None
            used = record_use(lineage, now=now, mechanism=mechanism, renewed=True)
            if used is None or isinstance(
                self.lineage_store.record_use(
                    used, account=presented.account, expected=lineage, now=now, not_before=not_before
                ),
                Done,
            ):
                self.log.record("renewed", lineage=lineage.id)
                # The iat must not be before the begin of the login, because E4 refuses such a token.
                issued_at = max(now, lineage.auth_time, (used.in_use_since or 0) if used else 0)
                return self._child(proved, used or lineage, rights_of(account_state), now=now, issued_at=issued_at)
        raise errors.Unavailable("the account state kept changing during an exchange", by_caller=True)

    def _child(
        self, proved: VerifiedToken, lineage: Lineage, rights: Rights, *, now: int, issued_at: int | None = None
    ) -> TokenResponse:
        return self.issue(
            lineage,
            account=proved.token.account,
            client=proved.client,
            key=proved.token.key,
            ring=proved.ring,
            now=now,
            rights=rights,
            issued_at=issued_at,
        )
