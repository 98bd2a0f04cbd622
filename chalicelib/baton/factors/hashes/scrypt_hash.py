"""scrypt (RFC 7914), as `$scrypt$ln=14,r=8,p=1$salt$hash`: base64 without padding, and N is 2 to the power of ln."""

import hashlib
import hmac
import re

from msgspec import Struct

from chalicelib.baton.factors.hashes.reading import (
    SALT_BYTES_MAX,
    TAG_BYTES_MAX,
    TAG_BYTES_MIN,
    b64,
    check_range,
    unknown,
    unpadded,
)

LN_MIN, LN_MAX = 10, 17
R_MAX = 16
WORK_MAX = 2**20
"""The maximum product N·r·p. The time of a computation is proportional to this product."""

_FORM = re.compile(
    r"\$scrypt\$ln=([1-9][0-9]?),r=([1-9][0-9]{0,2}),p=([1-9][0-9]{0,5})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
DECOY = re.compile(r"scrypt-n([0-9]{1,2})-r([0-9]{1,3})-p([0-9]{1,6})")


class Scrypt(Struct, frozen=True):
    """A scrypt hash whose form and cost are valid. ``cost`` is ln, r and p."""

    cost: tuple[int, int, int]
    salt: bytes
    tag: bytes

    @property
    def name(self) -> str:
        """The kind with its cost, such as ``scrypt-n14-r8-p1`` for ln=14, r=8 and p=1."""
        ln, r, p = self.cost
        return f"scrypt-n{ln}-r{r}-p{p}"

    def matches(self, password: bytes) -> bool:
        """Check a password."""
        return hmac.compare_digest(derive(password, self.salt, self.cost, len(self.tag)), self.tag)


def read(text: str) -> Scrypt:
    """Read a scrypt string. Raises ``HashRefused`` for an unknown form, or a cost outside the limits."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise unknown("not a scrypt string with ln, r, p, salt and hash")
    ln, r, p = (int(number) for number in match.groups()[:3])
    check_cost(ln, r, p)
    salt = unpadded(match[4], least=1, most=SALT_BYTES_MAX, what="salt")
    return Scrypt((ln, r, p), salt, unpadded(match[5], least=TAG_BYTES_MIN, most=TAG_BYTES_MAX, what="hash"))


def check_cost(ln: int, r: int, p: int, *, ln_max: int = LN_MAX, r_max: int = R_MAX) -> None:
    """Check that the cost is within the limits. Raises ``HashRefused``.

    RFC 7914 section 2 requires that N is less than 2 to the power of 16·r. OpenSSL refuses any other N.
    """
    check_range("ln", ln, LN_MIN, ln_max)
    check_range("r", r, 1, r_max)
    if ln >= 16 * r:
        raise unknown("ln is not less than 16 times r (RFC 7914 section 2)")
    check_range("N times r times p", 2**ln * r * p, 1, WORK_MAX)


def write(salt: bytes, tag: bytes, *, ln: int, r: int, p: int) -> str:
    """Return the scrypt string of the hash ``tag``."""
    return f"$scrypt$ln={ln},r={r},p={p}${b64(salt)}${b64(tag)}"


def derive(password: bytes, salt: bytes, cost: tuple[int, int, int], length: int) -> bytes:
    """Compute scrypt. This needs 128·r·(N + p + 2) bytes of memory, so OpenSSL's limit of 32 MiB is replaced."""
    ln, r, p = cost
    memory = 128 * r * (2**ln + p + 2)
    return hashlib.scrypt(password, salt=salt, n=2**ln, r=r, p=p, maxmem=memory + 1024, dklen=length)


def decoy(match: re.Match[str]) -> str:
    """Return a hash that no password has. Its cost is in ``match``, a match of the pattern ``DECOY``."""
    ln, r, p = (int(number) for number in match.groups())
    return write(b"nobody's salt...", b"nobody's tag, which nothing hits", ln=ln, r=r, p=p)
