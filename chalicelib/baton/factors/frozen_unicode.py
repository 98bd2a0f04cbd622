"""Unicode that no runtime changes: what is derived from stored text must come out the same under every Python.

Each Python brings its own Unicode version, and normalising by it made a password that was set under one unusable under
the next. All bring Unicode 3.2.0 besides, for IDNA 2003 (``unicodedata.ucd_3_2_0``). Its categories are the same
everywhere, but its ``normalize`` is not: it orders combining marks and composes by the newest tables, also for
characters that 3.2.0 does not have. So only the stretches of characters that 3.2.0 has are normalised here. What came
later passes through unchanged. Of assigned characters, Unicode never changes the normal form ("Normalization
Stability" in the Unicode Character Encoding Stability Policies).

No I/O, and no table of its own.
"""

import unicodedata
from itertools import groupby

_UNASSIGNED = "Cn"


def nfkc(text: str) -> str:
    """Give text its NFKC form by Unicode 3.2.0; characters of later versions stay as they are, and where they are."""
    if text.isascii():
        return text
    return "".join(
        unicodedata.ucd_3_2_0.normalize("NFKC", "".join(stretch)) if assigned else "".join(stretch)
        for assigned, stretch in groupby(text, key=is_assigned)
    )


def is_assigned(character: str) -> bool:
    """Tell whether Unicode 3.2.0 has the character."""
    return category(character) != _UNASSIGNED


def category(character: str) -> str:
    """Give the general category of a character in Unicode 3.2.0, ``Cn`` where it has none."""
    return unicodedata.ucd_3_2_0.category(character)
