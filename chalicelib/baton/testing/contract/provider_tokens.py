"""What the store ``provider_tokens`` must do (``federation/ports.py``), also when an identity is removed."""

import contextlib
from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.model import TOKEN_SHARDS, Identity, TokenToRevoke
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Ended, EndReason, Status
from chalicelib.baton.testing.contract.addresses import BACK
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    EPOCH,
    MARK,
    MINE_LIVE,
    NEW_PASSWORD_HASH,
    NOW,
    OTHER,
    SOMEBODY_ELSE,
    USER,
    state_with,
)

APPLE: Final = Identity("1#ada-at-apple", ACCOUNT, linked_at=NOW, sealed_sub=b"sealed subject")
AT_APPLE: Final = replace(USER, identities={1: LinkedIdentity(APPLE.index, NOW)})
SEALED: Final = b"a sealed refresh token"
LATER: Final = NOW + 60
WAITING: Final = TokenToRevoke(ACCOUNT, SEALED, LATER)


class ProviderTokensContract(Contract):
    """The tests of the store ``provider_tokens``: `federation.ports.ProviderTokens`."""

    def signed_up(self, storage: StorageUnderTest) -> None:
        """Make an account with an identity at Apple, and store a refresh token of this identity."""
        assert storage.identities.sign_up(AT_APPLE, state_with(MINE_LIVE), APPLE) == Done()
        assert storage.provider_tokens.keep(APPLE.index, ACCOUNT, SEALED, now=NOW) == Done()

    def waiting(self, storage: StorageUnderTest) -> list[TokenToRevoke]:
        """Return every token that waits for its revocation."""
        return [token for shard in range(TOKEN_SHARDS) for token in storage.provider_tokens.waiting(shard)]

    def test_an_identity_keeps_its_newest_token(self, storage: StorageUnderTest) -> None:
        """A newer token replaces the earlier token. The identity itself does not change."""
        self.signed_up(storage)
        assert storage.provider_tokens.of(APPLE.index, ACCOUNT) == SEALED
        for _ in range(2):
            assert storage.provider_tokens.keep(APPLE.index, ACCOUNT, b"newer", now=LATER) == Done()
        assert storage.provider_tokens.of(APPLE.index, ACCOUNT) == b"newer"
        assert storage.identities.get(APPLE.index) == APPLE
        assert self.waiting(storage) == []

    def test_only_the_own_identity_keeps_a_token(self, storage: StorageUnderTest) -> None:
        """An identity of another account gets no token, and an unknown identity is not created."""
        assert storage.provider_tokens.keep(APPLE.index, ACCOUNT, SEALED, now=NOW) == Refused()
        assert storage.identities.get(APPLE.index) is None
        self.signed_up(storage)
        assert storage.provider_tokens.keep(APPLE.index, SOMEBODY_ELSE, b"other", now=NOW) == Refused()
        assert storage.provider_tokens.of(APPLE.index, SOMEBODY_ELSE) == b""
        assert storage.provider_tokens.of(APPLE.index, ACCOUNT) == SEALED

    def test_a_token_is_dropped_unless_it_is_newer(self, storage: StorageUnderTest) -> None:
        """``drop`` deletes a token only if it belongs to this account, and was stored at ``until`` or earlier.

        The dropped token does not wait for a revocation: the provider has already revoked it.
        """
        self.signed_up(storage)
        drop = storage.provider_tokens.drop
        drop(APPLE.index, ACCOUNT, until=NOW - 1)
        drop(APPLE.index, SOMEBODY_ELSE, until=LATER)
        assert storage.provider_tokens.of(APPLE.index, ACCOUNT) == SEALED
        for _ in range(2):
            drop(APPLE.index, ACCOUNT, until=NOW)
        assert storage.provider_tokens.of(APPLE.index, ACCOUNT) == b""
        assert storage.identities.get(APPLE.index) == APPLE
        assert self.waiting(storage) == []

    def test_the_token_of_a_deleted_account_waits(self, storage: StorageUnderTest) -> None:
        """The token waits for its revocation. The identity becomes free. A repetition changes nothing."""
        self.signed_up(storage)
        for _ in range(2):
            storage.accounts.forget(ACCOUNT, USER.email_index, now=LATER)
        assert storage.identities.get(APPLE.index) is None
        assert self.waiting(storage) == [WAITING]
        assert storage.provider_tokens.waiting(WAITING.shard) == (WAITING,)

    def test_the_token_of_a_forgotten_identity_waits(self, storage: StorageUnderTest) -> None:
        """If ``forget`` deletes the identity, its token waits for revocation. It does nothing for another account."""
        self.signed_up(storage)
        storage.identities.forget(APPLE.index, SOMEBODY_ELSE, now=LATER)
        assert (storage.identities.get(APPLE.index), self.waiting(storage)) == (APPLE, [])
        for _ in range(2):
            storage.identities.forget(APPLE.index, ACCOUNT, now=LATER)
        assert self.waiting(storage) == [WAITING]

    def test_the_token_of_a_claimed_account_waits(self, storage: StorageUnderTest) -> None:
        """A reset that claims the account removes its identities. Their provider tokens wait for revocation."""
        self.signed_up(storage)
        done = storage.accounts.reset_password(AT_APPLE, NEW_PASSWORD_HASH, mark=MARK, claim=True, now=LATER)
        assert done == Done()
        assert self.waiting(storage) == [WAITING]

    def test_the_token_of_an_undone_link_waits(self, storage: StorageUnderTest) -> None:
        """The undo removes the identity that a thief linked. The token of this identity waits for its revocation."""
        self.signed_up(storage)
        assert (
            storage.accounts.undo_changes(AT_APPLE, replace(BACK, address=None, freed=(), identities={}), now=LATER)
            == Done()
        )
        assert self.waiting(storage) == [WAITING]

    def test_the_token_of_an_unproved_account_waits(self, storage: StorageUnderTest) -> None:
        """The owner of the address deletes the account. The token of its identity waits for its revocation."""
        self.signed_up(storage)
        assert storage.accounts.delete_unproved(AT_APPLE, mark=OTHER, now=LATER) == Done()
        assert self.waiting(storage) == [WAITING]

    def test_an_identity_without_a_token_leaves_none(self, storage: StorageUnderTest) -> None:
        """After the deletion of the account, no token waits for its revocation."""
        assert storage.identities.sign_up(AT_APPLE, state_with(MINE_LIVE), APPLE) == Done()
        storage.accounts.forget(ACCOUNT, USER.email_index, now=LATER)
        assert storage.identities.get(APPLE.index) is None
        assert self.waiting(storage) == []

    def test_a_token_that_waited_is_ended_once(self, storage: StorageUnderTest) -> None:
        """``end`` deletes one waiting token. ``waiting`` returns the other tokens of its shard, the oldest first."""
        tokens = [TokenToRevoke(AccountId(f"{n:016d}"), b"token %d" % n, NOW - n) for n in range(200)]
        same = [token for token in tokens if token.shard == tokens[0].shard]
        assert len(same) > 2
        for token in same:
            self.let_wait(storage, token)
        assert storage.provider_tokens.waiting(tokens[0].shard) == tuple(reversed(same))
        for _ in range(2):
            storage.provider_tokens.end(same[1])
        left = [token for token in reversed(same) if token != same[1]]
        assert storage.provider_tokens.waiting(tokens[0].shard) == tuple(left)
        storage.provider_tokens.end(replace(WAITING, sealed=b"of an item that does not exist"))

    def let_wait(self, storage: StorageUnderTest, token: TokenToRevoke) -> None:
        """Make an account with this token, and forget its identity. The token then waits for its revocation."""
        index = f"1#{token.id}"
        user = replace(AT_APPLE, account=token.account, email="", email_index="", verified_at=None)
        identity = replace(APPLE, index=index, account=token.account)
        linked = replace(user, identities={1: LinkedIdentity(index, NOW)})
        storage.identities.sign_up(linked, state_with(account=token.account), identity)
        storage.provider_tokens.keep(index, token.account, token.sealed, now=NOW)
        storage.identities.forget(index, token.account, now=token.removed_at)

    @pytest.mark.guarantee(8)
    def test_a_removal_and_a_new_token_at_the_same_time_lose_none(self, storage: StorageUnderTest) -> None:
        """The removal moves the newest stored token to the waiting tokens. Later tokens are refused."""
        self.signed_up(storage)
        sealed = [b"token %d" % number for number in range(RACERS - 1)]

        def keeping(one: bytes) -> Callable[[], object]:
            return lambda: storage.provider_tokens.keep(APPLE.index, ACCOUNT, one, now=NOW)

        def forget() -> object:
            with contextlib.suppress(Unavailable):  # each try found a newer token
                storage.identities.forget(APPLE.index, ACCOUNT, now=LATER)
            return None

        race([forget, *map(keeping, sealed)])
        storage.identities.forget(APPLE.index, ACCOUNT, now=LATER)
        assert storage.identities.get(APPLE.index) is None
        assert len(self.waiting(storage)) == 1

    def test_the_key_for_apple_is_replaced(self, storage: StorageUnderTest) -> None:
        """At first, there is no key. Each call replaces the stored key."""
        assert storage.provider_tokens.apple_key() == b""
        for sealed in (b"first", b"second", b"second"):
            storage.provider_tokens.replace_apple_key(sealed)
            assert storage.provider_tokens.apple_key() == sealed

    def test_a_lost_identity_ends_every_login(self, storage: StorageUnderTest) -> None:
        """The provider has deleted the identity. The account keeps its password. A repetition is ``Done``."""
        self.signed_up(storage)
        for _ in range(2):
            assert storage.identities.lose(AT_APPLE, 1, now=LATER) == Done()
        user, account_state = storage.accounts.get(ACCOUNT), storage.lineages.get(ACCOUNT)
        assert user is not None
        assert account_state is not None
        assert (user.identities, user.credentials_version) == ({}, USER.credentials_version + 1)
        assert (account_state.credentials_version, account_state.epoch) == (USER.credentials_version + 1, EPOCH + 1)
        assert account_state.raised == Ended(LATER, EndReason.IDENTITY_UNLINKED)
        assert storage.identities.get(APPLE.index) is None
        assert self.waiting(storage) == [WAITING]

    @pytest.mark.parametrize("beside", ["nothing", "identity"])
    def test_the_last_way_in_is_not_lost(self, storage: StorageUnderTest, beside: str) -> None:
        """If the account has no password, passkey or other identity, nothing is written."""
        others = {2: LinkedIdentity("2#ada-at-google", NOW)} if beside == "identity" else {}
        user = replace(AT_APPLE, password_hash=None, identities={**AT_APPLE.identities, **others})
        storage.identities.sign_up(user, state_with(MINE_LIVE), APPLE)
        outcome = storage.identities.lose(user, 1, now=LATER)
        assert outcome == (Done() if others else Moved())
        assert (storage.identities.get(APPLE.index) is None) is bool(others)

    @pytest.mark.parametrize("changed", ["version", "index", "status"])
    def test_an_identity_is_lost_as_it_was_read(self, storage: StorageUnderTest, changed: str) -> None:
        """Nothing is written if the credentials, the identity or the status of the account changed since the read."""
        self.signed_up(storage)
        read = AT_APPLE
        if changed == "version":
            read = replace(AT_APPLE, credentials_version=AT_APPLE.credentials_version + 1)
        if changed == "index":
            read = replace(AT_APPLE, identities={1: LinkedIdentity("1#another", NOW)})
        if changed == "status":
            storage.lineages.set_status(ACCOUNT, Status.DISABLED, now=NOW)
        assert storage.identities.lose(read, 1, now=LATER) == Moved()
        assert storage.identities.get(APPLE.index) == APPLE
        assert storage.accounts.get(ACCOUNT) == AT_APPLE
