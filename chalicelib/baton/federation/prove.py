"""Prove who a person is, by an id_token of a provider, for one device key and one attempt."""

from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Refused
from chalicelib.baton.errors import Refusal
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.federation.id_token import IdTokenRefused, Proved, read_head, verify
from chalicelib.baton.federation.model import REFUSED_TOKENS_PER_SOURCE_MAX
from chalicelib.baton.federation.provider_keys import ProviderKeys
from chalicelib.baton.federation.providers import Provider, Providers
from chalicelib.baton.federation.refusals import IdentityNotAllowed, IdentityTokenInvalid
from chalicelib.baton.policy import THROTTLE_WINDOW_S
from chalicelib.baton.routing import source_network


class ProveIdentity(Struct, frozen=True, kw_only=True):
    """Verify an id_token. The rate limit of a network counts only its refused tokens."""

    providers: Providers
    keys: ProviderKeys
    ephemeral: RateLimits
    log: Log
    limits: bool = True

    def provider(self, name: str, *, pointer: str = "/provider") -> Provider:
        """Return the provider with this name. Raises ``Malformed`` with this ``pointer`` if the name is unknown."""
        provider = self.providers.get(name)
        if provider is None:
            raise errors.Malformed(
                "unknown provider", pointer=pointer, detail="`provider` is not a provider of this service."
            )
        return provider

    def __call__(  # noqa: PLR0913 - facts of a request
        self,
        provider: Provider,
        id_token: str,
        *,
        client_id: str,
        nonce: str,
        source: str,
        now: int,
        judge: Callable[[Proved], None] = lambda _: None,
    ) -> Proved:
        """Return the person that the id_token proves.

        ``judge`` is one more check by the caller. Baton calls it with the person of a verified token. If ``judge``
        raises ``IdTokenRefused``, the token is refused.

        Raises:
            IdentityTokenInvalid: a check refused the token.
            IdentityNotAllowed: the token is of a Google Workspace domain that the deployment does not accept.
            TooManyRequests: the token is refused, and the same network sent many refused tokens before.
            Unavailable: Baton has no keys of the provider, or cannot fetch newer keys for an unknown ``kid``.

        """
        try:
            unread = read_head(id_token, provider)
            keys = self.keys(provider, unread.kid, now=now)
            proved = verify(unread, provider, keys, client_id=client_id, nonce=nonce, now=now)
            judge(proved)
        except IdTokenRefused as refused:
            self.log.record("identity_token_refused", provider=provider.name, reason=str(refused))
            self._count(source, now=now)
            raise _refusal(refused) from None
        return proved

    def _count(self, source: str, *, now: int) -> None:
        if not self.limits:
            return
        name = f"identity:{source_network(source)}"
        slot = self.ephemeral.count(name, limit=REFUSED_TOKENS_PER_SOURCE_MAX, window_s=THROTTLE_WINDOW_S, now=now)
        if isinstance(slot, Refused):
            self.log.record("throttled", limit="identity")
            raise errors.TooManyRequests(
                "identity limit is reached", retry_after=THROTTLE_WINDOW_S - now % THROTTLE_WINDOW_S
            )


def _refusal(refused: IdTokenRefused) -> Refusal:
    if refused.reason == "hd":
        return IdentityNotAllowed(str(refused))
    return IdentityTokenInvalid(str(refused), reason=refused.reason)
