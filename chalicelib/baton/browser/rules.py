"""The rules of a session id: how long it lives, and how use changes its lineage. No I/O.

A session id is a token that Baton made. The *floor* of a lineage (``in_use_since``) is the latest of three times: the
login, the last renewal, and the newest issue time of a session id whose use is stored. A session id that was issued
more than a minute before the floor is superseded. If the answer with a new session id is lost, the browser never sends
this id, so the id supersedes no other id.

A change of the password and an unlink of an identity also replace the cookies of the login that makes the change. They
raise the generation of this login. All cookies of earlier generations are then superseded.
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
    """Check whether a newer cookie replaced this session id or remember token.

    The floor applies only to session ids.
    """
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
