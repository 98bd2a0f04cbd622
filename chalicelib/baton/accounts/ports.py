"""The ports of accounts: registered people, codes from mailboxes, and the work after a deletion."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import Passwords
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.lineages.model import AccountState, Actor, UnfinishedLogin
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated

if TYPE_CHECKING:
    from chalicelib.baton.accounts.auth_session import OpenSession


class AddressTaken(Struct, frozen=True):
    """Nothing was written: the e-mail address belongs to ``account``, or an account already has the id ``account``."""

    account: AccountId


class AddressProof(Protocol):
    """The check of the code in a registration. The person read this code in the mailbox of the address."""

    def __call__(self, mail_session: str, code: str, *, email: str, key: PublicKey | None, now: int) -> str:
        """Check the code. Return the language that the person chose for mails, or an empty text.

        ``key``: the device key of the registration, or ``None``.

        Raises ``InvalidCode``, or ``NotFound`` if mail is off.
        """


class LoginCodes(Protocol):
    """Codes by mail. A login needs such a code before it enrols a second factor for an account that has none."""

    def send(self, user: User, account_state: AccountState, session: "OpenSession", *, source: str, now: int) -> int:
        """Send the code of the session to the address of the user. Return for how many seconds the code is valid.

        Raises ``TooManyRequests``, or ``Unavailable`` if the mail could not be queued.
        """

    def check(self, user: User, account_state: AccountState, session: "OpenSession", typed: str, *, now: int) -> None:
        """Check the code that a person typed. Raises ``InvalidCode`` and ``TooManyRequests``."""


class ForgetLater(Protocol):
    """Queue the order for the work that is left after the deletion of an account (``accounts/forget.py``)."""

    def __call__(self, account: AccountId, *, now: int) -> None:
        """Queue the order. Call this before the deletion. Otherwise a crash could leave a deletion without an order.

        An order for an account that is not deleted is dropped. Raises ``Unavailable`` if the order could not be queued.
        The caller must then not delete the account.
        """


class AtProviders(Protocol):
    """The revocation of tokens at identity providers, after the deletion of an account."""

    def __call__(self, user: User) -> Callable[[], None]:
        """Read the tokens before the deletion. Return a function that revokes them later. Neither function raises."""


class EmailStatus(Protocol):
    """Whether Baton still sends mail to an address."""

    def __call__(self, email_index: EmailIndex, *, now: int) -> Literal["ok", "bouncing"]:
        """Return ``bouncing`` if Baton sends no mail to the address: a mail bounced or was reported as spam."""


class Users(Passwords, Protocol):
    """Registered people: users, password hashes and e-mail index entries."""

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Return the account of an e-mail address, or ``None``."""

    def register(self, user: User, account_state: AccountState) -> Done | AddressTaken:
        """Write e-mail index entry, user and account state in one transaction.

        If one of the three items already exists, nothing is written, and the result is ``AddressTaken``. Exceptions: an
        expired index entry is replaced, and a repeated call with the same ``user`` returns ``Done``.

        ``AddressTaken`` has the account of the address. If the address is free, ``AddressTaken`` has the account id of
        ``user``, because an account already has this id.
        """

    def change_password(self, actor: Actor, password_hash: bytes, *, expected: AccountState, now: int) -> Done | Moved:
        """Replace the password hash, raise credentials version and epoch, and keep the actor's lineage.

        Every other lineage ends with reason ``password_changed``. Exception: if an app handed the actor's lineage over
        to a browser, the app's lineage ends, and so the actor's lineage ends too. Every remembered device is deleted.
        If ``actor.in_cookies`` is true, the generation of the actor's lineage rises by one.

        This is one transaction, with these conditions:

        - The epoch is as in ``expected``.
        - The credentials version is as in ``actor``.
        - The actor's lineage is active.
        """

    def set_first_password(
        self, user: User, password_hash: bytes, *, expected: AccountState, verified: bool, demands: bool, now: int
    ) -> Done | Moved:
        """Set the first password of an account whose password is still in its old system, and clear ``User.migrate``.

        ``verified``: store that the address is proved.
        ``demands``: require a second factor from now on.

        The credentials version rises in the user and in the account state. No login ends. This is one transaction,
        with two conditions:

        - The stored user has ``migrate``, no password, and the credentials version of ``user``.
        - The account state is active, and has the epoch and the credentials version of ``expected``.
        """

    def forget(self, account: AccountId, email_index: EmailIndex, *, now: int) -> None:
        """Delete passkeys, identities and user, then the e-mail index entries of the current and old addresses.

        The addresses become free. An entry that now belongs to another account stays. A repetition is safe.
        """


class ProvingUsers(Users, Protocol):
    """The operations of `Users`, and an operation that stores that an address is proved."""

    def verify_address(
        self, by: Actor | UnfinishedLogin, *, language: str, now: int
    ) -> Done | Refused | Inactive | ProofOutdated:
        """Store that the address of the account is proved.

        If ``language`` is not empty, also store it as the language of the mails to the owner.

        An address that was proved before keeps its first time of proof. This is one transaction, with two conditions:

        - The credentials version is as in ``by``.
        - The lineage of the ``Actor`` is live, or the ``UnfinishedLogin`` is still valid (`rules.may_go_on`).

        ``Refused``: the account has no user, or the unfinished login is no longer valid.
        """
