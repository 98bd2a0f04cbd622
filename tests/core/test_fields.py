"""Plain fields are read as http-sf reads them, and anything else by http-sf itself."""

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.fields import SignatureInput, parse_dictionary, plain_bytes, plain_input
from chalicelib.core.signatures import component, write_input

PLAIN = 'baton=("@method" "@query-param";name="a%20b" "authorization");created=1;keyid="k";nonce="n n";tag="baton"'
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
    *('"@query-param"', '"x";name="y"', '"@query-param";name=""', '""', "0", "00"),
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


def as_input(parsed: object) -> SignatureInput:
    """Write what http-sf read as a signature input: it must be able to be one."""
    assert isinstance(parsed, dict)
    [(label, (items, parameters))] = parsed.items()
    for name, own in items:
        assert type(name) is str
        assert own.keys() == ({"name"} if name == "@query-param" else set())
    components = tuple(component(name, own.get("name")) for name, own in items)
    return SignatureInput(label, components, parameters, write_input(components, parameters))


@settings(max_examples=3000)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_is_taken_for_plain_reads_as_http_sf_reads_it(text: str) -> None:
    """Never another value, never more than http-sf lets pass, and its canonical spelling is its own."""
    plain = plain_input(text)
    if plain is not None:
        assert repr(plain) == repr(as_input(read(text)))
        assert text == f"{plain.label}={plain.written}"
    for label in ("a", "sig1", "*"):
        value = plain_bytes(text, label)
        if value is not None:
            assert read(text) == {label: (value, {})}


@settings(max_examples=2000)
@given(st.integers(0, len(PLAIN)), st.sampled_from(PIECES), st.integers(0, 3))
def test_a_plain_field_with_a_piece_changed_reads_the_same_either_way(at: int, piece: str, cut: int) -> None:
    """One edit away from what apps send."""
    text = PLAIN[:at] + piece + PLAIN[at + cut :]
    expected = read(text) if text.isascii() else None
    plain = plain_input(text)
    if plain is not None:
        assert repr(plain) == repr(as_input(expected))
    if expected is None:
        with pytest.raises(ValueError, match=r"."):
            parse_dictionary(text)
    else:
        assert repr(parse_dictionary(text)) == repr(expected)


def test_what_apps_send_is_plain() -> None:
    """Otherwise the short cut would be none."""
    assert plain_input(PLAIN) == as_input(read(PLAIN))
    for text in ("baton=:AQID:", "baton=:" + "A" * 86 + "==:"):
        value = plain_bytes(text, "baton")
        assert value is not None
        assert read(text) == {"baton": (value, {})}


@pytest.mark.parametrize("text", ['a=("x");b="1";b="2"', 'a=("x");b=1, a=("y");b=1', "a=1, a=2"])
def test_duplicates_are_refused_either_way(text: str) -> None:
    """Keys and parameters."""
    with pytest.raises(ValueError, match="duplicate"):
        parse_dictionary(text)
