"""An app that follows the client rules of exchange.md, without storage, network and clock: it yields what it needs.

The interleavings run it in threads that switch at each step, and the simulation in simulated time. A test compares its
decisions with those of the reference client.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from chalicelib.baton import errors
from chalicelib.baton.proof.refusals import ClockSkew
from chalicelib.baton.tokens.issue import TokenResponse


@dataclass(frozen=True, slots=True)
class Record:
    """The stored data of a device, written in one step: its tokens, and the attempt for their exchange (rule 1)."""

    device_id: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: int
    attempt: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """Read the record."""


@dataclass(frozen=True, slots=True)
class Send:
    """Exchange the token of this record with its attempt.

    The answer is new tokens, a refusal, or ``None`` if it was lost.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace ``parent`` by ``child`` in one step, if ``parent`` is still stored. The answer is the stored record."""

    parent: Record
    child: Record | None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revoke the login of this record, signed with the device's key, until there is an answer (rule 8)."""

    record: Record


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next request (rule 5)."""


@dataclass(frozen=True, slots=True)
class SetClock:
    """Set the offset of this device's clock from the last answer's ``server_time`` (rule 6)."""


Need = Read | Send | Replace | Revoke | Pause | SetClock
Renewing = Generator[Need, Any, Record | None]


@dataclass(frozen=True, slots=True)
class Runner:
    """One process of an app. ``attempt`` draws 128 random bits; without it, this is a standard client without attempts.

    ``clock`` is the device's clock with its offset. Without ``reports_copies`` the app breaks rule 8.
    """

    attempt: Callable[[], str] | None
    clock: Callable[[], int]
    reports_copies: bool = True

    def stored(self, issued: TokenResponse, parent: Record | None = None) -> Record:
        """Make the record of new tokens, with the attempt for their exchange (rule 1)."""
        return Record(
            issued.device_id,
            issued.access_token,
            issued.refresh_token or (parent.refresh_token if parent else None),
            self.clock() + issued.expires_in,
            self.attempt() if self.attempt else None,
        )

    def renewed(self) -> Renewing:  # noqa: C901 - one case for each answer
        """Exchange the stored token. The answer is the record to continue with, or ``None`` if the login has ended."""
        parent: Record | None = yield Read()  # Rule 2: before each request.
        synced = overtaken = False
        while parent is not None:
            answer: TokenResponse | errors.Refusal | None = yield Send(parent)
            match answer:
                case TokenResponse():
                    standing: Record | None = yield Replace(parent, self.stored(answer, parent))  # Rules 3 and 4.
                    return standing
                case errors.InvalidToken(action="log_in"):
                    standing = yield Replace(
                        parent, None
                    )  # Rule 6: ended, unless another process has stored a newer record.
                    return standing
                case errors.Superseded():
                    standing = yield Read()
                    if standing != parent:
                        return standing  # Rule 6: another process has stored a newer record.
                    if not self.reports_copies:
                        raise errors.Superseded("nothing newer is stored here")
                    if overtaken:
                        return (yield from self._reported(parent))
                    overtaken, synced = True, False
                    yield Pause()  # Rule 8: try once more after a short wait.
                case ClockSkew() if not synced:
                    synced = True
                    yield SetClock()
                case None | errors.Unavailable():
                    yield Pause()  # Rule 5: the same attempt again, without a limit.
                case errors.Refusal():
                    raise answer
            standing = yield Read()
            if standing != parent:
                return standing
        return None

    def _reported(self, parent: Record) -> Renewing:
        """Give up a login whose token another holder of the same record has exchanged twice, and revoke it (rule 8)."""
        standing: Record | None = yield Replace(parent, None)
        if standing is None:
            yield Revoke(parent)
        return standing
