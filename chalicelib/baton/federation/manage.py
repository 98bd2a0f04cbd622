"""Show, link and unlink the identities of a caller.

An id_token that links an identity is bound to the device key of the caller and to the attempt, like the id_token of a
login.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from chalicelib.baton import errors
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.changes import login_of, told_of
from chalicelib.baton.factors.model import Remember, User
from chalicelib.baton.factors.refusals import LastCredential
from chalicelib.baton.factors.rules import is_new_key, leaves_a_credential, remember
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.apple_tokens import TradeCode
from chalicelib.baton.federation.id_token import Proved, login_nonce
from chalicelib.baton.federation.model import IDENTITIES_MAX, Identity, NewIdentity
from chalicelib.baton.federation.ports import Identities, IdentityTaken
from chalicelib.baton.federation.prove import ProveIdentity
from chalicelib.baton.federation.providers import Provider
from chalicelib.baton.federation.refusals import IdentityOfOthers, TooManyIdentities
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import NONCE_BYTES
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import KeyBinding, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.issue import Seconds


class ShownIdentity(Struct, frozen=True, kw_only=True):
    """An identity at a provider, with which the person can log in."""

    provider: str
    linked_at: Seconds
    email: Annotated[str | UnsetType, Meta(description="The address that the provider verified, if it did.")] = UNSET


class ShownIdentities(Struct, frozen=True):
    """The identities of the account, and whether the account has a password."""

    identities: tuple[ShownIdentity, ...]
    password: bool


class Link(Struct, frozen=True):
    """A linked identity. ``created``: this request linked the identity."""

    shown: ShownIdentity
    created: bool


class ManageIdentities(Struct, frozen=True, kw_only=True):
    """Show, link and unlink the identities of a caller at identity providers."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    clients: Clients
    prove: ProveIdentity
    identities: Identities
    users: Users
    lineage_store: LineageStore
    trade: TradeCode
    record: Record

    def show(self, caller: Caller) -> ShownIdentities:
        """Return the identities of the caller's account, in the order in which they were linked."""
        user = self._user(caller)
        linked = sorted(user.identities.items(), key=lambda one: (one[1].linked_at, one[0]))
        shown = tuple(self._shown(code, one) for code, one in linked)
        return ShownIdentities(shown, user.password_hash is not None)

    def link(self, caller: Caller, *, provider: str, id_token: str, authorization_code: str = "") -> Link:
        """Link the identity of an id_token, unless the account has this identity already. No login ends.

        Also trade Apple's authorization code for a refresh token. A failure of this trade does not change the answer.

        Raises ``IdentityTokenInvalid``, ``IdentityNotAllowed``, ``IdentityOfOthers`` and ``TooManyIdentities``.
        """
        now, row = self.clock(), self.prove.provider(provider)
        nonce = login_nonce(
            provider=row.name, client_id=caller.client_id, keyid=_key_of(caller), attempt=caller.attempt
        )
        proved = self.prove(row, id_token, client_id=caller.client_id, nonce=nonce, source=caller.source, now=now)
        index = self.key_ring.current(now=now).identity_index(row.code, proved.issuer, proved.sub)
        for _ in range(START_OVER_MAX):
            user = self._user(caller)
            mine = user.identities.get(row.code)
            if mine is not None and mine.index == index:
                self.trade(authorization_code, row, proved, index=index, account=caller.account, now=now)
                return Link(self._shown(row.code, mine), created=False)
            if mine is not None or len(user.identities) >= IDENTITIES_MAX:
                raise TooManyIdentities
            new = self._new(caller, user, index, proved, now=now)
            remembered = self._remembered(caller, user, now=now)
            outcome = self.identities.link(caller.actor, user, new, remember=remembered, now=now)
            if isinstance(outcome, Done):
                self._tell_linked(caller, user, row, new, now=now)
                self.trade(authorization_code, row, proved, index=index, account=caller.account, now=now)
                return Link(self._shown(row.code, new.linked), created=True)
            if isinstance(outcome, IdentityTaken):
                self._finish_deletion(outcome.account, index, now=now)
            else:
                refuse_inactive(may_act(self.lineage_store.get(caller.account), caller.actor, now=now))
        raise errors.Unavailable("the account kept changing during a link", by_caller=True)

    def unlink(self, caller: Caller, provider: str) -> None:
        """Unlink the identity of a provider, and end every other login of the account.

        If an app handed the caller's login over, the app's login ends, and so the caller's login ends too.

        Raises ``NotFound`` if the account has no identity of the provider, and ``LastCredential`` if the person could
        not log in any more.
        """
        now, expected = self.clock(), caller.account_state
        for _ in range(START_OVER_MAX):
            user = self._user(caller)
            code = self._code(user, provider)
            if not leaves_a_credential(user, identities=1):
                raise LastCredential
            refuse_inactive(may_act(expected, caller.actor, now=now))
            assert expected is not None
            remembered = self._remembered(caller, user, now=now)
            outcome = self.identities.unlink(caller.actor, user, code, expected=expected, remember=remembered, now=now)
            if isinstance(outcome, Done):
                self.record(
                    "identity_unlinked",
                    account=caller.account,
                    lineage=caller.device_id,
                    details={"provider": self._name(code)},
                    told=told_of(caller, user, since=now),
                )
                return
            expected = self.lineage_store.get(caller.account)
        raise errors.Unavailable("the account kept changing during an unlink", by_caller=True)

    def _new(self, caller: Caller, user: User, index: str, proved: Proved, *, now: int) -> NewIdentity:
        account_state, lineage = login_of(caller)
        by_new_key = is_new_key(account_state, lineage.binding, lineage.id, now=now)
        sealed_sub = self.key_ring.current(now=now).encrypt_for(
            proved.sub.encode(), account=caller.account, nonce=self.entropy(NONCE_BYTES), kind="identity"
        )
        return NewIdentity(
            Identity(index, caller.account, now, sealed_sub),
            LinkedIdentity(index, now, proved.email, by_new_key=by_new_key),
            # An identity proves only its own address. Otherwise a stranger could register the address of another person
            # and prove it with any identity.
            verified=user.verified_at is None and bool(user.email) and proved.email == user.email,
        )

    def _tell_linked(self, caller: Caller, user: User, row: Provider, new: NewIdentity, *, now: int) -> None:
        details = {"provider": row.name}
        told = told_of(caller, user, since=now if new.linked.by_new_key else None)
        self.record("identity_linked", account=caller.account, lineage=caller.device_id, details=details, told=told)
        if new.verified:
            self.record("address_verified", account=caller.account, lineage=caller.device_id, details=details)

    def _finish_deletion(self, account: AccountId, index: str, *, now: int) -> None:
        """Finish an interrupted deletion, so that the identity becomes free.

        Raises ``IdentityOfOthers`` if the account is not deleted.
        """
        account_state = self.lineage_store.get(account)
        if account_state is None or account_state.status is not Status.DELETED:
            raise IdentityOfOthers
        user = self.users.get(account)
        if user is not None:
            self.users.forget(account, user.email_index, now=now)
        self.identities.forget(index, account, now=now)

    def _remembered(self, caller: Caller, user: User, *, now: int) -> Remember | None:
        """Return the ``Remember`` of the caller's device if the step-up proved a second factor, otherwise ``None``.

        The result is also ``None`` if the device cannot be remembered (`remember`). The change of the identities
        forgets all remembered devices, except the device of this ``Remember``.
        """
        stepped_up = caller.stepped_up
        if stepped_up is None or "mfa" not in stepped_up.assurance.amr:
            return None
        account_state, lineage = login_of(caller)
        return remember(user.factors, account_state, lineage.binding, self.clients.get(caller.client_id), now=now)

    def _code(self, user: User, provider: str) -> int:
        """Return the code of this provider. Raises ``NotFound`` if the account has no identity of the provider."""
        for code in user.identities:
            if self._name(code) == provider:
                return code
        raise errors.NotFound("no identity of this provider", detail="The account has no identity of this provider.")

    def _name(self, code: int) -> str:
        """Return the name of a provider, or its code if the deployment does not have the provider any more."""
        return self.prove.providers.names.get(code, str(code))

    def _shown(self, code: int, linked: LinkedIdentity) -> ShownIdentity:
        return ShownIdentity(provider=self._name(code), linked_at=linked.linked_at, email=linked.email or UNSET)

    def _user(self, caller: Caller) -> User:
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        return user


def _key_of(caller: Caller) -> str:
    """Return the thumbprint of the device key.

    Raises ``Malformed`` if the login has no key, or if the request has no header ``Idempotency-Key``.
    """
    binding = login_of(caller)[1].binding
    if not isinstance(binding, KeyBinding):
        raise errors.Malformed(
            "no device key", detail="Log in with a key of the device: the nonce of the id_token names that key."
        )
    if not caller.attempt_sent:
        raise errors.Malformed(
            "no attempt",
            detail="Send `Idempotency-Key`: the attempt that the nonce of the id_token was made for.",
        )
    return encode_base64url(binding.thumbprint)
