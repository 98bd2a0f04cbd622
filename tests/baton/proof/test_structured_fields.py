"""The parser of structured fields, compared with http-sf and with the test suite of the HTTP working group."""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import http_sf
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from chalicelib.baton.proof.structured_fields import (
    Date,
    DisplayString,
    NotStructured,
    Token,
    parse_dictionary,
    parse_item,
    parse_list,
)
from tests.vectors import load

PARSERS: dict[str, Callable[[str], object]] = {"dictionary": parse_dictionary, "list": parse_list, "item": parse_item}
SENT = 'baton=("@method" "@query-param";name="a%20b" "authorization");created=1;keyid="k";nonce="n n";tag="baton"'
PIECES = [
    *("a", "sig1", "*", "B", "=", "(", ")", '"', '"@method"', '"a b"', '"\\""', '"é"', " ", "  ", "\t", ";", ",", ", "),
    *("name", ";name=", ";created=", ";tag=", ";sf", ';a="b"', "a=1", '("x")', '("x" "y");a=1', '"x";name="y"', '""'),
    *("1", "-1", "-", "007", "0", "1.5", "-0.0", "1.", ".5", "1.2345", "1" * 16, "1" * 12 + ".1", "1" * 13 + ".1"),
    *(
        "?1",
        "?0",
        "?",
        "?2",
        "tok",
        "T:/",
        "@1",
        "@-1",
        "@",
        "@1.5",
        '%"a"',
        '%"%c3%bc"',
        '%"%C3"',
        '%"%ff"',
        "%",
        '%"',
    ),
    *(":", "::", ":AQ==:", ":AQ:", ":A:", ":AR==:", ":AQ=:", ":AQIDBA==:", ":=:", ":A=Q:", ":AQID====:", "=:AQID:"),
]


def shown(value: Any) -> Any:
    """Write a parsed value as the suite does: members as pairs, and types that JSON does not have as objects."""
    match value:
        case dict():
            return [[name, shown(member)] for name, member in value.items()]
        case list() | tuple():
            return [shown(member) for member in value]
        case bytes():
            typed: tuple[str, str | int] = "binary", base64.b32encode(value).decode()
        case Token() | http_sf.Token():
            typed = "token", value.text if isinstance(value, Token) else str(value)
        case DisplayString() | http_sf.DisplayString():
            typed = "displaystring", value.text if isinstance(value, DisplayString) else str(value)
        case Date() | datetime():
            typed = "date", value.seconds if isinstance(value, Date) else int(value.timestamp())
        case _:
            return float(value) if isinstance(value, Decimal) else value
    return {"__type": typed[0], "value": typed[1]}


def by_http_sf(text: str, kind: str) -> object:
    """Parse with http-sf. Return ``None`` for a refusal and for a repeated key."""
    twice: list[str] = []
    try:
        parsed = http_sf.parse(text.encode("ascii"), tltype=kind, on_duplicate_key=lambda key, _: twice.append(key))
    except ValueError:
        return None
    return None if twice else json.dumps(shown(parsed))


def by_us(text: str, kind: str) -> object:
    """Parse with Baton's parser.

    Return ``None`` for a refusal. The position in a refusal is in the text, or just after it.
    """
    try:
        return json.dumps(shown(PARSERS[kind](text)))
    except NotStructured as refusal:
        at = int(str(refusal).removeprefix("at character ").partition(":")[0])
        assert 1 <= at <= len(text) + 1
        return None


FIRST_DATE, LAST_DATE = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999. http-sf reads a date into a ``datetime``, which has no other years."""


@pytest.mark.parametrize("kind", sorted(PARSERS))
def test_each_piece_is_read_alone_and_as_a_member(kind: str) -> None:
    """Both parsers read the same. Random texts may miss a piece, so a mutant once survived by chance."""
    for piece in PIECES:
        for text in (piece, f"a={piece}", f"{piece};a={piece}"):
            assert by_us(text, kind) == by_http_sf(text, kind), text


def often(usual: int, long: int) -> pytest.MarkDecorator:
    """Run a test with ``usual`` generated texts, and in ``make prove`` with ``long`` of them."""
    return pytest.mark.parametrize("examples", [usual, pytest.param(long, marks=pytest.mark.prove)])


@often(800, 4000)
def test_both_parsers_give_the_same_result(examples: int) -> None:
    """The texts have values of each type, and errors."""

    @settings(max_examples=examples)
    @given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.sampled_from(sorted(PARSERS)))
    @example("a=@253402214400", "dictionary")
    @example(" a , b\t", "list")
    def same(text: str, kind: str) -> None:
        assume(all(FIRST_DATE <= int(date) <= LAST_DATE for date in re.findall(r"@(-?[0-9]+)", text)))
        assert by_us(text, kind) == by_http_sf(text, kind)

    same()


@often(400, 2000)
def test_both_parsers_give_the_same_result_for_any_short_text(examples: int) -> None:
    """Control characters and the first non-ASCII character are included."""

    @settings(max_examples=examples)
    @given(st.text(st.characters(min_codepoint=0, max_codepoint=128), max_size=8), st.sampled_from(sorted(PARSERS)))
    def same(text: str, kind: str) -> None:
        assert by_us(text, kind) == by_http_sf(text, kind)

    same()


@often(600, 3000)
def test_both_parsers_give_the_same_result_for_a_field_with_one_edit(examples: int) -> None:
    """Each text is one edit away from a field that apps send."""

    @settings(max_examples=examples)
    @given(st.integers(0, len(SENT)), st.sampled_from(PIECES), st.integers(0, 3))
    def same(at: int, piece: str, cut: int) -> None:
        text = SENT[:at] + piece + SENT[at + cut :]
        assert by_us(text, "dictionary") == by_http_sf(text, "dictionary")

    same()


@pytest.mark.guarantee(12)
def test_the_suite_of_the_working_group() -> None:
    """Each row has the result of the suite, except that Baton refuses each repeated key."""
    verdicts: Counter[str] = Counter()
    duplicates = []
    for row in load("structured_fields")["tests"]:
        text, kind = ", ".join(row["raw"]), row["header_type"]
        read = by_us(text, kind)
        if row.get("must_fail"):
            assert read is None, row
            verdicts["refused"] += 1
        elif read is None:
            duplicates.append(row["name"])
        else:
            assert read == json.dumps(row["expected"]), row
            verdicts["read, where it might refuse" if row.get("can_fail") else "read"] += 1
    assert duplicates == ["duplicate key dictionary", "duplicate parameter with different positions"]
    assert verdicts == {"read": 219, "refused": 264, "read, where it might refuse": 6}


@pytest.mark.parametrize("text", ['a=("x");b="1";b="2"', 'a=("x");b=1, a=("y");b=1', "a=1, a=2", "a, a"])
def test_a_duplicate_key_is_refused(text: str) -> None:
    """A proxy that reads the first value would see another value than Baton. Dictionaries and parameters are tested."""
    with pytest.raises(NotStructured, match="duplicate"):
        parse_dictionary(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1;", "at character 5: expected a key in lower case"),
        ("A=1", "at character 1: expected a key in lower case"),
        ("a=", "at character 3: expected a value"),
        ('a="x', 'at character 5: expected `"`'),
        ("a=:AQ", "at character 6: expected `:`"),
        ("a=1 b=2", "at character 5: expected a comma or the end of the field"),
        ("a=1,", "at character 5: expected a member after the comma"),
        ("a=(1,2)", "at character 5: expected a space or `)`"),
        ("a=\u00e9", "at character 3: not ASCII"),
    ],
)
def test_a_refusal_has_a_position_and_fixed_words(text: str, message: str) -> None:
    """The app's developer sees where the error is."""
    with pytest.raises(NotStructured) as refused:
        parse_dictionary(text)
    assert str(refused.value) == message


def test_a_token_is_not_equal_to_a_string() -> None:
    """A component or tag that is written as a token differs from the string that the base would contain."""
    assert parse_item("baton") != parse_item('"baton"')
    assert parse_item("?1") == (True, {})
    assert parse_item("1")[0] is not True


def test_a_long_field_takes_linear_time() -> None:
    """Each reader only moves forward. A field of 8 KB without its end is refused in one pass."""
    for piece in (
        '"' + "\\\\" * 4000,
        "(" + '"a" ' * 2000,
        ";a" * 4000,
        ":" + "A" * 8000,
        "1" * 8000,
        '%"' + "%20" * 2700,
    ):
        with pytest.raises(NotStructured):
            parse_dictionary("a=" + piece)
