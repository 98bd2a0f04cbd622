"""Show, add, name and remove the passkeys of a caller."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.add_passkey import complete_registration, is_added
from chalicelib.baton.factors.changes import login_of, told_of
from chalicelib.baton.factors.model import PASSKEYS_MAX, FactorChange, Passkey, Remember, RemovePasskey, User
from chalicelib.baton.factors.passkey_ceremonies import PasskeyCeremonies
from chalicelib.baton.factors.passkey_challenge import Ceremony, PasskeyOptions, creation_options, party_of
from chalicelib.baton.factors.ports import FactorStore, Passwords
from chalicelib.baton.factors.refusals import EmailUnverified, LastCredential, PasskeyExists, TooManyPasskeys
from chalicelib.baton.factors.rules import is_new_key, leaves_a_credential, remember
from chalicelib.baton.factors.verify_passkey import read_registration
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.lineages.clients import Client, level
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.policy import DAY_S, MINUTE_S
from chalicelib.baton.routing import StepUp
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.issue import Seconds

UPGRADE_S: Final = 5 * MINUTE_S
"""How long after its login a device may add a passkey without a gesture and without a step-up, in seconds."""
_KNOWS = frozenset({"pwd", "fed"})
"""The login methods (``amr``) that need more than the device. The thief of a device cannot log in with them."""


class NewPasskey(Struct, frozen=True):
    """A passkey that was added. ``id`` is its id in Baton, not the WebAuthn credential id."""

    id: str
    name: str
    created_at: Seconds
    backed_up: bool


class ShownPasskey(Struct, frozen=True):
    """A passkey. ``last_used_at`` is the beginning of a day (UTC): only the day is stored.

    ``backed_up``: the passkey is synced. ``aaguid`` is the model of the authenticator, or zeros.
    """

    id: str
    name: str
    created_at: Seconds
    last_used_at: Seconds
    backed_up: bool
    transports: tuple[str, ...]
    aaguid: str


class ShownPasskeys(Struct, frozen=True, kw_only=True):
    """The passkeys of the account, with the arguments of two functions of WebAuthn.

    The functions are ``signalAllAcceptedCredentials`` and ``signalCurrentUserDetails``.
    """

    rp_id: str
    user_handle: Annotated[str, msgspec.Meta(description="The account id, in base64url.")]
    name: str
    display_name: str
    accepted_credential_ids: tuple[str, ...]
    passkeys: tuple[ShownPasskey, ...]


class ManagePasskeys(Struct, frozen=True, kw_only=True):
    """Show and change the passkeys of a caller."""

    clock: Clock
    ceremonies: PasskeyCeremonies
    users: Passwords
    store: FactorStore
    lineage_store: LineageStore
    record: Record

    def show(self, caller: Caller) -> ShownPasskeys:
        """Show the passkeys, the oldest first. Raises ``NotFound`` if the client cannot use passkeys."""
        party, user = party_of(self.ceremonies.clients, self._client(caller)), self._user(caller)
        passkeys = sorted(user.factors.passkeys.values(), key=lambda one: (one.added_at, one.id))
        return ShownPasskeys(
            rp_id=party.rp_id,
            user_handle=user.account,
            name=user.email,
            display_name=user.email,
            accepted_credential_ids=tuple(encode_base64url(one.credential_id) for one in passkeys),
            passkeys=tuple(_shown(one) for one in passkeys),
        )

    def options(self, caller: Caller) -> PasskeyOptions:
        """Return the options to register a passkey, for a caller who stepped up.

        Raises ``EmailUnverified`` or ``TooManyPasskeys``. Raises ``NotFound`` if the client cannot use passkeys.
        """
        stepped_up = caller.stepped_up
        proved = stepped_up is not None and "mfa" in stepped_up.assurance.amr
        return self._options(caller, self._user(caller), Ceremony.REGISTER, proved=proved)

    def upgrade_options(self, caller: Caller) -> PasskeyOptions:
        """Return the options of a conditional create: the platform adds a passkey without asking the person.

        Raises ``StepUpRequired`` unless both conditions hold:

        - The person logged in with a password or at a provider, at most ``UPGRADE_S`` ago.
        - If the client or the account requires a second factor, the login proved one.

        Also raises the errors of `options`.
        """
        user = self._user(caller)
        asked = caller.demands_second_factor or user.factors.on
        is_new = self.clock() - caller.auth_time <= UPGRADE_S and not _KNOWS.isdisjoint(caller.amr)
        if not is_new or (asked and level(caller.acr) < level("aal2")):
            raise caller.step_up_required(StepUp())
        return self._options(caller, user, Ceremony.UPGRADE, proved="mfa" in caller.amr)

    def add(self, caller: Caller, credential: Mapping[str, Any], name: str) -> NewPasskey:
        """Add the passkey that the platform registered. A repetition gets the same answer.

        Raises ``InvalidPasskey``, ``ChallengeInvalid``, ``PasskeyExists`` and ``TooManyPasskeys``.

        Raises ``NotFound`` if the client cannot use passkeys.
        """
        now, registration = self.clock(), read_registration(credential)
        client = self._client(caller)
        party_of(self.ceremonies.clients, client)
        challenge = self.ceremonies.challenges.open(
            registration.client_data.challenge,
            Ceremony.REGISTER,
            Ceremony.UPGRADE,
            client=client,
            now=now,
            account=caller.account,
            lineage=caller.device_id,
        )
        user = self._user(caller)
        added = is_added(challenge, registration, user)
        if added is not None:
            return _new(added)
        account_state, lineage = login_of(caller)
        change = complete_registration(
            challenge,
            registration,
            user,
            clients=self.ceremonies.clients,
            client=client,
            name=name,
            by_new_key=is_new_key(account_state, lineage.binding, lineage.id, now=now),
            now=now,
        )
        self._change(caller, change, proved=self._remembered(caller, user, proved=challenge.proved, now=now), now=now)
        since = now if change.passkey.by_new_key else None
        told = told_of(caller, user, since=since, text="passkey_added")
        details = {"kind": "passkey", "passkey": change.passkey.id}
        self.record("factor_added", account=caller.account, lineage=caller.device_id, details=details, told=told)
        return _new(change.passkey)

    def rename(self, caller: Caller, passkey: str, name: str) -> None:
        """Change the name of a passkey. Raises ``NotFound`` if the account of the caller does not have this passkey."""
        now = self.clock()
        self._passkey(self._user(caller), passkey)
        renamed = self.store.rename_passkey(caller.actor, passkey, name, now=now)
        if not isinstance(renamed, Done):
            self._refuse_moved(caller, now=now)

    def remove(self, caller: Caller, passkey: str) -> None:
        """Remove a passkey. If no passkey and no authenticator app is left, ``SecondFactors.on`` becomes false.

        Raises:
            LastCredential: the account has no password, no other passkey and no linked identity.
            NotFound: the account of the caller does not have this passkey.

        """
        now, user = self.clock(), self._user(caller)
        removed = self._passkey(user, passkey)
        if not leaves_a_credential(user, passkeys=1):
            raise LastCredential
        last = user.factors.totp is None and len(user.factors.passkeys) == 1
        stepped_up = caller.stepped_up
        proved = stepped_up is not None and "mfa" in stepped_up.assurance.amr
        change = RemovePasskey(removed, last)
        self._change(caller, change, proved=self._remembered(caller, user, proved=proved, now=now), now=now)
        told = told_of(caller, user, since=now, text="passkey_removed")
        details = {"kind": "passkey", "passkey": passkey}
        self.record("factor_removed", account=caller.account, lineage=caller.device_id, details=details, told=told)

    def _options(self, caller: Caller, user: User, ceremony: Ceremony, *, proved: bool) -> PasskeyOptions:
        client = self._client(caller)
        party = party_of(self.ceremonies.clients, client)
        if not self.ceremonies.enrollable.is_proved(verified=user.has_no_unproved_address):
            raise EmailUnverified
        if len(user.factors.passkeys) >= PASSKEYS_MAX:
            raise TooManyPasskeys
        challenge = self.ceremonies.challenges.make(
            ceremony,
            client,
            now=self.clock(),
            account=caller.account,
            lineage=caller.device_id,
            credentials_version=user.credentials_version,
            proved=proved,
        )
        return creation_options(challenge, user, party)

    def _change(self, caller: Caller, change: FactorChange, *, proved: Remember | None, now: int) -> None:
        """Change the passkeys of a caller whose login is live.

        Raises ``PasskeyExists`` if another account has the passkey.
        """
        outcome = self.store.change_factors(caller.actor, change, remember=proved, now=now)
        if isinstance(outcome, Refused):
            raise PasskeyExists
        if not isinstance(outcome, Done):
            self._refuse_moved(caller, now=now)

    def _refuse_moved(self, caller: Caller, *, now: int) -> None:
        refuse_inactive(may_act(self.lineage_store.get(caller.account), caller.actor, now=now))
        raise errors.Unavailable("the account kept changing during a change of passkeys", by_caller=True)

    def _remembered(self, caller: Caller, user: User, *, proved: bool, now: int) -> Remember | None:
        """Return the ``Remember`` of the caller's device, or ``None`` if ``proved`` is false.

        ``proved``: the caller has just proved a second factor. The result is also ``None`` if the device cannot be
        remembered (`remember`). The change of the passkeys forgets all remembered devices, except the device of this
        ``Remember``.
        """
        if not proved:
            return None
        account_state, lineage = login_of(caller)
        return remember(user.factors, account_state, lineage.binding, self._client(caller), now=now)

    def _client(self, caller: Caller) -> Client:
        client = self.ceremonies.clients.get(caller.client_id)
        assert client is not None  # the registry has the client of every caller
        return client

    def _passkey(self, user: User, passkey: str) -> Passkey:
        found = user.factors.passkeys.get(passkey)
        if found is None:
            raise errors.NotFound("no such passkey of this account", detail="The account has no passkey with this id.")
        return found

    def _user(self, caller: Caller) -> User:
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        return user


def _new(passkey: Passkey) -> NewPasskey:
    return NewPasskey(passkey.id, passkey.name, passkey.added_at, passkey.backed_up)


def _shown(passkey: Passkey) -> ShownPasskey:
    aaguid = passkey.aaguid.hex()
    return ShownPasskey(
        id=passkey.id,
        name=passkey.name,
        created_at=passkey.added_at,
        last_used_at=passkey.used_day * DAY_S,
        backed_up=passkey.backed_up,
        transports=passkey.transports,
        aaguid="-".join((aaguid[:8], aaguid[8:12], aaguid[12:16], aaguid[16:20], aaguid[20:])),
    )
