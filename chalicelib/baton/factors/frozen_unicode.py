"""Normalisation by Unicode 3.2.0, which gives the same result with every version of Python. No I/O.

Each Python has its own Unicode version. A password that was normalised with one version could be refused with the next
one. Every Python also has Unicode 3.2.0, for IDNA 2003 (``unicodedata.ucd_3_2_0``). Its categories never change. Its
``normalize`` does change: it orders combining marks and composes with the newest tables, also for characters that 3.2.0
does not have. So this module normalises only runs of characters that 3.2.0 has, and keeps later characters. Unicode
never changes the normal form of assigned characters.

Source: "Normalization Stability" in the Unicode Character Encoding Stability Policies.
"""

import unicodedata
from itertools import groupby

_UNASSIGNED = "Cn"


def nfkc(text: str) -> str:
    """Return the NFKC form of a text by Unicode 3.2.0. Characters of later versions are not changed."""
    if text.isascii():
        return text
    return "".join(
        unicodedata.ucd_3_2_0.normalize("NFKC", "".join(stretch)) if assigned else "".join(stretch)
        for assigned, stretch in groupby(text, key=is_assigned)
    )


def is_assigned(character: str) -> bool:
    """Check whether Unicode 3.2.0 has the character."""
    return category(character) != _UNASSIGNED


def category(character: str) -> str:
    """Return the general category of a character in Unicode 3.2.0. ``Cn`` means that it is not assigned."""
    return unicodedata.ucd_3_2_0.category(character)
