"""The data of the storage in memory. Storages of one process may share it, as Lambda environments share tables."""

from dataclasses import dataclass, field
from threading import RLock
from typing import Final

from msgspec.structs import replace

from chalicelib.baton.attestation.model import AttestedKey, RevokedList
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.factors.model import User
from chalicelib.baton.federation.model import Identity, TokenToRevoke
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import AccountState, Actor, Lineage
from chalicelib.baton.mail.ports import Suppression
from chalicelib.baton.policy import AUDIT_KEPT_S
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey
from chalicelib.baton.tokens.caller import GrantUsed, Operation

SWEPT_AFTER_S: Final = 3600
"""The shortest time from the expiry of an item to its deletion, in seconds.

DynamoDB (TTL) deletes late too, so no method of a store may rely on the deletion. Because of the delay, a process whose
clock is behind still finds an item that has not expired by its own clock.
"""


@dataclass(slots=True)
class Grant:
    """A step-up grant, and the mark of the call that consumed it. ``expires_at`` is in seconds since the epoch."""

    lineage: LineageId
    operation: Operation
    step_up: GrantUsed
    credentials_version: int
    expires_at: int
    spent_by: bytes | None = None


@dataclass(slots=True)
class MemoryTables:
    """All items, and one lock. Each method of a store holds the lock from its first read to its last write.

    A write replaces an item. Only a grant is changed in place.
    """

    lock: RLock = field(default_factory=RLock)
    claims: dict[EmailIndex, AccountId] = field(default_factory=dict)
    """E-mail index -> the account that has, or keeps, the address."""
    kept_until: dict[EmailIndex, int] = field(default_factory=dict)
    """E-mail index of an old address -> the time until which the account keeps it. No login finds an old address."""
    users: dict[AccountId, User] = field(default_factory=dict)
    credentials: dict[bytes, AccountId] = field(default_factory=dict)
    """Credential id of a passkey -> the account that has it."""
    identities: dict[str, Identity] = field(default_factory=dict)
    refresh_tokens: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Index of an identity -> its encrypted refresh token, and the time at which the token was stored."""
    to_revoke: dict[str, TokenToRevoke] = field(default_factory=dict)
    keys_asked: dict[int, int] = field(default_factory=dict)
    """Code of an identity provider -> the time of the last request for its keys."""
    key_sets: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Code of an identity provider -> the time at which its keys were fetched, and the encrypted keys."""
    lineages: dict[AccountId, AccountState] = field(default_factory=dict)
    nonces: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    """Key id and nonce -> mark of the call that consumed the nonce, and expiry."""
    tickets: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    """Ticket id -> mark of the request that consumed the ticket, and expiry."""
    grants: dict[str, Grant] = field(default_factory=dict)
    windows: dict[tuple[str, int], int] = field(default_factory=dict)
    """Name of the rate limit and end of the window -> count. The end is the expiry."""
    calls: dict[OnceKey, OnceCall] = field(default_factory=dict)
    events: dict[tuple[AccountId, int, str], AuditEvent] = field(default_factory=dict)
    """Account, time and event id -> event, in the order of writing."""
    suppressions: dict[EmailIndex, Suppression] = field(default_factory=dict)
    attested: dict[tuple[int, bytes], AttestedKey] = field(default_factory=dict)
    """Code of the client and thumbprint of the device key -> the stored evidence."""
    revoked: RevokedList | None = None
    switches: str = ""
    apple_key: bytes = b""
    """The private key for Apple, encrypted."""
    ring: Ring | None = None
    swept_at: int = 0

    def sweep(self, now: int) -> None:
        """Delete the items that expired at least ``SWEPT_AFTER_S`` ago. The caller has the lock.

        If the last sweep was less than ``SWEPT_AFTER_S`` ago, do nothing.
        """
        if now - self.swept_at < SWEPT_AFTER_S:
            return
        self.swept_at = now
        ended = now - SWEPT_AFTER_S
        self.nonces = {key: spent for key, spent in self.nonces.items() if spent[1] > ended}
        self.tickets = {key: consumed for key, consumed in self.tickets.items() if consumed[1] > ended}
        self.grants = {key: grant for key, grant in self.grants.items() if grant.expires_at > ended}
        self.windows = {window: count for window, count in self.windows.items() if window[1] > ended}
        self.attested = {key: known for key, known in self.attested.items() if known.expires_at > ended}
        self.calls = {key: call for key, call in self.calls.items() if call.expires_at > ended}
        self.events = {key: event for key, event in self.events.items() if event.at + AUDIT_KEPT_S > ended}


OF_THIS_PROCESS: Final = MemoryTables()
"""The tables that a storage of this process uses if it gets no other tables."""


def kept(lineage: Lineage, actor: Actor, *, epoch: int) -> Lineage:
    """Return the actor's lineage with the new ``epoch``, so that it stays active while the other lineages end.

    Exception: a lineage that an app handed over to a browser ends too, because the lineage of the app ends.
    If the actor's tokens are in cookies, the generation rises too. Baton then refuses the old cookies.
    """
    return replace(lineage, epoch=epoch, generation=lineage.generation + actor.in_cookies)
