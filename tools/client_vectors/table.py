"""The rules by which a client decides its next step, as a table.

Rows are tried in order. The first row that applies decides.

A condition maps members of a situation to the values that each member may have. The table shares no code with a client.
"""

from collections.abc import Mapping
from typing import Any, Final

AGAIN: Final = "again"
"""Pause and send again, with the same attempt and another nonce.

If no time is left, the step is ``offline``, or ``refused`` after a 429.
"""

LOGINS: Final = ("register", "login", "factor")
SUCCESS: Final = tuple(range(200, 300))
ENDS: Final = ("invalid_token", "invalid_grant")

TABLE: Final[tuple[tuple[str, Mapping[str, tuple[Any, ...]], str], ...]] = (
    ("1", {"came": ("answer",), "status": SUCCESS}, "done"),
    ("2", {"came": ("not_sent",)}, AGAIN),
    ("3", {"status": (429,)}, AGAIN),
    ("4", {"code": ("replayed_nonce",), "repeatable": (True,)}, AGAIN),
    ("4", {"code": ("replayed_nonce",)}, "answer_lost"),
    ("5", {"code": ("server_error",), "defects": (3,), "repeatable": (True,), "keyed": (False,)}, "refused"),
    ("5", {"code": ("server_error",), "defects": (3,)}, "answer_lost"),
    ("5", {"code": ("server_error",), "action": ("check_outcome",), "repeatable": (True,)}, AGAIN),
    ("5", {"action": ("check_outcome",), "repeatable": (True,), "keyed": (False,)}, AGAIN),
    ("5", {"action": ("check_outcome",)}, "answer_lost"),
    ("10", {"code": ("superseded",), "verb": ("exchange",), "moved": (True,)}, "read_storage"),
    ("10", {"code": ("superseded",), "verb": ("exchange",), "superseded": (1,)}, "rule_8"),
    ("10", {"code": ("superseded",), "verb": ("exchange",), "enough": (True,)}, "ask_again"),
    ("10", {"code": ("superseded",), "verb": ("exchange",)}, "offline"),
    ("10", {"code": ("superseded",), "verb": LOGINS, "session": (True,)}, "return_session"),
    ("10", {"code": ("superseded",), "verb": ("register", "login"), "anew": (False,)}, "new_attempt"),
    ("13", {"code": ("superseded",)}, "refused"),
    ("3", {"came": ("nothing",), "repeatable": (True,)}, AGAIN),
    ("3", {"action": ("retry",), "repeatable": (True,)}, AGAIN),
    ("3", {"came": ("nothing",)}, "answer_lost"),
    ("3", {"action": ("retry",)}, "answer_lost"),
    ("6", {"action": ("sync_clock",), "synced": (False,)}, "sync"),
    ("7", {"action": ("exchange",), "verb": ("call",), "renewable": (True,), "exchanged": (False,)}, "exchange"),
    ("8", {"action": ("step_up",), "confirm": (True,), "grants": (0, 1)}, "step_up"),
    ("9", {"action": ("prove_factor", "enrol_factor"), "verb": LOGINS}, "return_step"),
    ("11", {"action": ("log_in",), "error": ENDS, "verb": ("revoke",)}, "done"),
    ("11", {"action": ("log_in",), "error": ENDS, "verb": ("call", "exchange"), "moved": (False,)}, "logged_out"),
    ("11", {"action": ("log_in",), "error": ENDS, "verb": ("call", "exchange"), "continued": (False,)}, "read_storage"),
    ("12", {"action": ("attest",), "evidence": (True,), "attested": (False,)}, "attest"),
    ("13", {}, "refused"),
)


def decided(situation: Mapping[str, Any]) -> tuple[str, str]:
    """Return the number of the row that applies, and the step.

    If the step is ``AGAIN``, the result depends on the time that is left:

    - Enough for the pause: return the row and ``pause``.
    - Too little: return ``"14"``, which is not a row of `TABLE`, and ``refused`` (after a 429) or ``offline``.
    """
    facts = {**situation, "enough": situation["pause"] < situation["left"]}
    for row, condition, step in TABLE:
        if all(facts[name] in allowed for name, allowed in condition.items()):
            if step != AGAIN:
                return row, step
            if facts["enough"]:
                return row, "pause"
            return "14", "refused" if situation["status"] == 429 else "offline"
    raise AssertionError("the last row always applies")
