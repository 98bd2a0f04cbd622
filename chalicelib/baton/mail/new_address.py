"""Change the address of an account: a step-up, then a code from the new mailbox.

1. The code goes to the new address even if another account has that address. So only a person who can read the new
mailbox learns that the address is taken.
2. The old address gets a notice. If the old address was proved, the account keeps it for 7 days. In these days, no
login and no registration can use the old address.
3. If the old address was proved, the notice has an undo link, which gives the old address back to the account. The
notice has no undo link in two cases. First: a long-used device (`is_new_key`) requested the change with a second
factor. Second: the new address is an earlier address of the account, and an undo link could still restore it.
4. When the account returns to an earlier address, by an undo link or by a change of the second case, no link can
restore the addresses in between. After A, B and back to A, no link restores B, because B may belong to a thief.
5. If the old address was never proved, it is free immediately. So a stranger who registered the address of another
person does not keep it.
"""

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.accounts.refusals import AccountExists, InvalidCode, InvalidEmail
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.ports import Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.rules import is_new_key
from chalicelib.baton.factors.user_parts import KeptAddress
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import level
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.mail.ports import Address, MailUsers
from chalicelib.baton.mail.sessions import CheckMailCode, Started, StartMailSession, Wanted
from chalicelib.baton.mail.tickets import MailSession, version_bytes
from chalicelib.baton.policy import ADDRESSES_KEPT_MAX, START_OVER_MAX
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller


class RequestNewAddress(Struct, frozen=True, kw_only=True):
    """Send a code to the new address of a caller who stepped up."""

    clock: Clock
    key_ring: KeyRing
    users: MailUsers
    start: StartMailSession

    def __call__(self, caller: Caller, *, new_email: str, language: str, source: str) -> Started:
        """Return the mail session of the code. Only the login of ``caller`` can use the code.

        Raises ``TooManyRequests``, and ``InvalidEmail`` if the address is invalid or the account already has it.
        """
        now = self.clock()
        try:
            address = canonical_email(new_email)
        except InvalidEmail as invalid:
            invalid.members["pointer"] = "/new_email"
            raise
        user = _user(self.users, caller)
        if address == user.email:
            detail = "The account has this e-mail address already. Send another one."
            raise InvalidEmail("the same address", pointer="/new_email", detail=detail)
        ring = self.key_ring.current(now=now)
        _kept_after(user, ring.email_index(address), returns=True, now=now)
        wanted = Wanted(
            use="new_address",
            address=address,
            account=caller.account,
            account_state=caller.account_state,
            lineage=caller.device_id,
            language=language,
            settled=_is_settled(caller, now=now),
        )
        return self.start(wanted, source=source, ring=ring, now=now)


class ConfirmNewAddress(Struct, frozen=True, kw_only=True):
    """Check the code, and move the account to the new address."""

    clock: Clock
    key_ring: KeyRing
    users: MailUsers
    lineage_store: LineageStore
    codes: CheckMailCode
    record: Record

    def __call__(self, caller: Caller, *, mail_session: str, code: str) -> None:
        """Change the address. A repetition gets the same answer. No login ends.

        Raises:
            InvalidCode: the code is wrong, or it cannot be used any more.
            AccountExists: another account has the address, or keeps it as an old address. The caller may learn this,
                because the caller can read the mailbox.

        """
        now = self.clock()
        session = self.codes.open(mail_session, use="new_address", now=now)
        if (session.account, session.lineage) != (caller.account, caller.device_id):
            raise InvalidCode("the session of another login")
        self.codes.check_code(session, code, now=now)
        new = Address(session.address, self.key_ring.current(now=now).email_index(session.address))
        for _ in range(START_OVER_MAX):
            user = _user(self.users, caller)
            if user.email == new.email and version_bytes(user.credentials_version - 1) == session.version:
                return  # a repeated request: its answer was lost
            versions = {version_bytes(user.credentials_version), version_bytes(caller.actor.credentials_version)}
            if versions != {session.version}:
                raise InvalidCode("the credentials changed after the code was requested")
            if self._moved(caller, user, new, session, now=now):
                proved, back = user.verified_at is not None, _is_back(user, new.index, now=now)
                told = Told(
                    device=_label(caller),
                    address=user.email,
                    language=user.language or "en",
                    undo_since=now if proved and not (session.settled or back) else None,
                )
                self.record("address_changed", account=caller.account, lineage=caller.device_id, told=told)
                return
        raise errors.Unavailable("the account kept changing during a change of its address", by_caller=True)

    def _moved(self, caller: Caller, user: User, new: Address, session: MailSession, *, now: int) -> bool:
        """Write the change. Return false if the account or the e-mail index entry changed after it was read."""
        kept = _kept_after(user, new.index, returns=not session.settled, now=now)
        outcome = self.users.move_address(caller.actor, user, new, kept=kept, language=session.language, now=now)
        if isinstance(outcome, AddressTaken):
            taken = self.lineage_store.get(outcome.account)
            if taken is None or taken.status is not Status.DELETED:
                raise AccountExists
            self.users.forget(outcome.account, new.index, now=now)  # the rest of an interrupted deletion
            return False
        if isinstance(outcome, Done):
            return True
        refuse_inactive(may_act(self.lineage_store.get(caller.account), caller.actor, now=now))
        return False


def _kept_after(user: User, new_index: str, *, returns: bool, now: int) -> tuple[KeptAddress, ...]:
    """Return the old addresses that the account keeps after a change, the oldest first.

    ``returns``: an undo may restore the address that this change replaces. After a return to an old address, no undo
    restores the addresses in between, because they may belong to a thief.

    Raises ``TooManyRequests`` if there are too many old addresses.
    """
    kept = tuple(one for one in user.kept if one.until > now)
    if _is_back(user, new_index, now=now):
        place = [one.index for one in kept].index(EmailIndex(new_index))
        kept, returns = (*kept[:place], *(replace(one, returns=False) for one in kept[place:])), False
    kept = tuple(one for one in kept if one.index != new_index)
    if user.verified_at is None:
        return kept
    if len(kept) >= ADDRESSES_KEPT_MAX:
        raise errors.TooManyRequests(
            "too many old addresses",
            retry_after=min(one.until for one in kept) - now,
            detail=f"The account changed its address {ADDRESSES_KEPT_MAX} times within 7 days. Wait as `Retry-After` "
            "says.",
        )
    return (*kept, KeptAddress(user.email_index, at=now, returns=returns))


def _is_back(user: User, new_index: str, *, now: int) -> bool:
    """Check whether the new address is an old address that an undo could restore. This change then acts as an undo."""
    return any(one.index == new_index and one.returns and one.until > now for one in user.kept)


def _is_settled(caller: Caller, *, now: int) -> bool:
    """Check whether a long-used device (`is_new_key`) requests the change with a second factor.

    If so, the old mailbox cannot undo the change, because a thief may have access to the old mailbox.
    """
    account_state, stepped_up = caller.account_state, caller.stepped_up
    assert account_state is not None  # every caller of a route has an account state
    binding = account_state.lineages[caller.device_id].binding
    with_factor = stepped_up is not None and level(stepped_up.assurance.acr) >= level("aal2")
    return with_factor and not is_new_key(account_state, binding, caller.device_id, now=now)


def _label(caller: Caller) -> str:
    assert caller.account_state is not None
    return caller.account_state.lineages[caller.device_id].label


def _user(users: MailUsers, caller: Caller) -> User:
    user = users.get(caller.account)
    if user is None:
        raise errors.Unavailable("inconsistent account: the user is missing")
    return user
