"""Vectors of clocks and pauses: ``clock.json``, ``backoff.json``."""

from typing import Any

from tools.client_vectors.answers import TIME, answer


def clock() -> list[dict[str, Any]]:
    """List requests: the device's time before and after, the known offset, the answer, and the resulting offset."""
    stated = TIME
    no_time = {"baton_time": ""}
    member = {"server_time": stated}
    rows: list[tuple[str, float, float, float, dict[str, Any], float]] = [
        ("right", stated, stated + 1, 0, answer(200), 0),
        ("a day ahead", stated + 86400, stated + 86401, 0, answer(200), -86400.5),
        ("a day behind", stated - 86400, stated - 86400, 0, answer(200), 86400),
        ("known offset", stated + 86400, stated + 86400.5, -86400, answer(200), -86400),
        ("set back later", stated - 10, stated - 9, -86400, answer(200), 9.5),
        ("a second early is nothing", stated + 1, stated + 2, 0, answer(200), 0),
        ("more than a second early", stated + 1.5, stated + 2.5, 0, answer(200), -2),
        ("a second late is nothing", stated - 2, stated - 1, 0, answer(200), 0),
        ("more than a second late", stated - 4, stated - 2, 0, answer(200), 3),
        ("a slow answer", stated - 30, stated + 30, 0, answer(200), 0),
        ("a cached answer", stated - 300, stated - 300, 0, answer(200, age="295", cache_control="max-age=300"), 0),
        ("an age of zero", stated - 300, stated - 300, 0, answer(200, age="0", cache_control="max-age=300"), 0),
        ("no header", stated + 60, stated + 60, 0, answer(200, member, **no_time), -60),
        ("neither header nor member", stated + 60, stated + 60, 0, answer(200, {}, **no_time), 0),
        (
            "a member that a cache may store",
            stated + 60,
            stated + 60,
            0,
            answer(200, member, cache_control="max-age=60", **no_time),
            0,
        ),
        ("a member that is no number", stated + 60, stated + 60, 0, answer(200, {"server_time": "soon"}, **no_time), 0),
        (
            "a header that is given twice",
            stated + 60,
            stated + 60,
            0,
            answer(200, {}, baton_time=f"{stated}, {stated}"),
            0,
        ),
        ("a negative header", stated + 60, stated + 60, 0, answer(200, {}, baton_time="-5"), 0),
        ("a header with 13 digits", stated + 60, stated + 60, 0, answer(200, {}, baton_time="1800000000000"), 0),
        ("a malformed header, and the member", stated + 60, stated + 60, 0, answer(200, member, baton_time="now"), -60),
        (
            "a refusal",
            stated + 7200,
            stated + 7200,
            0,
            answer(401, {"code": "clock_skew", "action": "sync_clock"}),
            -7200,
        ),
        ("both: the header counts", stated + 60, stated + 60, 0, answer(200, {"server_time": 5}), -60),
    ]
    return [
        {"name": name, "before": before, "after": after, "offset": offset, "answer": given, "expect": expect}
        for name, before, after, offset, given, expect in rows
    ]


def backoff() -> list[dict[str, Any]]:
    """List pauses of a client before it repeats a request.

    Each entry has the number of earlier pauses, the random number, and two lengths in seconds: the minimum length, and
    the expected length of this pause.
    """
    rows = [(0, 0.0, 0), (0, 0.5, 0), (0, 1.0, 0), (1, 1.0, 0), (2, 0.5, 0), (3, 1.0, 0), (5, 1.0, 0), (6, 1.0, 0)]
    rows += [(7, 0.25, 0), (40, 1.0, 0), (0, 0.5, 3), (2, 1.0, 120), (1000, 0.5, 1), (0, 0.0, 5)]
    return [
        {"pauses": n, "draw": draw, "at_least": least, "expect": least + draw * min(30.0, 0.5 * 2 ** min(n, 16))}
        for n, draw, least in rows
    ]
