"""Refresh tokens of Apple: received after a login, and revoked after the identity is removed (TN3194).

Baton trades Apple's authorization code for a refresh token after a login, and after an identity is linked. If the
trade or the revocation fails, the answer of the request does not change.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from chalicelib.baton.effects import Clock, Entropy, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.model import User
from chalicelib.baton.federation.apple import Apple, AppleClient, NotDone
from chalicelib.baton.federation.apple_key import NoKey, stored_key
from chalicelib.baton.federation.id_token import Proved
from chalicelib.baton.federation.model import (
    REVOCATIONS_STUCK_S,
    REVOKED_WITHIN_S,
    REVOKING_MAX_S,
    TOKEN_SHARDS,
    TokenToRevoke,
)
from chalicelib.baton.federation.ports import ProviderTokens
from chalicelib.baton.federation.providers import Provider, Providers
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import NONCE_BYTES, CannotDecrypt, Ring
from chalicelib.baton.lineages.assurance import APPLE_CODE

_KIND = "apple token"


class _Token(Struct, frozen=True, array_like=True):
    """A refresh token, and the audience of the app that it was issued for. Only this app can revoke the token."""

    audience: str
    refresh_token: str


class TradeCode(Struct, frozen=True, kw_only=True):
    """Trade an authorization code for a refresh token, and store this token for its later revocation."""

    entropy: Entropy
    key_ring: KeyRing
    tokens: ProviderTokens
    apple: Apple
    log: Log

    def __call__(
        self, code: str, provider: Provider, proved: Proved, *, index: str, account: AccountId, now: int
    ) -> None:
        """Try to trade the code of a login with Apple. A failure is only logged: the next login has another code."""
        if provider.code != APPLE_CODE or not code:
            return
        try:
            self._keep(code, provider, proved, index=index, account=account, now=now)
        except (NotDone, NoKey, Unavailable) as failed:
            self.log.record("apple_code_not_traded", reason=_reason(failed))

    def _keep(self, code: str, provider: Provider, proved: Proved, *, index: str, account: AccountId, now: int) -> None:
        ring = self.key_ring.current(now=now)
        key = stored_key(self.tokens, ring=ring)
        client = AppleClient(key=key, team_id=provider.team_id, audience=proved.audience)
        refresh_token = self.apple.trade(code, client, sub=proved.sub, now=now)
        encoded = msgspec.msgpack.encode(_Token(proved.audience, refresh_token))
        sealed = ring.encrypt_for(encoded, account=account, nonce=self.entropy(NONCE_BYTES), kind=_KIND)
        if isinstance(self.tokens.keep(index, account, sealed, now=now), Refused):
            raise NotDone("the identity was removed meanwhile")


class RevokeTokens(Struct, frozen=True, kw_only=True):
    """Revoke the refresh tokens of removed identities: right after an account is deleted, or in the hourly job."""

    clock: Clock
    key_ring: KeyRing
    tokens: ProviderTokens
    apple: Apple
    providers: Providers
    log: Log

    def before_deletion(self, user: User) -> Callable[[], None]:
        """Read the refresh token of an account that will be deleted.

        Return a function to call after the deletion: it tries once to revoke the token. Neither this method nor the
        function raises, because the hourly job revokes the tokens that are left.
        """
        linked = user.identities.get(APPLE_CODE)
        try:
            sealed = self.tokens.of(linked.index, user.account) if linked else b""
        except Unavailable:
            sealed = b""
        if not sealed:
            return _nothing
        return lambda: self._once(TokenToRevoke(user.account, sealed, self.clock()))

    def __call__(self) -> None:
        """Revoke the waiting tokens, the oldest first. Raises ``Unavailable``.

        If a revocation fails, the token waits for the next run. After 30 days of waiting, Baton deletes the token
        instead. A run begins no revocation after ``REVOKING_MAX_S``, because Lambda could end the run in the middle.
        """
        now = self.clock()
        waiting = [token for shard in range(TOKEN_SHARDS) for token in self.tokens.waiting(shard)]
        waiting.sort(key=lambda token: token.removed_at)
        left, why = list(waiting), ""
        for token in waiting:
            if self.clock() - now >= REVOKING_MAX_S:
                break
            failed = self._revoked(token, now=now)
            why = failed or why
            if failed and now - token.removed_at <= REVOKED_WITHIN_S:
                continue
            self.tokens.end(token)
            left.remove(token)
            if failed:
                self.log.record("apple_revocation_given_up", account=token.account, reason=failed)
        if left and now - left[0].removed_at > REVOCATIONS_STUCK_S:
            self.log.record("apple_revocations_stuck", reason=why, waiting_tokens=len(left))
        self.log.record(
            "apple_revocations_checked", reason=why, revoked_tokens=len(waiting) - len(left), waiting_tokens=len(left)
        )

    def _once(self, token: TokenToRevoke) -> None:
        failed = self._revoked(token, now=self.clock())
        try:
            if not failed:
                self.tokens.end(token)
        except Unavailable as unavailable:
            failed = _reason(unavailable)
        if failed:
            self.log.record("apple_token_not_revoked", reason=failed)

    def _revoked(self, token: TokenToRevoke, *, now: int) -> str:
        """Revoke a token. Return the reason of a failure or, after a success, an empty text."""
        try:
            ring = self.key_ring.current(now=now)
            client, refresh_token = self._opened(token, ring=ring)
            self.apple.revoke(refresh_token, client, now=now)
        except (NotDone, NoKey, Unavailable) as failed:
            return _reason(failed)
        return ""

    def _opened(self, token: TokenToRevoke, *, ring: Ring) -> tuple[AppleClient, str]:
        provider = next((one for one in self.providers.by_name.values() if one.code == APPLE_CODE), None)
        if provider is None:
            raise NotDone("providers.toml has no provider of kind apple")
        key = stored_key(self.tokens, ring=ring)
        try:
            encoded = ring.decrypt_for(token.sealed, account=token.account, kind=_KIND)
            opened = msgspec.msgpack.decode(encoded, type=_Token)
        except (CannotDecrypt, ValueError):
            raise NotDone("the token cannot be decrypted") from None
        return AppleClient(key=key, team_id=provider.team_id, audience=opened.audience), opened.refresh_token


def _reason(failed: Exception) -> str:
    if isinstance(failed, NoKey):
        return f"the key for Apple: {failed}"
    return failed.reason if isinstance(failed, Unavailable) else str(failed)


def _nothing() -> None:
    """Do nothing. `RevokeTokens.before_deletion` returns this function if it found no token."""
