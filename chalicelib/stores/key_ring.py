"""The key ring: one item in ``users``, wrapped, read once per start and looked at again every five minutes."""

import os
from typing import ClassVar, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from chalicelib.core.errors import Unavailable
from chalicelib.core.key_ring import Ring, RingUnreadable, make_ring, ring_from_bytes, ring_to_bytes
from chalicelib.core.policy import KEY_RING_REFRESH_S, KEY_RING_UNKNOWN_KID_S
from chalicelib.core.ports import Done, Entropy, Moved
from chalicelib.stores.engine import ConditionFailed, Engine, Service
from chalicelib.stores.items import Item, binary, expression, number, reading, text

IS_NEW: Final = "attribute_not_exists(pk)"
REVISION_AS_READ: Final = "revision = :revision"

RING_KEY: Final[Item] = {"pk": text("K#ring")}
PURPOSE: Final = {"purpose": "baton key ring"}
"""The encryption context. It names no table: a ring restored into another table must still open."""

NONCE_BYTES: Final = 12


IS_ACCOUNT: Final = "begins_with(pk, :account)"
"""A user in ``users``, a gate in ``gates``: each account has both."""


class AccountsWithoutRing(Unavailable):
    """The tables hold accounts and no key ring. A new ring would end every login, and open no password of theirs."""


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

    def __init__(self, key_id: str, kms: Service | None = None) -> None:
        """Name the customer key: its id, ARN or alias."""
        self._key_id = key_id
        self._kms = kms or Service("kms")

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


class _Cached(Struct, frozen=True):
    """A ring, the item it was read from, and when it was seen to be the newest."""

    ring: Ring
    item: Item
    read_at: int


class KeyRing:
    """``ports.KeyRing`` on DynamoDB."""

    def __init__(self, engine: Engine, wrapper: Wrapper, entropy: Entropy) -> None:
        """Keep engine and wrapper, and ``entropy`` for the ring made at first use."""
        self._engine = engine
        self._wrapper = wrapper
        self._entropy = entropy
        self._cached: _Cached | None = None
        self._asked_at: int | None = None

    def current(self, *, now: int) -> Ring:
        """Give the ring, refreshed at most every five minutes; never an older one when that fails."""
        cached = self._cached
        if cached is not None and _within(KEY_RING_REFRESH_S, since=cached.read_at, now=now):
            return cached.ring
        return self._read(now=now)

    def refreshed(self, *, now: int) -> Ring:
        """Give the ring after an unknown ``kid``: read again, at most once a minute, whether that succeeds or not."""
        asked_at = self._asked_at
        if asked_at is not None and _within(KEY_RING_UNKNOWN_KID_S, since=asked_at, now=now):
            return self.current(now=now)
        return self._read(now=now)

    def create(self, *, now: int, over_accounts: bool = False) -> Done | Moved:
        """Make the ring where there is none: at deploy, or at first use in development.

        Raises ``AccountsWithoutRing`` where the tables hold accounts, unless ``over_accounts``. The put has a condition
        of its own: whoever makes a ring in the meantime keeps it, and no account begins without a ring.
        """
        if not over_accounts and self._accounts_exist():
            if self._stored() is not None:
                return Moved()
            raise AccountsWithoutRing(
                f"the tables {self._engine.tables.prefix}-* hold accounts, and no key ring: it was lost, or they were "
                "restored without it. docs/runbooks/kms-key-lost.md says what to do"
            )
        return self._put(make_ring(self._entropy, now=now), IS_NEW)

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Put a newer ring in place of the one of ``expected_revision``."""
        return self._put(ring, REVISION_AS_READ, expected_revision=expected_revision)

    def _read(self, *, now: int) -> Ring:
        self._asked_at = now
        item = self._stored()
        if item is None and self._wrapper.makes_absent_ring:
            self.create(now=now)
            item = self._stored()
        if item is None:
            raise Unavailable("the key ring is absent: it is made once, at deploy")
        cached = self._cached
        # The very same item needs no unwrapping.
        ring = cached.ring if cached is not None and cached.item == item else self._open(item)
        self._cached = _Cached(ring, item, now)
        return ring

    def _open(self, item: Item) -> Ring:
        try:
            with reading("key ring"):
                ring, revision = ring_from_bytes(self._wrapper.unwrap(item)), int(item["revision"]["N"])
        except RingUnreadable as error:
            raise Unavailable(f"the key ring cannot be read: {error}") from None
        if ring.revision != revision:
            raise Unavailable("the key ring is not of the revision its item says")
        return ring

    def _put(self, ring: Ring, condition: str, *, expected_revision: int = 0) -> Done | Moved:
        item = {**RING_KEY, "revision": number(ring.revision), **self._wrapper.wrap(ring_to_bytes(ring))}
        try:
            self._engine.write(
                "put_item",
                TableName=self._engine.tables.users,
                Item=item,
                **expression({":revision": number(expected_revision)}, condition=condition),
            )
        except ConditionFailed as failed:
            return Done() if failed.item == item else Moved()
        return Done()

    def _accounts_exist(self) -> bool:
        tables = self._engine.tables
        return any(
            self._engine.holds(table, IS_ACCOUNT, {":account": text("U#")}) for table in (tables.users, tables.gates)
        )

    def _stored(self) -> Item | None:
        return self._engine.read(self._engine.tables.users, RING_KEY)


def _within(span_s: int, *, since: int, now: int) -> bool:
    """Tell whether ``now`` lies in the span; a clock that went back says nothing about how much time has passed."""
    return 0 <= now - since < span_s
