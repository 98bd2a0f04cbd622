"""The strict CBOR reader reads each accepted value as a general reader does, and accepts no ambiguous value."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton.keys.cbor import DEPTH_MAX, encode_byte_string, read_cbor, read_cbor_at

LEAVES = st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=40) | st.booleans() | st.none()
KEYS = st.integers(-300, 300) | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@given(VALUES)
def test_what_a_general_encoder_writes_is_read(value: Any) -> None:
    """Every value of the accepted types, unless it is nested too deeply."""
    encoded = cbor2.dumps(value)
    try:
        assert read_cbor(encoded) == value
    except ValueError as refused:
        assert "nested" in str(refused)  # noqa: PT017 - the only reason


@given(VALUES, st.data())
def test_of_a_changed_value_nothing_is_read_that_a_general_decoder_reads_differently(value: Any, data: Any) -> None:
    """One byte is changed. The value is refused, or both decoders read the same, to the last byte."""
    encoded = bytearray(cbor2.dumps(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] = data.draw(st.integers(0, 255))
    try:
        ours = read_cbor(bytes(encoded))
    except ValueError:
        return
    assert ours == cbor2.loads(bytes(encoded))


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(bytes.fromhex("d8236828612b292b2462"), id="tag 35, a regular expression"),
        pytest.param(bytes.fromhex("c11a5f5e1000"), id="a time"),
        pytest.param(bytes.fromhex("81d4"), id="a tag with the number of false"),
        pytest.param(bytes.fromhex("f93c00"), id="a float"),
        pytest.param(bytes.fromhex("5f4101ff"), id="an indefinite byte string"),
        pytest.param(bytes.fromhex("9f01ff"), id="an indefinite array"),
        pytest.param(bytes.fromhex("a2610101610102"), id="a key given twice"),
        pytest.param(bytes.fromhex("a1410101"), id="a byte string as key"),
        pytest.param(bytes.fromhex("a1f501"), id="true as key, which equals 1"),
        pytest.param(bytes.fromhex("f7"), id="undefined"),
        pytest.param(bytes.fromhex("f814"), id="false in two bytes"),
        pytest.param(bytes.fromhex("5903e801"), id="a length beyond the end"),
        pytest.param(bytes.fromhex("9b7fffffffffffffff"), id="an array of a quintillion"),
        pytest.param(bytes.fromhex("0100"), id="a byte after the item"),
        pytest.param(bytes.fromhex("62c328"), id="a text that is not UTF-8"),
        pytest.param(b"\x81" * (DEPTH_MAX + 1) + b"\x01", id="nested too deeply"),
        pytest.param(b"\x81" * 60_000, id="nested very deeply"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_ambiguous_or_costly_is_refused(hostile: bytes) -> None:
    """The reader raises ``ValueError`` immediately."""
    with pytest.raises(ValueError):  # noqa: PT011 - each message is another one
        read_cbor(hostile)


def test_the_offset_after_an_item_is_returned() -> None:
    """The caller reads the bytes after the item."""
    assert read_cbor_at(bytes.fromhex("ff83010203ff"), 1) == ([1, 2, 3], 5)


@pytest.mark.parametrize("length", [0, 1, 23, 255, 256, 65_535])
def test_a_written_byte_string_is_read(length: int) -> None:
    """The strict reader and a general reader read it."""
    encoded = encode_byte_string(b"x" * length)
    assert read_cbor(encoded) == cbor2.loads(encoded) == b"x" * length
