"""bcrypt, as `$2a$`, `$2b$` and `$2y$`.

For a password in UTF-8, these three prefixes mean the same algorithm. `$2x$` marks the faulty algorithm of
crypt_blowfish before 1.1, and is refused. bcrypt uses the first 72 bytes of a password. Since version 5.0, the library
raises an error for more bytes, so this module cuts the password.

The last character of the salt has 4 unused bits, and the last character of the hash has 2. Some old libraries set
these bits. This module clears them, because the library raises an error for such a salt.
"""

import re

from msgspec import Struct

from chalicelib.baton.factors.hashes.reading import check_range, unknown

COST_MIN, COST_MAX = 4, 13
PASSWORD_BYTES = 72

_FORM = re.compile(r"(\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21})([./A-Za-z0-9])([./A-Za-z0-9]{30})([./A-Za-z0-9])")
_BASE64 = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
DECOY = re.compile(r"bcrypt([0-9]{1,2})")


class Bcrypt(Struct, frozen=True):
    """A bcrypt string whose form and cost are valid."""

    text: str
    cost: int

    @property
    def name(self) -> str:
        """The kind with its cost, such as ``bcrypt12``."""
        return f"bcrypt{self.cost}"

    def matches(self, password: bytes) -> bool:
        """Check a password. bcrypt ignores all bytes after the first 72."""
        import bcrypt  # noqa: PLC0415 - cold start

        return bcrypt.checkpw(password[:PASSWORD_BYTES], self.text.encode("ascii"))


def read(text: str) -> Bcrypt:
    """Read a bcrypt string. Raises ``HashRefused`` for an unknown form, or a cost outside the limits."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise unknown("not a bcrypt string of 60 characters with $2a$, $2b$ or $2y$")
    salt, cost, last_of_salt, tag, last = match.groups()
    check_range("the cost", int(cost), COST_MIN, COST_MAX)
    return Bcrypt(salt + _cleared(last_of_salt, bits=4) + tag + _cleared(last, bits=2), int(cost))


def _cleared(character: str, *, bits: int) -> str:
    """Clear the lowest bits of a character in the base64 of bcrypt."""
    return _BASE64[_BASE64.index(character) >> bits << bits]


def decoy(match: re.Match[str]) -> str:
    """Return a hash that no password has. Its cost is in ``match``, a match of the pattern ``DECOY``."""
    return f"$2b${int(match[1]):02}$bm9ib2R5J3Mgc2FsdC4uLeW5vdGhpbmcgaGl0cyB0aGlzIHRhZy4u"
