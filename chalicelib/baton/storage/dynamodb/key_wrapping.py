"""Encrypt the key ring before it is stored."""

import os
from typing import ClassVar, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.items import Item, binary

PURPOSE: Final = {"purpose": "baton key ring"}
"""The encryption context. It names no table: a ring restored into another table must still open."""

NONCE_BYTES: Final = 12


class Wrapper(Protocol):
    """What keeps a ring unreadable in the table."""

    makes_absent_ring: ClassVar[bool]
    """Whether a ring that is not there is made at first use, or is our own trouble."""

    def wrap(self, ring: bytes) -> Item:
        """Wrap a ring into the attributes that are stored."""

    def unwrap(self, stored: Item) -> bytes:
        """Open what ``wrap`` made, and nothing else. Raises ``Unavailable``."""


class LocalWrapper:
    """No wrapping at all: for development, where whoever reads the table is the developer."""

    makes_absent_ring: ClassVar[bool] = True

    def wrap(self, ring: bytes) -> Item:
        """Store the ring as it is."""
        return {"ring": binary(ring)}

    def unwrap(self, stored: Item) -> bytes:
        """Take the ring as it is."""
        if "data_key" in stored:
            raise Unavailable("the key ring is wrapped by KMS, and the settings name no KMS key")
        return stored["ring"]["B"]


class KmsWrapper:
    """An envelope: AES-256-GCM under a data key of its own, which only KMS can open.

    KMS itself encrypts at most 4 KB, which a ring outgrows with its rotations.
    """

    makes_absent_ring: ClassVar[bool] = False

    def __init__(self, key_id: str, kms: AwsClient | None = None) -> None:
        """Name the customer key: its id, ARN or alias."""
        self._key_id = key_id
        self._kms = kms or AwsClient("kms")

    def wrap(self, ring: bytes) -> Item:
        """Draw a data key, encrypt the ring under it, and keep the data key as KMS wrapped it."""
        data_key = self._kms.call("generate_data_key", KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=PURPOSE)
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(data_key["Plaintext"]).encrypt(nonce, ring, None)
        return {"ring": binary(sealed), "data_key": binary(data_key["CiphertextBlob"])}

    def unwrap(self, stored: Item) -> bytes:
        """Let KMS open the data key, under our key and context alone, and open the ring with it."""
        if "data_key" not in stored:
            raise Unavailable("the key ring is not wrapped by KMS: refusing a ring that anybody may have put there")
        opened = self._kms.call(
            "decrypt", KeyId=self._key_id, CiphertextBlob=stored["data_key"]["B"], EncryptionContext=PURPOSE
        )
        sealed = stored["ring"]["B"]
        try:
            return AESGCM(opened["Plaintext"]).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except InvalidTag:
            raise Unavailable("the key ring does not open under its data key") from None
