"""The port of registered people."""

from typing import Literal, Protocol

from msgspec import Struct

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import Passwords
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.lineages.model import AccountState, Actor


class AddressTaken(Struct, frozen=True):
    """The e-mail address belongs to ``account``. Nothing was written."""

    account: AccountId


class AddressProof(Protocol):
    """Check the code that a registration has from the mailbox of its address."""

    def __call__(self, mail_session: str, code: str, *, email: str, key: PublicKey | None, now: int) -> str:
        """Return the language of mails, or an empty text. Raises ``InvalidCode``, or ``NotFound`` if mail is off."""


class EmailStatus(Protocol):
    """Whether mails to an address are sent."""

    def __call__(self, email_index: EmailIndex, *, now: int) -> Literal["ok", "bouncing"]:
        """Return ``bouncing`` if Baton sends no mail to the address, because one bounced or was reported as spam."""


class Users(Passwords, Protocol):
    """Registered people: e-mail index entries and password hashes."""

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Return the account of an e-mail address, or ``None``."""

    def register(self, user: User, account_state: AccountState) -> Done | AddressTaken:
        """Write e-mail index entry, user and account state in one transaction. None of the three may exist.

        ``AddressTaken`` has the account of the existing index entry. If only the user or the account state exists (an
        account with this id was deleted), it has ``user.account``.
        """

    def change_password(self, actor: Actor, password_hash: bytes, *, expected: AccountState, now: int) -> Done | Moved:
        """Replace the password hash, raise credentials version and epoch, and keep the actor's lineage.

        This is one transaction, with these conditions: the epoch is as in ``expected``, the credentials version is as
        in ``actor``, and the actor's lineage is active. Every other lineage ends with reason ``password_changed``.
        """

    def forget(self, account: AccountId, email_index: EmailIndex) -> None:
        """Delete the user, then the e-mail index entry, so that the address becomes free. It is safe to repeat this.

        The entry is deleted only if it belongs to ``account``: another person may have registered the address
        meanwhile.
        """
