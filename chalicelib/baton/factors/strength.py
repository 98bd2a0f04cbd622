"""Check the strength of passwords (NIST SP 800-63B 3.1.1). No I/O, except for the list of common words."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from chalicelib.baton import policy
from chalicelib.baton.factors.refusals import ContainsContext, TooCommon, TooShort

SERVICE_WORD = "baton"


GUESSES_MIN = 8
"""The minimum number of units. NIST requires at least eight characters. A common word, a repetition and a single
character each count as one unit."""

_WORD_CHARACTERS_MAX = 40

_CONTEXT_CHARACTERS_MIN = 4
"""The minimum length of a part that counts. Shorter parts of an address ("li", "tom") occur in good passphrases by
chance."""

_RUN_CHARACTERS_MIN = 3

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

_SEPARATORS = re.compile(r"[\s_.,\-]+")
_LOOKALIKES = str.maketrans("013457@$!|+l", "oieastasiiti")


def check_strength(password: str, *, email: str) -> None:
    """Refuse a weak password. There are no rules of composition.

    ``password`` is a result of ``normalise``, ``email`` a canonical address.

    Raises:
        TooShort: fewer than 15 characters (code points).
        ContainsContext: it contains the name of the service or the address, or consists mainly of their parts.
        TooCommon: it consists mainly of common words, repetitions and sequences.

    """
    if len(password) < policy.PASSWORD_CHARACTERS_MIN:
        raise TooShort(characters_min=policy.PASSWORD_CHARACTERS_MIN)
    whole, parts = _context(email)
    text = _SEPARATORS.sub("", password.casefold())
    folded = text.translate(_LOOKALIKES)
    if any(word in folded for word in whole):
        raise ContainsContext
    if guesses(text, _common_words()) < GUESSES_MIN:
        raise TooCommon
    if guesses(text, _common_words() | parts) < GUESSES_MIN:
        raise ContainsContext


def guesses(text: str, words: frozenset[str]) -> int:
    """Count the units that an attacker with the list ``words`` (folded) must guess, up to ``GUESSES_MIN``.

    One unit is a word, a sequence of a keyboard row or of the alphabet, a repetition of an earlier part, or any other
    character.
    """
    folded = text.translate(_LOOKALIKES)
    count = position = 0
    while position < len(text) and count < GUESSES_MIN:
        position += max(
            1,
            _word_length(folded, position, words),
            _run_length(text, position),
            _repeat_length(text, position),
        )
        count += 1
    return count


def _word_length(folded: str, start: int, words: frozenset[str]) -> int:
    longest = min(_WORD_CHARACTERS_MAX, len(folded) - start)
    return next((length for length in range(longest, 0, -1) if folded[start : start + length] in words), 0)


def _run_length(text: str, start: int) -> int:
    def run(path: str) -> int:
        at = path.find(text[start])
        length = 0
        while at >= 0 and path[at + length : at + length + 1] == text[start + length : start + length + 1] != "":
            length += 1
        return length

    length = max(run(path) for path in _PATHS)
    return length if length >= _RUN_CHARACTERS_MIN else 0


def _repeat_length(text: str, start: int) -> int:
    """Return the length of the longest part from ``start`` that also occurs earlier. The two may overlap ("aaaa")."""
    # A part that occurs earlier does so at every shorter length. So a bisection keeps hostile input cheap.
    low, high = 0, len(text) - start
    while low < high:
        length = (low + high + 1) // 2
        if text.find(text[start : start + length], 0, start + length - 1) >= 0:
            low = length
        else:
            high = length - 1
    return low if low >= _RUN_CHARACTERS_MIN else 0


def _context(email: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words that a password must not contain, and those that it must not mainly consist of.

    Both are folded.
    """
    local, _, domain = email.rpartition("@")
    names = [local, *(_unicode_of(label) for label in domain.split(".")[:-1])]
    whole = (SERVICE_WORD, local, email)
    parts = (part for name in names for part in re.split(r"[\W_]+", name))
    return frozenset(_folded(whole)), frozenset(_folded(parts))


def _unicode_of(label: str) -> str:
    """Return the Unicode form of a label: an A-label is Punycode (RFC 3492) after its prefix."""
    try:
        return label.removeprefix("xn--").encode().decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label


def _folded(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        folded = _SEPARATORS.sub("", word.casefold()).translate(_LOOKALIKES)
        if len(folded) >= _CONTEXT_CHARACTERS_MIN:
            yield folded


@lru_cache(maxsize=1)
def _common_words() -> frozenset[str]:
    text = Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word.translate(_LOOKALIKES) for line in lines for word in line.split())
