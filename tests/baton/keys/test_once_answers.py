"""A stored answer decrypts only for its own item, under a ring with its root."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton.keys import once_answers
from chalicelib.baton.keys.once_answers import FORMAT, decrypt_answer, encrypt_answer
from chalicelib.baton.keys.ring import CannotDecrypt, Ring
from chalicelib.baton.keys.rotation import make_ring, rotate_root
from chalicelib.baton.policy import DAY_S
from chalicelib.baton.testing.contract.values import NOW

ITEM = "O#the-item-of-one-account"
RING = make_ring(secrets.token_bytes, now=NOW - DAY_S)
NONCE = bytes(12)


def encrypted(answer: bytes = b"answer", *, item: str = ITEM, ring: Ring = RING, nonce: bytes = NONCE) -> bytes:
    """Encrypt an answer."""
    return encrypt_answer(answer, item=item, ring=ring, now=NOW, nonce=nonce)


@given(st.binary(max_size=100))
def test_an_answer_decrypts_for_its_item(answer: bytes) -> None:
    """The result is equal byte for byte. The encryption adds 30 bytes."""
    stored = encrypted(answer)
    assert decrypt_answer(stored, item=ITEM, ring=RING) == answer
    assert len(stored) == len(answer) + 2 + 12 + 16
    assert stored[:2] == bytes([FORMAT, RING.roots[-1].version])


def test_an_answer_does_not_decrypt_for_another_item() -> None:
    """The other item belongs to another account, or to another call of the same account."""
    with pytest.raises(CannotDecrypt, match="for its item"):
        decrypt_answer(encrypted(), item="O#the-item-of-another-account", ring=RING)


def test_every_item_has_its_own_key() -> None:
    """With the same nonce, the ciphertext differs. The associated data is not the only protection."""
    one, other = encrypted(), encrypted(item="O#another")
    assert one[14:20] != other[14:20]


@pytest.mark.parametrize("place", range(len(encrypted())))
def test_a_changed_answer_does_not_decrypt(place: int) -> None:
    """Each byte is protected: format, root version, nonce, text and tag."""
    stored = bytearray(encrypted())
    stored[place] ^= 1
    with pytest.raises(CannotDecrypt):
        decrypt_answer(bytes(stored), item=ITEM, ring=RING)


@pytest.mark.parametrize("length", range(len(encrypted())))
def test_a_shortened_answer_does_not_decrypt(length: int) -> None:
    """Each length is tested."""
    with pytest.raises(CannotDecrypt):
        decrypt_answer(encrypted()[:length], item=ITEM, ring=RING)


def test_an_answer_decrypts_after_a_rotation_of_the_root() -> None:
    """The stored bytes begin with the version of their root. In another deployment this version is another root."""
    stored = encrypted()
    rotated = rotate_root(RING, secrets.token_bytes, now=NOW)
    assert decrypt_answer(stored, item=ITEM, ring=rotated) == b"answer"
    with pytest.raises(CannotDecrypt):
        decrypt_answer(stored, item=ITEM, ring=make_ring(secrets.token_bytes, now=NOW))


def test_an_answer_of_another_format_does_not_decrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later release wrote it, and its text may have another meaning."""
    with monkeypatch.context() as later:
        later.setattr(once_answers, "FORMAT", FORMAT + 1)
        stored = encrypted()
    with pytest.raises(CannotDecrypt, match="unknown format"):
        decrypt_answer(stored, item=ITEM, ring=RING)


def test_a_nonce_has_twelve_bytes() -> None:
    """A shorter nonce would repeat sooner."""
    with pytest.raises(ValueError, match="12 bytes"):
        encrypted(nonce=bytes(11))
