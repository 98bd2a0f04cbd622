"""Read a password hash (the beginning of its string gives its kind), and make a decoy of each kind. No I/O."""

from chalicelib.baton.factors.hashes.reading import HashRefused, StoredHash, unknown

HASH_CHARACTERS_MAX = 512


def read_hash(text: str) -> StoredHash:
    """Read a password hash, and check its form and cost. Raises ``HashRefused``.

    For a faster cold start, this function imports only the module for the kind of the hash.
    """
    if len(text) > HASH_CHARACTERS_MAX:
        raise unknown(f"more than {HASH_CHARACTERS_MAX} characters")
    if text.startswith("$argon2"):
        from chalicelib.baton.factors.hashes import argon2_hash  # noqa: PLC0415 - cold start

        return argon2_hash.read(text)
    if text.startswith("$2"):
        from chalicelib.baton.factors.hashes import bcrypt_hash  # noqa: PLC0415 - cold start

        return bcrypt_hash.read(text)
    if text.startswith("$scrypt$"):
        from chalicelib.baton.factors.hashes import scrypt_hash  # noqa: PLC0415 - cold start

        return scrypt_hash.read(text)
    if text.startswith("$fbscrypt$"):
        from chalicelib.baton.factors.hashes import firebase_hash  # noqa: PLC0415 - cold start

        return firebase_hash.read(text)
    if text.startswith("$pbkdf2-"):
        from chalicelib.baton.factors.hashes import pbkdf2_hash  # noqa: PLC0415 - cold start

        return pbkdf2_hash.read(text)
    raise unknown("not argon2, bcrypt, scrypt, fbscrypt or pbkdf2")


def decoy_of(name: str) -> str:
    """Return a hash that no password has. ``name`` gives its kind and cost, in the form of ``StoredHash.name``.

    Raises ``ValueError`` for an unknown name, and ``HashRefused`` for a cost out of bounds.
    """
    from chalicelib.baton.factors.hashes import (  # noqa: PLC0415 - cold start
        argon2_hash,
        bcrypt_hash,
        firebase_hash,
        pbkdf2_hash,
        scrypt_hash,
    )

    for pattern, decoy in (
        (argon2_hash.DECOY, argon2_hash.decoy),
        (bcrypt_hash.DECOY, bcrypt_hash.decoy),
        (scrypt_hash.DECOY, scrypt_hash.decoy),
        (firebase_hash.DECOY, firebase_hash.decoy),
        (pbkdf2_hash.DECOY, pbkdf2_hash.decoy),
    ):
        match = pattern.fullmatch(name)
        if match is not None:
            text = decoy(match)
            if read_hash(text).name != name:
                break
            return text
    message = f"{name!r} is not the name of a kind of hash"
    raise ValueError(message)


__all__ = ["HASH_CHARACTERS_MAX", "HashRefused", "StoredHash", "decoy_of", "read_hash"]
