"""Delete an account that a stranger registered with the address of another person: the link "this was not me".

1. Only a mail with a code for ``verify`` or ``login`` can have the link. The address must be unproved, the account must
   have no second factor, and the account must not be from a time without mail. A reset claims the same accounts
   (``mail/reset.py``).
2. The write that deletes the account succeeds only if these conditions still hold. After a proof of the address, the
   link is void.
3. Every change of the address proves the new address. So a link to the old mailbox never deletes an account that has a
new address.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.ports import ForgetLater
from chalicelib.baton.accounts.refusals import InvalidCode
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.ports import Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.rules import factor_kinds
from chalicelib.baton.ids import LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.mail.links import ReadMailLink
from chalicelib.baton.mail.ports import MailUsers
from chalicelib.baton.mail.tickets import LinkUse
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.proof.signature import check_digest
from chalicelib.baton.routing import Message

NOT_ME: frozenset[LinkUse] = frozenset({"not_me"})


def is_unproved(user: User, *, claims_from: int) -> bool:
    """Check whether the owner of the mailbox may claim or delete the account. There are three conditions.

    1. The address was never proved.
    2. The account was created at ``claims_from`` (seconds) or later. An earlier account is from a time without mail.
    3. The account has no second factor. Otherwise, the mailbox would be a way around that factor.
    """
    return user.verified_at is None and user.created_at >= claims_from and not factor_kinds(user.factors)


class DeleteUnproved(Struct, frozen=True, kw_only=True):
    """Delete an account with an unproved address, by the link "this was not me" in a mail to this address."""

    clock: Clock
    users: MailUsers
    lineage_store: LineageStore
    read_link: ReadMailLink
    record: Record
    forget_later: ForgetLater | None
    claims_from: int = 0

    def __call__(self, message: Message, *, link: str) -> None:
        """Delete the account. A repetition gets the same answer. Raises ``InvalidCode``."""
        now = self.clock()
        check_digest(message)
        opened = self.read_link(link, uses=NOT_ME, now=now)
        mark = LineageId(encode_base64url(opened.id))
        for _ in range(START_OVER_MAX):
            account_state, user = self.lineage_store.get(opened.account), self.users.get(opened.account)
            if account_state is not None and account_state.deleted_by == mark:
                return
            if account_state is None or user is None or account_state.status is not Status.ACTIVE:
                raise InvalidCode("mail link: the account is not active")
            if not is_unproved(user, claims_from=self.claims_from):
                raise InvalidCode("mail link: the address of the account is proved")
            if self.forget_later is not None:
                self.forget_later(user.account, now=now)
            if isinstance(self.users.delete_unproved(user, mark=mark, now=now), Done):
                told = Told(address=user.email, language=user.language or "")
                self.record("account_deleted", account=user.account, told=told)
                return
        raise errors.Unavailable("the account kept changing during its deletion", by_caller=True)
