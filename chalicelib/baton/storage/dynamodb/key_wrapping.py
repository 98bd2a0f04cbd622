"""Encrypt the key ring before it is stored."""

import os
from typing import ClassVar, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.values import Item, binary

PURPOSE: Final = {"purpose": "baton key ring"}
"""The encryption context. It has no table name, because a ring must still decrypt after a move to another table."""

NONCE_BYTES: Final = 12


class Wrapper(Protocol):
    """The interface of the wrappers. A wrapper converts the key ring to attributes of its item, and back."""

    makes_absent_ring: ClassVar[bool]
    """Whether a missing ring is made at first use. If not, a missing ring is a server error."""

    def wrap(self, ring: bytes) -> Item:
        """Return the ring as attributes for its item."""

    def unwrap(self, stored: Item) -> bytes:
        """Return the ring from the attributes that ``wrap`` returned.

        Raises ``Unavailable`` if another kind of wrapper made the attributes, or if the ring cannot be decrypted.
        """


class LocalWrapper:
    """The wrapper without encryption, for development, where only the developer reads the table."""

    makes_absent_ring: ClassVar[bool] = True

    def wrap(self, ring: bytes) -> Item:
        """Return the unencrypted ring as an attribute."""
        return {"ring": binary(ring)}

    def unwrap(self, stored: Item) -> bytes:
        """Return the ring. Raises ``Unavailable`` if it is encrypted with KMS."""
        if "data_key" in stored:
            raise Unavailable("the key ring is encrypted with KMS, and the settings name no KMS key")
        return stored["ring"]["B"]


class KmsWrapper:
    """Envelope encryption: AES-256-GCM with a data key. Only KMS can decrypt the data key.

    KMS encrypts at most 4 KB directly, and rotations make a ring larger than 4 KB.
    """

    makes_absent_ring: ClassVar[bool] = False

    def __init__(self, key_id: str, kms: AwsClient | None = None) -> None:
        """Use the customer key with this id, ARN or alias."""
        self._key_id = key_id
        self._kms = kms or AwsClient("kms")

    def wrap(self, ring: bytes) -> Item:
        """Encrypt the ring with a new data key. The item also contains the data key, encrypted by KMS."""
        data_key = self._kms.call("generate_data_key", KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=PURPOSE)
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(data_key["Plaintext"]).encrypt(nonce, ring, None)
        return {"ring": binary(sealed), "data_key": binary(data_key["CiphertextBlob"])}

    def unwrap(self, stored: Item) -> bytes:
        """Decrypt the data key with KMS, then decrypt the ring with the data key."""
        if "data_key" not in stored:
            raise Unavailable("the key ring is not encrypted with KMS: an attacker can have written such a ring")
        opened = self._kms.call(
            "decrypt", KeyId=self._key_id, CiphertextBlob=stored["data_key"]["B"], EncryptionContext=PURPOSE
        )
        sealed = stored["ring"]["B"]
        try:
            return AESGCM(opened["Plaintext"]).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except InvalidTag:
            raise Unavailable("the key ring does not decrypt with its data key") from None
