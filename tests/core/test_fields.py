"""Plain fields are read as http-sf reads them, and anything else by http-sf itself."""

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.fields import parse_dictionary, parse_plain

PLAIN = 'baton=("@method" "@query-param";name="a b" "authorization");created=1;keyid="k";nonce="n n";tag="baton"'
PIECES = [
    *("a", "sig1", "*", "B", "=", "(", ")", '"', '"@method"', '"a b"', '"\\""', '"é"', " ", "  ", "\t", ";", ",", ", "),
    *(
        "name",
        ";name=",
        ";created=",
        ";tag=",
        "1",
        "-1",
        "007",
        "1.5",
        "1" * 16,
        "?1",
        "tok",
        ":",
        ":AQ==:",
        ":AQ:",
        ":A:",
    ),
    *(";sf", ';a="b"', "a=1", '("x")', '("x" "y");a=1', ":AR==:", "::", "=:AQID:"),
]


def read(text: str) -> object:
    """Read as http-sf does; ``None`` for what it refuses, or would let pass with a duplicate."""
    seen: list[str] = []
    try:
        parsed = http_sf.parse(
            text.encode("ascii"), tltype="dictionary", on_duplicate_key=lambda key, _: seen.append(key)
        )
    except ValueError:
        return None
    return None if seen else parsed


@settings(max_examples=3000)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_is_taken_for_plain_reads_as_http_sf_reads_it(text: str) -> None:
    """Never another value, never more than http-sf lets pass."""
    plain = parse_plain(text)
    if plain is not None:
        assert plain == read(text)
        assert repr(plain) == repr(read(text))


@settings(max_examples=2000)
@given(st.integers(0, len(PLAIN)), st.sampled_from(PIECES), st.integers(0, 3))
def test_a_plain_field_with_a_piece_changed_reads_the_same_either_way(at: int, piece: str, cut: int) -> None:
    """One edit away from what apps send."""
    text = PLAIN[:at] + piece + PLAIN[at + cut :]
    expected = read(text) if text.isascii() else None
    if expected is None:
        with pytest.raises(ValueError, match=r"."):
            parse_dictionary(text)
    else:
        assert repr(parse_dictionary(text)) == repr(expected)


@pytest.mark.parametrize("text", [PLAIN, "baton=:AQID:", "baton=:" + "A" * 86 + "==:"])
def test_what_apps_send_is_plain(text: str) -> None:
    """Otherwise the short cut would be none."""
    assert parse_plain(text) == read(text) != None  # noqa: E711 - three values in a row


@pytest.mark.parametrize("text", ['a=("x");b="1";b="2"', 'a=("x");b=1, a=("y");b=1', "a=1, a=2"])
def test_duplicates_are_refused_either_way(text: str) -> None:
    """Keys and parameters."""
    with pytest.raises(ValueError, match="duplicate"):
        parse_dictionary(text)
