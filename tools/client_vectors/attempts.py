"""Vectors of the rules by which a client decides its next step (``table.py``): ``attempts.json``.

Each vector has a situation, the next step of the client, and a script that leads to the situation.

A script (``run``) is a call, registration, login, factor or exchange, and the answers that its requests get, in order.
The last answer leads to the situation. ``storage`` is the action of another process during an answer: ``moved`` stores
a newer session, ``finished`` finishes the login. Without a script, ``run`` is null: only the table can be tested.
"""

# ruff: noqa: E501 - a table: one vector, one line
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tools.client_vectors.answers import REQUEST_ID, answer, refusal
from tools.client_vectors.table import decided

DRAW: Final = 0.5
LONG: Final = 30.0
Script = tuple[str, list[tuple[Any, str | None]]]
"""A name, and the answers. Each answer has the action of another process during this answer, or ``None``."""

VERBS: Final = (
    # name, verb, method, keyed, repeatable
    ("call GET", "call", "GET", False, True),
    ("call POST", "call", "POST", False, False),
    ("call POST, keyed", "call", "POST", True, True),
    ("call POST, repeat", "call", "POST", False, True),
    ("register", "register", "POST", False, True),
    ("login", "login", "POST", False, True),
    ("factor", "factor", "POST", False, True),
    ("exchange", "exchange", "POST", False, True),
)
SETTLED: Final[dict[str, Any]] = {
    "defects": 0,
    "synced": False,
    "exchanged": False,
    "renewable": True,
    "moved": False,
    "continued": False,
    "grants": 0,
    "confirm": False,
    "superseded": 0,
    "session": False,
    "anew": False,
    "evidence": False,
    "attested": False,
}
DEFECT: Final = refusal(500, "server_error", "server_error", "retry")
UNCLEAR: Final = refusal(500, "server_error", "server_error", "check_outcome")
EXPIRED: Final = refusal(401, "invalid_token", "token_expired", "exchange")
SKEWED: Final = refusal(401, "stale_signature", "clock_skew", "sync_clock")
STEP_UP: Final = refusal(401, "insufficient_user_authentication", "step_up_required", "step_up", factors=["password"])
SUPERSEDED: Final = refusal(409, "invalid_request", "superseded", "retry")
BUSY: Final = refusal(503, "temporarily_unavailable", "unavailable", "retry", retry_after=3)
FACTOR: Final = refusal(
    403,
    "insufficient_authorization",
    "factor_required",
    "prove_factor",
    auth_session="as.new",
    expires_in=600,
    factors=["totp"],
)
ENROL: Final = refusal(
    403, "insufficient_authorization", "enrolment_required", "enrol_factor", auth_session="as.new", enrol=["totp"]
)
TOKENS: Final = answer(200, {"access_token": "t2", "refresh_token": "t2", "token_type": "Bearer", "expires_in": 900, "device_id": "d2", "server_time": 1_800_000_000})  # fmt: skip
SIMPLE: Final[tuple[tuple[str, Any], ...]] = (
    ("no connection", "not_sent"),
    ("a lost answer", "nothing"),
    ("a portal's page", answer(200, None, "<html>", content_type="text/html", baton_request_id="")),
    ("a firewall's 202", answer(202, baton_request_id="")),
    ("a redirect", answer(302, location="https://portal.example.net/")),
    ("half an object", answer(200, None, "{")),
    ("503", BUSY),
    ("a defect", DEFECT),
    ("an unclear outcome", UNCLEAR),
    ("409 in progress", refusal(409, "invalid_request", "in_progress", "retry", retry_after=1)),
    ("409 outcome unknown", refusal(409, "invalid_request", "outcome_unknown", "check_outcome")),
    ("429", refusal(429, "too_many_requests", "too_many_requests", "retry", retry_after=2)),
    ("a replayed nonce", refusal(401, "replayed_nonce", "replayed_nonce", "retry")),
    ("an unknown code to retry", refusal(409, "invalid_request", "of_the_future", "retry")),
    ("a wrong clock", SKEWED),
    ("a weak password", refusal(422, "weak_password", "too_short", "fix_request")),
    ("an unknown action", refusal(400, "invalid_request", "of_the_future", "dance")),
    ("an unproved address", refusal(403, "insufficient_authorization", "email_unverified", "verify_email")),
    ("a void challenge", refusal(409, "challenge_invalid", "challenge_invalid", "fix_request")),
    ("a higher level", refusal(401, "insufficient_acr", "insufficient_acr", "log_in")),
    ("a step-up", STEP_UP),
    ("evidence", refusal(403, "attestation_required", "attestation_required", "attest")),
)


def vectors() -> list[dict[str, Any]]:
    """List situations, each with its row in ``table.py``, the next step and a script."""
    made: dict[str, dict[str, Any]] = {}
    for verb in VERBS:
        for name, answers in (*_everywhere(), *_of_calls(verb), *_of_logins(verb), *_of_exchanges(verb)):
            for enough in (True, False):
                one = _vector(verb, name, answers, enough=enough)
                if one and (enough or one["row"] == "14" or one["step"] == "offline"):
                    made[one["name"]] = one
    return [*made.values(), *_only_the_table()]


def _alone(*given: object) -> list[tuple[Any, str | None]]:
    return [(one, None) for one in given]


def _everywhere() -> Iterator[Script]:
    for name, given in SIMPLE:
        yield name, _alone(given)
    yield "the second defect", _alone(DEFECT, DEFECT)
    yield "the third defect", _alone(DEFECT, DEFECT, DEFECT)
    yield "the third unclear outcome", _alone(UNCLEAR, UNCLEAR, UNCLEAR)
    yield "a defect after two and a lost answer", _alone(DEFECT, DEFECT, "nothing", DEFECT)
    yield "a wrong clock again", _alone(SKEWED, SKEWED)
    yield "a wrong clock after a lost answer", _alone("nothing", SKEWED)


def _of_calls(verb: tuple[Any, ...]) -> Iterator[Script]:
    if verb[1] != "call":
        return
    ended = refusal(401, "invalid_token", "login_required", "log_in", reason="logout")
    yield "success", _alone(answer(200, {"device_id": "d1"}))
    yield "an expired token", _alone(EXPIRED)
    yield "an expired token again", _alone(EXPIRED, EXPIRED)
    yield "a step-up, with confirm", _alone(STEP_UP)
    yield "a step-up again, with confirm", _alone(STEP_UP, STEP_UP)
    yield "a step-up a third time, with confirm", _alone(STEP_UP, STEP_UP, STEP_UP)
    yield "the end of the session", _alone(ended)
    yield "the end of an older session", [(ended, "moved")]
    yield "the end of an older session, twice", [(ended, "moved"), (ended, "moved")]
    yield "the end of an older session, then of the newer one", [(ended, "moved"), (ended, None)]
    yield "a factor", _alone(FACTOR)
    yield "409 superseded", _alone(SUPERSEDED)


def _of_logins(verb: tuple[Any, ...]) -> Iterator[Script]:
    if verb[1] not in {"register", "login", "factor"}:
        return
    yield "success", _alone(TOKENS)
    yield "a success without tokens", _alone(answer(200, {"a": 1}))
    yield "an empty success", _alone(answer(204))
    yield "a factor", _alone(FACTOR)
    yield "an enrolment", _alone(ENROL)
    yield "409 superseded", _alone(SUPERSEDED)
    yield "409 superseded, finished by another process", [(SUPERSEDED, "finished")]
    yield "409 superseded again", _alone(SUPERSEDED, SUPERSEDED)
    yield "a wrong password", _alone(refusal(401, "invalid_credentials", "invalid_credentials", "fix_request"))
    yield "a void session", _alone(refusal(400, "invalid_session", "invalid_session", "log_in"))


def _of_exchanges(verb: tuple[Any, ...]) -> Iterator[Script]:
    if verb[1] != "exchange":
        return
    ended = refusal(400, "invalid_grant", "login_required", "log_in", reason="password_changed")
    yield "success", _alone(TOKENS)
    yield "a success without tokens", _alone(answer(200, {"a": 1}))
    yield "409 superseded", _alone(SUPERSEDED)
    yield "409 superseded, moved", [(SUPERSEDED, "moved")]
    yield "409 superseded again", _alone(SUPERSEDED, SUPERSEDED)
    yield "409 superseded again, moved", [(SUPERSEDED, None), (SUPERSEDED, "moved")]
    yield "the end of the session", _alone(ended)
    yield "the end of an older session", [(ended, "moved")]
    yield "a used token", _alone(refusal(400, "invalid_grant", "token_reused", "log_in"))
    yield "a wrong client", _alone(refusal(400, "unauthorized_client", "unauthorized_client", "fix_request"))


def _came(given: object, *, tokens: bool) -> dict[str, Any]:
    """Return the result of a request: ``not_sent``, ``nothing``, or an answer. A foreign answer is ``nothing``."""
    empty = {"status": 0, "error": "", "code": "", "action": ""}
    if not isinstance(given, dict):
        return {"came": given, **empty}
    foreign = given["headers"].get("baton-request-id") != REQUEST_ID or given["status"] == 302 or given["body"] == "{"
    members = {} if foreign or not given["body"] else json.loads(given["body"])
    if foreign or (tokens and given["status"] < 300 and "access_token" not in members):
        return {"came": "nothing", **empty}
    return {"came": "answer", "status": given["status"], **{name: members.get(name, "") for name in tuple(empty)[1:]}}


def _vector(
    verb: tuple[Any, ...], name: str, answers: list[tuple[Any, str | None]], *, enough: bool
) -> dict[str, Any] | None:
    """Apply the table to each answer. Return the vector of the last answer. ``None``: the script ends earlier."""
    label, kind, method, keyed, repeatable = verb
    state = {**SETTLED, "verb": kind, "repeatable": repeatable, "keyed": keyed, "confirm": "with confirm" in name}
    paused, pauses, row, step = 0.0, 0, "", ""
    for number, (given, storage) in enumerate(answers, 1):
        came = _came(given, tokens=kind != "call")
        state["defects"] = state["defects"] + 1 if came["code"] == "server_error" else 0
        least = int(given["headers"].get("retry-after", 0)) if isinstance(given, dict) else 0
        pause = max(least, 1 if came["code"] == "superseded" else 0) + DRAW * min(30.0, 0.5 * 2**pauses)
        state |= {**came, "moved": storage == "moved", "session": storage == "finished", "pause": pause}
        last = number == len(answers)
        state["left"] = pause / 2 if last and not enough else LONG - paused
        row, step = decided(state)
        if last:
            break
        if step in {"pause", "ask_again"}:
            paused, pauses = paused + pause, pauses + 1
        if step not in EFFECTS:
            return None
        state |= {fact: state[fact] + 1 for fact in EFFECTS[step]}
    run = {"verb": kind, "method": method, "keyed": keyed, "repeat": "repeat" in label, "confirm": state["confirm"]}
    run |= {"deadline": LONG if enough else paused + state["pause"] / 2}
    run |= {"answers": [{"answer": given, "storage": storage} for given, storage in answers]}
    suffix = "" if enough else ", no time"
    return {"name": f"{label}: {name}{suffix}", "row": row, "situation": _plain(state), "step": step, "run": run}


EFFECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "pause": (),
    "sync": ("synced",),
    "exchange": ("exchanged",),
    "step_up": ("grants",),
    "read_storage": ("continued",),
    "new_attempt": ("anew",),
    "ask_again": ("superseded",),
}
"""The steps after which a script continues, and the facts that they change."""


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a situation with each fact as true or false. Texts and the facts in ``counted`` stay as they are."""
    counted = {"defects", "grants", "superseded", "pause", "left", "status"}
    return {name: value if name in counted or isinstance(value, str) else bool(value) for name, value in state.items()}


def _only_the_table() -> Iterator[dict[str, Any]]:
    """Yield the situations without a script.

    They are answers to revocations and to requests for the time, answers that require evidence of the app, and an
    expired token that the client cannot renew.
    """
    attest = refusal(403, "attestation_required", "attestation_required", "attest")
    ended = refusal(400, "invalid_grant", "login_required", "log_in")
    cases = [
        *(("revoke", name, given, {}) for name, given in SIMPLE),
        ("revoke", "success", answer(200), {}),
        ("revoke", "the login has ended already", ended, {}),
        ("time", "success", answer(200, {"server_time": 1}), {}),
        ("time", "a lost answer", "nothing", {}),
        ("call", "nothing renews the token", EXPIRED, {"renewable": False}),
    ]
    for verb in ("register", "login", "call"):
        cases.append((verb, "evidence is at hand", attest, {"evidence": True}))
        cases.append((verb, "evidence was sent", attest, {"evidence": True, "attested": True}))
    for verb, name, given, facts in cases:
        pause = int(given["headers"].get("retry-after", 0)) + 0.25 if isinstance(given, dict) else 0.25
        came = _came(given, tokens=False)
        state = {
            **SETTLED,
            **facts,
            "verb": verb,
            "repeatable": True,
            "keyed": False,
            **came,
            "pause": pause,
            "left": LONG,
        }
        state["defects"] = int(came["code"] == "server_error")
        row, step = decided(state)
        yield {"name": f"{verb}: {name}", "row": row, "situation": _plain(state), "step": step, "run": None}
