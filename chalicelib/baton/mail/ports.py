"""The ports of mail: the queue of orders, the sender, and the writes that a proved address makes."""

from typing import Protocol

from msgspec import Struct

from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Actor
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated


class Mail(Struct, frozen=True):
    """A mail as it is sent: to one address, as text and as HTML."""

    to: str
    subject: str
    text: str
    html: str

    def __repr__(self) -> str:
        """Mask: a mail has an address and may have a code."""
        return "Mail('**********')"


class Sender(Protocol):
    """Send a mail."""

    def __call__(self, mail: Mail) -> None:
        """Send it. Raises ``Unavailable``: it is unknown whether the mail was sent."""


class Outbox(Protocol):
    """The queue of orders. An order may be delivered more than once."""

    def put(self, order: str) -> None:
        """Add an encrypted order. Raises ``Unavailable``."""


class MailUsers(Users, Protocol):
    """Registered people, with the writes of this package."""

    def verify_address(self, actor: Actor, *, language: str, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """Store that the address of the actor's account is proved, and the language of its mails if there is one.

        This is one transaction, with these conditions: the credentials version is as in ``actor``, and the actor's
        login is live. The first time of proof stays. ``Refused``: the account has no user.
        """

    def reset_password(
        self, account: AccountId, password_hash: bytes, *, expected_version: int, mark: bytes, claim: bool, now: int
    ) -> Done | Moved:
        """Replace the password hash, raise the credentials version, and end every login of the account.

        This is one transaction, with these conditions: the account is active, and the credentials version is
        ``expected_version`` in both items. ``mark`` is stored with the new password. ``claim``: the address was never
        proved, also at this moment. It is proved now, the roles and attributes of the account are removed, and its
        logins end with reason ``claimed``. Otherwise they end with reason ``password_reset``.
        """
