"""The ports of one-time values: nonces, tickets and grants."""

from typing import Protocol

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.tokens.caller import GrantUsed, Operation


class Nonces(Protocol):
    """The nonces of signed requests. If they are lost, a request can be replayed until its time window ends."""

    def consume_nonce(self, keyid: str, nonce: str, *, now: int, mark: bytes) -> Done | Refused:
        """Consume a nonce of a key, once.

        A repeated call with the same ``mark`` returns ``Again``. A call with another ``mark`` returns ``Refused``.

        The mark is random for each request received. It distinguishes a retry of this write from a replayed request.
        """


class Tickets(Protocol):
    """The records of consumed tickets. If they are lost, a ticket can be used again until it expires."""

    def consume_ticket(self, ticket_id: bytes, *, expires_at: int, now: int, mark: bytes) -> Done | Refused:
        """Consume a ticket, once. ``expires_at`` is the expiry of the ticket, in seconds since the epoch.

        A repeated call with the same ``mark`` (16 bytes) returns ``Again``. A later call with another ``mark`` returns
        ``Refused``. To answer a retry of the client as before, derive the mark from the attempt of the request. The
        record that the ticket is consumed is kept until ``TICKET_CONSUMED_KEPT_S`` seconds after ``expires_at``.
        """

    def is_consumed(self, ticket_id: bytes, *, now: int) -> bool:
        """Return whether this ticket is recorded as consumed. An expired record does not count."""


class Grants(Protocol):
    """Step-up grants. If they are lost, the person proves a factor again."""

    def store_grant(
        self,
        grant: str,
        *,
        lineage: LineageId,
        operation: Operation,
        step_up: GrantUsed,
        credentials_version: int,
        expires_at: int,
    ) -> None:
        """Store a step-up grant. It is valid only for this lineage, operation and credentials version."""

    def consume_grant(
        self, grant: str, *, lineage: LineageId, operation: Operation, credentials_version: int, now: int, mark: bytes
    ) -> GrantUsed | Refused:
        """Consume a grant, once, if it has not expired and is for this lineage, operation and credentials version."""


class OneTime(Nonces, Tickets, Grants, Protocol):
    """All one-time values: nonces, tickets and grants."""
