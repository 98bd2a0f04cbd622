"""Undo the change that a notice reports, with the link in the notice. A reader of the mailbox may use the link.

1. The account gets a random password, every login ends, and remembered devices are forgotten. The owner then resets the
   password.
2. The undo removes the second factors and identities that a new device (`is_new_key`) added at the time of the notice
   or later. The undo keeps all that a long-used device added, because a thief of the mailbox must not remove it.
3. The account returns to the address that the notice was sent to, if the account still keeps this address. Later
   addresses become free. The links in mails to a later address become void, because a thief may have that mailbox. The
   account still keeps earlier addresses, because one of them may be the address of the owner.
4. A link works once. Its address must be the address of the account, or an old address that an undo may restore.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.refusals import InvalidCode
from chalicelib.baton.effects import Clock, Done, Entropy, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.factors.rules import identities_without_newer, without_newer
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.mail.links import ReadMailLink
from chalicelib.baton.mail.ports import Address, MailUsers, Undo
from chalicelib.baton.mail.tickets import LinkUse, MailLink
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.proof.signature import check_digest
from chalicelib.baton.routing import Message

UNDO: frozenset[LinkUse] = frozenset({"undo", "undo_address"})
_RANDOM_PASSWORD_BYTES = 32


class UndoChanges(Struct, frozen=True, kw_only=True):
    """Undo the change that a notice reports, and later changes of the account."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    users: MailUsers
    lineage_store: LineageStore
    read_link: ReadMailLink
    record: Record

    def __call__(self, message: Message, *, link: str) -> None:
        """Undo the changes. A repetition gets the same answer until the owner sets a new password.

        Raises ``InvalidCode``.
        """
        now = self.clock()
        check_digest(message)
        opened = self.read_link(link, uses=UNDO, now=now)
        ring = self.key_ring.current(now=now)
        for _ in range(START_OVER_MAX):
            account_state, user = self.lineage_store.get(opened.account), self.users.get(opened.account)
            if account_state is None or user is None or account_state.status is not Status.ACTIVE:
                raise InvalidCode("mail link: the account is not active")
            if user.reset_mark == opened.id:
                return
            outcome = self.users.undo_changes(user, self._undo(opened, user, ring, now=now), now=now)
            if isinstance(outcome, Refused):
                raise InvalidCode("mail link: used before")
            if isinstance(outcome, Done):
                self.record("changes_undone", account=user.account)
                return
        raise errors.Unavailable("the account kept changing during an undo", by_caller=True)

    def _undo(self, link: MailLink, user: User, ring: Ring, *, now: int) -> Undo:
        """Return the changes of this undo. Raises ``InvalidCode``."""
        index, kept = ring.email_index(link.address), [one for one in user.kept if one.until > now]
        address = Address(link.address, index) if link.address != user.email else None
        if address is None:
            later = [one for one in kept if one.at > link.since]
        else:
            place = next((place for place, one in enumerate(kept) if one.index == index and one.returns), None)
            if place is None:
                raise InvalidCode("mail link: its address is no longer of the account")
            # The order decides, not the time: a thief can change the address twice within one second.
            later = kept[place:]
        password = encode_base64url(self.entropy(_RANDOM_PASSWORD_BYTES)).encode()
        sealed = ring.encrypt_for(
            hash_password(password, salt=self.entropy(16)).encode(), account=user.account, nonce=self.entropy(12)
        )
        return Undo(
            password_hash=sealed,
            factors=without_newer(user.factors, since=link.since),
            identities=identities_without_newer(user.identities, since=link.since),
            address=address,
            kept=tuple(one for one in kept if one not in later),
            freed=(*(one.index for one in later if one.index != index), *((user.email_index,) if address else ())),
            mark=link.id,
            used_until=link.expires_at,
        )
