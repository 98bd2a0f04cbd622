"""The ports of one-time values: nonces, tickets and grants."""

from typing import Protocol

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.tokens.caller import GrantUsed, Operation


class Nonces(Protocol):
    """The nonces of signed requests. If they are lost, a request can be replayed until its time window ends."""

    def consume_nonce(self, keyid: str, nonce: str, *, now: int, mark: bytes) -> Done | Refused:
        """Consume a nonce of a key, once.

        ``mark`` is random for each request received. If the nonce is consumed already:

        - The same ``mark`` is a retry of this write, and returns ``Again``.
        - Another ``mark`` is a replayed request, and returns ``Refused``.
        """


class Tickets(Protocol):
    """The records of consumed tickets. If they are lost, a ticket can be used again until it expires."""

    def consume_ticket(self, ticket_id: bytes, *, expires_at: int, now: int, mark: bytes) -> Done | Refused:
        """Consume a ticket, once. ``expires_at`` is the expiry of the ticket, in seconds since the epoch.

        If the ticket is consumed already, the same ``mark`` (16 bytes) returns ``Again``, and another ``mark`` returns
        ``Refused``. If a retry must get the answer of the first request, derive the mark from the client's attempt.

        The storage keeps the record until ``TICKET_CONSUMED_KEPT_S`` seconds after ``expires_at``.
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
        """Consume a grant, once, if it has not expired and is for this lineage, operation and credentials version.

        Otherwise the result is ``Refused``. A repetition with the same ``mark`` gets the same ``GrantUsed`` again.
        """


class OneTime(Nonces, Tickets, Grants, Protocol):
    """All one-time values: nonces, tickets and grants."""
