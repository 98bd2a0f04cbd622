"""The keys of providers: fetched when a token needs them, and encrypted in a table of all Lambda environments.

Keys are used for ten minutes before they are fetched again. The table, ``ephemeral``, is weakly protected. An attacker
who could add a false key to a key set could log in as any person of the provider. So a key set is encrypted with
a key of the ring (AES-GCM), and an altered set is treated as missing. The whole deployment fetches the keys of a
provider at most once a minute, even if many tokens have unknown key ids.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec
from msgspec import Struct

from chalicelib.baton.effects import Done, Entropy
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.events.ports import Log
from chalicelib.baton.federation.key_set import KEY_SET_BYTES_MAX, KeySet, read_key_set
from chalicelib.baton.federation.model import FETCH_EVERY_S, FETCH_WITHIN_S, KEYS_FRESH_S, KEYS_KEPT_S
from chalicelib.baton.federation.ports import Identities
from chalicelib.baton.federation.providers import Provider
from chalicelib.baton.keys.once_answers import decrypt_answer, encrypt_answer
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import NONCE_BYTES, CannotDecrypt


class FetchKeys(Protocol):
    """Fetch the document with the keys of a provider over HTTPS."""

    def __call__(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> object:
        """Return the bytes of the document, or an object of another type if there is no answer."""


class _Held(Struct, frozen=True):
    """A key set, and when it was fetched, in seconds."""

    fetched_at: int
    keys: KeySet

    def is_younger(self, seconds: int, *, now: int) -> bool:
        """Check that the key set is less than ``seconds`` old.

        A time of fetch up to a minute after ``now`` is accepted, because another environment's clock may be ahead.
        """
        return -FETCH_EVERY_S <= now - self.fetched_at < seconds


class _Sealed(Struct, frozen=True, array_like=True):
    fetched_at: int
    encoded: bytes


class ProviderKeys(Struct, kw_only=True):
    """Find the keys that verify a token. Each Lambda environment has one such object."""

    fetch: FetchKeys
    key_ring: KeyRing
    entropy: Entropy
    store: Identities
    log: Log
    _held: dict[int, _Held] = msgspec.field(default_factory=dict)

    def __call__(self, provider: Provider, kid: str, *, now: int) -> KeySet:
        """Return the keys of a provider.

        The returned keys lack the id ``kid`` only if Baton fetched them less than a minute ago.

        Raises ``Unavailable`` in two cases:

        - Baton has no keys of the last 24 hours.
        - No key has the id ``kid``, and Baton cannot fetch newer keys.
        """
        held = self._held.get(provider.code)
        if held is not None and held.is_younger(KEYS_FRESH_S, now=now) and held.keys.has(kid):
            return held.keys
        shared = self.store.key_set(provider.code)
        held = self._newest(held, self._unsealed(provider, shared.sealed, now=now), now=now)
        if held is None or not held.is_younger(KEYS_FRESH_S, now=now) or not held.keys.has(kid):
            asked = 0 <= now - shared.asked_at < FETCH_EVERY_S
            if not asked and isinstance(self.store.claim_fetch(provider.code, now=now), Done):
                held = self._newest(held, self._fetched(provider, now=now), now=now)
        if held is None:
            raise Unavailable(f"provider {provider.name}: no keys of the last 24 hours")
        self._held[provider.code] = held
        if not held.keys.has(kid) and now - held.fetched_at >= FETCH_EVERY_S:
            raise Unavailable(f"provider {provider.name}: an unknown kid, and no new keys", by_caller=True)
        return held.keys

    def _newest(self, *held: _Held | None, now: int) -> _Held | None:
        """Return the newest key set of the last 24 hours. Of two equally old sets, return the second."""
        kept = [one for one in held if one is not None and one.is_younger(KEYS_KEPT_S, now=now)]
        return max(reversed(kept), key=lambda one: one.fetched_at, default=None)

    def _fetched(self, provider: Provider, *, now: int) -> _Held | None:
        """Fetch the keys, and store them for all environments. ``None``: the provider sent no key set in time."""
        answer = self.fetch(
            provider.jwks_uri,
            headers={"Accept": "application/json"},
            within_s=FETCH_WITHIN_S,
            bytes_max=KEY_SET_BYTES_MAX,
        )
        try:
            if not isinstance(answer, bytes):
                raise ValueError("no answer")  # noqa: TRY004 - the same outcome
            held = _Held(now, read_key_set(answer))
        except ValueError as error:
            self.log.record("provider_unreachable", provider=provider.name, reason=str(error))
            return None
        ring = self.key_ring.current(now=now)
        encoded = msgspec.msgpack.encode(_Sealed(now, answer))
        sealed = encrypt_answer(encoded, item=_item(provider), ring=ring, now=now, nonce=self.entropy(NONCE_BYTES))
        self.store.keep_key_set(provider.code, sealed, now=now)
        return held

    def _unsealed(self, provider: Provider, sealed: bytes, *, now: int) -> _Held | None:
        """Decrypt the stored key set.

        Return ``None`` if the set is missing, altered or bound to an earlier ``jwks_uri``. Also return ``None`` if the
        key ring does not have the root secret with which the set was encrypted.
        """
        if not sealed:
            return None
        try:
            encoded = decrypt_answer(sealed, item=_item(provider), ring=self.key_ring.current(now=now))
            opened = msgspec.msgpack.decode(encoded, type=_Sealed)
            return _Held(opened.fetched_at, read_key_set(opened.encoded))
        except (CannotDecrypt, ValueError, msgspec.MsgspecError) as error:
            self.log.record("provider_keys_unreadable", provider=provider.name, reason=type(error).__name__)
            return None


def _item(provider: Provider) -> str:
    """Return the name to which an encrypted key set is bound. After a change of ``jwks_uri``, the set is unreadable."""
    return f"P#{provider.code} {provider.jwks_uri}"
