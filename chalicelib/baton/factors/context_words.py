"""Find passwords made from the person's address or the name of the service: an attacker has both. No I/O.

The *words* are the address, its local part, its domain, the labels of the domain, the name of the service, and
"baton". The local part and the labels are also split at characters that are not letters, and each piece is a word too.
A password is refused if the whole of it is

1. one word,
2. a repetition of one word,
3. two words in a row, or
4. within two edits (insert, remove or replace a character) of one word of at least 8 characters.

The password is also compared without the non-letters at its beginning, at its end, and at both ends. For example,
"!!ada2026" is also compared as "ada". Separators are ignored, and look-alike characters are equal (``0`` and ``o``). A
longer password may contain a word: for ``rose@example.com``, "prose about volcanic umbrellas" is accepted.
"""

import re
from collections.abc import Iterator

from chalicelib.baton.factors.block_list import without_separators

SERVICE_WORD = "baton"

_WORD_CHARACTERS_MIN = 3
"""The length of the shortest word that is compared.

If a password contains a shorter word ("li"), the other characters make the password hard to guess.
"""

_EDITED_CHARACTERS_MIN = 8
_EDITS_MAX = 2

_NO_LETTERS = re.compile(r"[\W\d_]+")
_LOOKALIKES = str.maketrans("013457@$!|+l", "oieastasiiti")


def words_of(email: str, *, product: str = "") -> frozenset[str]:
    """Return the words of a canonical address and of the service ``product``, in the form in which they are compared.

    The form has no capitals and no separators, and each look-alike character is replaced (``0`` by ``o``).
    """
    local, _, domain = email.rpartition("@")
    labels = [_unicode_of(label) for label in domain.split(".")]
    parts = (part for name in (local, *labels) for part in _NO_LETTERS.split(name))
    words = (SERVICE_WORD, product, email, local, domain, *labels, *parts)
    folded = (without_separators(word.casefold()).translate(_LOOKALIKES) for word in words)
    return frozenset(word for word in folded if len(word) >= _WORD_CHARACTERS_MIN)


def is_made_of(password: str, words: frozenset[str]) -> bool:
    """Check whether the whole of a password is made from ``words``. ``password`` is the password after ``casefold``."""
    return any(
        _is_two_in_a_row(whole, words) or any(_is_repetition(whole, word) or _is_near(whole, word) for word in words)
        for whole in set(_wholes(without_separators(password)))
    )


def _wholes(text: str) -> Iterator[str]:
    """Yield the text, and the text without the non-letters at its beginning, at its end, and at both ends."""
    first = next((position for position, character in enumerate(text) if character.isalpha()), len(text))
    last = next((position for position in range(len(text), first, -1) if text[position - 1].isalpha()), first)
    for part in (text, text[first:], text[:last], text[first:last]):
        yield part.translate(_LOOKALIKES)


def _is_repetition(text: str, word: str) -> bool:
    """Check whether the text is the word, or repetitions of the word."""
    times, rest = divmod(len(text), len(word))
    return times > 0 and rest == 0 and text == word * times


def _is_two_in_a_row(text: str, words: frozenset[str]) -> bool:
    return any(text.startswith(word) and text[len(word) :] in words for word in words)


def _is_near(text: str, word: str) -> bool:
    """Check whether at most two edits turn a word of at least 8 characters into the text (Levenshtein 1966).

    Only the cells near the diagonal of the matrix of edit distances are computed.
    """
    if len(word) < _EDITED_CHARACTERS_MIN or abs(len(text) - len(word)) > _EDITS_MAX:
        return False
    far = _EDITS_MAX + 1
    above = {column: column for column in range(far)}
    for row, character in enumerate(text, start=1):
        here: dict[int, int] = {}
        for column in range(max(0, row - _EDITS_MAX), min(len(word), row + _EDITS_MAX) + 1):
            replaced = above.get(column - 1, far) + (word[column - 1] != character)
            here[column] = min(replaced, above.get(column, far) + 1, here.get(column - 1, far) + 1)
        if min(here.values()) > _EDITS_MAX:
            return False
        above = here
    return above[len(word)] <= _EDITS_MAX


def _unicode_of(label: str) -> str:
    """Return the Unicode form of a label. After the prefix ``xn--``, a label is in Punycode (RFC 3492)."""
    try:
        return label.removeprefix("xn--").encode().decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label
