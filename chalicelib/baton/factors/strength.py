"""Passwords: read once, judged for strength, kept as Argon2id verifiers (NIST SP 800-63B 3.1.1, RFC 9106)."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from chalicelib.baton import policy
from chalicelib.baton.errors import Malformed
from chalicelib.baton.factors.frozen_unicode import nfkc
from chalicelib.baton.factors.refusals import ContainsContext, PasswordTooLarge, TooCommon, TooShort

SERVICE_WORD = "baton"


def normalise(password: str) -> bytes:
    """Give a password its one spelling: NFKC, in UTF-8, by Unicode 3.2.0, which no Python to come will change.

    Characters of later versions stay as they are: one keyboard sends the same ones every time.

    Capped at 1,024 bytes *before* normalising, for NFKC is quadratic on hostile input. Raises ``PasswordTooLarge``,
    and ``Malformed`` for a NUL or a lone surrogate.
    """
    if len(password.encode(errors="surrogatepass")) > policy.PASSWORD_BYTES_MAX:
        raise PasswordTooLarge
    if "\0" in password or any("\ud800" <= character <= "\udfff" for character in password):
        raise Malformed(
            "NUL or surrogate",
            pointer="/password",
            detail="The password has a NUL character or half of a surrogate pair.",
        )
    return nfkc(password).encode()


GUESSES_MIN = 8
"""NIST asks eight characters of any password at all: listed words and repeats must not shrink a long one below that."""

_WORD_CHARACTERS_MAX = 40

_CONTEXT_CHARACTERS_MIN = 4
"""Shorter parts of an address ("li", "tom") turn up in honest passphrases by chance."""

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
"""Ways a finger walks over a keyboard or a mind over the alphabet."""

_SEPARATORS = re.compile(r"[\s_.,\-]+")
_LOOKALIKES = str.maketrans("013457@$!|+l", "oieastasiiti")


def check_strength(password: str, *, email: str) -> None:
    """Refuse a password that would not protect its account, and say why. No rules of composition.

    ``password`` is as ``normalise`` left it. Raises ``TooShort`` under 15 characters (code points),
    ``ContainsContext`` when it holds, or is built around, the name of the service or parts of the ``email``
    (canonical), and ``TooCommon`` when it is built of listed words, repeats and sequences.
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
    """Count what somebody who knows ``words`` (folded) has to guess, up to ``GUESSES_MIN``.

    A word, a run along a keyboard row or the alphabet, and a repetition of what stood before are one guess each; so
    is any other character.
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
    """Measure the longest stretch from ``start`` that also begins further left, overlaps included ("aaaa")."""
    # What occurs further left does so at any shorter length: bisect, so that hostile input stays cheap.
    low, high = 0, len(text) - start
    while low < high:
        length = (low + high + 1) // 2
        if text.find(text[start : start + length], 0, start + length - 1) >= 0:
            low = length
        else:
            high = length - 1
    return low if low >= _RUN_CHARACTERS_MIN else 0


def _context(email: str) -> tuple[frozenset[str], frozenset[str]]:
    """Name what may not occur in a password at all, and the parts it may not be built around. Folded."""
    local, _, domain = email.rpartition("@")
    names = [local, *(_unicode_of(label) for label in domain.split(".")[:-1])]
    whole = (SERVICE_WORD, local, email)
    parts = (part for name in names for part in re.split(r"[\W_]+", name))
    return frozenset(_folded(whole)), frozenset(_folded(parts))


def _unicode_of(label: str) -> str:
    """Show a label as a person knows it: an A-label is Punycode (RFC 3492) after its prefix."""
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
