"""Password change: store the new hash and end every other lineage of the account, in one transaction."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.ports import Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.new_password import NewPassword
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller


class ChangePassword(Struct, frozen=True, kw_only=True):
    """Replace the password of a caller who stepped up."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    new_password: NewPassword
    users: Users
    lineage_store: LineageStore
    record: Record

    def __call__(self, caller: Caller, new_password: str) -> None:
        """Change the password, and end every other lineage of the account.

        The caller's lineage stays active. Exception: if an app handed this lineage over to a browser, the app's lineage
        ends, and so this lineage ends too.
        """
        now = self.clock()
        ring = self.key_ring.current(now=now)
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        secret = normalise(new_password)
        self.new_password.check_strength(new_password, email=user.email)
        self.new_password.check_breach(secret)
        password_hash = ring.encrypt_for(
            hash_password(secret, salt=self.entropy(16)).encode(),
            account=caller.account,
            nonce=self.entropy(12),
        )
        expected = caller.account_state
        for _ in range(START_OVER_MAX):
            refuse_inactive(may_act(expected, caller.actor, now=now))
            assert expected is not None
            if isinstance(self.users.change_password(caller.actor, password_hash, expected=expected, now=now), Done):
                device = expected.lineages[caller.device_id].label
                told = Told(device=device, address=user.email, undo_since=now if user.email else None)
                self.record("password_changed", account=caller.account, lineage=caller.device_id, told=told)
                return
            expected = self.lineage_store.get(caller.account)
        raise errors.Unavailable("the account state kept changing during a password change", by_caller=True)
