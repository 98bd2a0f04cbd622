"""The caller of a signed route, and what the caller proved again. No I/O."""

from msgspec import Struct

from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, Assurance


class Operation(Struct, frozen=True):
    """One named, exact operation for which a person proves the password again.

    ``path`` is the path as the client sees it, prefix included; ``digest`` is the ``Content-Digest`` field value
    (sha-256) of the exact body.
    """

    method: str
    path: str
    digest: str


class GrantUsed(Struct, frozen=True):
    """A grant that was spent on this very call: when and how the person was asked."""

    at: int
    assurance: Assurance


class Caller(Struct, frozen=True):
    """Who is calling, proved: handed to every signed route."""

    account: AccountId
    device_id: LineageId
    client_id: str
    scope: frozenset[str]
    bound: bool
    auth_time: int
    assurance: Assurance
    step_up: GrantUsed | None = None
    account_state: AccountState | None = None
    not_before: int = 0

    @property
    def actor(self) -> Actor:
        """Name this login, for the condition of every write on its behalf."""
        version = self.account_state.credentials_version if self.account_state else 0
        return Actor(self.account, self.device_id, not_before=self.not_before, credentials_version=version)

    def __repr__(self) -> str:
        """Show who is calling; the whole account state would hide it."""
        return f"Caller(account={self.account!r}, device_id={self.device_id!r}, client_id={self.client_id!r})"
