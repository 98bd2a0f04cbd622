"""An app that keeps the client rules of exchange.md, without storage, network and clock: it yields what it needs.

The interleavings run it in threads that hand over at every step, the simulation in simulated time; the reference
client is held against it, decision by decision.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from chalicelib.baton import errors
from chalicelib.baton.proof.refusals import ClockSkew
from chalicelib.baton.tokens.issue import TokenResponse


@dataclass(frozen=True, slots=True)
class Record:
    """What a device remembers, written as one: its tokens, and the attempt that will exchange them (rule 1)."""

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
    """Exchange this record's token, under its attempt; the answer is new tokens, a refusal, or ``None``: lost."""

    record: Record


@dataclass(frozen=True, slots=True)
class Replace:
    """Put ``child`` in the place of ``parent`` if that still stands, in one step; the answer is what stands now."""

    parent: Record
    child: Record | None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revoke the login of this record by the device's own key, until that is answered (rule 8)."""

    record: Record


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait a while before sending again (rule 5)."""


@dataclass(frozen=True, slots=True)
class SetClock:
    """Set the offset of this device's clock from the last answer's ``server_time`` (rule 6)."""


Need = Read | Send | Replace | Revoke | Pause | SetClock
Renewing = Generator[Need, Any, Record | None]


@dataclass(frozen=True, slots=True)
class Runner:
    """One process of an app. ``attempt`` draws 128 random bits; without it, this is a stock client that sends none.

    ``clock`` is as the app knows the time after its offset. Without ``reports_copies`` it breaks rule 8.
    """

    attempt: Callable[[], str] | None
    clock: Callable[[], int]
    reports_copies: bool = True

    def stored(self, issued: TokenResponse, parent: Record | None = None) -> Record:
        """Make the record of new tokens, and with it the attempt that will end them (rule 1)."""
        return Record(
            issued.device_id,
            issued.access_token,
            issued.refresh_token or (parent.refresh_token if parent else None),
            self.clock() + issued.expires_in,
            self.attempt() if self.attempt else None,
        )

    def renewed(self) -> Renewing:  # noqa: C901 - one case for each answer
        """Exchange what is stored. The answer is the record to go on with; ``None`` when the login is over."""
        parent: Record | None = yield Read()  # Rule 2: before every sending.
        synced = overtaken = False
        while parent is not None:
            answer: TokenResponse | errors.Refusal | None = yield Send(parent)
            match answer:
                case TokenResponse():
                    standing: Record | None = yield Replace(parent, self.stored(answer, parent))  # Rules 3 and 4.
                    return standing
                case errors.InvalidToken(action="log_in"):
                    standing = yield Replace(parent, None)  # Rule 6: over, unless another process has gone on.
                    return standing
                case errors.Superseded():
                    standing = yield Read()
                    if standing != parent:
                        return standing  # Rule 6: another process has gone on.
                    if not self.reports_copies:
                        raise errors.Superseded("nothing newer is stored here")
                    if overtaken:
                        return (yield from self._reported(parent))
                    overtaken, synced = True, False
                    yield Pause()  # Rule 8: a moment later, ask once more.
                case ClockSkew() if not synced:
                    synced = True
                    yield SetClock()
                case None | errors.Unavailable():
                    yield Pause()  # Rule 5: the same attempt again, for as long as it takes.
                case errors.Refusal():
                    raise answer
            standing = yield Read()
            if standing != parent:
                return standing
        return None

    def _reported(self, parent: Record) -> Renewing:
        """Give up a login that another holder of this very record has taken further, and revoke it (rule 8)."""
        standing: Record | None = yield Replace(parent, None)
        if standing is None:
            yield Revoke(parent)
        return standing
