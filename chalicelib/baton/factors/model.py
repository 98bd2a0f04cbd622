"""The record of a registered person. No I/O."""

from msgspec import Struct

from chalicelib.baton.ids import AccountId, EmailIndex


class User(Struct, frozen=True):
    """A registered person. ``password_hash`` is encrypted with a key of the ring (`Ring.encrypt_for`)."""

    account: AccountId
    email: str
    email_index: EmailIndex
    password_hash: bytes
    credentials_version: int
    created_at: int
