"""The stores that accounts need."""

from typing import Protocol

from msgspec import Struct

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import Passwords
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.lineages.model import Actor, Gate


class Taken(Struct, frozen=True):
    """The e-mail address belongs to ``account``: nothing was written."""

    account: AccountId


class Users(Passwords, Protocol):
    """People: e-mail claims and verifiers."""

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Find the account that claims an e-mail address."""

    def register(self, user: User, gate: Gate) -> Done | Taken:
        """Write claim, user and gate, all of them or none, each of which must not exist.

        ``Taken`` names the account that holds the claim; where no claim stands in the way but the user or the gate
        does (an account of this very id was deleted), it names ``user.account``.
        """

    def change_password(self, actor: Actor, verifier: bytes, *, expected: Gate, now: int) -> Done | Moved:
        """Replace the verifier, raise verifier version and epoch, and keep the actor's lineage: all or none.

        Only when the epoch is as in ``expected``, the verifier version as in ``actor``, and the actor's lineage is
        live. Every other lineage ends, reason ``password_changed``.
        """

    def forget(self, account: AccountId, email_index: EmailIndex) -> None:
        """Remove the user, and its claim last, so that the e-mail address becomes free. Repeating is harmless.

        The claim goes only while it is ``account``'s: somebody may have registered the address since.
        """
