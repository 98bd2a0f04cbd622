"""The record of a registered person. No I/O."""

from msgspec import Struct

from chalicelib.baton.ids import AccountId, EmailIndex


class User(Struct, frozen=True):
    """A registered person. ``password_hash`` is encrypted with a key of the ring (`Ring.encrypt_for`).

    ``verified_at`` is when the address was proved, ``language`` that of mails. ``reset_mark`` is the id of the reset
    that made this password.
    """

    account: AccountId
    email: str
    email_index: EmailIndex
    password_hash: bytes
    credentials_version: int
    created_at: int
    verified_at: int | None = None
    language: str | None = None
    reset_mark: bytes | None = None
