"""The rules of a session id: how long it lives, and how use changes its lineage. No I/O.

An id is a token that Baton made. Its issue time decides: the *floor* of the lineage (``in_use_since``) is the issue
time of the last id that was presented when a use was stored. An id that is more than a minute older than the floor is
superseded. A newer id whose answer was lost was never presented, so it supersedes nothing.

A change of the password and an unlink replace the cookies of the login that makes the change. They raise its
generation, and each cookie of an earlier generation is superseded at that moment.
"""

from enum import Enum

from msgspec.structs import replace

from chalicelib.baton.lineages.model import Lineage
from chalicelib.baton.policy import FLOOR_GRACE_S, SLIDE_AFTER_FRACTION, WEB_LOGIN_S, Mechanism
from chalicelib.baton.tokens.token import Kind, Token


class SessionVerdict(Enum):
    """The verdict on a session id of an active lineage.

    ``DUE``: the id is usable. The request must store this use, and its answer sets a new id.
    """

    USABLE = "usable"
    DUE = "due"
    SUPERSEDED = "superseded"
    IDLE = "idle"


def judge_session(lineage: Lineage, token: Token, *, now: int, mechanism: Mechanism) -> SessionVerdict:
    """Return the verdict on a session id of this lineage."""
    if is_superseded(lineage, token):
        return SessionVerdict.SUPERSEDED
    if now >= lineage.issued_at + mechanism.access_s:
        return SessionVerdict.IDLE
    due = now - lineage.issued_at >= mechanism.access_s // SLIDE_AFTER_FRACTION
    return SessionVerdict.DUE if due else SessionVerdict.USABLE


def is_superseded(lineage: Lineage, token: Token) -> bool:
    """Check whether a newer cookie replaced this session id or remember token. The floor holds for session ids only."""
    if token.generation != lineage.generation:
        return True
    return token.kind is Kind.ACCESS and token.issued_at < floor_of(lineage) - FLOOR_GRACE_S


def can_continue(lineage: Lineage, token: Token, *, now: int, mechanism: Mechanism) -> bool:
    """Check whether a live login can continue with this session id or remember token.

    The token must not be superseded, and a session id must not be idle. Whether the login is live is not checked here.
    """
    if token.kind is Kind.REFRESH:
        return not is_superseded(lineage, token)
    return judge_session(lineage, token, now=now, mechanism=mechanism) in {SessionVerdict.USABLE, SessionVerdict.DUE}


def floor_of(lineage: Lineage) -> int:
    """Return the floor. A session id is superseded if it was issued more than a minute before the floor."""
    return lineage.auth_time if lineage.in_use_since is None else lineage.in_use_since


def used(lineage: Lineage, issued_at: int, *, now: int) -> Lineage:
    """Return the lineage after the use of a session id: the floor rises to ``issued_at``, the issue time of the id."""
    return replace(
        lineage, issued_at=max(now, lineage.issued_at), in_use_since=max(floor_of(lineage), min(issued_at, now))
    )


def renewed(lineage: Lineage, *, now: int) -> Lineage:
    """Return the lineage after a renewal with the remember token: the floor rises to ``now``."""
    return replace(lineage, issued_at=max(now, lineage.issued_at), in_use_since=max(floor_of(lineage), now))


def is_remembered(began_at: int, expires_at: int) -> bool:
    """Check whether a login is remembered: only a remembered login can live longer than half a day."""
    return expires_at - began_at > WEB_LOGIN_S
