"""Convert password hashes of other systems to strings that Baton verifies (``chalicelib/baton/factors/hashes``)."""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.baton.factors.hashes import firebase_hash as fbscrypt
from chalicelib.baton.factors.hashes import scrypt_hash

_PARAMETER = re.compile(r"^\s*\"?(\w+)\"?\s*[:=]\s*\"?([^\s\",}]+)", re.MULTILINE)


class BadParameters(ValueError):
    """The file has no hash parameters of Firebase, or names an algorithm other than SCRYPT."""


class FirebaseParameters(NamedTuple):
    """The hash parameters of a Firebase project."""

    signer_key: bytes
    separator: bytes
    rounds: int
    mem_cost: int


def read_parameters(file: Path) -> FirebaseParameters:
    """Read the block ``hash_config`` as the console of Firebase shows it. Raises ``BadParameters``."""
    found = dict(_PARAMETER.findall(file.read_text("utf-8", errors="replace")))
    if found.get("algorithm", "SCRYPT").upper() != "SCRYPT":
        message = f"the algorithm is {found['algorithm']}: only SCRYPT is read"
        raise BadParameters(message)
    try:
        return FirebaseParameters(
            base64.b64decode(found["base64_signer_key"], validate=True),
            base64.b64decode(found.get("base64_salt_separator", ""), validate=True),
            int(found["rounds"]),
            int(found["mem_cost"]),
        )
    except (KeyError, ValueError, binascii.Error) as wrong:
        message = f"not the hash parameters of Firebase: {type(wrong).__name__} {wrong}"
        raise BadParameters(message) from None


def firebase_hash(account: Mapping[str, Any], parameters: FirebaseParameters) -> str | None:
    """Convert the password hash of an account to the form of Baton. Return ``None`` if the account has no hash.

    Raises ``ValueError`` for invalid base64.
    """
    if not account.get("passwordHash"):
        return None
    return fbscrypt.write(
        _either_base64(account.get("salt", "")),
        _either_base64(account["passwordHash"]),
        signer_key=parameters.signer_key,
        separator=parameters.separator,
        n=parameters.mem_cost,
        r=parameters.rounds,
    )


def _either_base64(text: str) -> bytes:
    """Decode base64 or base64url, with or without padding: the tools of Firebase write both."""
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def better_auth_hash(stored: str) -> str | None:
    """Return a hash of Better Auth in the form of Baton, or ``None`` if ``stored`` is empty.

    Better Auth stores ``salt:key`` in hex. Its scrypt takes the hex text of the salt, not the decoded bytes.
    """
    if not stored:
        return None
    if stored.startswith("$"):  # the team gave Better Auth another hash function
        return stored
    salt, _, key = stored.partition(":")
    return scrypt_hash.write(salt.encode("ascii"), bytes.fromhex(key), ln=14, r=16, p=1)


def auth0_hash(account: Mapping[str, Any]) -> str | None:
    """Return the password hash from the member ``custom_password_hash``, or ``None`` without this member.

    If this function cannot convert the hash, it returns the name of the algorithm. The import then refuses the account.
    """
    custom = account.get("custom_password_hash")
    if not isinstance(custom, dict):
        return None
    hashed = custom.get("hash") or {}
    algorithm, value = custom.get("algorithm"), str(hashed.get("value", ""))
    if algorithm in {"bcrypt", "argon2", "pbkdf2"}:
        return value
    if algorithm != "scrypt":
        return f"{algorithm}"
    try:
        salt = _encoded(custom.get("salt") or {})
        cost = int(custom.get("cost", 16384))
        return scrypt_hash.write(
            salt,
            _encoded(hashed),
            ln=cost.bit_length() - 1 if cost & (cost - 1) == 0 else 0,
            r=int(custom.get("blockSize", 8)),
            p=int(custom.get("parallelization", 1)),
        )
    except ValueError:
        return "scrypt"


def _encoded(part: Mapping[str, Any]) -> bytes:
    value, encoding = str(part.get("value", "")), part.get("encoding", "utf8")
    if encoding == "hex":
        return bytes.fromhex(value)
    return _either_base64(value) if encoding == "base64" else value.encode()
