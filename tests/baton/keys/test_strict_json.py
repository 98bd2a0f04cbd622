"""JSON is read strictly, wherever Baton reads it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton.keys.strict_json import NotStrict, read_object
from chalicelib.baton.policy import JSON_DEPTH_MAX


def nested(levels: int) -> bytes:
    """Return an object with this many levels."""
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


@pytest.mark.parametrize(
    ("text", "reason", "name"),
    [
        pytest.param(b'{"a":1,"b":2,"a":1}', "a member is given twice", "a", id="a double member"),
        pytest.param(
            b'{"b":[{"a":1,"\\u0061":2}]}', "a member is given twice", "a", id="an inner one, in two spellings"
        ),
        pytest.param(b'{"a":NaN}', "constant", "", id="NaN"),
        pytest.param(b'{"a":-Infinity}', "constant", "", id="Infinity"),
        pytest.param(b'{"a":1e999}', "number", "", id="a number beyond a float"),
        pytest.param(nested(JSON_DEPTH_MAX + 1), "depth", "", id="one level too many"),
        pytest.param(b'{"a":' * 100_000, "depth", "", id="levels beyond the stack"),
        pytest.param(b"[1]", "not an object", "", id="a list"),
        pytest.param(b"null", "not an object", "", id="null"),
        pytest.param(b"{", "not JSON", "", id="half an object"),
        pytest.param(b'{"a":1} {}', "not JSON", "", id="two objects"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', "not JSON", "", id="a byte order mark"),
        pytest.param(b'{"a":"\xff"}', "not JSON", "", id="not UTF-8"),
        pytest.param('{"a":1}'.encode("utf-16"), "not JSON", "", id="UTF-16"),
    ],
)
def test_everything_but_one_plain_object_is_refused(text: bytes, reason: str, name: str) -> None:
    """The reason is one of a few fixed texts. Only the name comes from the sender."""
    with pytest.raises(NotStrict) as refused:
        read_object(text)
    assert (refused.value.reason, refused.value.name) == (reason, name)
    assert str(refused.value) == reason


def test_the_deepest_object_is_read() -> None:
    """An object with exactly the maximum number of levels is accepted."""
    assert json.dumps(read_object(nested(JSON_DEPTH_MAX)), separators=(",", ":")).encode() == nested(JSON_DEPTH_MAX)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_an_object_is_read_as_json_reads_it(value: dict[str, Any]) -> None:
    """Any other JSON object is read as the standard library reads it."""
    assert read_object(json.dumps(value).encode()) == value
