"""The normal form of passwords and texts, by Unicode 3.2.0: the same with every version of Python. No I/O.

Each version of Python has its own version of Unicode. If a password was normalised with one version, the check could
fail with the next version. Every Python also has Unicode 3.2.0, for IDNA 2003 (``unicodedata.ucd_3_2_0``). The
categories in this object never change. The results of its function ``normalize`` do change: for characters that 3.2.0
does not have, the function uses the newest tables. So this module normalises only runs of characters that 3.2.0 has,
and keeps later characters as they are. Unicode never changes the normal form of assigned characters.

Source: "Normalization Stability" in the Unicode Character Encoding Stability Policies.
"""

import unicodedata
from itertools import groupby

from chalicelib.baton import policy
from chalicelib.baton.errors import Malformed
from chalicelib.baton.factors.refusals import PasswordTooLarge

_UNASSIGNED = "Cn"


def normalise(password: str) -> bytes:
    """Return the canonical form of a password: NFKC of Unicode 3.2.0 (see `nfkc`), in UTF-8.

    Raises:
        PasswordTooLarge: more than 1,024 bytes. This is checked before NFKC, which is quadratic on hostile input.
        Malformed: the password has a NUL or half of a surrogate pair.

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
    """Return the general category of a character in Unicode 3.2.0. ``Cn``: the character is not assigned."""
    return unicodedata.ucd_3_2_0.category(character)
