"""E-mail addresses: one spelling for each, and a clear no to what cannot be one."""

import re
import unicodedata

from chalicelib.core.errors import InvalidEmail
from chalicelib.core.policy import EMAIL_BYTES_MAX

_RAW_BYTES_MAX = 4 * EMAIL_BYTES_MAX
"""NFKC makes a character four bytes shorter at the most (MATHEMATICAL BOLD A); more can never come out small enough."""
_LOCAL_BYTES_MAX = 64
_LABEL_BYTES_MAX = 63
_LOCAL_ASCII = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~")
_LABEL_ASCII = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Letters and marks among Unicode's Default_Ignorable_Code_Point (UAX 44); the others are of no such category."""


def canonical_email(email: str) -> str:
    """Give an address its one spelling: NFKC, trimmed, lower-cased whole; at most 254 bytes of UTF-8.

    Canonicalised first, then validated: a dot-atom, ``@``, and at least two labels (RFC 5321 4.1.2, RFC 6531 3.3).
    Quoted local parts and address literals are refused, and so is whatever is neither letter, mark nor number beyond
    ASCII, or is one and cannot be seen: it would give one address two spellings. Raises ``InvalidEmail``.
    """
    if len(email.encode(errors="surrogatepass")) > _RAW_BYTES_MAX:
        raise InvalidEmail("too long to be normalised")
    canonical = _canonical(email)
    if len(canonical.encode(errors="surrogatepass")) > EMAIL_BYTES_MAX:
        raise InvalidEmail("over 254 bytes")
    local, _, domain = canonical.partition("@")
    if not (_is_local(local) and _is_domain(domain)):
        raise InvalidEmail("not a dot-atom, @ and a domain")
    return canonical


def _canonical(email: str) -> str:
    # Lower-casing can leave a form that NFKC would change again: once more, so that canonical stays canonical.
    lowered = unicodedata.normalize("NFKC", email).lower()
    return unicodedata.normalize("NFKC", lowered).strip()


def _is_local(local: str) -> bool:
    return 0 < len(local.encode(errors="surrogatepass")) <= _LOCAL_BYTES_MAX and all(
        atom and all(_is_letter(character, _LOCAL_ASCII) for character in atom) for atom in local.split(".")
    )


def _is_domain(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) > 1 and not labels[-1].isdecimal() and all(_is_label(label) for label in labels)


def _is_label(label: str) -> bool:
    return (
        0 < len(label.encode(errors="surrogatepass")) <= _LABEL_BYTES_MAX
        and not (label.startswith("-") or label.endswith("-"))
        and all(_is_letter(character, _LABEL_ASCII) for character in label)
    )


def _is_letter(character: str, ascii_letters: frozenset[str]) -> bool:
    return character in ascii_letters or (
        not character.isascii() and unicodedata.category(character)[0] in "LMN" and not _INVISIBLE.match(character)
    )
