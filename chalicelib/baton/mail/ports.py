"""The ports of mail: the queue of orders, the sender, and the writes after a proof of an address."""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from chalicelib.baton.accounts.ports import AddressTaken, ProvingUsers
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import Passkey, SecondFactors, User
from chalicelib.baton.factors.user_parts import KeptAddress, LinkedIdentity
from chalicelib.baton.ids import EmailIndex, LineageId
from chalicelib.baton.lineages.model import Actor


class Mail(Struct, frozen=True):
    """A mail as it is sent: to one address, as text and as HTML."""

    to: str
    subject: str
    text: str
    html: str

    def __repr__(self) -> str:
        """Mask the mail, because it has an address and may have a code."""
        return "Mail('**********')"


class Sender(Protocol):
    """Send a mail."""

    def __call__(self, mail: Mail) -> None:
        """Send a mail. Raises ``Unavailable``: it is unknown whether the mail was sent."""


class Outbox(Protocol):
    """The queue of orders. An order may be delivered more than once."""

    def put(self, order: str, *, delay_s: int = 0) -> None:
        """Add an encrypted order. The queue delivers it at least ``delay_s`` seconds later.

        Raises ``Unavailable`` if it is not certain that the order was added.
        """


class Suppression(Struct, frozen=True, kw_only=True):
    """Why an address gets no mails.

    - ``why`` is ``bounce`` if a mail to the address bounced permanently, or if Apple's relay no longer forwards mails
      to the address. ``why`` is ``complaint`` if the owner of the address reported a mail as spam.
    - ``at`` and ``until`` are Unix times, in seconds. For a complaint, ``until`` is ``None``: the suppression lasts
      until an operator lifts it.
    """

    why: Literal["bounce", "complaint"]
    at: int
    until: int | None


class Suppressions(Protocol):
    """The suppressions, each stored by the HMAC of its address. The address may have no account."""

    def get(self, email_index: EmailIndex) -> Suppression | None:
        """Return the suppression of an address, even if it has ended."""

    def suppress(self, email_index: EmailIndex, suppression: Suppression) -> None:
        """Store a suppression. A repetition is safe.

        A complaint replaces every bounce. Nothing replaces a complaint. A bounce replaces only a bounce that ends
        earlier.
        """

    def lift(self, email_index: EmailIndex, *, only_bounce: bool = False) -> Done | Refused:
        """Delete the suppression of an address. ``Refused``: there is none.

        With ``only_bounce``, the suppression of a complaint stays, and the result is ``Refused``.
        """


class Address(Struct, frozen=True):
    """A canonical e-mail address, and its index."""

    email: str
    index: EmailIndex

    def __repr__(self) -> str:
        """Mask the address."""
        return "Address('**********')"


class Undo(Struct, frozen=True, kw_only=True):
    """The changes that an undo makes in an account.

    - ``password_hash``: the hash of a random password.
    - ``factors``: the factors that stay.
    - ``address``: the old address that the account gets back, or ``None``.
    - ``kept``: the old addresses that the account still keeps.
    - ``freed``: the addresses that become free. If ``address`` is not ``None``, one of them is the current address.
    - ``identities``: the identities that stay, by the code of the provider.
    - ``mark``: the id of the link, which works once.
    - ``used_until``: the time at which the link expires (seconds).
    """

    password_hash: bytes
    factors: SecondFactors
    address: Address | None
    kept: tuple[KeptAddress, ...]
    freed: tuple[EmailIndex, ...]
    identities: Mapping[int, LinkedIdentity]
    mark: bytes
    used_until: int

    def removed_passkeys(self, user: User) -> list[Passkey]:
        """Return the passkeys that the undo removes from the account."""
        return [passkey for one, passkey in user.factors.passkeys.items() if one not in self.factors.passkeys]

    def removed_identities(self, user: User) -> list[str]:
        """Return ``LinkedIdentity.index`` of each identity that the undo removes from the account."""
        return [linked.index for code, linked in user.identities.items() if code not in self.identities]


class MailUsers(ProvingUsers, Protocol):
    """The store of registered people, with the writes of this package."""

    def reset_password(self, user: User, password_hash: bytes, *, mark: bytes, claim: bool, now: int) -> Done | Moved:
        """Replace the password hash, raise the credentials version, and end every login of the account.

        This is one transaction, with these conditions:

        1. The account is active.
        2. User item and account state still have the credentials version of ``user``.
        3. With ``claim``: the address is still unproved.

        The transaction also makes these changes:

        - It deletes remembered devices and restore keys.
        - It stores ``mark``, the id of the mail session or link.
        - With ``claim``: it stores that the address is proved, and removes identities, roles and attributes.

        The logins end with reason ``claimed`` or, without ``claim``, ``password_reset``.
        """

    def move_address(
        self, actor: Actor, user: User, new: Address, *, kept: tuple[KeptAddress, ...], language: str, now: int
    ) -> Done | Moved | AddressTaken:
        """Replace the address of the actor's account by a proved address, and raise the credentials version.

        This is one transaction, with these conditions:

        1. The new address is an old address of this account, or has no e-mail index entry, or its entry has expired.
        2. The account still has the address of ``user``. If this address is unproved in ``user``, it is still unproved.
        3. User item and account state have the credentials version of ``actor``.
        4. The login of ``actor`` is live.

        If the replaced address was proved, its e-mail index entry stays for ``ADDRESS_KEPT_S``. Otherwise, the
        transaction deletes the entry, and the address is free. No login ends.

        ``kept``: the old addresses to store. If the replaced address was proved, ``kept`` must include this address.
        """

    def undo_changes(self, user: User, undo: Undo, *, now: int) -> Done | Moved | Refused:
        """Undo changes of an account, raise the credentials version, end every login, and mark the link as used.

        This is one transaction, with these conditions:

        1. The account is active.
        2. User item and account state still have the credentials version of ``user``.
        3. The link was not used before. Otherwise the result is ``Refused``.
        4. The e-mail index entries in ``undo.freed`` still belong to the account. If ``undo.address`` is not ``None``,
           its entry also belongs to the account, and has not expired.

        The logins end with reason ``undone``. The transaction also deletes remembered devices and restore keys.
        """

    def delete_unproved(self, user: User, *, mark: LineageId, now: int) -> Done | Moved:
        """Delete an account whose address was never proved: the user, its e-mail index entry, identities and logins.

        This is one transaction, with these conditions:

        1. The account is active.
        2. The account still has the address of ``user``, and this address was never proved.
        3. User item and account state still have the credentials version of ``user``.

        The caller must first check that the account has no passkey: this method deletes no passkeys.
        ``mark``: the id of the mailed link. The account state keeps this id as ``deleted_by``.
        """
