"""A registered person. No I/O."""

from msgspec import Struct

from chalicelib.baton.ids import AccountId, EmailIndex


class User(Struct, frozen=True):
    """A person who registered. ``password_hash`` is sealed with the ring's data key, account id as associated data."""

    account: AccountId
    email: str
    email_index: EmailIndex
    password_hash: bytes
    credentials_version: int
    created_at: int
