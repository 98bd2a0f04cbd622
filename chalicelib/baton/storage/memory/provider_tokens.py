"""Refresh tokens of identities, tokens that wait for their revocation, and the private key for Apple, in memory."""

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.federation.model import TokenToRevoke
from chalicelib.baton.ids import AccountId
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemoryProviderTokens:
    """`federation.ports.ProviderTokens` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def keep(self, index: str, account: AccountId, sealed: bytes, *, now: int) -> Done | Refused:
        """Store the token of an identity. ``Refused``: this account does not have the identity."""
        with self._tables.lock:
            if not self._is_of(index, account):
                return Refused()
            self._tables.refresh_tokens[index] = (sealed, now)
            return Done()

    def of(self, index: str, account: AccountId) -> bytes:
        """Return the token of an identity of this account, or empty bytes."""
        with self._tables.lock:
            return self._tables.refresh_tokens.get(index, (b"", 0))[0] if self._is_of(index, account) else b""

    def drop(self, index: str, account: AccountId, *, until: int) -> None:
        """Delete the token of an identity of this account, if it was stored at ``until`` or earlier."""
        with self._tables.lock:
            if self._is_of(index, account) and self._tables.refresh_tokens.get(index, (b"", until + 1))[1] <= until:
                del self._tables.refresh_tokens[index]

    def waiting(self, shard: int) -> tuple[TokenToRevoke, ...]:
        """Return the tokens of a shard that wait for their revocation, in the order in which they began to wait."""
        with self._tables.lock:
            tokens = [token for token in self._tables.to_revoke.values() if token.shard == shard]
        return tuple(sorted(tokens, key=lambda token: (token.removed_at, token.id)))

    def end(self, token: TokenToRevoke) -> None:
        """Delete a token from the tokens that wait for their revocation. A missing token is no error."""
        with self._tables.lock:
            self._tables.to_revoke.pop(token.id, None)

    def apple_key(self) -> bytes:
        """Return the sealed (encrypted) private key for Apple, or empty bytes."""
        with self._tables.lock:
            return self._tables.apple_key

    def replace_apple_key(self, sealed: bytes) -> None:
        """Store the sealed private key for Apple, in place of an earlier key."""
        with self._tables.lock:
            self._tables.apple_key = sealed

    def _is_of(self, index: str, account: AccountId) -> bool:
        stored = self._tables.identities.get(index)
        return stored is not None and stored.account == account
