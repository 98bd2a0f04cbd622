"""The modified scrypt of Firebase Authentication, in the string format of Supabase.

The string is `$fbscrypt$v=1,n=14,r=8,p=1,ss=<salt separator>,sk=<signer key>$salt$hash`. The salt separator, the signer
key, the salt and the hash are in base64 with padding. scrypt of the password makes a key of 32 bytes. AES-256-CTR with
this key and a counter from zero encrypts the signer key of the project. The result is the hash.

Source: github.com/firebase/scrypt; github.com/supabase/auth, ``internal/crypto/password.go``.
"""

import base64
import hmac
import re

from msgspec import Struct

from chalicelib.baton.factors.hashes import scrypt_hash
from chalicelib.baton.factors.hashes.reading import SALT_BYTES_MAX, padded, unknown

N_MAX, R_MAX = 14, 8
KEY_BYTES = 32
SIGNER_KEY_BYTES = 64

_FORM = re.compile(
    r"\$fbscrypt\$v=1,n=([1-9][0-9]?),r=([1-9][0-9]?),p=([1-9][0-9]?)(?:,ss=([A-Za-z0-9+/=]+))?,sk=([A-Za-z0-9+/=]+)"
    r"\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)"
)
DECOY = re.compile(r"fbscrypt(?:-n([0-9]{1,2})-r([0-9]{1,2})-p([0-9]{1,2}))?")
_USUAL = (14, 8, 1)


class Firebase(Struct, frozen=True):
    """A hash of Firebase whose form and cost are valid. ``cost`` is n, r and p. scrypt's N is 2**n."""

    cost: tuple[int, int, int]
    salt: bytes
    signer_key: bytes
    tag: bytes

    @property
    def name(self) -> str:
        """The kind with its cost. The usual cost of Firebase projects is omitted."""
        n, r, p = self.cost
        return "fbscrypt" if self.cost == _USUAL else f"fbscrypt-n{n}-r{r}-p{p}"

    def matches(self, password: bytes) -> bool:
        """Check a password."""
        return hmac.compare_digest(derive(password, self.salt, self.signer_key, self.cost), self.tag)


def derive(password: bytes, salt: bytes, signer_key: bytes, cost: tuple[int, int, int]) -> bytes:
    """Compute Firebase's hash of a password. ``salt`` includes the salt separator. ``cost`` is n, r and p."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415 - cold start

    key = scrypt_hash.derive(password, salt, cost, KEY_BYTES)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return encryptor.update(signer_key) + encryptor.finalize()


def read(text: str) -> Firebase:
    """Read an ``fbscrypt`` string. Raises ``HashRefused`` for an unknown form, or a cost outside the limits."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise unknown("not a string of Firebase's scrypt with n, r, p, ss, sk, salt and hash")
    n, r, p = (int(number) for number in match.groups()[:3])
    scrypt_hash.check_cost(n, r, p, ln_max=N_MAX, r_max=R_MAX)
    separator = padded(match[4] or "", least=0, most=SALT_BYTES_MAX, what="salt separator")
    signer_key = padded(match[5], least=SIGNER_KEY_BYTES, most=SIGNER_KEY_BYTES, what="signer key")
    salt = padded(match[6], least=1, most=SALT_BYTES_MAX, what="salt")
    tag = padded(match[7], least=SIGNER_KEY_BYTES, most=SIGNER_KEY_BYTES, what="hash")
    return Firebase((n, r, p), salt + separator, signer_key, tag)


def write(  # noqa: PLR0913 - the members of the string
    salt: bytes, tag: bytes, *, signer_key: bytes, separator: bytes, n: int, r: int, p: int = 1
) -> str:
    """Return the ``fbscrypt`` string of the hash ``tag``. ``salt`` does not include the salt separator."""
    ss = f",ss={_padded(separator)}" if separator else ""
    return f"$fbscrypt$v=1,n={n},r={r},p={p}{ss},sk={_padded(signer_key)}${_padded(salt)}${_padded(tag)}"


def _padded(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def decoy(match: re.Match[str]) -> str:
    """Return a hash that no password has. Its cost is in ``match``, a match of the pattern ``DECOY``."""
    n, r, p = (int(number) for number in match.groups()) if match[1] else _USUAL
    key = b"nobody's signer key, which no project has and nothing can guess."
    return write(b"nobody's s", key, signer_key=key, separator=b"\x07", n=n, r=r, p=p)
