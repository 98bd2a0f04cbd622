"""The block list: passwords that attackers try first (NIST SP 800-63B-4 section 3.1.1.2).

A password is blocked if the whole of it, with or without its separators, is one of these:

1. an entry of ``common_passwords.txt``;
2. a text of fewer than 5 different characters;
3. at most two runs along the alphabet, the digits or a keyboard. A character of a run may be repeated ("112233");
4. a unit and its repetitions, if the unit has fewer than 8 characters, or if rule 1, 2 or 3 applies to the unit. The
last repetition may be incomplete.

Example: "qwertyuiop-asdfgh" is two runs. A longer password may contain an entry of the list, such as "password".
"""

import re
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path

LISTED_CHARACTERS_MIN = 8
"""The length of the shortest entry of the list.

Every password must have at least this length, even if every client requires a second factor.
"""

_DIFFERENT_CHARACTERS_MIN = 5
_RUNS_MAX = 2

_PATHS = tuple(
    direction
    for path in (
        "abcdefghijklmnopqrstuvwxyz",
        "01234567890",
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
        "qwertzuiop",
        "yxcvbnm",
        "azertyuiop",
        "qsdfghjklm",
        "wxcvbn",
        "!@#$%^&*()",
        "qazwsxedcrfvtgbyhnujmikolp",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
        "1q2w3e4r5t6y7u8i9o0p",
        "q1w2e3r4t5y6u7i8o9p0",
        "a1b2c3d4e5f6g7h8i9j0",
        "1a2b3c4d5e6f7g8h9i0j",
        "abc123",
        "123abc",
    )
    for direction in (path, path[::-1])
)
"""Sequences of the alphabet, of numbers and of keyboards, in both directions."""
_PATH_CHARACTERS_MAX = max(map(len, _PATHS))

_SEPARATORS = re.compile(r"[\s_.,\-]+")


def without_separators(text: str) -> str:
    """Remove white space, dots, commas, hyphens and underscores."""
    return _SEPARATORS.sub("", text)


def is_blocked(folded: str) -> bool:
    """Check whether a password is blocked. ``folded`` is the password after ``casefold``.

    If the password as typed differs from its normal form (NFKC), the caller must check both, each after ``casefold``.
    """
    return any(_is_plain(text) or _is_repetition(text) for text in {folded, without_separators(folded)})


def _is_plain(text: str) -> bool:
    return text in _listed() or len(set(text)) < _DIFFERENT_CHARACTERS_MIN or _is_run(text)


def _is_repetition(text: str) -> bool:
    period = _period(text)
    return period is not None and (period < LISTED_CHARACTERS_MIN or _is_plain(text[:period]))


def _period(text: str) -> int | None:
    """Return the length of the shortest unit that is repeated to make up the text.

    ``None``: there is no such unit. The last repetition may be incomplete.

    In a text with such a unit, the first half of the text occurs again where the second unit begins. The search for the
    half is linear.
    """
    half = text[: (len(text) + 1) // 2]
    period = text.find(half, 1)
    while 0 < 2 * period <= len(text) and not text.startswith(text[period:]):
        period = text.find(half, period + 1)
    return period if 0 < 2 * period <= len(text) else None


def _is_run(text: str) -> bool:
    """Check whether at most two runs make up the whole text. Taking the longest run first gives the fewest runs."""
    text = "".join(character for character, _ in islice(groupby(text), _RUNS_MAX * _PATH_CHARACTERS_MAX + 1))
    position = 0
    for _ in range(_RUNS_MAX):
        if position < len(text):
            position += max(1, *(_run_length(text, position, path) for path in _PATHS))
    return position >= len(text)


def _run_length(text: str, start: int, path: str) -> int:
    at = path.find(text[start])
    length = 0
    while at >= 0 and path[at + length : at + length + 1] == text[start + length : start + length + 1] != "":
        length += 1
    return length


@lru_cache(maxsize=1)
def _listed() -> frozenset[str]:
    """Read the list, once in each process. The file begins with the licences, which end at the first empty line."""
    text = Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(text.partition("\n\n")[2].rstrip("\n").split("\n"))
