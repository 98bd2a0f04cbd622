"""Encryption of the stored answers of exactly-once calls (routes with ``once=True``).

The item key is the primary key of the item that stores the answer. Each item has its own encryption key, HKDF(root,
"once", item key). The item key is also in the associated data. So an answer that was copied to the item of another
account, or of another call, does not decrypt.

Format 1: one byte 1, one byte root version, 12 bytes nonce, AES-256-GCM ciphertext with its 16-byte tag.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.baton.keys.ring import KEY_BYTES, NONCE_BYTES, CannotDecrypt, Ring, Root, hkdf

FORMAT: Final = 1
_HEAD_BYTES: Final = 2


def encrypt_answer(answer: bytes, *, item: str, ring: Ring, now: int, nonce: bytes) -> bytes:
    """Encrypt an answer. ``item`` is the item key, ``nonce`` is 12 bytes.

    The nonce must be random: under one root secret, all answers that an item stores use the same encryption key.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 bytes")
    root = ring.root_for_new(now)
    head = bytes([FORMAT, root.version])
    return head + nonce + AESGCM(_key(root, item)).encrypt(nonce, answer, head + item.encode())


def decrypt_answer(encrypted: bytes, *, item: str, ring: Ring) -> bytes:
    """Decrypt the answer of an item. ``item`` is the item key.

    Raises ``CannotDecrypt`` for an answer that belongs to another item, was altered, or has an unknown format or root
    version.
    """
    head, nonce = encrypted[:_HEAD_BYTES], encrypted[_HEAD_BYTES : _HEAD_BYTES + NONCE_BYTES]
    root = ring.root(head[1]) if len(head) == _HEAD_BYTES and head[0] == FORMAT else None
    if root is None:
        raise CannotDecrypt("a stored answer has an unknown format or root version")
    try:
        return AESGCM(_key(root, item)).decrypt(nonce, encrypted[_HEAD_BYTES + NONCE_BYTES :], head + item.encode())
    except (InvalidTag, ValueError):
        raise CannotDecrypt("a stored answer does not decrypt for its item") from None


def _key(root: Root, item: str) -> bytes:
    # `derive` is not used here: its cache is small, and an item is read once or never.
    return hkdf(root.secret, b"once " + item.encode(), KEY_BYTES)
