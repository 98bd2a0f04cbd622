"""Store and delete the restore key of a caller's device, and check whether a login may be restored."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.factors.changes import login_of
from chalicelib.baton.factors.model import User, key_id
from chalicelib.baton.factors.passkey_challenge import (
    Ceremony,
    Challenges,
    PasskeyOptions,
    creation_options,
    origins_of,
    party_of,
)
from chalicelib.baton.factors.ports import FactorStore, Passwords
from chalicelib.baton.factors.refusals import ChallengeInvalid, RestoreRefused
from chalicelib.baton.factors.restore_model import RestoreKey, without_login
from chalicelib.baton.factors.verify_passkey import read_registration, verify_registration
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.policy import MINUTE_S
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller

KEEP_S: Final = 5 * MINUTE_S
"""How long after its login a device may store a restore key without a step-up, in seconds.

After this time, a thief with a copy of the device cannot store a restore key, because the thief cannot step up.
"""


def check_offered(client: Client, *, asked: bool = False) -> None:
    """Raise ``RestoreRefused`` if the client does not offer restores, or if ``asked`` is true.

    ``asked``: logins of the account with this client need a second factor.
    """
    if not client.restore:
        raise RestoreRefused("the client does not offer restores")
    if asked:
        raise RestoreRefused("the account requires a second factor")


def _device_of(caller: Caller) -> str:
    """Return the id of the device key. Raises ``RestoreRefused`` for a login that is not bound to a key."""
    device = key_id(login_of(caller)[1].binding)
    if device is None:
        raise RestoreRefused("the login is not bound to a key")
    return device


class ManageRestoreKey(Struct, frozen=True, kw_only=True):
    """Store or delete the restore key of the caller's device. The login must be bound to a key."""

    clock: Clock
    clients: Clients
    challenges: Challenges
    users: Passwords
    store: FactorStore
    lineage_store: LineageStore

    def options(self, caller: Caller) -> PasskeyOptions:
        """Return the options to make a restore key.

        Raises:
            StepUpRequired: the login is older than ``KEEP_S``, and the request has no step-up grant.
            RestoreRefused: the login is not bound to a key. For other reasons, see `check_offered`.
            NotFound: the client cannot use passkeys.

        """
        now, client = self.clock(), self._client(caller)
        party = party_of(self.clients, client)
        _device_of(caller)
        user = self._user(caller, client)
        is_new = self._is_new(caller, now=now)
        if not is_new:
            caller.require_step_up()
        challenge = self.challenges.make(
            Ceremony.RESTORE_KEY,
            client,
            now=now,
            account=caller.account,
            lineage=caller.device_id,
            credentials_version=user.credentials_version,
            proved=not is_new,
        )
        return creation_options(challenge, user, party, restore=True)

    def keep(self, caller: Caller, credential: Mapping[str, Any]) -> None:
        """Store the restore key that the platform made, in place of an earlier restore key. A repetition is safe.

        Raises:
            InvalidPasskey, ChallengeInvalid: the ``credential`` or its challenge is not valid.
            StepUpRequired: the login is older than ``KEEP_S``, and neither `options` nor this request had a step-up.
            RestoreRefused, NotFound: see `options`.

        """
        now, client = self.clock(), self._client(caller)
        party = party_of(self.clients, client)
        _device_of(caller)
        registration = read_registration(credential)
        challenge = self.challenges.open(
            registration.client_data.challenge,
            Ceremony.RESTORE_KEY,
            client=client,
            now=now,
            account=caller.account,
            lineage=caller.device_id,
        )
        user = self._user(caller, client)
        if user.credentials_version != challenge.credentials_version:
            raise ChallengeInvalid("challenge: the credentials have changed")
        made = verify_registration(
            registration, rp_id=party.rp_id, origins=origins_of(party, client), user_present=False
        )
        if not (challenge.proved or self._is_new(caller, now=now)):
            caller.require_step_up()
        account_state, _lineage = login_of(caller)
        devices = {key_id(lineage.binding) for lineage in account_state.lineages.values()}
        key = RestoreKey(made.credential_id, made.public_key, made_at=challenge.issued_at)
        self._store(caller, key, forgotten=without_login(user.restore, devices), now=now)

    def remove(self, caller: Caller) -> None:
        """Delete the restore key of the device. A repetition is safe."""
        self._store(caller, None, now=self.clock())

    def _store(self, caller: Caller, key: RestoreKey | None, *, forgotten: tuple[str, ...] = (), now: int) -> None:
        stored = self.store.keep_restore_key(caller.actor, _device_of(caller), key, forgotten=forgotten, now=now)
        if not isinstance(stored, Done):
            refuse_inactive(may_act(self.lineage_store.get(caller.account), caller.actor, now=now))
            raise errors.Unavailable("the account kept changing during a change of a restore key", by_caller=True)

    def _is_new(self, caller: Caller, *, now: int) -> bool:
        return now - caller.auth_time <= KEEP_S

    def _user(self, caller: Caller, client: Client) -> User:
        """Read the user. Raises ``RestoreRefused`` if logins of the client or the account cannot be restored."""
        check_offered(client)
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        check_offered(client, asked=caller.demands_second_factor or user.factors.on)
        return user

    def _client(self, caller: Caller) -> Client:
        client = self.clients.get(caller.client_id)
        assert client is not None  # the registry has the client of every caller
        return client
