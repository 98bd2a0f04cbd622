"""The stores that accounts need."""

from typing import Protocol

from msgspec import Struct

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import Passwords
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.lineages.model import AccountState, Actor


class AddressTaken(Struct, frozen=True):
    """The e-mail address belongs to ``account``: nothing was written."""

    account: AccountId


class Users(Passwords, Protocol):
    """People: e-mail claims and verifiers."""

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Find the account that claims an e-mail address."""

    def register(self, user: User, account_state: AccountState) -> Done | AddressTaken:
        """Write claim, user and account state, all of them or none, each of which must not exist.

        ``AddressTaken`` names the account that holds the claim; where no claim stands in the way but the user or the
        state
        does (an account of this very id was deleted), it names ``user.account``.
        """

    def change_password(self, actor: Actor, password_hash: bytes, *, expected: AccountState, now: int) -> Done | Moved:
        """Replace the verifier, raise verifier version and epoch, and keep the actor's lineage: all or none.

        Only when the epoch is as in ``expected``, the verifier version as in ``actor``, and the actor's lineage is
        live. Every other lineage ends, reason ``password_changed``.
        """

    def forget(self, account: AccountId, email_index: EmailIndex) -> None:
        """Remove the user, and its claim last, so that the e-mail address becomes free. Repeating is harmless.

        The claim goes only while it is ``account``'s: somebody may have registered the address since.
        """
