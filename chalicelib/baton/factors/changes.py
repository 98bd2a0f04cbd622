"""Change the second factors of a caller: the authenticator app, the recovery codes, and the second-factor switch.

The module ``passkeys`` changes the passkeys.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.ports import Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.enrolment import (
    TotpEnrolment,
    begin_enrolment,
    codes_again,
    complete_enrolment,
    is_made,
    new_recovery,
    read_enrolment,
)
from chalicelib.baton.factors.model import (
    FactorChange,
    RecoveryCodes,
    Remember,
    RemoveTotp,
    ReplaceRecoveryCodes,
    SwitchSecondFactor,
    User,
)
from chalicelib.baton.factors.ports import FactorStore, Passwords
from chalicelib.baton.factors.prove_totp import mark_of
from chalicelib.baton.factors.recovery_codes import make_codes, same_codes
from chalicelib.baton.factors.refusals import EmailUnverified, FactorMissing, SecondFactorRequired
from chalicelib.baton.factors.rules import is_new_key, remember
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import AccountState, Lineage
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.policy import RECOVERY_CODES_LOW
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.issue import Seconds


class NewRecoveryCodes(Struct, frozen=True, kw_only=True):
    """The recovery codes that this request made. Only a repetition of the request returns them again.

    If the request made no codes, ``recovery_codes`` is missing.
    """

    recovery_codes: tuple[str, ...] | UnsetType = UNSET

    def __repr__(self) -> str:
        """Mask the codes."""
        return "NewRecoveryCodes('**********')"


class EnrolledTotp(Struct, frozen=True):
    """An authenticator app."""

    enrolled_at: Seconds


class RecoveryCodesLeft(Struct, frozen=True):
    """How many recovery codes are left. ``low``: the person should make new codes."""

    left: int
    low: bool


class FactorsShown(Struct, frozen=True, kw_only=True):
    """The second factors of the account. ``second_factor`` is ``required`` if the owner cannot switch it off."""

    second_factor: Literal["off", "on", "required"]
    totp: EnrolledTotp | UnsetType = UNSET
    recovery_codes: RecoveryCodesLeft
    passkeys: Annotated[int, Meta(description="The number of passkeys. `GET /me/passkeys` lists them.")]


class ChangeFactors(Struct, frozen=True, kw_only=True):
    """Show and change the second factors of a caller. ``product`` is the name of this service in authenticator apps."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    clients: Clients
    users: Passwords
    store: FactorStore
    lineage_store: LineageStore
    record: Record
    product: str
    verified_only: bool = False
    """If true, an account with an unproved address cannot add a factor. The value is true if mail is on."""

    def show(self, caller: Caller) -> FactorsShown:
        """Return the second factors of the account, and whether its logins need a second factor."""
        factors = self._user(caller).factors
        recovery, left = factors.recovery, factors.codes_left
        return FactorsShown(
            second_factor="required" if caller.demands_second_factor else "on" if factors.on else "off",
            totp=EnrolledTotp(factors.totp.enrolled_at) if factors.totp else UNSET,
            recovery_codes=RecoveryCodesLeft(left, low=recovery is not None and left <= RECOVERY_CODES_LOW),
            passkeys=len(factors.passkeys),
        )

    def begin_totp(self, caller: Caller) -> TotpEnrolment:
        """Make the secret of an authenticator app. Nothing is stored.

        Raises ``EmailUnverified`` and ``FactorExists``.
        """
        now = self.clock()
        ring = self.key_ring.current(now=now)
        user = self._user(caller)
        self._check_verified(user)
        return begin_enrolment(user, caller.device_id, product=self.product, ring=ring, entropy=self.entropy, now=now)

    def confirm_totp(self, caller: Caller, enrolment: str, code: str) -> NewRecoveryCodes:
        """Enrol the authenticator app if its first code is right. This turns the second factor on for the account.

        Raises:
            InvalidSession: ``enrolment`` is not valid.
            EmailUnverified: mail is on, and the address is not proved.
            FactorExists: the account has an authenticator app.
            InvalidFactor: the code is wrong.

        """
        now = self.clock()
        ring = self.key_ring.current(now=now)
        ticket = read_enrolment(enrolment, account=caller.account, lineages=(caller.device_id,), ring=ring, now=now)
        user = self._user(caller)
        if is_made(ticket, user):
            return _shown(codes_again(ticket, user, ring))
        self._check_verified(user)
        by_new_key = _by_new_key(caller, now=now)
        change, codes = complete_enrolment(
            ticket,
            code,
            user,
            by_new_key=by_new_key,
            ring=ring,
            entropy=self.entropy,
            now=now,
        )
        self._change(caller, change, proved=self._remembered(caller, user, now=now), now=now)
        told, details = told_of(caller, user, since=now if by_new_key else None), {"kind": "totp"}
        self.record("factor_added", account=caller.account, lineage=caller.device_id, details=details, told=told)
        return _shown(codes)

    def remove_totp(self, caller: Caller) -> None:
        """Remove the authenticator app. If the account has no passkey, this also sets ``SecondFactors.on`` to false.

        Raises ``NotFound`` if the account has no authenticator app.
        """
        now = self.clock()
        user = self._user(caller)
        if user.factors.totp is None:
            raise errors.NotFound("no authenticator app is enrolled", detail="The account has no authenticator app.")
        # `last` ignores recovery codes, because they only replace another factor. This change keeps the codes: if an
        # operator or a role still requires a second factor, the person can log in with a code.
        change = RemoveTotp(user.factors.totp, last=not user.factors.passkeys)
        self._change(caller, change, proved=self._proved(caller, user, now=now), now=now)
        told, details = told_of(caller, user, since=now), {"kind": "totp"}
        self.record("factor_removed", account=caller.account, lineage=caller.device_id, details=details, told=told)

    def renew_recovery_codes(self, caller: Caller) -> NewRecoveryCodes:
        """Replace all recovery codes. A repetition with the same attempt returns the same codes.

        Raises ``FactorMissing`` if the account has neither an authenticator app nor a passkey.
        """
        now = self.clock()
        user = self._user(caller)
        if not user.factors.is_provable:
            raise FactorMissing
        again = self._codes_again(caller, user, now=now)
        if again:
            return _shown(again)
        codes, recovery = self._codes_of(caller, user, now=now)
        change = ReplaceRecoveryCodes(recovery)
        self._change(caller, change, proved=self._proved(caller, user, now=now), now=now)
        self.record("recovery_codes_renewed", account=caller.account, lineage=caller.device_id)
        return _shown(codes)

    def switch(self, caller: Caller, *, on: bool) -> NewRecoveryCodes:
        """Turn the second factor on or off for the logins of the account.

        Turning the second factor on makes recovery codes if none are left. A repetition with the same attempt returns
        these codes again.

        Raises:
            FactorMissing: ``on`` is true, but the account has neither an authenticator app nor a passkey.
            SecondFactorRequired: ``on`` is false, but the client, an operator or a role requires a second factor.

        """
        now = self.clock()
        user = self._user(caller)
        if on and not user.factors.is_provable:
            raise FactorMissing
        if not on and caller.demands_second_factor:
            raise SecondFactorRequired
        made = self._codes_of(caller, user, now=now) if on and not user.factors.codes_left else None
        if user.factors.on is on:
            return _shown(self._codes_again(caller, user, now=now) if on else ())
        change = SwitchSecondFactor(on=on, recovery=made[1] if made else None)
        self._change(caller, change, proved=self._proved(caller, user, now=now), now=now)
        details = {"second_factor": "on" if on else "off"}
        self.record("second_factor_switched", account=caller.account, lineage=caller.device_id, details=details)
        return _shown(made[0] if made else ())

    def _check_verified(self, user: User) -> None:
        if self.verified_only and not user.has_no_unproved_address:
            raise EmailUnverified

    def _codes_of(self, caller: Caller, user: User, *, now: int) -> tuple[tuple[str, ...], RecoveryCodes]:
        """Make recovery codes from the attempt of this request.

        Return the codes as the person reads them, and their stored form.
        """
        seed, mark = _of_attempt(caller)
        codes = make_codes(self.key_ring.current(now=now), user.account, seed, now=now)
        return codes, new_recovery(user.account, codes, mark=mark, by_new_key=_by_new_key(caller, now=now), now=now)

    def _codes_again(self, caller: Caller, user: User, *, now: int) -> tuple[str, ...]:
        """Return the codes that an earlier request with this attempt made, or an empty tuple."""
        seed, mark = _of_attempt(caller)
        stored = user.factors.recovery
        if stored is None or stored.mark != mark:
            return ()
        return same_codes(self.key_ring.current(now=now), user.account, seed, stored) or ()

    def _change(self, caller: Caller, change: FactorChange, *, proved: Remember | None, now: int) -> None:
        """Carry out a change. Raises an error if the caller's login is not live, or if the credentials have changed."""
        if isinstance(self.store.change_factors(caller.actor, change, remember=proved, now=now), Done):
            return
        refuse_inactive(may_act(self.lineage_store.get(caller.account), caller.actor, now=now))
        raise errors.Unavailable("the account kept changing during a change of factors", by_caller=True)

    def _proved(self, caller: Caller, user: User, *, now: int) -> Remember | None:
        """Return the ``Remember`` of the caller's device if the step-up proved a second factor, otherwise ``None``.

        The result is also ``None`` if the device cannot be remembered (`remember`). The change of factors forgets all
        remembered devices, except the device of this ``Remember``.
        """
        stepped_up = caller.stepped_up
        proved = stepped_up is not None and "mfa" in stepped_up.assurance.amr
        return self._remembered(caller, user, now=now) if proved else None

    def _remembered(self, caller: Caller, user: User, *, now: int) -> Remember | None:
        account_state, lineage = login_of(caller)
        client = self.clients.get(caller.client_id)
        return remember(user.factors, account_state, lineage.binding, client, now=now)

    def _user(self, caller: Caller) -> User:
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        return user


def login_of(caller: Caller) -> tuple[AccountState, Lineage]:
    """Return the account state that the call read, and the lineage of the caller in it."""
    account_state = caller.account_state
    assert account_state is not None
    return account_state, account_state.lineages[caller.device_id]


def _by_new_key(caller: Caller, *, now: int) -> bool:
    account_state, lineage = login_of(caller)
    return is_new_key(account_state, lineage.binding, lineage.id, now=now)


def told_of(caller: Caller, user: User, *, since: int | None, text: str = "") -> Told:
    """Return the values for the notice of a changed factor or identity.

    ``since`` (seconds): if the account has an address, the notice has a link that undoes changes since this time.
    ``None``: the notice has no such link.
    """
    return Told(
        device=login_of(caller)[1].label, address=user.email, text=text, undo_since=since if user.email else None
    )


def _of_attempt(caller: Caller) -> tuple[bytes, bytes]:
    """Return the seed and the mark for the recovery codes of this request. Both derive from the attempt."""
    return caller.attempt.encode(), mark_of(caller.attempt, "recovery codes")


def _shown(codes: tuple[str, ...]) -> NewRecoveryCodes:
    return NewRecoveryCodes(recovery_codes=codes or UNSET)
