"""Base64url: each value has exactly one accepted spelling."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url


@given(st.binary(max_size=100))
def test_a_value_is_encoded_and_decoded(value: bytes) -> None:
    """The spelling is that of the standard library, without padding."""
    text = encode_base64url(value)
    assert text == base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    assert decode_base64url(text) == value


@given(st.text(st.sampled_from("AQgwBx019-_+/= \n=é\0"), max_size=12))
def test_every_other_spelling_is_refused(text: str) -> None:
    """If a text is decoded, encoding the result gives the same text."""
    try:
        value = decode_base64url(text)
    except ValueError:
        with pytest.raises((ValueError, AssertionError)):
            assert _lenient(text) == text
    else:
        assert encode_base64url(value) == text


def _lenient(text: str) -> str:
    """Decode with the standard library and encode again. Canonical text does not change."""
    return encode_base64url(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AA==", "AA=", "A+AA", "A/AA", "AB", "AAB", "A A", "AA\n", "=", "ÀA", "A=AA"]
)
def test_common_misspellings_are_refused(text: str) -> None:
    """The list has impossible lengths, padding, the other alphabet, stray bits and white space."""
    with pytest.raises(ValueError, match=r"."):
        decode_base64url(text)
