"""A stored answer decrypts for its own item, under a ring that has its root, and in no other way."""

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
    """To the byte; 30 bytes are added."""
    stored = encrypted(answer)
    assert decrypt_answer(stored, item=ITEM, ring=RING) == answer
    assert len(stored) == len(answer) + 2 + 12 + 16
    assert stored[:2] == bytes([FORMAT, RING.roots[-1].version])


def test_an_answer_does_not_decrypt_for_another_item() -> None:
    """Copied to another account, or to another call of the same account."""
    with pytest.raises(CannotDecrypt, match="for its item"):
        decrypt_answer(encrypted(), item="O#the-item-of-another-account", ring=RING)


def test_every_item_has_a_key_of_its_own() -> None:
    """The same answer under the same nonce is another ciphertext; the associated data is not all there is."""
    one, other = encrypted(), encrypted(item="O#another")
    assert one[14:20] != other[14:20]


@pytest.mark.parametrize("place", range(len(encrypted())))
def test_an_altered_answer_does_not_decrypt(place: int) -> None:
    """Every byte counts: format, root version, nonce, text and tag."""
    stored = bytearray(encrypted())
    stored[place] ^= 1
    with pytest.raises(CannotDecrypt):
        decrypt_answer(bytes(stored), item=ITEM, ring=RING)


@pytest.mark.parametrize("length", range(len(encrypted())))
def test_a_shortened_answer_does_not_decrypt(length: int) -> None:
    """At any length."""
    with pytest.raises(CannotDecrypt):
        decrypt_answer(encrypted()[:length], item=ITEM, ring=RING)


def test_an_answer_outlives_a_rotation_of_the_root() -> None:
    """The version of its root is in front; another deployment has another root of that version."""
    stored = encrypted()
    rotated = rotate_root(RING, secrets.token_bytes, now=NOW)
    assert decrypt_answer(stored, item=ITEM, ring=rotated) == b"answer"
    with pytest.raises(CannotDecrypt):
        decrypt_answer(stored, item=ITEM, ring=make_ring(secrets.token_bytes, now=NOW))


def test_an_answer_of_another_format_does_not_decrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A genuine one of a later release: its text may mean something else."""
    with monkeypatch.context() as later:
        later.setattr(once_answers, "FORMAT", FORMAT + 1)
        stored = encrypted()
    with pytest.raises(CannotDecrypt, match="unknown format"):
        decrypt_answer(stored, item=ITEM, ring=RING)


def test_a_nonce_has_twelve_bytes() -> None:
    """A shorter one would repeat sooner."""
    with pytest.raises(ValueError, match="12 bytes"):
        encrypted(nonce=bytes(11))
