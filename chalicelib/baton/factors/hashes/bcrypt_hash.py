"""bcrypt, as `$2a$`, `$2b$` and `$2y$`.

For text, these three are the same algorithm. `$2x$` marks the faulty algorithm of crypt_blowfish before 1.1, and is
refused. bcrypt uses the first 72 bytes of a password. Since version 5.0, the library raises an error for more bytes, so
this module cuts the password.
"""

import re

from msgspec import Struct

from chalicelib.baton.factors.hashes.reading import check_range, unknown

COST_MIN, COST_MAX = 4, 13
PASSWORD_BYTES = 72

_FORM = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
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
        """Check the first 72 bytes of a password."""
        import bcrypt  # noqa: PLC0415 - cold start

        return bcrypt.checkpw(password[:PASSWORD_BYTES], self.text.encode("ascii"))


def read(text: str) -> Bcrypt:
    """Read a hash. Raises ``HashRefused``."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise unknown("not a bcrypt string of 60 characters with $2a$, $2b$ or $2y$")
    check_range("the cost", int(match[1]), COST_MIN, COST_MAX)
    return Bcrypt(text, int(match[1]))


def decoy(match: re.Match[str]) -> str:
    """Return a hash that no password has. Its cost is in ``match``, a match of the pattern ``DECOY``."""
    return f"$2b${int(match[1]):02}$bm9ib2R5J3Mgc2FsdC4uLeW5vdGhpbmcgaGl0cyB0aGlzIHRhZy4u"
